//! Hosts: computers with an agent, which are also the resource inventory (TMF639).

use std::fmt;

use chandler_protocol::HostId;
use chandler_protocol::inventory::HostInventory;
use chandler_protocol::telemetry::Readings;
use chandler_protocol::unit::{Micros, MilliCpu, Ppm};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::drain::Draining;
use crate::site::SiteRole;
use crate::value::{Size, Time};

/// How a host is, as the controller knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum HostState {
    /// Admitted, never connected since.
    Registered,
    /// Connected and heard from.
    Active,
    /// Not heard from; what runs there runs on.
    Unknown,
    /// Silent for longer than the grace period; its work is placed elsewhere.
    Lost,
    /// Its identity was revoked.
    Revoked,
}

/// How much of a host is taken (TMF639 resource allocation).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum AllocationStatus {
    /// Nothing.
    Available,
    /// Some.
    PartiallyAllocated,
    /// All of its processor or memory.
    Allocated,
}

/// Processor, memory and GPUs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Capacity {
    /// Thousandths of a core.
    #[schema(value_type = u32)]
    pub milli_cpu: MilliCpu,
    /// Memory.
    #[schema(value_type = String)]
    pub memory: Size,
    /// GPUs; one is taken whole.
    #[serde(default)]
    pub gpus: u32,
}

impl fmt::Display for Capacity {
    /// As it is written for a share of a machine: `4 cores, 8 GiB` or `4 cores, 8 GiB, 1 GPU`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { milli_cpu, memory, gpus } = self;
        write!(f, "{milli_cpu}, {}", memory.0)?;
        match gpus {
            0 => Ok(()),
            1 => f.write_str(", 1 GPU"),
            n => write!(f, ", {n} GPUs"),
        }
    }
}

/// How often a host was there before it joined, as known from elsewhere. It is added to what is measured here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HistoryImport {
    /// Time it was up, in microseconds.
    pub up_micros: i64,
    /// Time it was not, in microseconds.
    pub down_micros: i64,
    /// How often it went down.
    pub outages: u32,
    /// Where this is known from; stands in the event.
    pub source: String,
}

/// A computer with an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Host {
    /// Its id.
    #[schema(value_type = String)]
    pub id: HostId,
    /// What it calls itself. Display only; unique among this controller's hosts.
    pub name: String,
    /// Name of its site.
    pub site: String,
    /// Whose computer it is.
    pub site_role: SiteRole,
    /// How it is.
    pub state: HostState,
    /// Why, when there is something to say.
    pub note: String,
    /// That it shall be left, and why; absent when it need not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub draining: Option<Draining>,
    /// When it was last heard from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub seen_at: Option<Time>,
    /// Round-trip time of its connection, in microseconds; absent while nothing was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<i64>)]
    pub rtt_micros: Option<Micros>,
    /// Predicted share of the time it is up, in parts per million.
    #[schema(value_type = u32)]
    pub availability_ppm: Ppm,
    /// What its owner gives to the fleet.
    pub offered: Capacity,
    /// What is reserved for services.
    pub reserved: Capacity,
    /// How much of it is taken.
    pub allocation_status: AllocationStatus,
    /// Number of services and task items on it.
    pub assignments: u32,
    /// Version of its agent.
    pub agent_version: String,
    /// Newest telemetry; absent before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub readings: Option<Readings>,
    /// Hardware and software; only in the answer for one host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub inventory: Option<HostInventory>,
    /// How it reached other hosts last, in order of their ids; only in the answer for one host.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<HostPath>,
}

/// The way from one host to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum PathKind {
    /// Straight.
    Direct,
    /// Over the controller's relay, and where the other one is a partner's, over the partner's as well.
    Relayed,
    /// There is none now.
    None,
}

/// How a host reached another one last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HostPath {
    /// Name of the other one.
    pub to: String,
    /// How.
    pub path: PathKind,
    /// Round-trip time, in microseconds; absent where it was not reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<i64>)]
    pub rtt_micros: Option<Micros>,
}
