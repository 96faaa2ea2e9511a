//! A seller that answers a demand with something else: another price, another capacity, another lease. Nothing of it is
//! taken, and nothing runs at its place.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Result, ensure};
use axum::http::Method;
use chandler_api::market::LeaseQuery;
use chandler_api::order::OrderState;
use chandler_engine::federation::LeaseWord;
use chandler_harness::wait::eventually_ok;
use chandler_protocol::{AssignmentId, MicroMoney, MilliCpu};
use chandler_tests::fleet::PATIENCE;
use chandler_tests::{orders, process};

use crate::liar::{Answer, Asked, Liar, Tongue, Words};
use crate::partner_ground::Ground;

/// Half of it is what the partner's server honestly costs.
const POLICY: &str = "[policy]\nowners = [\"partner\"]\n[sla]\ncost = { max = \"500 EUR/month\" }";

fn lie(kind: usize, word: &mut LeaseWord) {
    match kind {
        1 => word.rates.core_hour = MicroMoney(word.rates.core_hour.0 * 5),
        2 => word.capacity.cpu = MilliCpu(word.capacity.cpu.0 * 3),
        3 => word.id = AssignmentId::from_random([77; 10]),
        _ => {}
    }
}

/// Waits until the buyer knows that there is room: after a refusal, its seller has to say so first.
async fn has_room(ground: &Ground) -> Result<()> {
    let room = eventually_ok("room at the partner's", PATIENCE, || async {
        let host = ground.alpha.client.host("beta.far").await?;
        ensure!(host.offered.milli_cpu.0 >= 500 && host.reserved.milli_cpu.0 == 0, "{host:#?}");
        anyhow::Ok(())
    });
    Ok(room.await?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seller_that_gives_something_else_than_was_asked_for_sells_nothing() -> Result<()> {
    let kind = Arc::new(AtomicUsize::new(0));
    let told = kind.clone();
    let words = Words(move |asked: &Asked, answer: &mut Answer| {
        if asked.method == Method::PUT
            && asked.path.starts_with("leases/")
            && let Ok(mut word) = serde_json::from_value::<LeaseWord>(answer.body.clone())
        {
            lie(told.load(Ordering::Relaxed), &mut word);
            answer.body = serde_json::to_value(&word).unwrap_or_default();
        }
    });
    let (ground, _liar): (Ground, Liar) = Liar::ground("3 s", |_| Ok(Arc::new(words) as Arc<dyn Tongue>)).await?;
    let lies = [("dear", "at most"), ("large", "another capacity"), ("other", "asked for")];
    for (n, (name, why)) in lies.into_iter().enumerate() {
        has_room(&ground).await?;
        kind.store(n + 1, Ordering::Relaxed);
        let order = ground.alpha.order(&orders::notes("acme", name, POLICY)?).await?;
        ensure!(order.state != OrderState::Completed && order.reason.contains(why), "{name}: {order:#?}");
        ground.one_lease_each(0).await?;
        let bought = ground.alpha.client.leases(&LeaseQuery::default()).await?.items;
        ensure!(bought.is_empty(), "{name}: {bought:#?}");
        ensure!(process::notes_under(ground.beta.dir())?.is_empty(), "{name} runs there");
    }
    kind.store(0, Ordering::Relaxed);
    has_room(&ground).await?;
    let service = ground.alpha.order_completed(&orders::notes("acme", "honest", POLICY)?).await?;
    ensure!(service.placements.iter().all(|p| p.host == "beta.far"), "{service:#?}");
    ground.one_lease_each(1).await?;
    ground.agree().await?;
    Ok(())
}
