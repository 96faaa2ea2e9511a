//! A02: who changes the SLA gets another place, without losing a request.

use anyhow::{Result, ensure};
use chandler_api::order::{Order, OrderState};
use chandler_api::site::SiteRole;
use chandler_api::sla::{SlaAmend, SlaStatus, SlaTerms};
use chandler_tests::fleet::settled;
use chandler_tests::orders::notes;

use crate::used::{Ground, here};

/// The country, the price and the availability are changed one after the other, each by the customer and while the
/// service is used: each time it moves to the place that is right now. What nobody can meet changes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a02_changing_the_sla_moves_the_service_under_its_users() -> Result<()> {
    let mut ground = Ground::start().await?;
    ground.site("barn", SiteRole::Provider, "DE", 20_000).await?;
    ground.site("palace", SiteRole::Provider, "AT", 40_000).await?;
    let order = notes(
        "acme",
        "notes",
        "[sla]\nresidency = [\"DE\"]\n[policy]\nmove = { hold = \"10 s\" }\ncriteria = { cheaper = false }",
    )?;
    let used = ground.used(&order, "barn", &["barn", "palace"]).await?;

    amended(&ground, "residency = [\"AT\"]", OrderState::Completed).await?;
    used.moves(&ground, "slaAmended", "barn", "palace").await?;
    amended(&ground, "cost = { max = \"12 EUR/month\" }", OrderState::Completed).await?;
    used.moves(&ground, "slaAmended", "palace", "barn").await?;
    ground.fleet.history("barn", 900_000).await?;
    amended(&ground, "availability = { min = \"99.9 %\" }", OrderState::Completed).await?;
    used.moves(&ground, "slaAmended", "barn", "palace").await?;

    let refused = amended(&ground, "cost = { max = \"1 EUR/month\" }", OrderState::Rejected).await?;
    ensure!(refused.code == "E0301" && !refused.nearest.is_empty(), "{refused:#?}");
    ensure!(here(&ground.acme.service("notes").await?) == ["palace"], "a refused change moves nothing");
    ensure!(ground.fleet.moves_done("notes").await?.len() == 3, "{:#?}", used.all(&ground).await?);
    let sla = ground.acme.sla("notes").await?.value;
    ensure!(matches!(sla.status, SlaStatus::Met | SlaStatus::AtRisk), "the new SLA holds: {sla:#?}");
    used.ends().await?;
    Ok(())
}

/// The customer's order to change the SLA to these terms, once it is settled, which it must be as expected.
async fn amended(ground: &Ground, terms: &str, expected: OrderState) -> Result<Order> {
    let sla: SlaTerms = toml::from_str(terms)?;
    let agreed = ground.acme.sla("notes").await?;
    let order = ground.acme.sla_amend("notes", &SlaAmend { sla }, &agreed.etag).await?;
    let order = settled(&ground.acme, &order.id.to_string()).await?;
    ensure!(order.state == expected, "{terms}: {order:#?}");
    Ok(order)
}
