//! Long polls: an answer that is other than what the caller has, or the same once its patience is over.

use std::time::Duration;

use chandler_engine::model::Model;
use serde::Deserialize;
use tokio::time::Instant;

use crate::store::Writer;

/// Longest wait that a caller may ask for.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// What a caller has, and how long it waits for something else.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Since {
    /// The generation that it has.
    pub(super) after: u64,
    /// How long it waits, in milliseconds.
    pub(super) wait_ms: u64,
}

/// Makes the answer from each committed model until its generation is another than the caller's. Between two looks at least
/// `pause` passes, so that a busy controller does not compute for one caller all the time.
pub(super) async fn until_new<T>(
    writer: &Writer,
    since: Since,
    pause: Duration,
    make: impl Fn(&Model) -> (u64, T),
) -> (u64, T) {
    let end = Instant::now() + Duration::from_millis(since.wait_ms).min(WAIT_MAX);
    let mut models = writer.watch();
    loop {
        let model = models.borrow_and_update().clone();
        let made = make(&model);
        if made.0 != since.after || Instant::now() >= end {
            return made;
        }
        tokio::select! {
            biased;
            changed = models.changed() => {
                if changed.is_err() {
                    return made;
                }
                tokio::time::sleep(pause).await;
            }
            () = tokio::time::sleep_until(end) => {}
        }
    }
}

/// A number that tells one content from another.
pub(super) fn generation_of(content: &impl serde::Serialize) -> u64 {
    let bytes = serde_json::to_vec(content).unwrap_or_default();
    let hash = blake3::hash(&bytes);
    let mut first = [0; 8];
    first.copy_from_slice(&hash.as_bytes()[..8]);
    // JSON numbers are safe up to here in every reader; zero means that nothing is known yet.
    (u64::from_be_bytes(first) >> 11).max(1)
}
