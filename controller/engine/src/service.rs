//! Services and task items: what runs for a customer, and its assignments to hosts.

use chandler_protocol::state::{Exit, ObservedAssignment, OutputFile, Phase, Target};
use chandler_protocol::workload::{WorkloadKind, WorkloadSpec};
use chandler_protocol::{
    AgreementId, AssignmentId, DecisionId, HostId, MicroMoney, Micros, MoveId, OrderId, PartyId, ServiceId, SiteId,
    Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::fleet::Capacity;
use crate::order::{OnPartition, Policy};
use crate::relocation::tenure::Tenure;
use crate::site::Rates;
use crate::sla::Predicted;

/// A service's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ServiceState {
    /// Resources are reserved, or are waited for.
    Reserved,
    /// It is in use.
    Active,
    /// Being stopped and wiped.
    Terminating,
    /// Gone; its resources are back.
    Terminated,
}

/// What a service does right now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum OperatingStatus {
    /// Waits for a place.
    Pending,
    /// Has a place; its software is being made ready.
    Starting,
    /// Runs and is healthy.
    Running,
    /// Runs, but not all copies or not healthily.
    Degraded,
    /// Could not be run, or a task item that ended badly.
    Failed,
    /// Being stopped.
    Stopping,
    /// Does not run.
    Stopped,
    /// A task item that ended with status 0.
    Completed,
    /// Its host is silent.
    Unknown,
}

impl OperatingStatus {
    /// As it stands in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Degraded => "degraded",
            Self::Failed => "failed",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Completed => "completed",
            Self::Unknown => "unknown",
        }
    }
}

/// What set a change of place off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Trigger {
    /// A new order.
    Order,
    /// The SLA was amended.
    SlaAmended,
    /// The order was modified otherwise.
    OrderModified,
    /// The host is lost.
    HostFailed,
    /// The software failed on the host.
    ProcessFailed,
    /// The host's identity was revoked.
    HostRevoked,
    /// A person said where it shall be.
    Operator,
    /// The customer's own criterion: cheaper now, on the own premises, at certain hours.
    CustomerCriterion,
    /// The provider's criterion: a drain, a maintenance window, a margin floor, consolidation, own resources first.
    ProviderCriterion,
    /// The host or the service is used more, or less, than it should be.
    Utilisation,
    /// The host will not be up often enough, or is about to go.
    PredictedAvailability,
    /// The host, or the service, was not up often enough.
    ActualAvailability,
    /// A price changed.
    Price,
    /// The way to the host became longer.
    RoundTrip,
}

impl Trigger {
    /// As it stands in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Order => "order",
            Self::SlaAmended => "slaAmended",
            Self::OrderModified => "orderModified",
            Self::HostFailed => "hostFailed",
            Self::ProcessFailed => "processFailed",
            Self::HostRevoked => "hostRevoked",
            Self::Operator => "operator",
            Self::CustomerCriterion => "customerCriterion",
            Self::ProviderCriterion => "providerCriterion",
            Self::Utilisation => "utilisation",
            Self::PredictedAvailability => "predictedAvailability",
            Self::ActualAvailability => "actualAvailability",
            Self::Price => "price",
            Self::RoundTrip => "roundTrip",
        }
    }
}

/// A copy that lost its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Displaced {
    /// What set it off.
    pub trigger: Trigger,
    /// The host it left.
    pub from: HostId,
    /// Why, in one sentence.
    pub reason: String,
}

/// A change of place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replacement {
    /// When.
    pub at: Timestamp,
    /// What set it off.
    pub trigger: Trigger,
    /// The host it left.
    pub from: HostId,
    /// The host it went to.
    pub to: HostId,
    /// Why, in one sentence.
    pub reason: String,
}

/// Most changes of place remembered for each service.
pub const REPLACEMENTS_KEPT: usize = 64;

