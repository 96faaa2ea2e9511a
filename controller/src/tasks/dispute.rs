//! Disputes that nobody touches are decided and closed.

use std::time::Duration;

use chandler_engine::federation;

use crate::store::Writer;

/// How often it is looked. It is about weeks.
const PERIOD: Duration = Duration::from_secs(60);

pub(super) async fn run(writer: &Writer) {
    loop {
        tokio::time::sleep(PERIOD).await;
        if writer.snapshot().disputes.is_empty() {
            continue;
        }
        let swept = writer.transact("timer", |draft| Ok::<_, ()>(federation::sweep_disputes(draft)));
        if swept.await.is_err() {
            tracing::warn!("disputes could not be looked after; it is tried again");
        }
    }
}
