//! A21: a change in utilisation re-provisions.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use chandler_api::site::SiteRole;
use chandler_tests::fleet::{AgentOptions, ControllerOptions, Fleet, order_completed};
use chandler_tests::load::{Demand, Load};
use chandler_tests::meter::Meter;
use chandler_tests::orders::notes;

use crate::seen::place;

/// The service goes to the cheaper server and stays there while that has room, and through a short peak too. When other
/// software fills its processor for good, the service leaves for the dearer server, which is idle; who uses it does not
/// notice. The full one is not what it comes back to, though that costs less.
#[tokio::test(flavor = "multi_thread")]
async fn a21_a_full_machine_is_left_for_an_idle_one() -> Result<()> {
    // Half a second of a full processor is a peak; four seconds are no peak any more.
    let args = ["--relocation-period", "200 ms", "--relocation-haste", "225"].map(str::to_owned).to_vec();
    let mut fleet =
        Fleet::with(ControllerOptions { telemetry_interval: "200 ms", args, ..ControllerOptions::default() }).await?;
    let acme = fleet.customer("acme").await?;
    fleet.publish_notes().await?;
    fleet.site("office", "acme", SiteRole::Customer, "DE", (0, 0)).await?;
    let mut meters = Vec::new();
    for (site, host, rate) in [("hall", "cheap", 20_000), ("annex", "dear", 22_000), ("office", "laptop", 0)] {
        if site != "office" {
            fleet.provider_site(site, (rate, 3_000)).await?;
        }
        let meter = Meter::start(fleet.dir(), host)?;
        fleet.agent(site, host, AgentOptions { starter: meter.starter(), ..AgentOptions::default() }).await?;
        meters.push(meter);
    }
    let further = "[sla]\navailability = { min = \"90 %\" }\n[policy]\nowners = [\"provider\"]";
    let service = order_completed(&acme, &notes("acme", "notes", further)?).await?;
    ensure!(place(&service)?.host == "cheap", "{service:#?}");
    let door = fleet.door("notes", "laptop").await?;
    let demand = Demand { clients: 2, pace: Duration::from_millis(20), writes: true };
    let load = Load::start(door, "a21", demand);

    let cheap = meters.first().context("each machine has a meter")?;
    cheap.uses(980);
    tokio::time::sleep(Duration::from_millis(700)).await;
    cheap.uses(100);
    tokio::time::sleep(Duration::from_secs(5)).await;
    let calm = fleet.moves_done("notes").await?;
    ensure!(calm.is_empty(), "a short peak moved it: {calm:#?}");

    cheap.uses(980);
    let begin = Instant::now();
    let moved = fleet.moved_because("notes", "utilisation").await?;
    eprintln!("moved after {:?}: {}", begin.elapsed(), moved.evidence);
    ensure!((moved.from.host.as_str(), moved.to.host.as_str()) == ("cheap", "dear"), "{moved:#?}");
    ensure!(moved.evidence.contains("processor of cheap is used to"), "{}", moved.evidence);
    fleet.running_where("notes", |s| s.placements.iter().any(|p| p.host == "dear" && p.state == "allocated")).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let record = load.stop().await?;
    ensure!(record.failed.is_empty(), "{} of {}: {:?}", record.failed.len(), record.answered.len(), record.failed);
    eprintln!(
        "{} requests, none failed, the longest took {:?}",
        record.answered.len(),
        record.longest(begin, Instant::now())
    );
    let all = fleet.moves_done("notes").await?;
    ensure!(all.len() == 1, "it came back: {all:#?}");
    Ok(())
}
