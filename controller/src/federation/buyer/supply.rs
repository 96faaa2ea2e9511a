//! What the partner offers.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chandler_engine::assurance;
use chandler_engine::draft::Draft;
use chandler_engine::federation::{Catalogue, supply};
use chandler_engine::fleet::Pulse;
use chandler_protocol::{HostId, PartyId, Timestamp};

use super::Talk;
use crate::federation::CallError;

/// How long a partner may wait for something new to offer.
const WAIT: Duration = Duration::from_secs(20);

/// A host that its home hears is there: what is new need not wait for the next news.
fn greet(draft: &mut Draft<'_>, partner: PartyId, host: HostId) {
    if draft.model.home_of(host) == Some(partner) && draft.model.pulse(host).seen_at == Timestamp(0) {
        let pulse = Pulse { seen_at: draft.now, connected: true, ..Pulse::default() };
        draft.model.pulses.insert(host, pulse);
        assurance::heard(draft, host);
    }
}

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
            let refused = supply(draft, &known, &catalogue);
            for lot in catalogue.lots.iter().filter(|lot| lot.connected) {
                greet(draft, partner, lot.host);
            }
            Ok(refused)
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
