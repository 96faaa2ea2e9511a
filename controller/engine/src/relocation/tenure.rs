//! Tenure: who owns a service's state, under which epoch, and how ownership passes on. The controller's half of the
//! fencing protocol; the agent's half is its `custody`.
//!
//! Pure and small on purpose: the model check in `tests/model` runs exactly these functions, against lossy, repeated
//! and reordered messages, crashes, lost disks and partitions. Each takes the tenure as it is committed and gives the
//! one to commit; nothing is sent before that.
//!
//! 1. `seal`: the owner is told to stop for good. `sealed`: it did, and measured its state; from here on it gets no
//!    lease. `verified`: the next owner has exactly that state on its disk: **commit**, it owns the state now.
//! 2. `switched`: customers are served by the new owner; the old copy may be deleted, later.
//! 3. Before the commit `cancel` gives the state back at once. After it, `give_back` first takes it from the new owner
//!    (`fenced`, or its lease is surely over), then gives it to the old one.

#[cfg(test)]
mod cases;

use chandler_protocol::state::Received;
use chandler_protocol::{AssignmentId, Digest};
use serde::{Deserialize, Serialize};

/// Who owns a service's state.
///
/// The epoch that a copy may own the state under is above all that it was told before, so that an order to receive that
/// comes late is refused: where copies are told more under epochs above this one, whoever commits the next raises it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Tenure {
    /// The highest epoch that was given out for this service. Grows with every change of owner.
    pub epoch: u64,
    /// The copy that owns the state. None while nobody may write it.
    pub owner: Option<AssignmentId>,
    /// The generation of the newest lease: counts how often one was acquired under this epoch. Renewing keeps it; a new
    /// epoch begins at 0, here as in the agent's custody.
    pub lease: u64,
    /// Counts attempts to hand the state over.
    pub attempt: u64,
    /// How far a hand-over is.
    pub stage: Stage,
}

/// How far a hand-over is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Stage {
    /// None goes on.
    Settled,
    /// The owner is to seal its state for `to`.
    Sealing {
        /// Who is to own it.
        to: AssignmentId,
        /// What the owner measured, once it has sealed.
        root: Option<Digest>,
    },
    /// `to` owns it; customers are not yet served by it, and `from` still has the sealed state.
    Committed {
        /// Who owned it.
        from: AssignmentId,
        /// What it begins with.
        root: Digest,
    },
    /// Nobody owns it: it is taken from `from` to be given back to `to`.
    Returning {
        /// Who owned it last, and may still run.
        from: AssignmentId,
        /// Who shall own it again.
        to: AssignmentId,
    },
}

/// Why a step is not taken. The tenure stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, thiserror::Error)]
pub enum Denied {
    /// It does not fit the stage.
    #[error("not in this stage")]
    Stage,
    /// The copy is not the one that may say so.
    #[error("another copy")]
    Copy,
    /// It is about another epoch.
    #[error("another epoch")]
    Epoch,
    /// It is about another attempt.
    #[error("another attempt")]
    Attempt,
    /// The state was sealed under a lease that is not the newest: it was written since.
    #[error("an older lease")]
    Lease,
    /// What arrived is not what was sealed.
    #[error("another root")]
    Root,
}

impl Tenure {
    /// The first owner of a state that nobody has written yet.
    pub const fn first(owner: AssignmentId, epoch: u64) -> Self {
        Self { epoch, owner: Some(owner), lease: 0, attempt: 0, stage: Stage::Settled }
    }

    /// The owner shall seal its state for `to`.
    ///
    /// # Errors
    /// A hand-over goes on already, or nobody owns the state.
    pub fn seal(self, to: AssignmentId) -> Result<Self, Denied> {
        match (self.stage, self.owner) {
            (Stage::Settled, Some(owner)) if owner != to => {
                Ok(Self { attempt: self.attempt + 1, stage: Stage::Sealing { to, root: None }, ..self })
            }
            (Stage::Settled, Some(_)) => Err(Denied::Copy),
            _ => Err(Denied::Stage),
        }
    }

    /// A copy says that it has sealed its state, under which lease it wrote last, and what it measured.
    ///
    /// # Errors
    /// It is not the owner's newest word.
    pub fn sealed(self, by: AssignmentId, epoch: u64, attempt: u64, root: Digest, lease: u64) -> Result<Self, Denied> {
        let Stage::Sealing { to, root: before } = self.stage else { return Err(Denied::Stage) };
        if self.owner != Some(by) {
            return Err(Denied::Copy);
        }
        if epoch != self.epoch {
            return Err(Denied::Epoch);
        }
        if attempt != self.attempt {
            return Err(Denied::Attempt);
        }
        if lease != self.lease {
            return Err(Denied::Lease);
        }
        if before.is_some_and(|b| b != root) {
            return Err(Denied::Root);
        }
        Ok(Self { stage: Stage::Sealing { to, root: Some(root) }, ..self })
    }

