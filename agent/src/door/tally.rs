//! What a door counts.

use std::collections::VecDeque;

use chandler_protocol::way::{DoorCounters, STALLS_MAX, Stall};
use chandler_protocol::{Micros, MoveId};

/// How many outages a door remembers among its [`STALLS_MAX`] lines.
const OUTAGES_MAX: usize = 4;

/// The counters of one door, and how they are counted.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    counters: DoorCounters,
    /// The route that is acted on.
    sequence: u64,
    /// No copy can be reached: the line of those who wait though no move holds them. It is named after the route that
    /// ends the outage, so that whoever made that route finds what it was to users.
    outage: Option<MoveId>,
    /// The lines of outages, oldest first.
    outages: VecDeque<MoveId>,
}

impl Tally {
    /// What was counted so far.
    pub(crate) fn counters(&self) -> &DoorCounters {
        &self.counters
    }

    /// A request or connection was taken in.
    pub(crate) fn request(&mut self) {
        self.counters.requests += 1;
    }

    /// One has to wait.
    pub(crate) fn held(&mut self, of: Option<MoveId>) {
        self.counters.held += 1;
        if of.is_none() {
            self.open_outage();
        }
        self.stall(of, |s| s.held += 1);
    }

    /// One has waited, whatever became of it.
    pub(crate) fn waited(&mut self, of: Option<MoveId>, time: Micros) {
        self.stall(of, |s| s.longest = s.longest.max(time));
    }

    /// One got no answer of the service.
    pub(crate) fn failed(&mut self, of: Option<MoveId>) {
        self.counters.failed += 1;
        self.stall(of, |s| s.failed += 1);
    }

    /// One waited longer than allowed.
    pub(crate) fn held_too_long(&mut self) {
        self.counters.held_too_long += 1;
    }

    /// One was sent again.
    pub(crate) fn retried(&mut self) {
        self.counters.retried += 1;
    }

    /// A long-lived one was ended because its copy moved.
    pub(crate) fn cut(&mut self, of: Option<MoveId>) {
        self.counters.cut += 1;
        self.stall(of, |s| s.cut += 1);
    }

    /// The copy was reached.
    pub(crate) fn connected(&mut self, time: Micros) {
        self.counters.connect.record(time);
    }

    /// The answer began.
    pub(crate) fn answered(&mut self, time: Micros, is_error: bool) {
        self.counters.first_byte.record(time);
        self.counters.errors += u64::from(is_error);
    }

    /// A hold begins: its line is there even when nobody comes.
    pub(crate) fn hold(&mut self, of: MoveId) {
        if self.counters.stalls.iter().any(|s| s.r#move == of) {
            return;
        }
        if self.counters.stalls.len() >= STALLS_MAX {
            self.counters.stalls.remove(0);
        }
        self.counters.stalls.push(Stall { r#move: of, held: 0, longest: Micros::ZERO, failed: 0, cut: 0 });
    }

    /// Another route is acted on.
    pub(crate) fn routed(&mut self, sequence: u64) {
        self.sequence = sequence;
        let Some(was) = self.outage else { return };
        let now = Stall::outage(sequence);
        self.outage = Some(now);
        for id in self.counters.stalls.iter_mut().map(|s| &mut s.r#move).chain(&mut self.outages) {
            if *id == was {
                *id = now;
            }
        }
    }

    /// A copy answered and nobody waits any more. Says whether an outage ended with that.
    pub(crate) fn recovered(&mut self) -> bool {
        self.outage.take().is_some()
    }

    fn open_outage(&mut self) {
        if self.outage.is_some() {
            return;
        }
        let line = Stall::outage(self.sequence);
        self.outage = Some(line);
        let stalls = &self.counters.stalls;
        self.outages.retain(|o| stalls.iter().any(|s| s.r#move == *o));
        if self.outages.contains(&line) {
            return;
        }
        // A copy that comes and goes must not push the lines of moves out.
        if self.outages.len() >= OUTAGES_MAX {
            let oldest = self.outages.pop_front();
            self.counters.stalls.retain(|s| Some(s.r#move) != oldest);
        }
        self.outages.push_back(line);
        self.hold(line);
    }

    fn stall(&mut self, of: Option<MoveId>, change: impl FnOnce(&mut Stall)) {
        let Some(of) = of.or(self.outage) else { return };
        if let Some(stall) = self.counters.stalls.iter_mut().find(|s| s.r#move == of) {
            change(stall);
        }
    }
}
