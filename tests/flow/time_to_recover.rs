//! How long what fails is away: a machine that dies, from the moment at which that may be concluded; and a process.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use chandler_api::host::HostState;
use chandler_api::site::SiteRole;
use chandler_harness::wait::{eventually, eventually_ok};
use chandler_tests::fleet::{AgentOptions, Fleet, PATIENCE};
use chandler_tests::load::{Demand, Load};
use chandler_tests::{http, orders, process};

use crate::ground::{cellar, notes};

/// What is promised, on a machine that has nothing else to do.
const ELSEWHERE: Duration = Duration::from_millis(1_500);
const IN_PLACE: Duration = Duration::from_secs(1);
/// These tests share a machine with others.
const SLACK: Duration = Duration::from_secs(5);
/// `ControllerOptions::grace`.
const GRACE: Duration = Duration::from_secs(3);

/// kill -9 of the agent and of all its software. Nothing may be concluded before the grace is over that begins with the
/// last sign of life; soon after, the service answers from another machine.
#[tokio::test(flavor = "multi_thread")]
async fn a_dead_machines_service_runs_elsewhere_soon_after_that_may_be_concluded() -> Result<()> {
    let mut fleet = Fleet::start().await?;
    cellar(&mut fleet, 3, &AgentOptions::default()).await?;
    fleet.site("office", "acme", SiteRole::Customer, "DE", (0, 0)).await?;
    fleet.agent("office", "laptop", AgentOptions::default()).await?;
    // What was written there is given up: else the service would wait for the machine that has it.
    let order = orders::notes("acme", "notes", "[policy]\nowners = [\"provider\"]\nonLoss = \"startEmpty\"")?;
    let (service, before) = notes(&fleet, &order).await?;
    let first = service.placements.first().context("it has a place")?.host.clone();
    let door = fleet.door("notes", "laptop").await?;
    let load = Load::start(door, "away", Demand { clients: 2, pace: Duration::from_millis(50), writes: false });
    load.answers(20).await?;
    fleet.agent_named(&first)?.kill_machine()?;
    let killed = Instant::now();
    ensure!(!before.is_alive(), "the machine is off");
    let moved = eventually("it to answer elsewhere", PATIENCE, || async {
        let service = fleet.client.service("notes").await.ok()?;
        let there = service.placements.iter().find(|p| p.host != first && p.state == "allocated")?;
        let url = format!("http://127.0.0.1:{}", there.ports.first()?.port);
        http::get(&url).await.ok().filter(|a| a.status == 200).map(|_| Instant::now())
    });
    let away = moved.await?.duration_since(killed);
    let lost = fleet.host_in_state(&first, HostState::Lost).await?;
    // The change of place is on record once its move is done, which is after the first answer.
    let is_told =
        |s: &chandler_api::service::Service| s.placements.iter().any(|p| p.host != first) && !s.replacements.is_empty();
    let running = fleet.running_where("notes", is_told).await?;
    let replaced = running.replacements.last().context("the change of place is kept")?;
    ensure!(replaced.trigger == "hostFailed" && replaced.from == first, "{replaced:?}");
    // So is how long its users waited: those who came while the machine was gone and no other one had it yet.
    let record = fleet.moved_because("notes", "hostFailed").await?;
    let felt = record.realised.context("it has ended")?;
    eprintln!("its users: {} waited, {} failed, the longest for {}", felt.held, felt.failed, felt.longest_stall_micros);
    let load = load.stop().await?;
    ensure!(felt.held > 0 && felt.longest_stall_micros.0 >= 1_000_000, "{felt:?}");
    // The door lets nobody wait for longer than agreed; who came early did so in vain, and was told.
    ensure!(felt.failed > 0 && felt.longest_stall_micros.0 <= 4_000_000, "{felt:?}");
    ensure!(felt.failed <= load.failed.len() as u64, "{} failed for users: {felt:?}", load.failed.len());
    // The last sign of life was at most a heartbeat before the kill.
    let heartbeat = Duration::from_millis(500);
    let late = (away + heartbeat).saturating_sub(GRACE);
    eprintln!(
        "answers elsewhere {away:?} after kill -9: at most {late:?} after the end of the grace ({ELSEWHERE:?} are \
         promised); {}",
        lost.note
    );
    ensure!(away + heartbeat >= GRACE, "it was concluded too early, after {away:?}");
    ensure!(late <= ELSEWHERE + SLACK, "it was away for {away:?}, {late:?} after the end of the grace");
    Ok(())
}

/// kill -9 of the software alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_runs_again_in_its_place_within_a_second() -> Result<()> {
    let mut fleet = Fleet::start().await?;
    cellar(&mut fleet, 1, &AgentOptions::default()).await?;
    let (service, before) = notes(&fleet, &orders::notes("acme", "notes", "")?).await?;
    let url = Fleet::url(&service)?;
    before.kill()?;
    let killed = Instant::now();
    let again = eventually_ok("it to answer again", PATIENCE, || process::of_notes(&url));
    ensure!(again.await? != before, "it is the same process");
    let away = killed.elapsed();
    eprintln!("answers again in its place {away:?} after kill -9 ({IN_PLACE:?} are promised)");
    ensure!(away <= IN_PLACE + SLACK, "it was away for {away:?}");
    Ok(())
}
