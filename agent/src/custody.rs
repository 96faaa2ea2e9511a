//! Custody: what one copy may do with its state. The agent's half of the fencing protocol; the controller's half is its
//! `tenure`.
//!
//! Pure: the model check in `tests/model` runs exactly these functions. The part marked *kept* is on disk before
//! anything is said or done because of it; the rest is gone when the agent ends.

#[cfg(test)]
mod cases;

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
    /// The generation of the last lease that was held under this epoch, also when it is over; 0: none was. *Kept.*
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
    /// The newest lease it was given under that epoch; 0: none was.
    pub lease: u64,
}

/// A lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Lease {
    /// Its generation; 0 when it is of an older epoch: what runs runs on until it ends, and a new one is asked for.
    pub generation: u64,
    /// The software is dead by then, by the boot clock.
    pub until: Micros,
}

impl Lease {
    /// The generation to ask for when it is to be renewed; 0: a new one. Who renews a lease says that it lasts, and so
    /// that nobody else was given a later one: one that has ended is not renewed.
    pub const fn asks(&self, now: Micros) -> u64 {
        if self.until.0 > now.0 { self.generation } else { 0 }
    }
}

/// What is so now and what may be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum May {
    /// It may run.
    Run,
    /// It may run once there is a lease: one of this generation is asked for (0: a new one).
    Ask,
    /// It may not run: it was given up under this epoch.
    Never,
    /// It may not run: the state it was to begin with is not here.
    NotReceived,
}

impl Custody {
    /// Whether an order of this epoch is obeyed. One with an older epoch is not, whatever it says.
    pub const fn obeys(&self, epoch: u64) -> bool {
        epoch >= self.epoch
    }

    /// An order arrived. One with an older epoch changes nothing.
    #[must_use]
    pub fn ordered(mut self, epoch: u64, target: &Target) -> Self {
        if !self.obeys(epoch) {
            return self;
        }
        if epoch > self.epoch {
            self.epoch = epoch;
            self.last_lease = 0;
            self.given_up = None;
            self.lease = self.lease.map(|l| Lease { generation: 0, ..l });
        }
        match target {
            // What runs runs on, or may take its time to end, for as long as its lease lasts.
            Target::Running | Target::Own(_) | Target::Seal { .. } => {}
            // What comes in replaces what was there.
            Target::Receive(order) => {
                self.lease = None;
                self.received = self.received.filter(|r| r.attempt == order.attempt);
            }
            // A copy that is fenced keeps its bytes; they are no state to begin with any more.
            Target::Stopped | Target::Wiped => {
                self.lease = None;
                self.received = None;
            }
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
            (true, _) => May::Ask,
        }
    }

    /// A lease was given for this epoch. `sent` is when it was asked for, `lasts` how long it runs from then. To be kept
    /// before anything runs under it. An answer must be to a request of this run of the agent: one that was asked for
    /// before a restart is not known by its nonce any more and is dropped.
    #[must_use]
    pub fn leased(mut self, epoch: u64, generation: u64, sent: Micros, lasts: Micros) -> Self {
        if epoch != self.epoch || generation < self.last_lease {
            return self;
        }
        self.last_lease = generation;
        if let Some(given_up) = self.given_up.as_mut() {
            // It came too late and nothing runs under it: what was given up is the newest under this lease, too.
            given_up.lease = generation;
            return self;
        }
        let until = Micros(sent.0.saturating_add(lasts.0));
        let held = self.lease.filter(|l| l.generation == generation).map_or(until, |l| l.until.max(until));
        self.lease = Some(Lease { generation, until: held });
        self
    }

    /// The software is about to be started. To be kept before it is.
    #[must_use]
    pub fn begun(mut self) -> Self {
        self.begun = Some(self.epoch);
        self
    }

    /// The software has stopped, its state was written out and measured: it is given up. To be kept before it is said.
    /// What was given up in this attempt already stays as it was said.
    #[must_use]
    pub fn given_up(mut self, attempt: u64, root: Digest) -> Self {
        if self.sealed(attempt).is_some() {
            return self;
        }
        self.lease = None;
        self.given_up = Some(GivenUp { epoch: self.epoch, attempt, root, lease: self.last_lease });
        self
    }

    /// A whole state was received, compared and written out. To be kept before it is said. Too late once the software
    /// was started under this epoch: from then on the state is its own.
    #[must_use]
    pub fn received(mut self, received: Received) -> Self {
        if self.begun != Some(self.epoch) {
            self.received = Some(received);
        }
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
