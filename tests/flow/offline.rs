//! Time without a controller: nothing stops, and nothing of it is lost or counted twice.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use chandler_api::host::HostState;
use chandler_harness::wait::eventually_ok;
use chandler_tests::fleet::{AgentOptions, Fleet, PATIENCE};
use chandler_tests::{http, orders, process};

use crate::ground::{balanced, billed, birth, cellar, delete, gone, notes};

/// How long the controller is away: longer than the grace for silent hosts.
const AWAY: Duration = Duration::from_secs(10);
/// Between two questions to the software meanwhile.
const PAUSE: Duration = Duration::from_millis(50);
/// How far the bill may be from the clock on the wall: what passes between a moment and seeing it.
const TOLERANCE: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread")]
async fn without_a_controller_nothing_stops_and_nothing_is_lost() -> Result<()> {
    let mut fleet = Fleet::start().await?;
    let acme = cellar(&mut fleet, 2, &AgentOptions::default()).await?;
    let (service, process) = notes(&fleet, &orders::notes("acme", "notes", "")?).await?;
    let (began, url, birth_before) = (Instant::now(), Fleet::url(&service)?, birth(process)?);
    let before = eventually_ok("some use to be billed", PATIENCE, || async {
        let so_far = billed(&fleet, "acme", "notes").await?;
        ensure!(so_far > Duration::from_secs(1), "{so_far:?}");
        anyhow::Ok(so_far)
    });
    let before = before.await?;

    fleet.kill_controller()?;
    let killed = Instant::now();
    while killed.elapsed() < AWAY {
        ensure!(http::get(&format!("{url}/healthz")).await?.status == 200, "after {:?}", killed.elapsed());
        tokio::time::sleep(PAUSE).await;
    }
    fleet.restart_controller().await?;
    for host in ["cellar-1", "cellar-2"] {
        fleet.host_in_state(host, HostState::Active).await?;
    }
    let seen = fleet.running_where("notes", |s| s.placements.len() == 1).await?;
    ensure!(seen.placements[0].starts == 1 && seen.replacements.is_empty(), "{seen:#?}");
    ensure!(process::of_notes(&url).await? == process && birth(process)? == birth_before);

    // What ran while nobody asked is billed once it can be told.
    let caught_up = eventually_ok("the time offline to be billed", PATIENCE, || async {
        let so_far = billed(&fleet, "acme", "notes").await?;
        ensure!(so_far >= before + AWAY, "{so_far:?} of {:?}", began.elapsed());
        anyhow::Ok(())
    });
    caught_up.await?;
    delete(&acme, "notes").await?;
    gone(process).await?;
    let ran = began.elapsed();
    let close = eventually_ok("the bill to be what the clock says", PATIENCE, || async {
        let billed = billed(&fleet, "acme", "notes").await?;
        ensure!(billed.abs_diff(ran) <= TOLERANCE, "it ran for {ran:?} and {billed:?} are billed");
        anyhow::Ok(())
    });
    close.await?;
    balanced(&fleet).await
}
