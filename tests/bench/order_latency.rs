//! An order submitted until its first healthy answer: through the API, the store, the engine, QUIC, the agent, a new
//! process, and an HTTP answer from it. The artifact is on the host already.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use chandler_api::order::OrderState;
use chandler_api::site::SiteRole;
use chandler_tests::fleet::{AgentOptions, ControllerOptions, Fleet, PATIENCE};
use chandler_tests::orders;
use serde_json::json;

use super::Figures;

const ORDERS: usize = 200;
/// The client looks this often whether there is an address to ask: it is part of what is measured.
const LOOK: Duration = Duration::from_millis(1);

pub(super) async fn run() -> anyhow::Result<Figures> {
    let options = ControllerOptions {
        grace: "12 s",
        heartbeat: "4 s",
        telemetry_interval: "10 s",
        ..ControllerOptions::default()
    };
    let mut fleet = Fleet::with(options).await?;
    fleet.party("acme", chandler_api::party::PartyRole::Customer).await?;
    fleet.site("rack", "provider", SiteRole::Provider, "DE", (20_000, 3_000)).await?;
    fleet.agent("rack", "rack-1", AgentOptions::default()).await?;
    fleet.publish_notes().await?;
    one(&fleet, "warm").await?;
    let mut took = Vec::with_capacity(ORDERS);
    for n in 0..ORDERS {
        took.push(one(&fleet, &format!("n{n}")).await?);
        if (n + 1) % 50 == 0 {
            eprintln!("{} of {ORDERS} orders", n + 1);
        }
    }
    took.sort_unstable();
    let at = |share: usize| took[(took.len() * share / 100).min(took.len() - 1)].as_secs_f64() * 1e3;
    let round = |ms: f64| json!((ms * 10.0).round() / 10.0);
    Ok(vec![
        ("orders", json!(ORDERS)),
        ("p50_ms", round(at(50))),
        ("p90_ms", round(at(90))),
        ("p99_ms", round(at(99))),
        ("max_ms", round(at(100))),
    ])
}

/// One order, measured and deleted again.
async fn one(fleet: &Fleet, name: &str) -> anyhow::Result<Duration> {
    let request = orders::notes("acme", name, "")?;
    let begin = Instant::now();
    let order = fleet.client.order_submit(&request).await?;
    let url = loop {
        if begin.elapsed() > PATIENCE {
            bail!("order {name} has no address after {PATIENCE:?}");
        }
        if let Ok(service) = fleet.client.service(name).await
            && let Ok(url) = Fleet::url(&service)
        {
            break url;
        }
        tokio::time::sleep(LOOK).await;
    };
    let http = reqwest::Client::new();
    loop {
        if http.get(format!("{url}/healthz")).send().await.is_ok_and(|r| r.status().is_success()) {
            break;
        }
        if begin.elapsed() > PATIENCE {
            bail!("order {name} does not answer after {PATIENCE:?}");
        }
        tokio::time::sleep(LOOK).await;
    }
    let took = begin.elapsed();
    let settled = fleet.settled(&order.id.to_string()).await?;
    if settled.state != OrderState::Completed {
        bail!("order {name} was not completed: {}", settled.reason);
    }
    let delete = fleet.client.service_delete(name).await?;
    fleet.settled(&delete.id.to_string()).await.context("deleting")?;
    Ok(took)
}