    /// A copy says that it has received, compared and written out a whole state. **This is the commit.**
    ///
    /// # Errors
    /// It is not the one that is waited for, or its state is not the one that was sealed.
    pub fn verified(self, by: AssignmentId, received: Received) -> Result<Self, Denied> {
        let Stage::Sealing { to, root: Some(root) } = self.stage else { return Err(Denied::Stage) };
        if by != to {
            return Err(Denied::Copy);
        }
        if received.attempt != self.attempt {
            return Err(Denied::Attempt);
        }
        if received.root != root {
            return Err(Denied::Root);
        }
        let from = self.owner.ok_or(Denied::Stage)?;
        Ok(Self { owner: Some(to), stage: Stage::Committed { from, root }, ..self.next_epoch() })
    }

    /// Customers are served by the new owner: there is no way back but another hand-over.
    ///
    /// # Errors
    /// Nothing was committed.
    pub fn switched(self) -> Result<Self, Denied> {
        match self.stage {
            Stage::Committed { .. } => Ok(Self { stage: Stage::Settled, ..self }),
            _ => Err(Denied::Stage),
        }
    }

    /// Gives the hand-over up before its commit: the owner goes on under a higher epoch.
    ///
    /// # Errors
    /// There is none, or it is committed.
    pub fn cancel(self) -> Result<Self, Denied> {
        match self.stage {
            Stage::Sealing { .. } => Ok(Self { stage: Stage::Settled, ..self.next_epoch() }),
            _ => Err(Denied::Stage),
        }
    }

    /// Gives the hand-over up after its commit and before customers are served: nobody owns the state until the new
    /// owner surely does not run.
    ///
    /// # Errors
    /// Nothing is committed, or customers are served already.
    pub fn give_back(self) -> Result<Self, Denied> {
        let (Stage::Committed { from: to, .. }, Some(from)) = (self.stage, self.owner) else {
            return Err(Denied::Stage);
        };
        Ok(Self { owner: None, stage: Stage::Returning { from, to }, ..self.next_epoch() })
    }

    /// A copy says that it does not run, and will not, under this epoch.
    ///
    /// # Errors
    /// It is not the one that is waited for.
    pub fn fenced(self, by: AssignmentId, epoch: u64) -> Result<Self, Denied> {
        match self.stage {
            Stage::Returning { from, .. } if by != from => Err(Denied::Copy),
            Stage::Returning { .. } if epoch != self.epoch => Err(Denied::Epoch),
            Stage::Returning { to, .. } => Ok(self.owned_by(to)),
            _ => Err(Denied::Stage),
        }
    }

    /// The lease of the last owner, `of`, is surely over: what was taken from it is given back.
    ///
    /// # Errors
    /// Nothing is being given back, or it is the lease of another copy that is over.
    pub fn lease_over(self, of: AssignmentId) -> Result<Self, Denied> {
        match self.stage {
            Stage::Returning { from, .. } if of != from => Err(Denied::Copy),
            Stage::Returning { to, .. } => Ok(self.owned_by(to)),
            _ => Err(Denied::Stage),
        }
    }

    /// Who may still run, and must surely have ended before another copy may begin: the owner, or while nobody owns the
    /// state, who owned it last.
    pub const fn holder(&self) -> Option<AssignmentId> {
        match (self.owner, self.stage) {
            (None, Stage::Returning { from, .. }) => Some(from),
            (owner, _) => owner,
        }
    }

    /// The holder, `gone`, does not run any more and its lease is surely over: another copy begins, with what it has.
    /// What only the old one had is lost for the service; whoever decides this says so.
    ///
    /// # Errors
    /// `gone` is not the holder, or is the one that shall begin.
    pub fn fail_over(self, gone: AssignmentId, to: AssignmentId) -> Result<Self, Denied> {
        if self.holder() != Some(gone) || gone == to {
            return Err(Denied::Copy);
        }
        Ok(self.owned_by(to))
    }

    const fn owned_by(self, to: AssignmentId) -> Self {
        Self { owner: Some(to), stage: Stage::Settled, ..self.next_epoch() }
    }

    const fn next_epoch(self) -> Self {
        Self { epoch: self.epoch + 1, lease: 0, ..self }
    }

    /// A copy asks for a lease: `generation` is the one it holds, 0 for none. Gives the tenure to commit first (the same
    /// for a renewal) and the generation that is granted.
    ///
    /// Once the owner has sealed and that was accepted it gets none: it has nothing to run for, and if it asks all the
    /// same its disk has forgotten the seal.
    ///
    /// # Errors
    /// It may not run.
    pub fn grant(self, by: AssignmentId, epoch: u64, generation: u64) -> Result<(Self, u64), Denied> {
        if self.owner != Some(by) {
            return Err(Denied::Copy);
        }
        if epoch != self.epoch {
            return Err(Denied::Epoch);
        }
        if matches!(self.stage, Stage::Sealing { root: Some(_), .. }) {
            return Err(Denied::Stage);
        }
        match generation {
            0 => Ok((Self { lease: self.lease + 1, ..self }, self.lease + 1)),
            g if g == self.lease => Ok((self, g)),
            _ => Err(Denied::Lease),
        }
    }
}
