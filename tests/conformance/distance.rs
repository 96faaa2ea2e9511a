//! B03: a controller that is far away from its agents.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use chandler_api::bill::BillRun;
use chandler_api::order::OrderState;
use chandler_api::site::SiteRole;
use chandler_harness::proxy::{Faults, Way};
use chandler_harness::wait::eventually_ok;
use chandler_protocol::{Micros, Timestamp};
use chandler_tests::fleet::{AgentOptions, Fleet, PATIENCE, order, order_completed};
use chandler_tests::http;
use chandler_tests::orders::{notes, word_count};

use crate::seen::place;

/// A long way on which every twentieth packet is lost, and some arrive twice or late.
const WAY: Faults = Faults {
    delay: Duration::from_millis(20),
    jitter: Duration::from_millis(5),
    loss_ppm: 50_000,
    duplicate_ppm: 10_000,
    reorder_ppm: 20_000,
    corrupt_ppm: 0,
    to_upstream_blocked: false,
    to_client_blocked: false,
};
/// The program that lies to others about the time.
const FAKETIME: &str = "faketime";
const TEN_YEARS_ON: &str = "+10y";

/// Agents that share nothing with the controller: no network but a long and lossy way of its packets, no directory, no
/// clock (one is ten years ahead). Software, inputs and results travel, services answer, and times and usage are right.
#[tokio::test(flavor = "multi_thread")]
async fn b03_the_server_is_far_away_and_shares_nothing() -> Result<()> {
    let mut fleet = Fleet::start().await?;
    let acme = fleet.customer("acme").await?;
    fleet.publish_notes().await?;
    let far = AgentOptions { faults: WAY, ..AgentOptions::default() };
    let starter = [FAKETIME, "-f", TEN_YEARS_ON].map(str::to_owned).to_vec();
    for (site, country, host, starter) in [("hall", "DE", "far", Vec::new()), ("future", "AT", "ahead", starter)] {
        fleet.site(site, "provider", SiteRole::Provider, country, (10_000, 1_000)).await?;
        fleet.agent(site, host, AgentOptions { starter, ..far.clone() }).await?;
    }
    is_ahead(fleet.agents[1].daemon.id())?;

    for (country, host) in [("DE", "far"), ("AT", "ahead")] {
        let terms = format!("[sla]\nresidency = [\"{country}\"]");
        let service = order_completed(&acme, &notes("acme", &format!("on-{host}"), &terms)?).await?;
        ensure!(place(&service)?.host == host, "{service:#?}");
        ensure!(http::body_of(&Fleet::url(&service)?, PATIENCE).await?.starts_with("notes on "));
        recent(&fleet, "the service's state", service.since.0)?;

        let text = "far away\n".repeat(50_000);
        let task = word_count(&acme, &format!("count-{host}"), &[("text", &text)], &terms).await?;
        let task = order(&acme, &task).await?;
        ensure!(task.state == OrderState::Completed, "{task:#?}");
        let item = task.service.context("it has an item")?.to_string();
        let output = acme.service_output(&item, "text.json").await?.bytes(1 << 20).await?;
        let expected = "{\"lines\":50000,\"words\":100000,\"bytes\":450000}\n";
        ensure!(output == expected.as_bytes(), "{}", String::from_utf8_lossy(&output));

        let seen = fleet.client.host(host).await?;
        ensure!(seen.rtt_micros.is_some_and(|way| way >= Micros::from_millis(40)), "{seen:#?}");
        recent(&fleet, "the last sign of life", seen.seen_at.context("it was seen")?.0)?;
    }
    usage_is_right(&fleet).await?;

    let data = fleet.data_dir();
    for agent in &fleet.agents {
        ensure!(!agent.dir.starts_with(&data) && !data.starts_with(&agent.dir), "a directory is shared");
        for way in [Way::ToUpstream, Way::ToClient] {
            let packets = agent.proxy.counters(way);
            ensure!(packets.delivered > 100 && packets.lost > 0, "{} sent {packets:?}", agent.name);
        }
    }
    Ok(())
}

/// The program that was started lies to its child, the agent, about the time.
fn is_ahead(starter: u32) -> Result<()> {
    let children = std::fs::read_to_string(format!("/proc/{starter}/task/{starter}/children"))?;
    let agent = children.split_whitespace().next().context("nothing was started")?;
    let (command, maps) = (format!("/proc/{agent}/comm"), format!("/proc/{agent}/maps"));
    let (command, maps) = (std::fs::read_to_string(command)?, std::fs::read_to_string(maps)?);
    ensure!(command.starts_with("chandler-agent") && maps.contains("libfaketime"), "{command} has the right time");
    Ok(())
}

/// A moment that was not long ago.
fn recent(fleet: &Fleet, what: &str, at: Timestamp) -> Result<()> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let ago = i64::try_from(now.as_micros())? - at.0;
    ensure!((-1_000_000..120_000_000).contains(&ago), "{what} is {ago} us ago\n{}", fleet.controller.tail());
    Ok(())
}

/// Both services are billed for seconds, in this month.
async fn usage_is_right(fleet: &Fleet) -> Result<()> {
    let run = BillRun { customer: Some("acme".to_owned()), month: None };
    let billed = eventually_ok("usage of both hosts", PATIENCE, || async {
        let bill = fleet.client.bill_run(&run).await?.items.pop().context("no bill")?;
        for service in ["on-far", "on-ahead"] {
            let running = bill.lines.iter().find(|l| l.service == service).map_or(0, |l| l.running_micros);
            ensure!((500_000..120_000_000).contains(&running), "{service} is billed for {running} us");
        }
        Ok::<_, anyhow::Error>(())
    });
    Ok(billed.await?)
}
