//! Finds places for services that have too few copies, takes the next steps of moves, and forgets what moves left behind.

use chandler_engine::draft::Draft;
use chandler_engine::{fulfilment, relocation};

use super::{PERIOD, next, unsettled};
use crate::store::Writer;

pub(super) async fn run(writer: &Writer) {
    loop {
        let waiting = writer.transact("relocation", |draft| Ok::<_, ()>(look(draft))).await;
        if let Ok(waiting @ 1..) = waiting {
            tracing::debug!(waiting, "services wait for a place");
        }
        next(&writer.wakes().placement, PERIOD).await;
    }
}

/// Gives how many services wait for a place.
fn look(draft: &mut Draft<'_>) -> usize {
    let waiting = relocation::place_waiting(draft);
    for service in unsettled(&draft.model) {
        fulfilment::advance(draft, service);
    }
    relocation::retire(draft);
    waiting
}
