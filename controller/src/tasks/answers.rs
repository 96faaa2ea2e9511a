//! Forgets answers to old requests: an idempotency key is good for two days.

use std::time::Duration;

use chandler_protocol::{Micros, Timestamp};

use crate::store::Writer;

/// How long an answer is kept. At least 24 h are promised.
const KEPT: Micros = Micros::from_secs(48 * 3_600);
/// How often old ones are looked for.
const PERIOD: Duration = Duration::from_secs(3_600);

pub(super) async fn run(writer: &Writer) {
    loop {
        tokio::time::sleep(PERIOD).await;
        let before = Timestamp(writer.clock().now().0 - KEPT.0);
        if let Err(error) = writer.store().forget_answers(before).await {
            tracing::warn!(%error, "old answers could not be forgotten");
        }
    }
}
