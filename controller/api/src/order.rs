//! Orders: what a customer asks for (TMF622). The same schema serves the API and the order file.

use std::collections::BTreeMap;

use chandler_protocol::{AgreementId, Digest, MilliCpu, OrderId, ServiceId};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::ToSchema;

use crate::event::Event;
use crate::mobility::{Criteria, FrontPlaces, MovePolicy, OnLoss, OnPartition, Prepare, Use};
use crate::quote::Alternative;
use crate::sla::SlaTerms;
use crate::value::{Money, Size, Span, Time};

/// Most items in one task order.
pub const ITEMS_MAX: usize = 10_000;

/// An order as a customer writes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OrderRequest {
    /// Name or id of the customer. A customer's own token may leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer: Option<String>,
    /// What the service is called: 1 to 64 of `a-z 0-9 . _ -`, unique for the customer.
    pub name: String,
    /// What shall happen (default `add`).
    #[serde(default)]
    pub action: Action,
    /// Under which offering (default `standard`).
    #[serde(default = "standard")]
    pub offering: String,
    /// What is run.
    pub software: Software,
    /// The attributes chosen: each may be left out.
    #[serde(default)]
    pub sla: SlaTerms,
    /// Who may serve it and how.
    #[serde(default)]
    pub policy: Policy,
    /// Where its front doors are, beside the customer's own computers and the hosts of services that use it.
    #[serde(default, skip_serializing_if = "FrontPlaces::is_default")]
    pub front: FrontPlaces,
    /// Other services of the same customer that it uses, each through a front door on its own host.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub uses: Vec<Use>,
    /// The items of a task: each is one run of the command.
    #[serde(default, skip_serializing_if = "Vec::is_empty", rename = "item", alias = "items")]
    pub items: Vec<TaskItem>,
}

fn standard() -> String {
    "standard".to_owned()
}

/// What an order does (TMF622 item action).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    /// A new service.
    #[default]
    Add,
    /// Changes the service of this name: its software, limits, SLA or policy.
    Modify,
    /// Stops and wipes the service and gives its resources back.
    Delete,
}

/// Runs until told otherwise, or to completion.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum SoftwareKind {
    /// Runs until told otherwise.
    #[default]
    Service,
    /// Runs to completion; its results are collected.
    Task,
}

/// The way software is run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum Driver {
    /// A program started directly by the agent.
    #[default]
    Process,
}

/// What is run. Exactly one of `artifact` and `installed`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Software {
    /// Service or task (default service).
    #[serde(default)]
    pub kind: SoftwareKind,
    /// A published artifact: `name@version`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<String>,
    /// A program that is on the machine already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub installed: Option<Installed>,
    /// How it is run (default `process`).
    #[serde(default)]
    pub driver: Driver,
    /// Program and arguments; no shell. `{port.NAME}`, `{state}`, `{work}` and, in tasks, `{item}` are replaced.
    pub command: Vec<String>,
    /// Environment variables.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// What it may use; also what is reserved and billed.
    #[serde(default)]
    pub limits: Limits,
    /// Ports it listens on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub port: Vec<Port>,
    /// Its state directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
    /// How to tell whether it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    /// How it is told before it is moved, if it wants to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prepare: Option<Prepare>,
    /// What happens when it ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart: Option<Restart>,
    /// How it is stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<Stop>,
    /// Files in the working directory to collect (tasks). `{item}` is replaced. Standard output and error always are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<String>,
    /// How long one run of a task may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "10 min")]
    pub time_limit: Option<Span>,
    /// How often a task item is tried again after it ended with a status other than 0 (default 0). A machine
    /// that dies does not count as a try.
    #[serde(default)]
    pub retries: u32,
}

/// A program that is on the machine already.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Installed {
    /// The package's or program's name in the host's software inventory.
    pub name: String,
    /// Absolute path of the program.
    pub path: String,
}

