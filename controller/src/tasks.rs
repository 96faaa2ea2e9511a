//! Background tasks. Each is idempotent, takes no input, runs periodically and when woken, calls the engine function of
//! its name, and commits what that decided. Nothing is retried inside: the next run is the retry.

mod assurance;

mod fulfilment;
mod order;
mod relocation;
mod retention;

use std::time::Duration;

use chandler_engine::assurance::Patience;
use tokio::sync::Notify;

use crate::store::Writer;

/// How often each task runs when nobody wakes it.
const PERIOD: Duration = Duration::from_secs(5);

/// Runs every task until the returned future is dropped.
pub async fn run(writer: Writer, patience: Patience) {
    tokio::join!(
        order::run(&writer),
        relocation::run(&writer),
        fulfilment::run(&writer),
        assurance::run(&writer, patience),
        retention::run(&writer),
    );
}

/// Waits for the next run: when woken, or when the period is over.
async fn next(wake: &Notify, period: Duration) {
    tokio::select! {
        biased;
        () = wake.notified() => {}
        () = tokio::time::sleep(period) => {}
    }
}
