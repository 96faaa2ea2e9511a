//! What is said between the controller and the two copies. Whatever was said once may arrive at any time after, again
//! and again, or never.

use chandler_protocol::state::{Own, Receive, Received, Target};
use chandler_protocol::{AssignmentId, Digest, HostId};

/// Acknowledged writes: one bit each. Also what a copy's state consists of.
pub(crate) type Writes = u8;

/// The root of a state: equal for equal states, and only for these.
pub(crate) const fn root(state: Writes) -> Digest {
    Digest([state; 32])
}

/// The two copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Who {
    /// The one that owns the state at first.
    S,
    /// The other one.
    T,
}

impl Who {
    pub(crate) const BOTH: [Self; 2] = [Self::S, Self::T];

    pub(crate) const fn id(self) -> AssignmentId {
        AssignmentId::from_random([self as u8 + 1; 10])
    }

    pub(crate) const fn other(self) -> Self {
        match self {
            Self::S => Self::T,
            Self::T => Self::S,
        }
    }

    pub(crate) fn of(id: AssignmentId) -> Self {
        if id == Self::S.id() { Self::S } else { Self::T }
    }
}

/// A target, in a form that can be hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Order {
    /// Own the state, and begin with what was received, if that is said: (attempt, state).
    Own(Option<(u8, Writes)>),
    /// Receive it in this attempt.
    Receive(u8),
    /// Seal it in this attempt.
    Seal(u8),
    /// Do not run.
    Stopped,
    /// Do not run, and delete it.
    Wiped,
}

impl Order {
    /// As it stands in the desired state.
    pub(crate) fn target(self) -> Target {
        match self {
            Self::Own(_) => Target::Own(self.own(true)),
            Self::Receive(attempt) => Target::Receive(Receive {
                attempt: attempt.into(),
                host: HostId::from_random([1; 10]),
                source: Who::S.id(),
                rate_max: None,
            }),
            Self::Seal(attempt) => Target::Seal { attempt: attempt.into() },
            Self::Stopped => Target::Stopped,
            Self::Wiped => Target::Wiped,
        }
    }

    /// How the owner runs.
    pub(crate) fn own(self, leased: bool) -> Own {
        let from = match self {
            Self::Own(Some((attempt, state))) => Some(received(attempt, state)),
            _ => None,
        };
        Own { leased, from }
    }
}

pub(crate) fn received(attempt: u8, state: Writes) -> Received {
    Received { attempt: attempt.into(), root: root(state) }
}

/// What is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Message {
    /// The controller says what shall be so.
    Order { to: Who, epoch: u64, order: Order },
    /// A copy that sealed its state sends it to the one that receives.
    State { to: Who, attempt: u8, state: Writes },
    /// A copy says that it sealed.
    Sealed { by: Who, epoch: u64, attempt: u64, state: Writes, lease: u64 },
    /// A copy says that it received, compared and wrote out a whole state.
    Verified { by: Who, attempt: u8, state: Writes },
    /// A copy says that it is stopped.
    Stopped { by: Who, epoch: u64 },
    /// A copy says that it runs and is healthy.
    Healthy { by: Who, epoch: u64 },
    /// A copy asks for a lease. `start` counts how often its agent was started: an answer to what was asked before is
    /// not recognised.
    Ask { by: Who, epoch: u64, generation: u64, start: u8 },
    /// It gets one.
    Grant { to: Who, epoch: u64, generation: u64, start: u8 },
}

impl Message {
    /// Whether it is about a lease of this copy: such a message is worth nothing once the lease it speaks of has ended,
    /// because that is counted from when it was asked for.
    pub(crate) fn is_of_lease(&self, who: Who) -> bool {
        matches!(self, Self::Ask { by, .. } if *by == who) || matches!(self, Self::Grant { to, .. } if *to == who)
    }

    /// The copy that hears it; none when the controller does.
    pub(crate) const fn hearer(&self) -> Option<Who> {
        match self {
            Self::Order { to, .. } | Self::State { to, .. } | Self::Grant { to, .. } => Some(*to),
            _ => None,
        }
    }
}