/// What runs for a customer: a service, or one item of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Its id.
    pub id: ServiceId,
    /// The order that made it.
    pub order: OrderId,
    /// Its place in the line of those that wait: order number, then item number.
    pub turn: (u64, u32),
    /// The agreement it is under.
    pub agreement: AgreementId,
    /// Whose.
    pub customer: PartyId,
    /// Its name; of an item, the order's.
    pub name: String,
    /// Of a task: the item's name.
    pub item: Option<String>,
    /// Its life.
    pub state: ServiceState,
    /// What it does right now.
    pub status: OperatingStatus,
    /// Since when.
    pub since: Timestamp,
    /// Why, when there is something to say.
    pub reason: String,
    /// What is run.
    pub spec: WorkloadSpec,
    /// What the artifact runs on.
    pub platform: String,
    /// Who may serve it and how.
    pub policy: Policy,
    /// The offering's prices as they were when it was ordered.
    pub price: PriceTerms,
    /// The last decision about its place.
    pub decision: Option<DecisionId>,
    /// What was promised then.
    pub predicted: Option<Predicted>,
    /// How many copies the last decision asked for.
    pub copies: u32,
    /// Changes of place, newest last.
    pub replacements: Vec<Replacement>,
    /// Why it needs a new place, if it does.
    pub displaced: Option<Displaced>,
    /// How often in a row it could not be run where it was put.
    pub setbacks: u32,
    /// Not placed again before this moment: software that fails is not sent round and round.
    pub not_before: Timestamp,
    /// The order that is being carried out on it, if any: one at a time.
    pub pending_order: Option<OrderId>,
    /// Of a task item: how it ended.
    pub exit: Option<Exit>,
    /// Of a task item: collected files.
    pub outputs: Vec<OutputFile>,
    /// Of a task item: how often it was tried.
    pub attempts: u32,
    /// Of a task item: tries that are left after it ended badly.
    pub retries_left: u32,
    /// When it was first healthy, or a task item ended.
    pub completed_at: Option<Timestamp>,
    /// Measured availability so far.
    pub measured: Measured,
    /// Who owns its state, when one copy at a time does, and how ownership passes on.
    #[serde(default)]
    pub tenure: Option<Tenure>,
    /// Where front doors send its requests.
    #[serde(default)]
    pub route: Route,
    /// GPUs that each copy has for itself: as many as its SLA asks of the machine.
    #[serde(default)]
    pub gpus: u32,
}

/// Where front doors send a service's requests.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Grows with every change.
    pub sequence: u64,
    /// Requests wait for this move, in this attempt.
    pub hold: Option<(MoveId, u64)>,
    /// The copies that serve, in order of id.
    pub backends: Vec<AssignmentId>,
}

impl Service {
    /// Whether it runs to completion.
    pub fn is_task(&self) -> bool {
        self.spec.kind == WorkloadKind::Task
    }

    /// Whether it has ever answered: only then can it have written state.
    pub const fn has_run(&self) -> bool {
        self.completed_at.is_some()
    }

    /// Whether its state moves with it: there is one copy, and it keeps state.
    pub fn carries_state(&self) -> bool {
        self.spec.state.is_some() && (self.is_exclusive() || self.policy.replicas_max <= 1)
    }

    /// Whether a copy may run only under a lease, so that it surely has stopped once its host is silent for long enough.
    pub fn is_leased(&self) -> bool {
        let mobility = &self.policy.mobility;
        !self.is_task() && (self.is_exclusive() && !mobility.unleased || mobility.on_partition == OnPartition::Stop)
    }

    /// Whether at most one copy may run anywhere, because it alone may write its state.
    pub fn is_exclusive(&self) -> bool {
        self.spec.state.as_ref().is_some_and(|s| s.exclusive)
    }

    /// What is reserved for one copy.
    pub fn reserved(&self) -> Capacity {
        Capacity { gpus: self.gpus, ..Capacity::of_limits(self.spec.limits) }
    }
}

/// How a service did so far, as its hosts' health checks saw it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measured {
    /// Time in which at least one copy was healthy.
    pub up: Micros,
    /// Time in which it should have been and was not.
    pub down: Micros,
    /// The stretch that is going on: whether it is up, and since when.
    pub current: Option<(bool, Timestamp)>,
}

/// The provider's part of a price.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PriceTerms {
    /// The offering's name and version.
    pub offering: (String, u32),
    /// What is added to a site's rates, in percent.
    pub margin_percent: u32,
    /// For looking after one copy for one hour.
    pub management_hour: MicroMoney,
}

