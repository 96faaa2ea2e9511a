//! Most machines fall silent at once: the fault is more likely ours, so that nothing is concluded from it (P2), but for an
//! alarm.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use chandler_api::client::Client;
use chandler_api::event::{Event, EventQuery};
use chandler_api::host::HostState;
use chandler_api::movement::MoveQuery;
use chandler_api::page::PageQuery;
use chandler_harness::wait::eventually;
use chandler_tests::fleet::{AgentOptions, Fleet, PATIENCE};
use chandler_tests::{orders, process};

use crate::ground::{birth, cellar, notes};

/// `ControllerOptions::grace`.
const GRACE: Duration = Duration::from_secs(3);
const COMPUTERS: usize = 5;
const SILENT: usize = 3;

/// What the controller says of itself, newest last.
async fn alarms(client: &Client) -> Result<Vec<Event>> {
    let (mut all, mut after) = (Vec::new(), 0);
    loop {
        let page = client.events(&EventQuery { after, limit: Some(500), subject: None }).await?.items;
        let Some(last) = page.last() else { return Ok(all) };
        after = last.id;
        all.extend(page.into_iter().filter(|e| e.noun == "controller" && e.name == "assurance"));
    }
}

async fn alarm(fleet: &Fleet, to: &str) -> Result<Event> {
    let what = format!("the alarm to say {to}");
    let found =
        eventually(&what, PATIENCE, || async { alarms(&fleet.client).await.ok()?.pop().filter(|e| e.to == to) });
    Ok(found.await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn p2_when_three_of_five_fall_silent_nobody_is_lost_nothing_moves_and_an_alarm_says_so() -> Result<()> {
    let mut fleet = Fleet::start().await?;
    let acme = cellar(&mut fleet, COMPUTERS, &AgentOptions::default()).await?;
    // One silent machine alone would be reason enough to begin it elsewhere.
    let order = orders::notes("acme", "notes", "[policy]\nonLoss = \"startEmpty\"")?;
    let (service, before) = notes(&fleet, &order).await?;
    let (home, born) = (service.placements.first().context("it has a place")?.host.clone(), birth(before)?);
    // The host that it is on, and two others.
    let mut names: Vec<_> = (1..=COMPUTERS).map(|n| format!("cellar-{n}")).collect();
    names.sort_by_key(|name| *name != home);
    for name in names.iter().take(SILENT) {
        fleet.agent_named(name)?.daemon.freeze()?;
    }
    let told = alarm(&fleet, "frozen").await?;
    ensure!(told.reason.contains("3 of 5") && told.reason.contains("frozen"), "{}", told.reason);
    let first = fleet.client.status().await?.attention.into_iter().next().unwrap_or_default();
    ensure!(first.starts_with("3 of 5 hosts are silent at once"), "{first}");
    let from = Instant::now();
    while from.elapsed() < 3 * GRACE {
        let hosts = fleet.client.hosts(PageQuery::default()).await?.items;
        let lost: Vec<_> = hosts.iter().filter(|h| h.state == HostState::Lost).map(|h| &h.name).collect();
        ensure!(lost.is_empty(), "{lost:?} are lost after {:?}", from.elapsed());
        let now = fleet.client.service("notes").await?;
        ensure!(now.placements.len() == 1 && now.placements[0].host == home, "{now:#?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    ensure!(fleet.client.moves(&MoveQuery::default()).await?.items.is_empty(), "something moved");

    for name in names.iter().take(SILENT) {
        fleet.agent_named(name)?.daemon.thaw()?;
    }
    for name in &names {
        fleet.host_in_state(name, HostState::Active).await?;
    }
    alarm(&fleet, "calm").await?;
    let attention = fleet.client.status().await?.attention;
    ensure!(!attention.iter().any(|line| line.contains("at once")), "{attention:?}");
    let again = fleet.running_where("notes", |s| s.placements.len() == 1).await?;
    ensure!(again.placements[0].host == home && again.replacements.is_empty(), "{again:#?}");
    ensure!(process::of_notes(&Fleet::url(&again)?).await? == before && birth(before)? == born, "it was disturbed");
    // Decisions go on: what is ordered runs, and a machine that falls silent alone is lost.
    chandler_tests::fleet::order_completed(&acme, &orders::notes("acme", "more", "")?).await?;
    fleet.agent_named(&home)?.kill_machine()?;
    fleet.host_in_state(&home, HostState::Lost).await?;
    fleet.running_where("notes", |s| s.placements.iter().any(|p| p.host != home)).await?;
    Ok(())
}
