//! Finds places for services that have too few copies, and takes the steps of moves whose time has come.

use std::time::Duration;

use chandler_engine::draft::Draft;
use chandler_engine::{fulfilment, relocation};
use chandler_protocol::Timestamp;

use super::{PERIOD, next};
use crate::link::shim;
use crate::store::Writer;

/// The shortest pause before a deadline: one that nothing can be done about must not keep a core busy.
const SHORTEST: Duration = Duration::from_millis(10);

pub(super) async fn run(writer: &Writer) {
    loop {
        let mut pause = PERIOD;
        if let Ok((waiting, deadline)) = writer.transact("relocation", |draft| Ok::<_, ()>(look(draft))).await {
            if waiting > 0 {
                tracing::debug!(waiting, "services wait for a place");
            }
            if let Some(deadline) = deadline {
                pause = deadline.since(writer.clock().now()).to_std().clamp(SHORTEST, PERIOD);
            }
        }
        next(&writer.wakes().placement, pause).await;
    }
}

/// Gives how many services wait for a place, and when a move is next to be looked at.
fn look(draft: &mut Draft<'_>) -> (usize, Option<Timestamp>) {
    let waiting = relocation::place_waiting(draft);
    let moving: Vec<_> = draft.model.moving.iter().filter(|(_, moves)| !moves.is_empty()).map(|(s, _)| *s).collect();
    for service in moving {
        fulfilment::advance(draft, service);
    }
    (waiting, shim::relocation::move_deadline(&draft.model))
}
