//! Forgets what is no longer needed: answers to old requests, and assignments and leases that ended long ago.

use std::time::Duration;

use chandler_engine::federation;
use chandler_engine::model::Change;
use chandler_protocol::{Micros, Timestamp};

use crate::store::Writer;

/// How long an answer is kept for its idempotency key. At least 24 h are promised.
const ANSWERS: Micros = Micros::from_secs(48 * 3_600);
/// How long late usage of an assignment that is gone is taken in: two months of bills.
const ASSIGNMENTS: Micros = Micros::from_secs(62 * 86_400);
/// How often old things are looked for.
const PERIOD: Duration = Duration::from_secs(3_600);

pub(super) async fn run(writer: &Writer) {
    loop {
        tokio::time::sleep(PERIOD).await;
        let now = writer.clock().now();
        if let Err(error) = writer.store().forget_answers(Timestamp(now.0 - ANSWERS.0)).await {
            tracing::warn!(%error, "old answers could not be forgotten");
        }
        let forgotten = writer.transact("retention", |draft| {
            let before = Timestamp(draft.now.0 - ASSIGNMENTS.0);
            let old: Vec<_> = draft.model.closed_assignments.values().filter(|a| a.at < before).map(|a| a.id).collect();
            for id in old {
                draft.put(Change::ForgetAssignment(id));
            }
            let over = draft.model.leases.values().filter(|l| l.closed.as_ref().is_some_and(|c| c.at < before));
            let over: Vec<_> = over.map(|l| l.id).collect();
            for id in over {
                draft.put(Change::ForgetLease(id));
            }
            federation::retire_tenancies(draft);
            Ok::<_, ()>(())
        });
        if forgotten.await.is_err() {
            tracing::warn!("old assignments could not be forgotten; it is tried again");
        }
    }
}
