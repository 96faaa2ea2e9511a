//! A14: interactivity, from measured ways and answer times.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use chandler_api::order::OrderRequest;
use chandler_api::sla::SlaStatus;
use chandler_harness::wait::eventually_ok;
use chandler_protocol::Micros;
use chandler_tests::fleet::{AgentOptions, Fleet, PATIENCE, order_completed};
use chandler_tests::orders::notes;

use crate::seen::{nearest, objective, place, rejected, sla_when};

/// One-way delays of the near and of the far host: the round trips are at least twice that.
const NEAR: Duration = Duration::from_millis(2);
const FAR: Duration = Duration::from_millis(75);
/// The limit lies between the two ways, far from both: the near one's measured way is longer while the machine is busy.
const LIMIT: &str = "[sla]\ninteractivity = { p95 = \"100 ms\" }";
/// The answer time of software that is too slow for the limit wherever it runs.
const SLOW: Duration = Duration::from_millis(150);

/// The limit chooses the near host although it is dearer. Once it runs, way and answer time are measured together, and
/// software that answers slowly violates the SLA.
#[tokio::test(flavor = "multi_thread")]
async fn a14_interactivity_is_chosen_enforced_and_measured() -> Result<()> {
    let mut fleet = Fleet::start().await?;
    let acme = fleet.customer("acme").await?;
    fleet.publish_notes().await?;
    for (site, host, delay, rates) in [("here", "near", NEAR, (50_000, 5_000)), ("yonder", "far", FAR, (5_000, 500))] {
        fleet.provider_site(site, rates).await?;
        fleet.agent(site, host, AgentOptions { delay, ..AgentOptions::default() }).await?;
    }
    measured_ways(&fleet).await?;

    let any = order_completed(&acme, &notes("acme", "any", "")?).await?;
    ensure!(place(&any)?.host == "far", "without a limit the cheapest is chosen: {any:#?}");
    let quick = order_completed(&acme, &notes("acme", "quick", LIMIT)?).await?;
    ensure!(place(&quick)?.host == "near", "{quick:#?}");
    let promised = quick.predicted.context("an answer time was promised")?.p95_micros.context("it was measured")?;
    ensure!((4_000..=100_000).contains(&promised.0), "promised {promised}");
    let why = acme.service_explain("quick").await?;
    let far = why.refused.iter().find(|r| r.host == "far").context("the far host was refused")?;
    ensure!(far.rule == "interactivity" && !far.reason.is_empty() && !far.would_fit.is_empty(), "{far:#?}");

    let mut impossible = notes("acme", "impossible", "[sla]\ninteractivity = { p95 = \"1 ms\" }")?;
    let refused = rejected(&acme, &impossible, "E0301").await?;
    let possible: Micros = nearest(&refused, "sla.interactivity.p95")?.value.parse()?;
    ensure!(possible.0 > 4_000, "{possible} is less than the way");
    ask_for(&mut impossible, possible.max(Micros::from_millis(100)))?;
    ensure!(acme.quote(&impossible).await?.hosts == ["near"]);

    // The way there and back, and the software's own time behind it.
    let answer_time = |service: &'static str, least: Duration, status: SlaStatus| {
        let acme = &acme;
        async move {
            sla_when(acme, service, |sla| {
                let interactivity = objective(sla, "interactivity")?;
                let measured: Micros = interactivity.measured.parse()?;
                ensure!(measured.to_std() >= least, "measured {measured}, less than {least:?}");
                ensure!(interactivity.status == status && sla.status == status, "it is not {status:?}");
                Ok(())
            })
            .await
        }
    };
    answer_time("quick", 2 * NEAR, SlaStatus::Met).await?;
    let mut slow = notes("acme", "slow", LIMIT)?;
    slow.software.command.extend(["--delay-ms".to_owned(), SLOW.as_millis().to_string()]);
    let slow = order_completed(&acme, &slow).await?;
    ensure!(place(&slow)?.host == "near", "{slow:#?}");
    answer_time("slow", 2 * NEAR + SLOW, SlaStatus::Violated).await?;
    Ok(())
}

fn ask_for(request: &mut OrderRequest, p95: Micros) -> Result<()> {
    request.sla.interactivity.as_mut().context("the order has a limit")?.p95.0 = p95;
    Ok(())
}

/// Waits until the measured ways are about what the network makes them: what was measured while the agents started on
/// a busy machine is too long.
async fn measured_ways(fleet: &Fleet) -> Result<()> {
    let ways = eventually_ok("the ways to be measured", PATIENCE, || async {
        for (host, least, most) in [("near", 2 * NEAR, Duration::from_millis(60)), ("far", 2 * FAR, Duration::MAX)] {
            let way = fleet.client.host(host).await?.rtt_micros.context("not measured")?;
            ensure!((least..most).contains(&way.to_std()), "the way to {host} is {way}");
        }
        Ok::<_, anyhow::Error>(())
    });
    Ok(ways.await?)
}
