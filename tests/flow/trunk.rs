//! A partner's machine that nobody reaches straight, as a PC behind its owner's router: its users and its state go over
//! both controllers' relays.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use chandler_api::host::PathKind;
use chandler_api::partner::{PartnerTrunk, PartnerTurn};
use chandler_api::site::SiteRole;
use chandler_harness::wait::eventually_ok;
use chandler_tests::fleet::{AgentOptions, ControllerOptions, Fleet, PATIENCE};
use chandler_tests::load::{Demand, Load, check_notes};
use chandler_tests::partners::{agree, may_buy, offer, sees};
use chandler_tests::{http, orders};

const WRITES: Demand = Demand { clients: 2, pace: Duration::from_millis(20), writes: true };

/// Bytes of each of eight files beside the notes.
const BALLAST: &str = "1048576";

/// A seller with one server that accepts tunnels on IPv6 loopback alone. Everybody else has a socket for IPv4 only, so that
/// no packet goes straight, either way.
async fn seller(host: &str) -> Result<Fleet> {
    let options = ControllerOptions { federation: true, ..ControllerOptions::default() };
    let mut fleet = Fleet::with(options).await?;
    fleet.provider_site("rack", (600_000, 0)).await?;
    let apart = AgentOptions { args: vec!["--tunnel".to_owned(), "[::1]:0".to_owned()], ..AgentOptions::default() };
    fleet.agent("rack", host, apart).await?;
    offer(&fleet, "rack", (600_000, 0)).await?;
    Ok(fleet)
}

/// A buyer that does not listen for partners, with a customer's laptop and a server of its own.
async fn buyer() -> Result<Fleet> {
    let mut fleet = Fleet::start().await?;
    fleet.customer("acme").await?;
    fleet.publish_notes().await?;
    fleet.site("office", "acme", SiteRole::Customer, "DE", (0, 0)).await?;
    fleet.agent("office", "laptop", AgentOptions { milli_cpu: 100, ..AgentOptions::default() }).await?;
    fleet.provider_site("hall", (600_000, 0)).await?;
    fleet.agent("hall", "near", AgentOptions::default()).await?;
    Ok(fleet)
}

/// How one host reaches another, once it is `path`.
async fn reaches(fleet: &Fleet, from: &str, to: &str, path: PathKind) -> Result<()> {
    let reached = eventually_ok("the path to be shown", PATIENCE, || async {
        let paths = fleet.client.host(from).await?.paths;
        ensure!(paths.iter().any(|p| p.to == to && p.path == path), "{paths:?}");
        anyhow::Ok(())
    });
    Ok(reached.await?)
}

/// The trunk to a partner, once it is as wanted.
async fn trunk(fleet: &Fleet, partner: &str, is_up: bool) -> Result<PartnerTrunk> {
    let stands = eventually_ok("the trunk", PATIENCE, || async {
        let trunk = fleet.client.partner(partner).await?.trunk.context("there was no trunk yet")?;
        ensure!(trunk.up == is_up, "{trunk:?}");
        anyhow::Ok(trunk)
    });
    Ok(stands.await?)
}

/// Exclusive state goes to a partner's machine and back while users write: no request fails, no write is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_behind_a_router_serves_a_partners_customers_and_state_goes_there_and_back() -> Result<()> {
    let (alpha, beta) = (buyer().await?, seller("far").await?);
    may_buy((&alpha, "alpha"), (&beta, "beta")).await?;
    sees(&alpha, "beta.far").await?;
    let policy = "[policy]\nowners = [\"provider\", \"partner\"]\nmove = { hold = \"10 s\", keep = \"1 s\" }";
    let mut order = orders::notes("acme", "ledger", policy)?;
    order.software.state.as_mut().context("the notes have a state")?.exclusive = true;
    order.software.command.extend(["--ballast", "8", BALLAST, "1"].map(str::to_owned));
    alpha.order_completed(&order).await?;
    let door = alpha.door("ledger", "laptop").await?;
    http::body_of(&format!("http://{door}/"), PATIENCE).await?;

    let load = Load::start(door, "ledger", WRITES);
    let first = alpha.client.service("ledger").await?.placements.first().context("it is somewhere")?.host.clone();
    let stops = if first == "near" { ["beta.far", "near", "beta.far"] } else { ["near", "beta.far", "near"] };
    for stop in stops {
        let moved = alpha.move_to("ledger", stop).await?;
        let bytes = moved.realised.map(|r| r.state_bytes);
        eprintln!(
            "to {stop} with {bytes:?} bytes of state in {:?}",
            moved.ended_at.map(|t| t.0.since(moved.started_at.0))
        );
        let path = if stop == "near" { PathKind::Direct } else { PathKind::Relayed };
        reaches(&alpha, "laptop", stop, path).await?;
    }
    let record = load.stop().await?;
    ensure!(record.failed.is_empty(), "{} of {}: {:?}", record.failed.len(), record.answered.len(), record.failed);
    check_notes(door, &record.written).await?;
    let (here, there) = (trunk(&alpha, "beta", true).await?, trunk(&beta, "alpha", true).await?);
    ensure!(here.fits && here.sent > 10 && there.received > 10 && there.refused == 0, "{here:?} {there:?}");
    eprintln!("{} answered, {} written, {here:?}", record.answered.len(), record.written.len());
    agree((&alpha, "alpha"), (&beta, "beta")).await?;
    Ok(())
}