/// How far a host's resources are with a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum AllocationState {
    /// Held for it; the software is being made ready.
    Reserved,
    /// In use by it.
    Allocated,
    /// Being stopped and wiped; still taken.
    Releasing,
}

impl AllocationState {
    /// As it stands in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reserved => "reserved",
            Self::Allocated => "allocated",
            Self::Releasing => "releasing",
        }
    }
}

/// One copy of a service on one host: the allocation of part of a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// Its id.
    pub id: AssignmentId,
    /// What runs.
    pub service: ServiceId,
    /// Where.
    pub host: HostId,
    /// The host's site.
    pub site: SiteId,
    /// Grows with each change of owner or configuration.
    pub epoch: u64,
    /// How far the allocation is.
    pub state: AllocationState,
    /// What the agent is told.
    pub target: Target,
    /// Another copy takes over: this one is released once that is healthy.
    pub leaving: bool,
    /// It may run without a lease: it was told so, and has not shown since that it holds one. That time has passed says
    /// nothing about whether it has stopped then.
    #[serde(default)]
    pub free: bool,
    /// What is reserved.
    pub reserved: Capacity,
    /// The site's rates when it was placed: what its owner is paid by.
    pub rates: Rates,
    /// The provider's part of its price.
    pub price: PriceTerms,
    /// What it was metered under before it was configured anew: its agent may still have usage of that time to report.
    pub previous: Option<Tariff>,
    /// What it runs.
    pub spec: WorkloadSpec,
    /// The decision that put it here.
    pub decision: DecisionId,
    /// Why it is here, in one sentence.
    pub reason: String,
    /// When it was made.
    pub since: Timestamp,
    /// How long it has been metered under this configuration: what is charged next continues from here.
    pub metered: Micros,
    /// How long it has been metered in all: never more than it has existed.
    pub metered_total: Micros,
    /// What the agent last said.
    pub observed: Option<ObservedAssignment>,
}

/// What usage up to an epoch is rated by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tariff {
    /// The last epoch it holds for.
    pub epoch: u64,
    /// What was reserved.
    pub reserved: Capacity,
    /// The site's rates.
    pub rates: Rates,
    /// The provider's part of the price.
    pub price: PriceTerms,
    /// How long was metered under it.
    pub metered: Micros,
}

/// What is kept of an assignment that is gone: its agent may still have usage to report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClosedAssignment {
    /// Its id.
    pub id: AssignmentId,
    /// What ran.
    pub service: ServiceId,
    /// Where.
    pub host: HostId,
    /// The host's site.
    pub site: SiteId,
    /// What was reserved.
    pub reserved: Capacity,
    /// The rates it was under.
    pub rates: Rates,
    /// The provider's part of its price.
    pub price: PriceTerms,
    /// How long it was metered under them.
    pub metered: Micros,
    /// How long it was metered in all.
    pub metered_total: Micros,
    /// When it was made.
    pub since: Timestamp,
    /// When it was gone.
    pub at: Timestamp,
}

impl Assignment {
    /// Whether it is told to run.
    pub const fn is_to_run(&self) -> bool {
        matches!(self.target, Target::Running | Target::Own(_))
    }

    /// What its agent says it does, of what it was told last; `None` while it has not said so.
    pub fn phase(&self) -> Option<Phase> {
        self.observed.as_ref().filter(|o| o.epoch == self.epoch).map(|o| o.phase)
    }

    /// What its usage is rated by, up to its epoch.
    pub fn tariff(&self) -> Tariff {
        let Self { epoch, reserved, rates, metered, .. } = *self;
        Tariff { epoch, reserved, rates, price: self.price.clone(), metered }
    }

    /// What is kept of it once it is gone.
    pub fn closed(&self, at: Timestamp) -> ClosedAssignment {
        let Self { id, service, host, site, reserved, rates, metered, metered_total, since, .. } = *self;
        let price = self.price.clone();
        ClosedAssignment { id, service, host, site, reserved, rates, price, metered, metered_total, since, at }
    }
}
