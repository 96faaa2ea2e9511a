//! Compares what was intended with what is observed, for every service: the net under the steps that are taken at once
//! when an agent reports.

use chandler_engine::fulfilment;

use super::PERIOD;
use crate::store::Writer;

pub(super) async fn run(writer: &Writer) {
    loop {
        let _ = writer
            .transact("fulfilment", |draft| {
                let live: Vec<_> = draft.model.live.iter().copied().collect();
                for service in live {
                    fulfilment::advance(draft, service);
                }
                Ok::<_, ()>(())
            })
            .await;
        tokio::time::sleep(PERIOD).await;
    }
}
