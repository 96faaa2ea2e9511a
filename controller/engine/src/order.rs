//! Orders: what a customer asked for, and the states an order goes through (TMF622).

use chandler_protocol::workload::{InputFile, WorkloadSpec};
use chandler_protocol::{AgreementId, OrderId, PartyId, ServiceId, Timestamp};
use serde::{Deserialize, Serialize};

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
