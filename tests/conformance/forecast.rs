//! A22: availability that is predicted, and availability that was measured, re-provision.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use chandler_api::client::Client;
use chandler_api::host::HostState;
use chandler_api::movement::MoveQuery;
use chandler_api::order::OrderRequest;
use chandler_api::site::SiteRole;
use chandler_harness::wait::eventually_ok;
use chandler_tests::fleet::{AgentOptions, ControllerOptions, Fleet, PATIENCE, order_completed};
use chandler_tests::load::{Demand, Load};
use chandler_tests::meter::Meter;
use chandler_tests::orders::notes;
use chandler_tests::process;

use crate::seen::{place, sla_is};

/// A cheap server and a dear one, both known to be up nearly always, and the customer's computer.
async fn fleet() -> Result<(Fleet, Client, Vec<Meter>)> {
    let args = ["--relocation-period", "200 ms", "--relocation-haste", "3600"].map(str::to_owned).to_vec();
    let mut fleet = Fleet::with(ControllerOptions { args, ..ControllerOptions::default() }).await?;
    let acme = fleet.customer("acme").await?;
    fleet.publish_notes().await?;
    fleet.site("office", "acme", SiteRole::Customer, "DE", (0, 0)).await?;
    let mut meters = Vec::new();
    for (site, host, rate) in [("hall", "cheap", 20_000), ("annex", "dear", 40_000), ("office", "laptop", 0)] {
        if site != "office" {
            fleet.provider_site(site, (rate, 3_000)).await?;
        }
        let meter = Meter::start(fleet.dir(), host)?;
        fleet.agent(site, host, AgentOptions { starter: meter.starter(), ..AgentOptions::default() }).await?;
        fleet.history(host, 999_900).await?;
        meters.push(meter);
    }
    Ok((fleet, acme, meters))
}

fn firm() -> Result<OrderRequest> {
    notes(
        "acme",
        "notes",
        "[sla]\navailability = { min = \"99.5 %\" }\n[policy]\nowners = [\"provider\"]\nmove = { hold = \"10 s\" }",
    )
}

/// It becomes known that the server will be away too often. Nothing has failed yet when the service leaves it, and
/// nothing fails while it does.
#[tokio::test(flavor = "multi_thread")]
async fn a22_a_bad_forecast_moves_it_before_anything_fails() -> Result<()> {
    let (fleet, acme, _meters) = fleet().await?;
    let service = order_completed(&acme, &firm()?).await?;
    ensure!(place(&service)?.host == "cheap", "{service:#?}");
    let door = fleet.door("notes", "laptop").await?;
    let load = Load::start(door, "a22", Demand { clients: 2, pace: Duration::from_millis(20), writes: true });
    let software = process::of_notes(&Fleet::url(&service)?).await?;
    // Twice as much as was known so far, and all of it bad.
    fleet.history("cheap", 700_000).await?;
    let begin = Instant::now();
    let moved = fleet.moved_because("notes", "predictedAvailability").await?;
    eprintln!("moved after {:?}: {}", begin.elapsed(), moved.evidence);
    ensure!((moved.from.host.as_str(), moved.to.host.as_str()) == ("cheap", "dear"), "{moved:#?}");
    ensure!(moved.evidence.contains("cheap does not meet the SLA any more"), "{}", moved.evidence);
    let record = load.stop().await?;
    ensure!(record.failed.is_empty(), "{} of {}: {:?}", record.failed.len(), record.answered.len(), record.failed);
    ensure!(fleet.client.host("cheap").await?.state == HostState::Active, "it was only foretold");
    let sla = sla_is(&acme, "notes", chandler_api::sla::SlaStatus::Met).await?;
    ensure!(sla.objectives.iter().any(|o| o.name == "availability" && o.measured == "100 %"), "{sla:#?}");
    let gone = eventually_ok("the old copy to end", PATIENCE, || async {
        ensure!(!software.is_alive());
        anyhow::Ok(())
    });
    Ok(gone.await?)
}

/// The server is up, but the software on it fails again and again, so that it is not there as often as was agreed: it
/// is moved to where it may do better, for what was measured and not for what was foretold.
#[tokio::test(flavor = "multi_thread")]
async fn a22_availability_below_the_agreed_one_moves_it() -> Result<()> {
    let (fleet, acme, _meters) = fleet().await?;
    let mut order = firm()?;
    order.software.restart = Some(toml::from_str("attempts = 1000")?);
    let service = order_completed(&acme, &order).await?;
    ensure!(place(&service)?.host == "cheap", "{service:#?}");
    let failing = eventually_ok("it to leave", PATIENCE / 3, || async {
        let now = acme.service("notes").await?;
        let here = now.placements.iter().find(|p| p.host == "cheap" && p.state == "allocated");
        let Some(port) = here.filter(|_| now.moves.is_empty()).and_then(|p| p.ports.first()) else { return Ok(()) };
        if let Ok(found) = process::of_notes(&format!("http://127.0.0.1:{}", port.port)).await {
            found.kill()?;
        }
        anyhow::bail!("it stays")
    });
    if let Err(error) = failing.await {
        let query = MoveQuery { service: Some("notes".to_owned()), declined: true, ..MoveQuery::default() };
        let moves = fleet.client.moves(&query).await?.items;
        let (sla, service) = (acme.sla("notes").await?.value, acme.service("notes").await?);
        return Err(anyhow::Error::from(error).context(format!("{moves:#?}\n{sla:#?}\n{service:#?}")));
    }
    let moved = fleet.moved_because("notes", "actualAvailability").await?;
    eprintln!("{}", moved.evidence);
    ensure!((moved.from.host.as_str(), moved.to.host.as_str()) == ("cheap", "dear"), "{moved:#?}");
    ensure!(moved.evidence.contains("99.5 % were agreed"), "{}", moved.evidence);
    fleet.running_where("notes", |s| s.placements.iter().any(|p| p.host == "dear" && p.state == "allocated")).await?;
    Ok(())
}
