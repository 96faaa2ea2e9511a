//! The fleet: hosts as the store knows them, and how they do right now.

use std::net::SocketAddr;

use chandler_protocol::inventory::HostInventory;
use chandler_protocol::telemetry::Readings;
use chandler_protocol::workload::Limits;
use chandler_protocol::{Bytes, HostId, Micros, MilliCpu, PartyId, Ppm, SiteId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::availability::History;
use crate::federation::Odds;

/// How a host is, as the controller knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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

impl HostState {
    /// As it stands in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Registered => "registered",
            Self::Active => "active",
            Self::Unknown => "unknown",
            Self::Lost => "lost",
            Self::Revoked => "revoked",
        }
    }
}

/// Processor, memory and GPUs: what is offered, reserved or free.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capacity {
    /// Processor time.
    pub cpu: MilliCpu,
    /// Memory.
    pub memory: Bytes,
    /// GPUs. One is taken whole: it is not shared.
    #[serde(default)]
    pub gpus: u32,
}

impl Capacity {
    /// What limits let a copy take: what is reserved for it, but for GPUs, of which the agent knows nothing.
    pub fn of_limits(limits: Limits) -> Self {
        Self { cpu: limits.cpu.unwrap_or_default(), memory: limits.memory.unwrap_or_default(), gpus: 0 }
    }

    /// Both together. Saturates.
    pub const fn plus(self, other: Self) -> Self {
        Self {
            cpu: MilliCpu(self.cpu.0.saturating_add(other.cpu.0)),
            memory: Bytes(self.memory.0.saturating_add(other.memory.0)),
            gpus: self.gpus.saturating_add(other.gpus),
        }
    }

    /// What is left without `other`; never below zero.
    pub const fn minus(self, other: Self) -> Self {
        Self {
            cpu: MilliCpu(self.cpu.0.saturating_sub(other.cpu.0)),
            memory: Bytes(self.memory.0.saturating_sub(other.memory.0)),
            gpus: self.gpus.saturating_sub(other.gpus),
        }
    }

    /// The lesser of each.
    #[must_use]
    pub fn least(self, other: Self) -> Self {
        Self { cpu: self.cpu.min(other.cpu), memory: self.memory.min(other.memory), gpus: self.gpus.min(other.gpus) }
    }

    /// The greater of each.
    #[must_use]
    pub fn most(self, other: Self) -> Self {
        Self { cpu: self.cpu.max(other.cpu), memory: self.memory.max(other.memory), gpus: self.gpus.max(other.gpus) }
    }

    /// Whether `wanted` fits in.
    pub const fn holds(self, wanted: Self) -> bool {
        wanted.cpu.0 <= self.cpu.0 && wanted.memory.0 <= self.memory.0 && wanted.gpus <= self.gpus
    }
}

/// A computer with an agent, as the store keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Its id, which is in its certificate.
    pub id: HostId,
    /// Its site.
    pub site: SiteId,
    /// What it is called: its own name, made unique here.
    pub name: String,
    /// How it is.
    pub state: HostState,
    /// Why, when there is something to say.
    pub note: String,
    /// Since when it is in this state.
    pub since: Timestamp,
    /// SHA-256 of its public key.
    pub key_fingerprint: [u8; 32],
    /// The agent's version.
    pub agent_version: String,
    /// Highest count of agent starts seen.
    pub starts: u64,
    /// What it is; absent until it first connected.
    pub inventory: Option<HostInventory>,
    /// How often it was there.
    pub history: History,
    /// The last round-trip time known.
    pub rtt: Option<Micros>,
    /// When software last failed here, newest last; at most [`FAILURES_KEPT`].
    pub failures: Vec<Timestamp>,
    /// The version of the messages that its agent spoke last; 0 before it first connected.
    #[serde(default)]
    pub protocol: u16,
    /// Where its agent accepts tunnels, best first.
    #[serde(default)]
    pub listens: Vec<SocketAddr>,
    /// Whether new work may come to it.
    #[serde(default)]
    pub drain: Option<Drain>,
    /// Of a partner's: under which offer it is sold.
    #[serde(default)]
    pub terms: Option<LotTerms>,
}

/// The terms under which a partner sells capacity of a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LotTerms {
    /// Id of the offer at its home.
    pub offer: String,
    /// The offer's version.
    pub version: u64,
    /// Who is paid by the seller.
    pub owner: PartyId,
    /// Share of its time that the seller promises it to be up.
    pub availability: Ppm,
    /// How long before it is taken back the buyer is told.
    pub notice: Micros,
    /// What to expect of the seller, as its controller says; the buyer has its own opinion too.
    #[serde(default)]
    pub odds: Odds,
    /// The least time that is paid for.
    pub min_term: Micros,
    /// Why it takes no new lease, if so.
    pub closed: Option<String>,
    /// Whether its home hears it.
    pub connected: bool,
    /// When it is taken back, once that is said.
    pub reclaimed_at: Option<Timestamp>,
}

/// Why a host shall be left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drain {
    /// Since when.
    pub since: Timestamp,
    /// Who asked for it.
    pub by: String,
    /// Why, in their words.
    pub reason: String,
}

/// How many failures are remembered for each host.
pub const FAILURES_KEPT: usize = 16;

impl Host {
    /// What its owner gives to the fleet. With a part of the machine come all of its GPUs.
    pub fn offered(&self) -> Capacity {
        self.inventory.as_ref().map_or_else(Capacity::default, |i| Capacity {
            cpu: i.offered.cpu,
            memory: i.offered.memory,
            gpus: u32::try_from(i.gpus.len()).unwrap_or(u32::MAX),
        })
    }
}

/// How a host does right now. Not kept in the store: after a restart it is measured anew.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pulse {
    /// When it was last heard from.
    pub seen_at: Timestamp,
    /// Whether it is connected.
    pub connected: bool,
    /// Smoothed round-trip time of its connection.
    pub rtt: Option<Micros>,
    /// Newest telemetry.
    pub readings: Option<Readings>,
}
