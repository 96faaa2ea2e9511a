//! A10, A11, A12: re-provisioning brings in resources of a partner, of the provider and of the customer that did not serve
//! before.

use anyhow::{Result, ensure};
use chandler_api::site::SiteRole;
use chandler_tests::orders::notes;

use crate::used::Ground;

/// A service on the customer's own computer goes to the provider's, before that computer, of which it is known by now
/// that it is rarely there, breaks the SLA.
#[tokio::test(flavor = "multi_thread")]
async fn a11_moves_bring_in_the_providers_resources() -> Result<()> {
    let mut ground = Ground::start().await?;
    ground.site("desk", SiteRole::Customer, "DE", 0).await?;
    ground.site("server", SiteRole::Provider, "DE", 20_000).await?;
    let order =
        notes("acme", "notes", "[sla]\navailability = { min = \"99 %\" }\n[policy]\nmove = { hold = \"10 s\" }")?;
    let used = ground.used(&order, "desk", &["desk", "server"]).await?;
    ground.fleet.history("desk", 500_000).await?;
    used.moves(&ground, "predictedAvailability", "desk", "server").await?;
    let service = ground.acme.service("notes").await?;
    let role = service.placements.iter().find(|p| p.host == "server").map(|p| p.site_role);
    ensure!(role == Some(SiteRole::Provider), "{service:#?}");
    used.ends().await?;
    Ok(())
}

/// A service on the provider's own server goes to a partner's, which is known later and is cheaper.
#[tokio::test(flavor = "multi_thread")]
async fn a10_moves_bring_in_a_partners_resources() -> Result<()> {
    let mut ground = Ground::start().await?;
    ground.site("server", SiteRole::Provider, "DE", 40_000).await?;
    let order = notes("acme", "notes", "[policy]\nmove = { hold = \"10 s\" }")?;
    let used = ground.used(&order, "server", &["server", "beta.far"]).await?;
    ground.partner("beta", "far", 10_000).await?;
    used.moves(&ground, "price", "server", "beta.far").await?;
    let service = ground.acme.service("notes").await?;
    let role = service.placements.iter().find(|p| p.host == "beta.far").map(|p| p.site_role);
    ensure!(role == Some(SiteRole::Partner), "{service:#?}");
    used.ends().await?;
    ground.settles().await
}

/// A service on the provider's computer goes to the customer's own, for which nothing is to be paid, once there is one.
#[tokio::test(flavor = "multi_thread")]
async fn a12_moves_bring_in_the_customers_resources() -> Result<()> {
    let mut ground = Ground::start().await?;
    ground.site("server", SiteRole::Provider, "DE", 20_000).await?;
    let used = ground
        .used(&notes("acme", "notes", "[policy]\nmove = { hold = \"10 s\" }")?, "server", &["desk", "server"])
        .await?;
    ground.site("desk", SiteRole::Customer, "DE", 0).await?;
    used.moves(&ground, "price", "server", "desk").await?;
    let service = ground.acme.service("notes").await?;
    let role = service.placements.iter().find(|p| p.host == "desk").map(|p| p.site_role);
    ensure!(role == Some(SiteRole::Customer), "{service:#?}");
    used.ends().await?;
    Ok(())
}
