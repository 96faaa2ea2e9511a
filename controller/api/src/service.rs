//! Services: what runs for a customer (TMF638), and task items likewise.

use chandler_protocol::{AgreementId, AssignmentId, DecisionId, Digest, HostId, Micros, OrderId, ServiceId};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::movement::Move;
use crate::order::SoftwareKind;
use crate::site::SiteRole;
use crate::sla::Predicted;
use crate::value::{Money, Time};

/// A service's life (TMF638).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum ServiceState {
    /// Resources are reserved.
    Reserved,
    /// It is in use.
    Active,
    /// Being stopped and wiped.
    Terminating,
    /// Gone; its resources are back.
    Terminated,
}

/// What a service does right now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum OperatingStatus {
    /// Waits for a place.
    Pending,
    /// Has a place; its software is being made ready.
    Starting,
    /// Runs and is healthy.
    Running,
    /// Runs, but not all copies or not healthily.
    Degraded,
    /// Could not be run.
    Failed,
    /// Being stopped.
    Stopping,
    /// Does not run.
    Stopped,
    /// A task item that ended with status 0.
    Completed,
    /// Its host is silent; old values.
    Unknown,
}

/// Where one copy of a service is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Placement {
    /// Id of the assignment.
    #[schema(value_type = String)]
    pub assignment: AssignmentId,
    /// Grows with each change of owner or configuration.
    pub epoch: u64,
    /// Name of the host.
    pub host: String,
    /// Its id.
    #[schema(value_type = String)]
    pub host_id: HostId,
    /// Name of its site.
    pub site: String,
    /// Whose computer it is.
    pub site_role: SiteRole,
    /// `reserved`, `allocated` or `releasing`.
    pub state: String,
    /// How far its agent says it is: `pending`, `fetching`, `starting`, `running`, ...
    pub phase: String,
    /// What its agent says about it.
    pub message: String,
    /// Addresses on that host, by port name.
    pub ports: Vec<PortAddress>,
    /// How often it was started there.
    pub starts: u32,
    /// Why it is there, in one sentence.
    pub reason: String,
    /// The decision that put it there.
    #[schema(value_type = String)]
    pub decision: DecisionId,
}

/// A port's number on the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PortAddress {
    /// The port's name.
    pub name: String,
    /// The number it listens on.
    pub port: u16,
}

/// A change of place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Replacement {
    /// When.
    #[schema(value_type = String)]
    pub at: Time,
    /// What set it off: `slaAmended`, `hostFailed`, `processFailed`, `orderModified`.
    pub trigger: String,
    /// Name of the host it left.
    pub from: String,
    /// Name of the host it went to.
    pub to: String,
    /// Why, in one sentence.
    pub reason: String,
}

/// One front door of a service: a stable address on one host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FrontDoor {
    /// Name of the host.
    pub host: String,
    /// Its id.
    #[schema(value_type = String)]
    pub host_id: HostId,
    /// Whether that host is connected: otherwise these are old values.
    pub connected: bool,
    /// Addresses there, by port name; empty while it does not listen.
    pub addresses: Vec<DoorAddress>,
    /// Whether requests wait there now.
    pub holding: bool,
    /// Requests and connections that wait there now.
    pub waiting: u32,
    /// What a person should know, for instance that a port is taken.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// HTTP requests and tcp connections since it was opened.
    pub requests: u64,
    /// Of these, how many got no answer of the service.
    pub failed: u64,
    /// HTTP answers of the service with a status of 500 or above.
    pub errors: u64,
    /// How many waited for a move or for a copy.
    pub held: u64,
    /// How many were sent again, safely.
    pub retried: u64,
    /// Long-lived connections that were ended because their copy moved.
    pub cut: u64,
    /// Median time to the first byte of an answer, in microseconds; absent before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<i64>)]
    pub p50_micros: Option<Micros>,
    /// Its 95th percentile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<i64>)]
    pub p95_micros: Option<Micros>,
}

/// Where a front door listens for one port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DoorAddress {
    /// The port's name.
    pub port: String,
    /// `ADDRESS:NUMBER` on that host.
    pub address: String,
}

/// Who owns a service's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tenure {
    /// The highest epoch that was given out. Grows with every change of owner.
    pub epoch: u64,
    /// Name of the host whose copy owns it; absent while nobody may write it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// How far a hand-over is: `settled`, `sealing`, `sealed`, `committed` or `returning`.
    pub stage: String,
}

