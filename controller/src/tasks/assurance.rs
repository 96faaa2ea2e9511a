//! Watches who is silent.

use std::time::Duration;

use chandler_engine::assurance::{self, Patience, Watch};
use chandler_engine::event::Noun;
use chandler_engine::fulfilment;

use crate::store::Writer;

/// Looks this many times within the grace period, so that a loss is found soon after it may be concluded.
const LOOKS: u32 = 16;
/// The longest time between two looks.
const LONGEST: Duration = Duration::from_millis(500);

pub(super) async fn run(writer: &Writer, patience: Patience) {
    let period = (patience.grace.to_std() / LOOKS).min(LONGEST);
    let mut before = Watch::Calm;
    loop {
        let found = writer.transact("assurance", move |draft| look(draft, patience, before)).await;
        if let Ok(found) = found {
            if let (Watch::Calm, Watch::Frozen { silent, of }) = (before, found) {
                tracing::error!(silent, of, "too many hosts fell silent together: nothing is declared lost");
            }
            before = found;
        }
        tokio::time::sleep(period).await;
    }
}

fn look(
    draft: &mut chandler_engine::draft::Draft<'_>,
    patience: Patience,
    before: Watch,
) -> Result<Watch, std::convert::Infallible> {
    let generation = draft.changes.len();
    let found = assurance::watch(draft, patience);
    if draft.changes.len() > generation {
        let live: Vec<_> = draft.model.live.iter().copied().collect();
        for service in live {
            fulfilment::advance(draft, service);
        }
    }
    let name = |w: Watch| if w == Watch::Calm { "calm" } else { "frozen" };
    if name(before) != name(found) {
        let reason = match found {
            Watch::Calm => "enough hosts are heard from again".to_owned(),
            Watch::Frozen { silent, of } => format!("{silent} of {of} hosts are silent at once; decisions are frozen"),
        };
        draft.event((Noun::Controller, String::new(), "assurance"), name(before), name(found), reason);
    }
    Ok(found)
}
