//! Moves: one copy of a service on its way from one host to another.

use chandler_protocol::{AssignmentId, HostId, Micros, MoveId, ServiceId};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::order::OwnerKind;
use crate::value::{Money, Time};

/// Asks for a move.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MoveRequest {
    /// Where it shall go: `{"host": NAME}`, `{"site": NAME}` or `{"owner": "customer"}`.
    pub to: MoveTo,
}

/// Where a copy shall go. Never outside its SLA and its policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum MoveTo {
    /// To this host: name or id.
    Host(String),
    /// To any host of this site: name or id.
    Site(String),
    /// To any host of such an owner.
    Owner(OwnerKind),
}

/// How a copy changes its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
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
    /// Whether it stays as it is for ever.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::RolledBack | Self::Declined)
    }
}

/// One phase that a move passed through.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MoveStep {
    /// Which.
    pub phase: MovePhase,
    /// When it began.
    #[schema(value_type = String)]
    pub at: Time,
    /// How long it took, in microseconds; absent while it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<i64>)]
    pub took_micros: Option<Micros>,
}

/// One end of a move.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MoveEnd {
    /// Name of the host.
    pub host: String,
    /// Its id.
    #[schema(value_type = String)]
    pub host_id: HostId,
    /// Name of its site.
    pub site: String,
    /// The copy there; absent when there is none: it was gone already, or the move was not begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub assignment: Option<AssignmentId>,
}

/// What a move brings, costs, and does to those who use the service: predicted before, realised after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MoveWorth {
    /// What it saves over the horizon.
    pub gain: Money,
    /// What it costs.
    pub cost: Money,
    /// The horizon, in microseconds.
    #[schema(value_type = i64)]
    pub horizon_micros: Micros,
    /// How long requests wait, in microseconds (predicted: the 95th percentile).
    #[schema(value_type = i64)]
    pub hold_micros: Micros,
    /// The longest wait of any request, in microseconds.
    #[schema(value_type = i64)]
    pub longest_stall_micros: Micros,
    /// Bytes over the wire.
    pub bytes: u64,
    /// Size of the state, in bytes.
    pub state_bytes: u64,
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
}

/// How the copying of the state goes, and who waits.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MoveProgress {
    /// Rounds that are complete.
    pub rounds: u32,
    /// Of this round: bytes that are there.
    pub done_bytes: u64,
    /// Of this round: bytes that differed when it began.
    pub total_bytes: u64,
    /// Size of the whole state, in bytes.
    pub size_bytes: u64,
    /// Bytes over the wire so far.
    pub sent_bytes: u64,
    /// Bytes of state a second, lately.
    pub rate_bytes: u64,
    /// How long this round still takes at that rate, in microseconds; absent while nobody can tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<i64>)]
    pub left_micros: Option<Micros>,
    /// Requests and connections that wait at front doors now.
    pub waiting: u32,
    /// Requests and connections under way at the copy that leaves.
    pub under_way: u32,
}

/// A change of place of one copy: done, under way, or considered and declined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Move {
    /// Its id.
    #[schema(value_type = String)]
    pub id: MoveId,
    /// Name of the service.
    pub service: String,
    /// Its id.
    #[schema(value_type = String)]
    pub service_id: ServiceId,
    /// Name of the customer.
    pub customer: String,
    /// How.
    pub kind: MoveKind,
    /// What set it off: `operator`, `hostFailed`, `price`, ...
    pub trigger: String,
    /// With which evidence, in one sentence with its numbers.
    pub evidence: String,
    /// Who ordered it: a token, or a task of the controller.
    pub by: String,
    /// Where it leaves.
    pub from: MoveEnd,
    /// Where it goes.
    pub to: MoveEnd,
    /// How far it is.
    pub phase: MovePhase,
    /// Why it is in this phase: why it was given up or declined, or what it waits for.
    pub reason: String,
    /// When this phase began.
    #[schema(value_type = String)]
    pub since: Time,
    /// When this phase is given up; absent: it may take as long as it takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub deadline: Option<Time>,
    /// Every phase so far, in order; the last is the present one.
    pub steps: Vec<MoveStep>,
    /// The phases that are to come.
    pub next: Vec<MovePhase>,
    /// Whether it would still be rolled back by itself, should anything fail.
    pub reversible: bool,
    /// Counts its attempts at letting requests wait.
    pub attempt: u64,
    /// How the copying goes; absent when there is nothing to tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<MoveProgress>,
    /// What is expected of it.
    pub predicted: MoveWorth,
    /// What came of it; absent until it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub realised: Option<MoveWorth>,
    /// How often it was declined for the same reason, when it was.
    #[serde(default)]
    pub times: u32,
    /// When it was decided.
    #[schema(value_type = String)]
    pub started_at: Time,
    /// When it reached its last phase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub ended_at: Option<Time>,
}

/// Which moves are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct MoveQuery {
    /// Only those of this service (name or id).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// `open`, `ended`, or a phase such as `holding` (default: all).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Also those that were considered and not begun (default false).
    #[serde(default)]
    pub declined: bool,
    /// Most items wanted, 1 to 500 (default 100).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// The `nextPageToken` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page_token: Option<String>,
}
