//! Looks after what was sold to partners: reservations that nobody uses, hosts that are taken back.

use std::time::Duration;

use chandler_engine::federation;

use crate::store::Writer;

/// How often nothing may be due.
const PERIOD: Duration = Duration::from_secs(5);
/// The shortest time between two looks.
const SHORTEST: Duration = Duration::from_millis(50);

pub(super) async fn run(writer: &Writer) {
    let mut models = writer.watch();
    loop {
        let due = writer.transact("lease", |draft| Ok::<_, ()>((federation::sweep(draft), draft.now))).await;
        let wait = match due {
            Ok((Some(at), now)) => at.since(now).to_std().clamp(SHORTEST, PERIOD),
            _ => PERIOD,
        };
        models.borrow_and_update();
        tokio::select! {
            biased;
            () = tokio::time::sleep(wait) => {}
            // A drain or a withdrawn offer is told to buyers soon, but not more often than a person could see.
            changed = models.changed() => {
                if changed.is_err() {
                    return;
                }
                tokio::time::sleep(wait.min(Duration::from_millis(500))).await;
            }
        }
    }
}
