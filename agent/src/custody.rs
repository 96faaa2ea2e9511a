//! Custody: what one copy may do with its state. The agent's half of the fencing protocol; the controller's half is its
//! `tenure`.
//!
//! Pure: the model check in `tests/model` runs exactly these functions. The part marked *kept* is on disk before
//! anything is said or done because of it; the rest is gone when the agent ends.

use chandler_protocol::state::{Own, Received, Sealed, Target};
use chandler_protocol::{Digest, Micros};
use serde::{Deserialize, Serialize};

/// What one copy may do with its state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Custody {
    /// The highest epoch that was ordered. *Kept.*
    pub epoch: u64,
    /// The state was given up under this epoch. *Kept.*
    pub given_up: Option<GivenUp>,
    /// A whole state was received. *Kept.*
    pub received: Option<Received>,
    /// The epoch under which it was begun: from then on the state is this copy's own. *Kept.*
    pub begun: Option<u64>,
    /// The lease that is held.
    #[serde(skip)]
    pub lease: Option<Lease>,
    /// The generation of the last lease that was held, also when it is over. *Kept.*
    pub last_lease: u64,
}

/// A state that was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct GivenUp {
    /// Under which epoch.
    pub epoch: u64,
    /// In which attempt.
    pub attempt: u64,
    /// What was measured.
    pub root: Digest,
    /// The last lease it ran under.
    pub lease: u64,
}

/// A lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Lease {
    /// Its generation.
    pub generation: u64,
    /// The software is dead by then, by the boot clock.
    pub until: Micros,
}

/// What is so now and what may be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum May {
    /// It may run.
    Run,
    /// It may run once there is a lease: one of this generation is asked for (0: a new one).
    Ask(u64),
    /// It may not run: it was given up under this epoch.
    Never,
    /// It may not run: the state it was to begin with is not here.
    NotReceived,
}

impl Custody {
    /// An order arrived. One with an older epoch changes nothing.
    #[must_use]
    pub fn ordered(mut self, epoch: u64, target: &Target) -> Self {
        if epoch < self.epoch {
            return self;
        }
        if epoch > self.epoch {
            self.epoch = epoch;
            self.lease = None;
            self.last_lease = 0;
            self.given_up = None;
        }
        // A copy that is fenced keeps its bytes; they are no state to begin with any more.
        if matches!(target, Target::Stopped | Target::Wiped) {
            self.received = None;
        }
        self
    }

    /// Whether the software may run now, under an order to own the state.
    pub fn may(&self, own: &Own, now: Micros) -> May {
        if self.given_up.is_some_and(|g| g.epoch >= self.epoch) {
            return May::Never;
        }
        let is_first = self.begun != Some(self.epoch);
        if is_first && own.from.is_some() && own.from != self.received {
            return May::NotReceived;
        }
        match (own.leased, self.lease) {
            (false, _) => May::Run,
            (true, Some(lease)) if lease.until > now => May::Run,
            (true, Some(lease)) => May::Ask(lease.generation),
            (true, None) => May::Ask(0),
        }
    }

    /// A lease was given for this epoch. `sent` is when it was asked for, `lasts` how long it runs from then.
    #[must_use]
    pub fn leased(mut self, epoch: u64, generation: u64, sent: Micros, lasts: Micros) -> Self {
        if epoch != self.epoch || self.given_up.is_some_and(|g| g.epoch >= self.epoch) {
            return self;
        }
        let until = Micros(sent.0.saturating_add(lasts.0));
        let held = self.lease.filter(|l| l.generation == generation).map_or(until, |l| l.until.max(until));
        self.lease = Some(Lease { generation, until: held });
        self.last_lease = generation;
        self
    }

    /// The software is about to be started. To be kept before it is.
    #[must_use]
    pub fn begun(mut self) -> Self {
        self.begun = Some(self.epoch);
        self
    }

    /// The software has stopped, its state was written out and measured: it is given up. To be kept before it is said.
    #[must_use]
    pub fn given_up(mut self, attempt: u64, root: Digest) -> Self {
        self.lease = None;
        self.given_up = Some(GivenUp { epoch: self.epoch, attempt, root, lease: self.last_lease });
        self
    }

    /// A whole state was received, compared and written out. To be kept before it is said.
    #[must_use]
    pub fn received(mut self, received: Received) -> Self {
        self.received = Some(received);
        self
    }

    /// What is said of a state that was given up, if that is what was ordered.
    pub fn sealed(&self, attempt: u64) -> Option<Sealed> {
        let g = self.given_up.filter(|g| g.epoch == self.epoch && g.attempt == attempt)?;
        Some(Sealed { attempt, root: g.root, lease: g.lease })
    }

    /// The machine was restarted: what ran is dead, and no lease is held.
    #[must_use]
    pub fn rebooted(mut self) -> Self {
        self.lease = None;
        self
    }
}
