//! A15: availability, predicted from histories and replicas, and measured.

use anyhow::{Context, Result, ensure};
use chandler_api::sla::{Sla, SlaStatus};
use chandler_api::value::Quantity;
use chandler_harness::wait::eventually_ok;
use chandler_protocol::Ppm;
use chandler_tests::fleet::{AgentOptions, Fleet, PATIENCE, order_completed};
use chandler_tests::http;
use chandler_tests::orders::notes;

use crate::seen::{hosts, nearest, objective, place, rejected, sla_is, sla_when};

/// Hosts, cheapest first, and how many millionths of the time they were up.
const HOSTS: [(&str, i64, i64); 4] =
    [("shaky", 1_000, 900_000), ("twin-1", 10_000, 970_000), ("twin-2", 10_001, 970_000), ("solid", 100_000, 999_000)];

/// What is measured of a service's availability.
fn measured(sla: &Sla) -> Result<Ppm> {
    Ok(objective(sla, "availability")?.measured.parse()?)
}

/// The target chooses the host that was up often enough; where copies are allowed, two hosts of 97 % meet 99.8 %
/// together and are cheaper than the one that meets it alone. When a machine dies, the SLA says what that cost: all of
/// it for the one with a single copy, nothing for the one with two.
#[tokio::test(flavor = "multi_thread")]
async fn a15_availability_is_chosen_enforced_over_replicas_and_measured() -> Result<()> {
    let mut fleet = Fleet::start().await?;
    let acme = fleet.customer("acme").await?;
    fleet.publish_notes().await?;
    for (host, rate, up) in HOSTS {
        fleet.provider_site(host, (rate, 0)).await?;
        fleet.agent(host, host, AgentOptions::default()).await?;
        let known = fleet.history(host, up).await?.availability_ppm;
        ensure!(i64::from(known.0).abs_diff(up) < 1_000, "{host} is predicted to be up {known}");
    }

    let any = order_completed(&acme, &notes("acme", "any", "")?).await?;
    ensure!(place(&any)?.host == "shaky", "{any:#?}");
    let firm = "[sla]\navailability = { min = \"99.5 %\" }";
    let service = order_completed(&acme, &notes("acme", "firm", firm)?).await?;
    ensure!(place(&service)?.host == "solid", "{service:#?}");
    let promised = service.predicted.context("it was promised")?.availability_ppm;
    ensure!(promised >= Ppm(995_000), "promised {promised}");

    let copies = "[sla]\navailability = { min = \"99.8 %\" }\n[policy]\nreplicas = { min = 1, max = 3 }";
    let twins = order_completed(&acme, &notes("acme", "twins", copies)?).await?;
    ensure!(hosts(&twins) == ["twin-1", "twin-2"], "{twins:#?}");
    let promised = twins.predicted.clone().context("it was promised")?.availability_ppm;
    ensure!((Ppm(998_000)..Ppm(999_500)).contains(&promised), "promised {promised}");
    for copy in &twins.placements {
        let port = copy.ports.first().context("a copy has a port")?.port;
        http::body_of(&format!("http://127.0.0.1:{port}"), PATIENCE).await?;
    }

    let mut perfect = notes("acme", "perfect", "[sla]\navailability = { min = \"99.99 %\" }")?;
    let refused = rejected(&acme, &perfect, "E0301").await?;
    let possible: Ppm = nearest(&refused, "sla.availability.min")?.value.parse()?;
    perfect.sla.availability.as_mut().context("the order has a target")?.min = Quantity(possible);
    ensure!(acme.quote(&perfect).await?.hosts == ["solid"], "what was proposed, {possible}, can be had");

    for name in ["firm", "twins"] {
        let sla = sla_is(&acme, name, SlaStatus::Met).await?;
        ensure!(measured(&sla)? == Ppm(1_000_000), "{name} has not failed yet: {sla:#?}");
    }
    for host in ["solid", "twin-1"] {
        fleet.agent_named(host)?.kill_machine()?;
    }
    let firm = sla_when(&acme, "firm", |sla| {
        ensure!(measured(sla)? < Ppm(995_000) && sla.status == SlaStatus::AtRisk, "its downtime does not show");
        Ok(())
    });
    firm.await?;

    // The other copy answered all the time, and a second one is looked for meanwhile.
    let other = twins.placements.iter().find(|p| p.host == "twin-2").and_then(|p| p.ports.first());
    let port = other.context("the other copy has a port")?.port;
    http::body_of(&format!("http://127.0.0.1:{port}"), PATIENCE).await?;
    let left = eventually_ok("the lost copy to be given up", PATIENCE, || async {
        let twins = acme.service("twins").await?;
        ensure!(!hosts(&twins).contains(&"twin-1") || twins.placements.iter().any(|p| p.state == "releasing"));
        Ok::<_, anyhow::Error>(())
    });
    left.await?;
    let sla = sla_is(&acme, "twins", SlaStatus::Met).await?;
    ensure!(measured(&sla)? == Ppm(1_000_000), "one copy was up all the time: {sla:#?}");
    Ok(())
}
