//! Moves: one copy of a service on its way from one host to another, as a record that everybody can follow.
//!
//! Here is what a move is; [`crate::relocation`] decides that there shall be one and takes its steps.

use chandler_protocol::{AssignmentId, Bytes, HostId, MicroMoney, Micros, MoveId, PartyId, ServiceId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::service::Trigger;

/// How a copy changes its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum MoveKind {
    /// The new copy serves before the old one ends.
    Overlap,
    /// The state goes with it: one copy owns it at any time.
    Exclusive,
    /// The old copy is gone already.
    Failover,
}

/// How far a move is. Not every kind passes through every phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum MovePhase {
    /// Decided; resources are reserved at the destination.
    Planned,
    /// The software is made ready at the destination.
    Preparing,
    /// The state is copied while the old copy serves.
    Copying,
    /// All but the last changes are there; a good moment is waited for.
    Standby,
    /// Front doors let requests wait; those under way end.
    Holding,
    /// The old copy is stopped for good; the last changes are copied and compared.
    FinalCopy,
    /// The new copy starts.
    Starting,
    /// The new copy runs and is being checked.
    Verifying,
    /// Front doors send requests to the new copy; each says that it does.
    Switching,
    /// What is under way at the old copy ends.
    Draining,
    /// The old copy is stopped, or kept stopped for a while with its state.
    Done,
    /// It was given up: all is as before.
    RolledBack,
    /// It was considered and not begun.
    Declined,
}

impl MovePhase {
    /// As it stands in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Preparing => "preparing",
            Self::Copying => "copying",
            Self::Standby => "standby",
            Self::Holding => "holding",
            Self::FinalCopy => "finalCopy",
            Self::Starting => "starting",
            Self::Verifying => "verifying",
            Self::Switching => "switching",
            Self::Draining => "draining",
            Self::Done => "done",
            Self::RolledBack => "rolledBack",
            Self::Declined => "declined",
        }
    }

    /// Whether it stays as it is for ever.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::RolledBack | Self::Declined)
    }
}

/// One phase that a move passed through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhaseTime {
    /// Which.
    pub phase: MovePhase,
    /// When it began.
    pub at: Timestamp,
    /// How long it took; 0 while it goes on.
    pub took: Micros,
}

/// What a move brings and costs, in money, as far as it can be told. Predicted before, realised after.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Worth {
    /// What it saves over the horizon.
    pub gain: MicroMoney,
    /// What it costs.
    pub cost: MicroMoney,
    /// The horizon.
    pub horizon: Micros,
}

/// What a move does to those who use the service.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effect {
    /// How long requests wait (predicted: the 95th percentile).
    pub hold: Micros,
    /// Bytes over the wire.
    pub bytes: Bytes,
    /// Size of the state.
    pub state: Bytes,
    /// Rounds of copying.
    pub rounds: u32,
    /// Requests that waited.
    pub held: u64,
    /// Requests that failed.
    pub failed: u64,
    /// Requests that were sent again.
    pub retried: u64,
    /// Connections that were ended because they cannot move.
    pub cut: u64,
    /// The longest wait of any request.
    pub longest_stall: Micros,
}

/// A change of place of one copy, done, under way, or considered and declined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Move {
    /// Its id.
    pub id: MoveId,
    /// What moves.
    pub service: ServiceId,
    /// Its name.
    pub name: String,
    /// Whose.
    pub customer: PartyId,
    /// How.
    pub kind: MoveKind,
    /// What set it off.
    pub trigger: Trigger,
    /// With which evidence, in one sentence with its numbers.
    pub evidence: String,
    /// Who ordered it: a token's name, or a task of the controller.
    pub by: String,
    /// The copy that leaves; none when it was gone already.
    pub from: Option<AssignmentId>,
    /// Its host.
    pub from_host: HostId,
    /// The copy that takes over; none when the move was declined.
    pub to: Option<AssignmentId>,
    /// Its host.
    pub to_host: HostId,
    /// Counts its attempts at the hold.
    pub attempt: u64,
    /// How far it is.
    pub phase: MovePhase,
    /// When this phase began.
    pub since: Timestamp,
    /// When this phase is given up; `None`: it may take as long as it takes.
    pub deadline: Option<Timestamp>,
    /// Every phase so far, in order.
    pub phases: Vec<PhaseTime>,
    /// What is expected of it.
    pub predicted: (Worth, Effect),
    /// What came of it.
    pub realised: (Worth, Effect),
    /// Why it is in this phase: why it was rolled back or declined, or what it waits for.
    pub reason: String,
    /// How often it was declined for the same reason, when it was.
    pub times: u32,
    /// When it was decided.
    pub started_at: Timestamp,
    /// The sequence of the service's route then: of what doors count under a later one, it is the cause.
    #[serde(default)]
    pub route: u64,
    /// When it reached its last phase.
    pub ended_at: Option<Timestamp>,
}