/// What software may use, and what is reserved for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Limits {
    /// Cores, for instance 0.5 (default 0.1).
    #[serde(default = "default_cpu", with = "cores")]
    #[schema(value_type = f64, example = 0.5)]
    pub cpu: MilliCpu,
    /// Memory (default 64 MiB).
    #[serde(default = "default_memory")]
    #[schema(value_type = String, example = "256 MiB")]
    pub memory: Size,
    /// Processes and threads; no limit when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pids: Option<u32>,
    /// Whether a host that cannot enforce these limits is refused (default false: they are reserved there, not enforced).
    #[serde(default)]
    pub enforce: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self { cpu: default_cpu(), memory: default_memory(), pids: None, enforce: false }
    }
}

const fn default_cpu() -> MilliCpu {
    MilliCpu(100)
}

const fn default_memory() -> Size {
    Size(chandler_protocol::Bytes(64 << 20))
}

/// Cores as a decimal number outside, as thousandths inside.
pub(crate) mod cores {
    use super::{Deserialize, Deserializer, MilliCpu, Serializer};

    pub(crate) fn serialize<S: Serializer>(cpu: &MilliCpu, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_f64(f64::from(cpu.0) / 1_000.0)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<MilliCpu, D::Error> {
        let cores = f64::deserialize(d)?;
        // NaN fails the comparison too.
        if !(0.001..=1_024.0).contains(&cores) {
            return Err(serde::de::Error::custom("cpu must be a number of cores from 0.001 to 1024"));
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range was just checked")]
        Ok(MilliCpu((cores * 1_000.0).round() as u32))
    }
}

/// What is spoken on a port.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum PortMode {
    /// Any bytes.
    #[default]
    Tcp,
    /// HTTP.
    Http,
}

/// A port the software listens on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Port {
    /// Its name in `{port.NAME}`: 1 to 64 of `a-z 0-9 . _ -`.
    pub name: String,
    /// What is spoken on it (default `tcp`).
    #[serde(default)]
    pub mode: PortMode,
    /// Its number, where the software cannot be told another; the agent chooses a free one otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fixed: Option<u16>,
    /// The number it has at the service's front doors; where it is left out, each door chooses one and keeps it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub front: Option<u16>,
}

/// A state directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct State {
    /// Directory name.
    pub path: String,
    /// Whether at most one instance may run anywhere (default true). When false, each copy has a directory of its own,
    /// which goes with the copy when another one takes over.
    #[serde(default = "yes")]
    pub exclusive: bool,
}

const fn yes() -> bool {
    true
}

/// How to tell whether software answers. Exactly one of `http`, `tcp` and `exec`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Health {
    /// `GET` this path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<String>,
    /// Connect to the port (`tcp = true`).
    #[serde(default)]
    pub tcp: bool,
    /// Run this program; it is well when it exits 0.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exec: Vec<String>,
    /// The port's name, for `http` and `tcp` (default: the only port).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<String>,
    /// Time between tries (default 1 s).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "1 s")]
    pub interval: Option<Span>,
    /// A try that takes longer has failed (default 1 s).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "1 s")]
    pub timeout: Option<Span>,
    /// Failures in a row that make it unhealthy (default 3).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failures: Option<u32>,
    /// How long after the start failures do not count (default 30 s).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "30 s")]
    pub grace: Option<Span>,
}

/// What happens when software ends by itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Restart {
    /// Restarts in a row before it is tried on another host (default 5).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    /// Delay before the second restart in a row; it doubles each time (default 200 ms).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "200 ms")]
    pub delay: Option<Span>,
    /// Longest delay (default 30 s).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "30 s")]
    pub delay_max: Option<Span>,
}

/// How software is stopped.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Stop {
    /// The signal sent first (default `terminate`).
    #[serde(default)]
    pub signal: StopSignal,
    /// How long it then has before it is killed (default 10 s).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "10 s")]
    pub grace: Option<Span>,
}

/// The signal that asks software to stop.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum StopSignal {
    /// SIGTERM.
    #[default]
    Terminate,
    /// SIGINT.
    Interrupt,
    /// SIGQUIT.
    Quit,
}

/// Whose resources may serve an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum OwnerKind {
    /// The customer's own computers.
    Customer,
    /// The provider's servers.
    Provider,
    /// Other providers' servers. None can be reached yet.
    Partner,
    /// Remote sites.
    Remote,
}

