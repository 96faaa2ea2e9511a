//! A seller whose answers come out of order: held back until later ones have come, or for longer than anybody waits, and an
//! older one after a newer one.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use chandler_api::movement::{MovePhase, MoveTo};
use chandler_harness::wait::{eventually, eventually_ok};
use chandler_tests::fleet::PATIENCE;
use chandler_tests::load::{Demand, Load, check_notes};
use chandler_tests::{http, orders};

use crate::liar::{Disorder, Liar, Tongue};
use crate::partner_ground::{BOUND, Copies, Ground};

/// An argument of services beside the one whose copies are counted.
const OTHER: &str = "--delay-ms";
const WRITES: Demand = Demand { clients: 2, pace: Duration::from_millis(20), writes: true };

/// Moves it; what takes too long is rolled back. Says whether it is there.
async fn tried(ground: &Ground, to: &str) -> Result<bool> {
    let ordered = eventually_ok("the move to be accepted", PATIENCE, || {
        ground.alpha.order_move("ledger", MoveTo::Host(to.to_owned()))
    });
    let id = ordered.await?.id.to_string();
    let ended = eventually("the move to end", BOUND, || async {
        ground.alpha.client.move_by_id(&id).await.ok().filter(|m| m.phase.is_final())
    });
    let ended = ended.await?;
    let (expected, owner) =
        (if ended.phase == MovePhase::Done { &ended.to.host } else { &ended.from.host }, ground.owner().await?);
    ensure!(owner == *expected, "{owner} owns it after {ended:#?}");
    Ok(ended.phase == MovePhase::Done)
}

/// Bought, moved there and back, and a second service that comes and goes: one copy at all times, every write; and once
/// answers are in order again, the same leases and the same sum on both sides.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_out_of_order_change_nothing() -> Result<()> {
    let disorder = Arc::new(Disorder::new());
    let tongue = disorder.clone();
    let (ground, _liar): (Ground, Liar) = Liar::ground("20 s", |_| Ok(tongue as Arc<dyn Tongue>)).await?;
    let policy = "[policy]\nowners = [\"provider\", \"partner\"]\nmove = { hold = \"10 s\", keep = \"1 s\" }";
    let door = ground.order(true, policy).await?;
    let copies = Copies::count(&ground, OTHER);
    let load = Load::start(door, "ledger", WRITES);
    let mut moved = 0;
    for _ in 0..4 {
        let to = if ground.owner().await? == "near" { "beta.far" } else { "near" };
        moved += u32::from(tried(&ground, to).await?);
    }
    ensure!(moved >= 2, "only {moved} of 4 moves went through");
    for name in ["one", "two"] {
        let mut order = orders::notes("acme", name, "[policy]\nowners = [\"partner\"]")?;
        order.software.command.extend([OTHER.to_owned(), "1".to_owned()]);
        ground.alpha.order_completed(&order).await?;
        ground.alpha.client.service_delete(name).await?;
    }
    let record = load.stop().await?;
    ensure!(record.written.len() > 50, "only {} writes went through", record.written.len());
    let counted = copies.stop()?;
    let (overtaken, again) = disorder.counts();
    ensure!(overtaken >= 5 && again >= 5, "{overtaken} overtaken, {again} after newer ones: nothing was tried");
    disorder.calm();
    if ground.owner().await? == "near" {
        ground.moves("ledger", "beta.far").await?;
    }
    http::body_of(&format!("http://{door}/"), PATIENCE).await?;
    check_notes(door, &record.written).await?;
    ground.one_lease_each(1).await?;
    ground.agree().await?;
    ground.alpha.client.service_delete("ledger").await?;
    ground.one_lease_each(0).await?;
    ground.agree().await?;
    let failed = record.failed.first();
    eprintln!(
        "{} written, {} failed ({failed:?}), {overtaken} overtaken, {again} after newer ones, counted {counted} times",
        record.written.len(),
        record.failed.len()
    );
    Ok(())
}
