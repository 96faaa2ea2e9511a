//! Watches who is silent, and looks again exactly when the next thing may be concluded.

use std::time::Duration;

use chandler_engine::assurance::{self, Patience, Watch};
use chandler_engine::event::Noun;
use chandler_engine::fulfilment;
use chandler_protocol::{Micros, Timestamp};

use super::unsettled;
use crate::store::Writer;

/// Looks this many times within the grace period, so that a loss is found soon after it may be concluded.
const LOOKS: u32 = 16;
/// The shortest time between two looks: what cannot be settled now must not keep a core busy.
const SHORTEST: Duration = Duration::from_millis(10);
/// The longest time between two looks.
const LONGEST: Duration = Duration::from_millis(500);

/// A look that comes this many periods late was kept from looking: the process was stopped, or the machine slept.
const LATE: i64 = 4;

pub(super) async fn run(writer: &Writer, patience: Patience) {
    let period = (patience.grace.to_std() / LOOKS).min(LONGEST);
    let (mut before, mut next) = (Watch::Calm, None);
    let mut eyes = Eyes::open(writer, period);
    loop {
        let blind = eyes.were_closed(writer);
        let found = writer
            .transact("assurance", move |draft| {
                if blind {
                    // Whoever seems silent had nobody to speak to. The grace begins anew.
                    draft.model.observable_since = draft.now;
                }
                look(draft, patience, before)
            })
            .await;
        eyes.missed = found.is_err();
        if let Ok((found, due)) = found {
            next = due;
            if let (Watch::Calm, Watch::Frozen { silent, of }) = (before, found) {
                tracing::error!(silent, of, "too many hosts fell silent together: nothing is declared lost");
            }
            before = found;
        }
        let (now, longest) = (writer.clock().now(), period.max(SHORTEST));
        let due = next.map_or(longest, |at| at.since(now).to_std().clamp(SHORTEST, longest));
        tokio::time::sleep(due).await;
    }
}

/// Whether the controller itself could see, between one look and the next: silence means something only then.
struct Eyes {
    period: Micros,
    boot: Micros,
    wall: Timestamp,
    /// The last look could not be kept: the store takes no writes, and what agents say is not taken in either.
    missed: bool,
}

impl Eyes {
    fn open(writer: &Writer, period: Duration) -> Self {
        let clock = writer.clock();
        Self { period: Micros::from_std(period), boot: clock.boot(), wall: clock.now(), missed: false }
    }

    /// Whether it was blind since the last call: it came late, the wall clock jumped, or the store took nothing.
    fn were_closed(&mut self, writer: &Writer) -> bool {
        let (boot, wall) = (writer.clock().boot(), writer.clock().now());
        let (passed, shown) = (boot.0 - self.boot.0, wall.0 - self.wall.0);
        (self.boot, self.wall) = (boot, wall);
        let late = passed > self.period.0.saturating_mul(LATE).max(1_000_000);
        let jumped = (shown - passed).abs() > 1_000_000;
        let missed = std::mem::take(&mut self.missed);
        if late || jumped || missed {
            tracing::warn!(late, jumped, missed, "the controller could not see for a while; the grace begins anew");
        }
        late || jumped || missed
    }
}

fn look(
    draft: &mut chandler_engine::draft::Draft<'_>,
    patience: Patience,
    before: Watch,
) -> Result<(Watch, Option<Timestamp>), std::convert::Infallible> {
    let generation = draft.changes.len();
    let found = assurance::watch(draft, patience);
    assurance::turn(draft);
    let due = match draft.changes.len() > generation {
        true => draft.model.live.iter().copied().collect(),
        false => unsettled(&draft.model),
    };
    for service in due {
        fulfilment::advance(draft, service);
    }
    let name = |w: Watch| if w == Watch::Calm { "calm" } else { "frozen" };
    if name(before) != name(found) {
        let reason = match found {
            Watch::Calm => "enough hosts are heard from again".to_owned(),
            Watch::Frozen { silent, of } => format!("{silent} of {of} hosts are silent at once; decisions are frozen"),
        };
        draft.event((Noun::Controller, String::new(), "assurance"), name(before), name(found), reason);
    }
    Ok((found, assurance::next_look(&draft.model, patience, draft.now, draft.boot)))
}
