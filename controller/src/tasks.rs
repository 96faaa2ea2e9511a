//! Background tasks. Each is idempotent, takes no input, runs periodically and when woken, calls the engine function of
//! its name, and commits what that decided. Nothing is retried inside: the next run is the retry.

mod assurance;

mod dispute;
mod fulfilment;
mod lease;
mod order;
mod relocation;
mod retention;
mod trigger;

use std::collections::BTreeSet;
use std::time::Duration;

use chandler_engine::assurance::Patience;
use chandler_engine::fleet::HostState;
use chandler_engine::model::Model;
use chandler_engine::service::AllocationState;
use chandler_protocol::ServiceId;
use tokio::sync::Notify;

pub use self::trigger::Consideration;
use crate::store::Writer;

/// How often each task runs when nobody wakes it.
const PERIOD: Duration = Duration::from_secs(5);

/// Runs every task until the returned future is dropped.
pub async fn run(writer: Writer, patience: Patience, consideration: Consideration) {
    tokio::join!(
        order::run(&writer),
        relocation::run(&writer),
        trigger::run(&writer, patience, consideration),
        fulfilment::run(&writer),
        assurance::run(&writer, patience),
        retention::run(&writer),
        lease::run(&writer),
        dispute::run(&writer),
    );
}

/// Services that something is due for though nobody reports anything: they are on the move, or have a copy on a host that
/// is gone.
fn unsettled(model: &Model) -> BTreeSet<ServiceId> {
    let moving = model.moving.iter().filter(|(_, moves)| !moves.is_empty()).map(|(service, _)| *service);
    let gone = model.hosts.values().filter(|h| matches!(h.state, HostState::Lost | HostState::Revoked));
    let left = gone.flat_map(|h| model.assignments_of_host(h.id)).filter(|a| a.state != AllocationState::Releasing);
    moving.chain(left.map(|a| a.service)).collect()
}

/// Waits for the next run: when woken, or when the period is over.
async fn next(wake: &Notify, period: Duration) {
    tokio::select! {
        biased;
        () = wake.notified() => {}
        () = tokio::time::sleep(period) => {}
    }
}