/// The partner's controller is killed: its machine runs on, and users reach it again when it is back. Cut off, nothing of
/// the partner's passes any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_relay_of_a_partner_comes_back_after_a_crash_and_is_closed_to_one_that_is_cut_off() -> Result<()> {
    let (alpha, mut beta) = (buyer().await?, seller("far").await?);
    may_buy((&alpha, "alpha"), (&beta, "beta")).await?;
    sees(&alpha, "beta.far").await?;
    let order = orders::notes("acme", "page", "[policy]\nowners = [\"partner\"]")?;
    alpha.order_completed(&order).await?;
    let url = format!("http://{}/", alpha.door("page", "laptop").await?);
    http::body_of(&url, PATIENCE).await?;
    reaches(&alpha, "laptop", "beta.far", PathKind::Relayed).await?;

    beta.kill_controller()?;
    beta.restart_controller().await?;
    http::body_of(&url, PATIENCE).await?;
    trunk(&beta, "alpha", true).await?;

    beta.client.partner_suspend("alpha", &PartnerTurn { reason: "a dispute".to_owned() }).await?;
    let cut = trunk(&beta, "alpha", false).await?;
    let refused = http::get(&url).await;
    ensure!(!refused.as_ref().is_ok_and(|answer| answer.status == 200), "it still answers: {refused:?}");
    let after = trunk(&beta, "alpha", false).await?;
    ensure!(after.received == cut.received, "packets still pass: {cut:?} {after:?}");
    beta.client.partner_resume("alpha", &PartnerTurn::default()).await?;
    http::body_of(&url, PATIENCE).await?;
    Ok(())
}

/// From one seller's machine to another's, neither of which reaches the other: the buyer's relay stands between theirs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn state_goes_from_one_seller_to_another_over_the_buyers_relay() -> Result<()> {
    let (alpha, beta) = (buyer().await?, seller("far").await?);
    let mut gamma = Fleet::with(ControllerOptions { federation: true, ..ControllerOptions::default() }).await?;
    gamma.provider_site("rack", (700_000, 0)).await?;
    gamma.agent("rack", "pc", AgentOptions::default()).await?;
    offer(&gamma, "rack", (700_000, 0)).await?;
    for (seller, name, host) in [(&beta, "beta", "beta.far"), (&gamma, "gamma", "gamma.pc")] {
        may_buy((&alpha, "alpha"), (seller, name)).await?;
        sees(&alpha, host).await?;
    }
    let policy = "[policy]\nowners = [\"partner\"]\nmove = { hold = \"10 s\", keep = \"1 s\" }";
    let mut order = orders::notes("acme", "ledger", policy)?;
    order.software.state.as_mut().context("the notes have a state")?.exclusive = true;
    alpha.order_completed(&order).await?;
    let door = alpha.door("ledger", "laptop").await?;
    http::body_of(&format!("http://{door}/"), PATIENCE).await?;
    let load = Load::start(door, "ledger", WRITES);
    let first = alpha.client.service("ledger").await?.placements.first().context("it is somewhere")?.host.clone();
    let stops = if first == "beta.far" { ["gamma.pc", "beta.far"] } else { ["beta.far", "gamma.pc"] };
    for stop in stops {
        alpha.move_to("ledger", stop).await?;
    }
    let record = load.stop().await?;
    ensure!(record.failed.is_empty(), "{} of {}: {:?}", record.failed.len(), record.answered.len(), record.failed);
    check_notes(door, &record.written).await?;
    for name in ["beta", "gamma"] {
        let trunk = trunk(&alpha, name, true).await?;
        ensure!(trunk.sent > 0 && trunk.received > 0 && trunk.refused == 0, "{name}: {trunk:?}");
    }
    Ok(())
}
