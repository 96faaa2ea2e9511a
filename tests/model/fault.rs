//! Everything that can be done wrong around the product's functions: each breaks a promise, and the check must notice.

use crate::world::Bounds;

/// One thing done wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// An agent lets its software run on when the lease has ended.
    LeaseIgnored,
    /// The controller concludes that a lease is over while it may still be held.
    ConcludedEarly,
    /// An agent says that it sealed while its software still runs.
    SealedWhileRunning,
    /// The controller gives the state back after the commit without waiting for the new owner's end.
    UnfencedReturn,
    /// The source is deleted as soon as the target has verified.
    DeletedAtVerify,
    /// The source is deleted as soon as the target owns the state.
    DeletedAtCommit,
    /// An agent says that it verified before what it received is written out.
    VerifiedUnwritten,
    /// The controller sends what follows from the commit before the commit is durable.
    CommitNotDurable,
    /// An agent starts what it owns without asking for a lease.
    StartedUnleased,
    /// An agent obeys a fence without remembering its epoch, and then an older order to start again.
    StaleStart,
    /// Customers reach the new owner before the switch.
    EarlyTraffic,
    /// The controller accepts a seal whatever lease the state was last written under. Needs a forgotten seal.
    GenerationUnchecked,
    /// An agent starts with whatever it received. Needs a forgotten seal.
    RootUnchecked,
    /// The controller gives the owner a lease after it accepted its seal. Needs a forgotten seal.
    LeasedAfterSeal,
    /// An agent takes an answer to what it asked before it was started anew. Needs a forgotten seal.
    AnswerTakenLate,
    /// An agent takes up a copy of the state again when it is started, before the controller has said once more that it
    /// is wanted. Needs a forgotten start.
    ReceiveResumed,
}

impl Fault {
    /// The bounds within which it is noticed: as narrow as it gets, so that it is noticed quickly.
    pub(crate) fn bounds(self) -> Bounds {
        let narrow = Bounds { writes: 1, attempts: 1, generations: 1, machines: 0, forgotten: 0, failovers: 0 };
        match self {
            Self::VerifiedUnwritten => Bounds { machines: 1, ..narrow },
            Self::LeaseIgnored | Self::ConcludedEarly => Bounds { failovers: 1, ..narrow },
            Self::GenerationUnchecked
            | Self::RootUnchecked
            | Self::LeasedAfterSeal
            | Self::AnswerTakenLate
            | Self::ReceiveResumed => Bounds { generations: 2, forgotten: 1, ..narrow },
            _ => narrow,
        }
    }

    /// Whether it consists in that something is listened to which can have no effect otherwise.
    pub(crate) const fn hears_the_void(self) -> bool {
        matches!(self, Self::CommitNotDurable | Self::StaleStart | Self::AnswerTakenLate)
    }
}
