//! What one side knows itself of a lease. A buyer: what it believed of the receipts, and for how long it surely saw
//! nothing run. Both: the terms that hold while it lasts.

use chandler_protocol::state::{ObservedAssignment, Phase};
use chandler_protocol::{AssignmentId, HostId, Micros, Timestamp};
use serde::{Deserialize, Serialize};

use super::lease::{Lease, Side};
use super::size::Size;
use super::term::Term;
use crate::draft::Draft;

/// Looks that are further apart than this say nothing about the time between them.
const GAP_MAX: Micros = Micros::from_secs(30);
/// How late news may be: the first of each rest does not count, so that many short ones cannot add up to something.
const LATE: Micros = Micros::from_secs(5);
/// What is seen is written down when it has grown by this much; the rest is lost with the controller, in the seller's
/// favour.
const KEPT_EACH: Micros = Micros::from_secs(60);

/// What one side knows of its lease; all but the term, the size and the epoch is the buyer's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Watch {
    /// Running time of the receipts that was believed.
    pub believed: Micros,
    /// The epoch of the last receipt taken, or made.
    pub epoch: u64,
    /// For how long it was seen not to run. Time in which nothing was seen is no part of it: it proves nothing.
    pub rested: Micros,
    /// The rest that goes on, if one does.
    pub rest: Option<Rest>,
    /// How much of `rested` is written down.
    pub kept: Micros,
    /// The terms that it was made under, and higher rates to come.
    pub term: Term,
    /// Its seller claimed an epoch that was never given out.
    pub claimed: bool,
    /// How large it was before, and shall be.
    pub size: Size,
}

/// A time in which every look found that nothing ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rest {
    /// When the first look was.
    since: Timestamp,
    /// When the last look was.
    seen: Timestamp,
    /// How often it had been started: another number means that it ran between two looks.
    starts: u64,
}

impl Watch {
    /// One look at `now`: `starts` of something that surely does not run, or none.
    fn look(&mut self, rests: Option<u64>, now: Timestamp) {
        let goes_on = |rest: &Rest| rests == Some(rest.starts) && now.since(rest.seen) <= GAP_MAX && now >= rest.seen;
        match (self.rest.filter(goes_on), rests) {
            (Some(rest), _) => {
                let counts_from = rest.seen.max(rest.since.after(LATE));
                self.rested.0 = self.rested.0.saturating_add(now.since(counts_from).0.max(0));
                self.rest = Some(Rest { seen: now, ..rest });
            }
            (None, Some(starts)) => self.rest = Some(Rest { since: now, seen: now, starts }),
            (None, None) => self.rest = None,
        }
    }

    /// The longest that it can have run in this time, by what was seen.
    pub fn longest(&self, existed: Micros) -> Micros {
        Micros(existed.0.saturating_sub(self.rested.0).max(0))
    }
}

/// Takes in what was seen of the leases on a partner's host; `None`: nothing was.
pub fn watched(draft: &mut Draft<'_>, host: HostId, seen: Option<&[ObservedAssignment]>) {
    let mine = draft.model.leases_of_host(host).filter(|l| l.side == Side::Bought && l.is_open());
    let mine: Vec<AssignmentId> = mine.map(|l| l.id).collect();
    for id in mine {
        let Some(lease) = draft.model.leases.get(&id).cloned() else { continue };
        let said = seen.and_then(|all| all.iter().find(|o| o.id == id));
        let mut watch = lease.watch.clone();
        watch.look(said.filter(|o| rests(o.phase)).map(|o| o.starts.into()), draft.now);
        if watch == lease.watch {
            continue;
        }
        let is_worth = watch.rested.0.saturating_sub(watch.kept.0) >= KEPT_EACH.0;
        if is_worth {
            watch.kept = watch.rested;
        }
        let next = Lease { watch, ..lease.as_ref().clone() };
        if is_worth {
            draft.put(next);
        } else {
            // Each look changes it: written down by itself it would cost a commit every second.
            draft.model.leases.insert(id, std::sync::Arc::new(next));
        }
    }
}

/// Whether nothing runs for sure. What is about to be started again counts as running: it may have run a moment ago.
const fn rests(phase: Phase) -> bool {
    use Phase::{Completed, Failed, Fetching, Pending, Receiving, Sealed, Stopped, Verified, Wiped};
    matches!(
        phase,
        Pending | Fetching(_) | Stopped | Completed(_) | Failed(_) | Wiped | Receiving(_) | Verified(_) | Sealed(_)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp(seconds * 1_000_000)
    }

    fn after(looks: &[(i64, Option<u64>)]) -> i64 {
        let mut watch = Watch::default();
        for (second, rests) in looks {
            watch.look(*rests, at(*second));
        }
        watch.rested.0 / 1_000_000
    }

    #[test]
    fn only_time_between_two_looks_that_found_it_at_rest_counts() {
        let every_second: Vec<_> = (0..=100).map(|s| (s, Some(1))).collect();
        assert_eq!(after(&every_second), 95, "the first five seconds may be old news");
        assert_eq!(after(&[(0, Some(1)), (20, Some(1)), (40, None), (60, Some(1))]), 15, "it ran");
        assert_eq!(after(&[(0, Some(1)), (20, Some(2)), (24, Some(2))]), 0, "it ran in between");
        assert_eq!(after(&[(0, Some(1)), (3_600, Some(1)), (3_620, Some(1))]), 15, "nobody looked for an hour");
        assert_eq!(after(&[(50, Some(1)), (10, Some(1)), (20, Some(1))]), 5, "the clock was set back");
    }

    #[test]
    fn what_was_not_seen_may_have_run() {
        assert_eq!(Watch::default().longest(Micros::from_secs(7)), Micros::from_secs(7));
        let rested = Watch { rested: Micros::from_secs(5), ..Watch::default() };
        assert_eq!(rested.longest(Micros::from_secs(7)), Micros::from_secs(2));
        assert_eq!(rested.longest(Micros::from_secs(3)), Micros::ZERO);
    }
}
