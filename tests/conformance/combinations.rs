//! A16: every attribute alone, and every combination.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use chandler_api::client::Client;
use chandler_api::service::Service;
use chandler_api::sla::SlaStatus;
use chandler_api::value::MonthlyCost;
use chandler_harness::wait::eventually_ok;
use chandler_protocol::{Micros, Ppm};
use chandler_tests::fleet::{AgentOptions, Fleet, PATIENCE, order_completed};
use chandler_tests::orders::notes;

use crate::seen::{just_below, place, sla_is};

const FAR: Duration = Duration::from_millis(75);
/// What is asked for where it is asked for: answers that the far hosts cannot give, and an availability that only two
/// hosts have.
const QUICK: Micros = Micros::from_millis(100);
const OFTEN: Ppm = Ppm(995_000);
/// Hosts: a site's rate for a core-hour, the delay of its network, and its availability in millionths. Each is the
/// cheapest for some combination.
const HOSTS: [(&str, i64, Duration, i64); 4] = [
    ("plain", 10_000, FAR, 900_000),
    ("often", 20_000, FAR, 999_000),
    ("quick", 30_000, Duration::ZERO, 900_000),
    ("best", 40_000, Duration::ZERO, 999_000),
];
/// Which attributes are named (cost with what it may cost at most, interactivity, availability), and the cheapest host
/// that satisfies them.
const COMBINATIONS: [(Option<&str>, bool, bool, &str); 7] = [
    (Some("6 EUR/month"), false, false, "plain"),
    (None, true, false, "quick"),
    (None, false, true, "often"),
    (Some("15 EUR/month"), true, false, "quick"),
    (Some("11 EUR/month"), false, true, "often"),
    (None, true, true, "best"),
    (Some("20 EUR/month"), true, true, "best"),
];

/// Each of the seven combinations of cost, interactivity and availability is placed on the cheapest host that satisfies
/// what it names, and is not held to what it does not name.
#[tokio::test(flavor = "multi_thread")]
async fn a16_any_attribute_alone_and_any_combination() -> Result<()> {
    let mut fleet = Fleet::start().await?;
    let acme = fleet.customer("acme").await?;
    fleet.publish_notes().await?;
    for (host, rate, delay, up) in HOSTS {
        fleet.provider_site(host, (rate, 0)).await?;
        fleet.agent(host, host, AgentOptions { delay, ..AgentOptions::default() }).await?;
        fleet.history(host, up).await?;
    }
    for (host, _, delay, _) in HOSTS {
        let way = eventually_ok("the ways to be measured", PATIENCE, || async {
            let way = fleet.client.host(host).await?.rtt_micros.context("not measured")?;
            ensure!(delay == FAR || way < Micros::from_millis(60), "the way to {host} is {way}");
            Ok::<_, anyhow::Error>(())
        });
        way.await?;
    }
    for (number, (cost, quick, often, host)) in COMBINATIONS.into_iter().enumerate() {
        let named = named(cost, quick, often);
        let mut request = notes("acme", &format!("combination-{number}"), &format!("[sla]\n{}", named.join("\n")))?;
        let service = order_completed(&acme, &request).await.with_context(|| format!("{named:?}"))?;
        ensure!(place(&service)?.host == host, "{named:?} is on {:?}", service.placements);
        satisfies_exactly(&acme, &service, cost, quick, often).await.with_context(|| format!("{named:?}"))?;
        if let Some(term) = &mut request.sla.cost {
            // What is named is held to: with a millionth less, there is no place.
            let promised = service.predicted.context("it was promised")?.monthly_cost;
            let exact = MonthlyCost { amount: promised.amount(), currency: promised.currency };
            term.max = just_below(&exact);
            ensure!(!acme.quote(&request).await?.feasible, "{named:?} can be had for less than {exact}");
        }
    }
    Ok(())
}

fn named(cost: Option<&str>, quick: bool, often: bool) -> Vec<String> {
    let cost = cost.map(|max| format!("cost = {{ max = \"{max}\" }}"));
    let quick = quick.then(|| format!("interactivity = {{ p95 = \"{QUICK}\" }}"));
    let often = often.then(|| format!("availability = {{ min = \"{OFTEN}\" }}"));
    cost.into_iter().chain(quick).chain(often).collect()
}

/// What was promised meets what is named and, where that costs more, not what is not named; and what is named, and
/// nothing else, is measured and holds.
async fn satisfies_exactly(
    acme: &Client,
    service: &Service,
    cost: Option<&str>,
    quick: bool,
    often: bool,
) -> Result<()> {
    let promised = service.predicted.clone().context("it was promised")?;
    if let Some(max) = cost {
        ensure!(promised.monthly_cost.amount() <= max.parse::<MonthlyCost>()?.amount, "{promised:?}");
    }
    let p95 = promised.p95_micros.context("every way is measured")?;
    ensure!((p95 <= QUICK) == quick, "{promised:?}");
    ensure!((promised.availability_ppm >= OFTEN) == often, "{promised:?}");
    let sla = sla_is(acme, &service.name, SlaStatus::Met).await?;
    let measured: Vec<_> = sla.objectives.iter().map(|o| o.name.as_str()).collect();
    let all = [("cost", cost.is_some()), ("interactivity", quick), ("availability", often)];
    let expected: Vec<_> = all.into_iter().filter(|(_, is_named)| *is_named).map(|(name, _)| name).collect();
    ensure!(measured == expected, "{sla:#?}");
    Ok(())
}