/// What runs for a customer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Service {
    /// Its id.
    #[schema(value_type = String)]
    pub id: ServiceId,
    /// Its name.
    pub name: String,
    /// For a task: the item's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<String>,
    /// Name of the customer.
    pub customer: String,
    /// Service or task.
    pub kind: SoftwareKind,
    /// Its life.
    pub state: ServiceState,
    /// What it does right now.
    pub operating_status: OperatingStatus,
    /// Since when.
    #[schema(value_type = String)]
    pub since: Time,
    /// Why it is so, when there is something to say.
    pub reason: String,
    /// The order it came from.
    #[schema(value_type = String)]
    pub order: OrderId,
    /// The agreement it is under.
    #[schema(value_type = String)]
    pub agreement: AgreementId,
    /// Where its copies are.
    pub placements: Vec<Placement>,
    /// Its front doors, in order of host.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub front: Vec<FrontDoor>,
    /// Who owns its state, when one copy at a time does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenure: Option<Tenure>,
    /// Its moves that are under way.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub moves: Vec<Move>,
    /// What was promised when it was placed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predicted: Option<Predicted>,
    /// Changes of place so far, newest last.
    pub replacements: Vec<Replacement>,
    /// How a task item ended: its exit status, or what else ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<String>,
    /// Collected files of a task item.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<Output>,
    /// How often a task item was tried.
    #[serde(default)]
    pub attempts: u32,
}

/// A collected file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    /// Path inside the working directory; `stdout` and `stderr` are the logs.
    pub path: String,
    /// BLAKE3 of its content: `GET /api/v1/services/{id}/outputs/{path}` gives it.
    #[schema(value_type = String)]
    pub digest: Digest,
    /// Its length in bytes.
    pub length: u64,
}

/// Which services are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ServiceQuery {
    /// Only those of this order (an id).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<String>,
    /// Also terminated ones (default false).
    #[serde(default)]
    pub all: bool,
    /// Most items wanted, 1 to 500 (default 100).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// The `nextPageToken` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page_token: Option<String>,
}

/// Why a service is where it is, and not elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// The decision.
    #[schema(value_type = String)]
    pub decision: DecisionId,
    /// When it was taken.
    #[schema(value_type = String)]
    pub at: Time,
    /// Version of the rules.
    pub rules: u32,
    /// The generation of the snapshot it was taken on.
    pub snapshot: u64,
    /// What set it off: `order`, `slaAmended`, `hostFailed`, ...
    pub trigger: String,
    /// Hosts looked at.
    pub considered: u32,
    /// How many hosts each rule refused, in the order the rules are applied.
    pub funnel: Vec<FunnelStep>,
    /// Hosts that met every rule, cheapest first.
    pub candidates: Vec<Candidate>,
    /// Refused hosts with their reason; the nearest to fitting first, at most 100.
    pub refused: Vec<Refused>,
    /// The smallest change that would have let in a cheaper host, in one sentence; empty when there is none.
    pub nearest_miss: String,
    /// In one sentence.
    pub text: String,
    /// Whether what partners promise covers what was promised to the customer, as it is now; absent while nothing runs
    /// at a partner's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coverage: Option<Coverage>,
}

/// Whether a customer's promise holds back to back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Coverage {
    /// Whether what is promised by partners covers it all.
    pub covered: bool,
    /// What has to be expected that the rest costs a month: it counts when a place is chosen, and nobody pays it.
    pub risk: Money,
    /// What is not covered.
    pub gaps: Vec<Gap>,
}

/// A promise to the customer that no partner's promise covers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Gap {
    /// Of what: `replicas`, `residency`, `availability`, `interactivity`, `reclaimNotice`, `credit`.
    pub attribute: String,
    /// What has to be expected that it costs a month.
    pub risk: Money,
    /// In one sentence.
    pub text: String,
}

/// How many hosts a rule refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FunnelStep {
    /// The rule: `state`, `owner`, `residency`, `software`, `capacity`, `interactivity`, `availability`, `cost`, ...
    pub rule: String,
    /// Hosts it refused.
    pub refused: u32,
}

/// A host that met every rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Candidate {
    /// Name of the host.
    pub host: String,
    /// Name of its site.
    pub site: String,
    /// Whose computer it is.
    pub site_role: SiteRole,
    /// What the site's capacity costs a month.
    pub rate_month: Money,
    /// What the provider adds a month.
    pub fee_month: Money,
    /// What the customer pays a month for one copy there.
    pub price_month: Money,
    /// What to expect there.
    pub predicted: Predicted,
    /// Whether it was chosen.
    pub chosen: bool,
}

/// A host that did not fit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Refused {
    /// Name of the host.
    pub host: String,
    /// Name of its site.
    pub site: String,
    /// The rule that refused it.
    pub rule: String,
    /// Why, with the numbers.
    pub reason: String,
    /// What would have let it in; empty when nothing can.
    pub would_fit: String,
}

/// Which part of a log is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct LogQuery {
    /// `stdout` (default) or `stderr`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    /// First byte wanted; the newest part when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
}

/// Part of a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Log {
    /// Name of the host it is on.
    pub host: String,
    /// Offset of the first byte given.
    pub offset: u64,
    /// Offset behind the newest byte there is.
    pub end: u64,
    /// The text; bytes that are not UTF-8 are replaced.
    pub text: String,
}
