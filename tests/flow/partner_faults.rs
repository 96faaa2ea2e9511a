//! Partners that fail: killed in the middle of a move, away for a while, cut off by a new CA. There is never a second
//! copy, no acknowledged write is lost, and afterwards both ledgers say the same.

use std::time::Duration;

use anyhow::{Result, ensure};
use chandler_api::movement::{MovePhase, MoveTo};
use chandler_api::partner::PartnerTrust;
use chandler_harness::wait::{eventually, eventually_ok};
use chandler_tests::fleet::PATIENCE;
use chandler_tests::load::{Demand, Load, check_notes};
use chandler_tests::partners::sees;
use chandler_tests::{http, process};

use crate::partner_ground::{BOUND, Copies, Ground, PHASES};

/// Of the phases, one in so many is tried unless all are asked for.
const SHARE: usize = 3;
const WRITES: Demand = Demand { clients: 2, pace: Duration::from_millis(20), writes: true };

/// Hazard 56: to the partner and back, and its controller is killed at each phase: one copy, every write, one sum.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partner_killed_at_any_phase_of_a_move_leaves_one_owner_and_every_write() -> Result<()> {
    let all = std::env::var("CHANDLER_CHAOS").is_ok_and(|v| v == "all");
    let mut ground = Ground::new().await?;
    let policy = "[policy]\nowners = [\"provider\", \"partner\"]\nmove = { hold = \"10 s\", keep = \"1 s\" }";
    let door = ground.order(true, policy).await?;
    let copies = Copies::count(&ground, "--delay-ms");
    let load = Load::start(door, "ledger", WRITES);
    for phase in PHASES.into_iter().step_by(if all { 1 } else { SHARE }) {
        let from = ground.owner().await?;
        let to = if from == "near" { "beta.far" } else { "near" };
        let ordered = eventually_ok("the move to be accepted", PATIENCE, || {
            ground.alpha.order_move("ledger", MoveTo::Host(to.to_owned()))
        });
        let id = ordered.await?.id.to_string();
        let now = ground.reached(&id, phase).await?;
        eprintln!("the partner's controller killed at {now:?} (wanted {phase:?}), {from} to {to}");
        ground.beta.kill_controller()?;
        ground.beta.restart_controller().await?;
        let what = format!("the move to end that was struck at {phase:?}");
        let ended = eventually(&what, BOUND, || async {
            ground.alpha.client.move_by_id(&id).await.ok().filter(|m| m.phase.is_final())
        });
        let ended = match ended.await {
            Ok(ended) => ended,
            Err(error) => {
                let service = ground.alpha.client.service("ledger").await;
                return Err(anyhow::Error::from(error).context(format!("{service:#?}")));
            }
        };
        let expected = if ended.phase == MovePhase::Done { &ended.to.host } else { &ended.from.host };
        let owner = ground.owner().await?;
        ensure!(owner == *expected, "{owner} owns it after {ended:#?}");
        http::body_of(&format!("http://{door}/"), PATIENCE).await?;
        eprintln!("    {:?}: {}", ended.phase, ended.reason);
    }
    let record = load.stop().await?;
    check_notes(door, &record.written).await?;
    ensure!(record.written.len() > 50, "only {} writes went through", record.written.len());
    let counted = copies.stop()?;
    eprintln!("{} written, {} failed, counted {counted} times", record.written.len(), record.failed.len());
    Ok(())
}

/// A partner's controller that is away for less than the grace stops nothing and moves nothing: its machine serves on.
/// What it metered is receipted when it is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partners_controller_that_is_away_for_a_while_stops_nothing() -> Result<()> {
    let mut ground = Ground::new().await?;
    let door = ground.order(false, "[policy]\nowners = [\"partner\"]").await?;
    let before = process::notes_under(ground.beta.dir())?;
    let load = Load::start(door, "ledger", Demand { clients: 2, pace: Duration::from_millis(20), writes: false });
    ground.beta.kill_controller()?;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    ground.beta.restart_controller().await?;
    ground.agree().await?;
    let record = load.stop().await?;
    ensure!(record.failed.is_empty(), "{} of {}: {:?}", record.failed.len(), record.answered.len(), record.failed);
    let after = process::notes_under(ground.beta.dir())?;
    ensure!(before == after && after.len() == 1, "it is the same process: {before:?}, {after:?}");
    ensure!(ground.alpha.client.service("ledger").await?.replacements.is_empty());
    Ok(())
}

/// Hazard 57: a partner with a new CA is cut off until an operator pins it; what runs there runs on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partner_with_a_new_ca_is_cut_off_until_it_is_trusted_and_its_machine_runs_on() -> Result<()> {
    let ground = Ground::new().await?;
    let door = ground.order(false, "[policy]\nowners = [\"partner\"]").await?;
    ground.agree().await?;
    let rotated = ground.beta.client.federation_rotate().await?;
    let url = format!("http://{door}/");
    for _ in 0..20 {
        ensure!(http::get(&url).await?.status == 200, "what runs there runs on");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    ground.alpha.client.partner_trust("beta", &PartnerTrust { bundle: rotated.bundle, add: false }).await?;
    sees(&ground.alpha, "beta.far").await?;
    let before = ground.agree().await?;
    let more = eventually_ok("new receipts", PATIENCE, || async {
        let now = ground.agree().await?;
        ensure!(now > before, "nothing was receipted since");
        anyhow::Ok(())
    });
    Ok(more.await?)
}
