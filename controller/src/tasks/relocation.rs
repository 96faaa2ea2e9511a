//! Finds places for services that have too few copies.

use chandler_engine::relocation;

use super::{PERIOD, next};
use crate::store::Writer;

pub(super) async fn run(writer: &Writer) {
    loop {
        let waiting = writer.transact("relocation", |draft| Ok::<_, ()>(relocation::place_waiting(draft))).await;
        if let Ok(waiting @ 1..) = waiting {
            tracing::debug!(waiting, "services wait for a place");
        }
        next(&writer.wakes().placement, PERIOD).await;
    }
}
