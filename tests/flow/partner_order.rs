//! A seller whose answers come out of order: held back until later ones have come, or for longer than anybody waits, and an
//! older one after a newer one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use async_trait::async_trait;
use chandler_api::movement::{MovePhase, MoveTo};
use chandler_harness::wait::{eventually, eventually_ok};
use chandler_tests::fleet::PATIENCE;
use chandler_tests::load::{Demand, Load, check_notes};
use chandler_tests::{http, orders, process};

use crate::liar::{Answer, Asked, Disorder, Liar, Tongue};
use crate::partner_ground::{BOUND, Copies, Ground};

/// An argument of services beside the one whose copies are counted.
const OTHER: &str = "--delay-ms";
/// After this silence a host is lost, where one answer is slow.
const GRACE: Duration = Duration::from_secs(6);
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
    for _ in 0..3 {
        let to = if ground.owner().await? == "near" { "beta.far" } else { "near" };
        moved += u32::from(tried(&ground, to).await?);
    }
    ensure!(moved > 0, "no move went through");
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

/// Takes its time to say that it has heard which leases were given; it has passed them on by then.
struct Slow(AtomicU64);

#[async_trait]
impl Tongue for Slow {
    async fn tell(&self, asked: &Asked, answer: Answer) -> Answer {
        if asked.path.ends_with("/grants") {
            self.0.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(GRACE * 2).await;
        }
        answer
    }
}

/// The partner's hosts are heard all the same: nothing is lost, and its copy keeps its lease.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_slow_answer_holds_up_nothing_else() -> Result<()> {
    let slow = Arc::new(Slow(AtomicU64::new(0)));
    let tongue = slow.clone();
    let (ground, _liar): (Ground, Liar) = Liar::ground("6 s", |_| Ok(tongue as Arc<dyn Tongue>)).await?;
    let door = ground.order(true, "[policy]\nowners = [\"partner\"]").await?;
    let before = process::notes_under(ground.beta.dir())?;
    let load = Load::start(door, "ledger", WRITES);
    let answered = || async { (slow.0.load(Ordering::Relaxed) >= 8).then_some(()) };
    eventually("leases to be given", PATIENCE, answered).await?;
    load.answers(100).await?;
    let record = load.stop().await?;
    ensure!(record.failed.is_empty(), "{} of {}: {:?}", record.failed.len(), record.answered.len(), record.failed);
    check_notes(door, &record.written).await?;
    ensure!(process::notes_under(ground.beta.dir())? == before && before.len() == 1, "it is not the same process");
    let all = ground.alpha.client.events(&Default::default()).await?.items;
    let lost: Vec<_> = all.iter().filter(|e| e.noun == "host" && e.to == "lost").collect();
    ensure!(lost.is_empty(), "{lost:#?}");
    Ok(())
}
