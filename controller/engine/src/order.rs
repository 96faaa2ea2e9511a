//! Orders: what a customer asked for, and the states an order goes through (TMF622).

use chandler_protocol::workload::{InputFile, Probe, WorkloadSpec};
use chandler_protocol::{AgreementId, Bytes, Micros, OrderId, PartyId, ServiceId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::criteria::Criteria;
use crate::sla::{Alternative, Terms};

/// What an order does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// A new service.
    Add,
    /// Changes a service.
    Modify,
    /// De-allocates a service.
    Delete,
}

/// An order's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum OrderState {
    /// Stored; nothing decided yet.
    Acknowledged,
    /// Cannot be served.
    Rejected,
    /// Resources are reserved and being made ready.
    InProgress,
    /// Everything asked for is so.
    Completed,
    /// Ended; some task items have failed.
    Partial,
    /// It could not be done.
    Failed,
    /// Cancelled before it was done.
    Cancelled,
}

impl OrderState {
    /// As it stands in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Acknowledged => "acknowledged",
            Self::Rejected => "rejected",
            Self::InProgress => "inProgress",
            Self::Completed => "completed",
            Self::Partial => "partial",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether an order may go from this state to `to`. What is not listed is refused.
    pub const fn may_become(self, to: Self) -> bool {
        use OrderState::{Acknowledged, Cancelled, Completed, Failed, InProgress, Partial, Rejected};
        matches!(
            (self, to),
            (Acknowledged, Rejected | InProgress | Completed | Failed | Cancelled)
                | (InProgress, Completed | Partial | Failed | Cancelled)
        )
    }

    /// Whether it stays as it is for ever.
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Acknowledged | Self::InProgress)
    }
}

/// Whose resources may serve an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum OwnerKind {
    /// The customer's own computers.
    Customer,
    /// The provider's servers.
    Provider,
    /// Other providers' servers.
    Partner,
    /// Remote sites.
    Remote,
}

impl OwnerKind {
    /// As it stands in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Provider => "provider",
            Self::Partner => "partner",
            Self::Remote => "remote",
        }
    }
}

/// Who may serve an order and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Whose resources may be used.
    pub owners: Vec<OwnerKind>,
    /// Least copies.
    pub replicas_min: u32,
    /// Most copies.
    pub replicas_max: u32,
    /// Whether a host that cannot enforce the limits is refused.
    pub enforce_limits: bool,
    /// How it may be moved.
    #[serde(default)]
    pub mobility: Mobility,
    /// Where its front doors are.
    #[serde(default)]
    pub front: Front,
    /// Services that it uses, each through a front door on its own host.
    #[serde(default)]
    pub uses: Vec<Use>,
    /// What the customer would rather have, within the SLA.
    #[serde(default)]
    pub criteria: Criteria,
}

/// What a copy does when it cannot hear the controller.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OnPartition {
    /// It runs on; for a while there may be two of it, and then the better one is kept. With exclusive state see
    /// [`Mobility::unleased`].
    #[default]
    KeepRunning,
    /// It stops before another one is started.
    Stop,
}

/// What happens when the machine with the only copy of the state is lost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OnLoss {
    /// The service waits for it: nothing that was written is given up without a person.
    #[default]
    Wait,
    /// It begins anew with no state, and says so.
    StartEmpty,
}

/// How a service may be moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mobility {
    /// The longest that a request may wait while it moves. At most [`HOLD_LONGEST`].
    pub hold_max: Micros,
    /// How long requests under way may take before its state is sealed; a longer one puts the move off.
    pub drain_max: Micros,
    /// Whether requests and connections that last longer may be cut.
    pub cut_allowed: bool,
    /// How it is told of a move, if it wants to be.
    pub prepare: Option<Prepare>,
    /// What a copy does when it cannot hear the controller.
    pub on_partition: OnPartition,
    /// Exclusive state runs on as well, without a lease: its order said so. In exchange nothing of it is ever begun
    /// elsewhere because its host is silent.
    #[serde(default)]
    pub unleased: bool,
    /// What happens when its state is lost.
    pub on_loss: OnLoss,
    /// Most bytes of state a second while it serves.
    pub rate_max: Option<Bytes>,
    /// How long the old state is kept after a move.
    pub undo_kept: Micros,
}