/// Who may serve an order and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Policy {
    /// Whose resources may be used (default: everybody's).
    #[serde(default = "every_owner")]
    pub owners: Vec<OwnerKind>,
    /// How many copies run: a number, or `{ min = 1, max = 3 }` to let the availability decide (default 1).
    #[serde(default)]
    #[schema(value_type = Object)]
    pub replicas: Replicas,
    /// How it may be moved.
    #[serde(default, rename = "move", skip_serializing_if = "MovePolicy::is_default")]
    pub mobility: MovePolicy,
    /// What a copy does when it cannot hear the controller (default `keepRunning`; with exclusive state `stop`). Exclusive
    /// state that says `keepRunning` runs on for as long as that lasts, and is begun nowhere else until its host is back
    /// or revoked; not together with `onLoss = "startEmpty"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_partition: Option<OnPartition>,
    /// What happens when the machine with its state is lost (default `wait`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_loss: Option<OnLoss>,
    /// What the customer would rather have, within the SLA.
    #[serde(default, skip_serializing_if = "Criteria::is_default")]
    pub criteria: Criteria,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            owners: every_owner(),
            replicas: Replicas::default(),
            mobility: MovePolicy::default(),
            on_partition: None,
            on_loss: None,
            criteria: Criteria::default(),
        }
    }
}

fn every_owner() -> Vec<OwnerKind> {
    vec![OwnerKind::Customer, OwnerKind::Provider, OwnerKind::Partner, OwnerKind::Remote]
}

/// How many copies run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replicas {
    /// At least.
    pub min: u32,
    /// At most.
    pub max: u32,
}

impl Default for Replicas {
    fn default() -> Self {
        Self { min: 1, max: 1 }
    }
}

/// The two ways of writing [`Replicas`].
#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "replicas must be a number, or { min = 1, max = 3 }")]
enum ReplicasForm {
    Exact(u32),
    Range { min: u32, max: u32 },
}

impl Serialize for Replicas {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let Self { min, max } = *self;
        if min == max { ReplicasForm::Exact(min) } else { ReplicasForm::Range { min, max } }.serialize(s)
    }
}

impl<'de> Deserialize<'de> for Replicas {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Ok(match ReplicasForm::deserialize(d)? {
            ReplicasForm::Exact(n) => Self { min: n, max: n },
            ReplicasForm::Range { min, max } => Self { min, max },
        })
    }
}

/// One run of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TaskItem {
    /// Unique in the order; replaces `{item}`.
    pub name: String,
    /// Files put into its working directory.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<Input>,
}

/// An input file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Input {
    /// Path inside the working directory.
    pub path: String,
    /// BLAKE3 of content that was uploaded before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub digest: Option<Digest>,
    /// In an order file: a local file, relative to the order file, that the command line uploads first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
}

/// An order's state (TMF622).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum OrderState {
    /// Stored; nothing decided yet.
    Acknowledged,
    /// Cannot be served; `reason` says why and `nearest` what would be.
    Rejected,
    /// Resources are reserved and being made ready.
    InProgress,
    /// Everything asked for is so.
    Completed,
    /// Some task items have failed.
    Partial,
    /// It could not be done.
    Failed,
    /// Cancelled before it was done.
    Cancelled,
}

/// An order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Order {
    /// Its id.
    #[schema(value_type = String)]
    pub id: OrderId,
    /// Name of the customer.
    pub customer: String,
    /// Name of the service.
    pub name: String,
    /// What it does.
    pub action: Action,
    /// Service or task.
    pub kind: SoftwareKind,
    /// How far it is.
    pub state: OrderState,
    /// Why it is in this state.
    pub reason: String,
    /// The stable code of a rejection; empty otherwise.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub code: String,
    /// For a rejected order: the nearest that could be met.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nearest: Vec<Alternative>,
    /// When it was acknowledged.
    #[schema(value_type = String)]
    pub ordered_at: Time,
    /// When it reached its last state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub completed_at: Option<Time>,
    /// The agreement it is under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub agreement: Option<AgreementId>,
    /// The service, or for a task its first item.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub service: Option<ServiceId>,
    /// Price a month as placed (services).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monthly_cost: Option<Money>,
    /// Items by state (tasks).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub items: BTreeMap<String, u64>,
    /// What was ordered.
    pub request: OrderRequest,
    /// What has happened to it, newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<Event>,
}
