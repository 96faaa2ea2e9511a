//! Decides acknowledged orders: qualify and reserve.

use chandler_engine::fulfilment;

use super::{PERIOD, next};
use crate::store::Writer;

pub(super) async fn run(writer: &Writer) {
    loop {
        let done = writer
            .transact("order", |draft| {
                fulfilment::admit(draft);
                Ok::<_, ()>(())
            })
            .await;
        if done.is_err() {
            tracing::warn!("orders wait: the store takes no writes");
        }
        next(&writer.wakes().orders, PERIOD).await;
    }
}