/// The longest hold that may be asked for.
pub const HOLD_LONGEST: Micros = Micros::from_secs(10);

impl Default for Mobility {
    fn default() -> Self {
        Self {
            hold_max: Micros::from_secs(2),
            drain_max: Micros::from_secs(5),
            cut_allowed: false,
            prepare: None,
            on_partition: OnPartition::KeepRunning,
            unleased: false,
            on_loss: OnLoss::Wait,
            rate_max: None,
            undo_kept: Micros::from_secs(86_400),
        }
    }
}

/// How software is told of a move.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prepare {
    /// A success says that it is at a good point now.
    pub tell: Probe,
    /// How long it has.
    pub within: Micros,
}

/// Where a service's front doors are, beside the customer's own computers and the hosts of services that use it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Front {
    /// Names of hosts and sites.
    pub on: Vec<String>,
    /// Whether they also listen on the host's own network.
    pub lan: bool,
    /// Port numbers that were chosen, by name of port.
    pub numbers: Vec<(String, u16)>,
}

/// A service of the same customer that this one uses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Use {
    /// Its name.
    pub service: String,
    /// Environment variables that get an address of it: (variable, name of its port).
    pub environment: Vec<(String, String)>,
}

/// Most copies of one service.
pub const REPLICAS_MAX: u32 = 16;

/// One item of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemSpec {
    /// Unique in the order.
    pub name: String,
    /// Its input files.
    pub inputs: Vec<InputFile>,
}

/// What was ordered, checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderSpec {
    /// Name of the offering.
    pub offering: String,
    /// What is run. Of a task: without the item's inputs, with `{item}` not yet replaced.
    pub workload: WorkloadSpec,
    /// What the artifact runs on, such as `linux-x86_64`; empty or `any` for every host.
    pub platform: String,
    /// The attributes chosen.
    pub terms: Terms,
    /// Who may serve it and how.
    pub policy: Policy,
    /// Items of a task; empty for a service.
    pub items: Vec<ItemSpec>,
    /// How often an item is tried again after it ended with a status other than 0.
    pub retries: u32,
}

/// An order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Its id.
    pub id: OrderId,
    /// Counts orders in the order in which they were acknowledged: who came first is served first.
    pub number: u64,
    /// Whose.
    pub customer: PartyId,
    /// Name of the service.
    pub name: String,
    /// What it does.
    pub action: Action,
    /// How far it is.
    pub state: OrderState,
    /// Why it is in this state.
    pub reason: String,
    /// The stable code of a rejection.
    pub code: String,
    /// For a rejected order: what could be met.
    pub nearest: Vec<Alternative>,
    /// When it was acknowledged.
    pub ordered_at: Timestamp,
    /// When it reached its last state.
    pub completed_at: Option<Timestamp>,
    /// Who ordered.
    pub by: String,
    /// The agreement it is under.
    pub agreement: Option<AgreementId>,
    /// The service, or a task's first item.
    pub service: Option<ServiceId>,
    /// What was ordered.
    pub spec: OrderSpec,
    /// The request as it was written (JSON), shown back to the customer.
    pub request: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leaves_a_final_state() {
        use OrderState::*;
        for from in [Acknowledged, Rejected, InProgress, Completed, Partial, Failed, Cancelled] {
            for to in [Acknowledged, Rejected, InProgress, Completed, Partial, Failed, Cancelled] {
                assert!(!(from.is_final() && from.may_become(to)), "{from:?} -> {to:?}");
            }
        }
        assert!(!InProgress.may_become(Rejected));
    }
}
