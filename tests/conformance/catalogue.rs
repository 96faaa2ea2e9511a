//! A01: from the catalogue to software that runs on the customer's own computer.

use anyhow::{Context, Result, ensure};
use chandler_api::site::SiteRole;
use chandler_api::sla::SlaStatus;
use chandler_tests::fleet::{AgentOptions, Fleet, PATIENCE, order_completed};
use chandler_tests::orders::notes;
use chandler_tests::{http, process};

use crate::seen::{objective, place, rejected, sla_is};

/// A customer reads which attributes there are, chooses values, and its own computer gets the application within
/// them, although a cheaper server of the provider stands by. Values that its computer cannot meet put nothing there.
#[tokio::test(flavor = "multi_thread")]
async fn a01_chosen_attributes_become_running_software() -> Result<()> {
    let mut fleet = Fleet::start().await?;
    let acme = fleet.customer("acme").await?;
    fleet.publish_notes().await?;
    fleet.provider_site("hall", (1, 1)).await?;
    fleet.site("office", "acme", SiteRole::Customer, "DE", (20_000, 3_000)).await?;
    fleet.agent("hall", "server", AgentOptions::default()).await?;
    let desk = fleet.agent("office", "desk", AgentOptions::default()).await?;

    let offering = acme.offering("standard").await?;
    for name in ["cost", "interactivity", "availability"] {
        let found = offering.characteristics.iter().find(|c| c.name == name);
        let found = found.with_context(|| format!("the catalogue has no {name}: {offering:#?}"))?;
        ensure!(found.configurable && found.min_cardinality == 0, "{name} shall be the customer's choice: {found:?}");
        ensure!(!found.description.is_empty() && !found.value_type.is_empty(), "nobody can choose {found:?}");
    }

    let chosen = r#"
        [sla]
        cost = { max = "30 EUR/month" }
        interactivity = { p95 = "500 ms" }
        availability = { min = "90 %" }
        residency = ["DE"]
        [policy]
        owners = ["customer"]
    "#;
    let request = notes("acme", "notes", chosen)?;
    let service = order_completed(&acme, &request).await?;
    let there = place(&service)?;
    ensure!((there.host.as_str(), there.site_role) == ("desk", SiteRole::Customer), "it is at {there:?}");

    let url = Fleet::url(&service)?;
    ensure!(http::body_of(&url, PATIENCE).await?.starts_with("notes on "), "the application answers");
    let directory = process::of_notes(&url).await?.directory()?;
    let own = std::fs::canonicalize(&fleet.agents[desk].dir)?;
    ensure!(directory.starts_with(&own), "it runs in {}, not on the customer's computer", directory.display());

    let sla = sla_is(&acme, "notes", SlaStatus::Met).await?;
    ensure!(sla.terms == request.sla && sla.version == 1 && sla.state == "approved", "what was chosen: {sla:#?}");
    for name in ["cost", "interactivity", "availability", "residency"] {
        ensure!(!objective(&sla, name)?.measured.is_empty(), "{name} is not measured: {sla:#?}");
    }

    let abroad = notes("acme", "abroad", "[sla]\nresidency = [\"FR\"]\n[policy]\nowners = [\"customer\"]")?;
    rejected(&acme, &abroad, "E0301").await?;
    let cheap = chosen.replace("30 EUR", "0.01 EUR");
    rejected(&acme, &notes("acme", "cheap", &cheap)?, "E0301").await?;
    ensure!(acme.services(&Default::default()).await?.items.len() == 1, "a rejected order puts nothing anywhere");
    Ok(())
}
