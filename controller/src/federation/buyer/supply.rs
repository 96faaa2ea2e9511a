//! What the partner offers.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chandler_engine::federation::{Catalogue, supply};

use super::Talk;
use crate::federation::CallError;

/// How long a partner may wait for something new to offer.
const WAIT: Duration = Duration::from_secs(20);

impl Talk {
    /// Takes in every new catalogue.
    pub(super) async fn supplied(&self) {
        let seen = AtomicU64::new(0);
        self.again("catalogue", || self.supplied_once(&seen)).await;
    }

    async fn supplied_once(&self, seen: &AtomicU64) -> Result<(), CallError> {
        let path = format!("catalogue?after={}&waitMs={}", seen.load(Ordering::Relaxed), WAIT.as_millis());
        let catalogue: Catalogue = self.client()?.poll(&path, WAIT).await?;
        let generation = catalogue.generation;
        let partner = self.partner;
        let by = self.by();
        let taken = self.writer.transact(&by, move |draft| {
            let Some(known) = draft.model.partners.get(&partner).cloned() else { return Ok::<_, ()>(Vec::new()) };
            Ok(supply(draft, &known, &catalogue))
        });
        if let Ok(refused) = taken.await {
            for why in refused {
                tracing::warn!(partner = %self.partner, %why, "a lot of a partner was refused");
            }
            seen.store(generation, Ordering::Relaxed);
        }
        Ok(())
    }
}
