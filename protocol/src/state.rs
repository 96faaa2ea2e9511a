//! Desired and observed state. Level-triggered: each message is whole, so a lost or repeated one changes nothing.

use serde::{Deserialize, Serialize};

use crate::workload::WorkloadSpec;
use crate::{AssignmentId, Digest, Micros};

/// All that one agent shall run. Replaces what was said before when `generation` is higher.
///
/// An assignment that the agent has and this list does not name is left as it is and reported: absence is
/// never an order to delete (a restored controller must not wipe a fleet).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DesiredState {
    /// Grows with every change for this agent.
    pub generation: u64,
    /// In order of id.
    pub assignments: Vec<Assignment>,
}

/// One service on one host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// Its id.
    pub id: AssignmentId,
    /// Grows when ownership or configuration changes; an agent refuses a lower one than it has seen.
    pub epoch: u64,
    /// What shall be so.
    pub target: Target,
    /// What to run.
    pub spec: WorkloadSpec,
}

/// What shall be so with an assignment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    /// It runs (a task: it runs once, to completion).
    Running,
    /// It does not run; its files stay.
    Stopped,
    /// It does not run and its files are gone.
    Wiped,
}

/// What an agent found. Whole, like [`DesiredState`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedState {
    /// The generation of the desired state that the agent has stored.
    pub generation: u64,
    /// In order of id.
    pub assignments: Vec<ObservedAssignment>,
}

/// What an agent found of one assignment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedAssignment {
    /// Its id.
    pub id: AssignmentId,
    /// The epoch the agent acts on.
    pub epoch: u64,
    /// How far it is.
    pub phase: Phase,
    /// Ports by name, where it listens.
    pub ports: Vec<(String, u16)>,
    /// How often it was started here.
    pub starts: u32,
    /// How often it ended by itself in a row, since it last ran well.
    pub failures: u32,
    /// What a person should know, for instance why it does not start.
    pub message: String,
    /// Health checks since it was started here.
    pub health: Health,
    /// Collected results (a task that has ended).
    pub outputs: Vec<OutputFile>,
}

/// How far an assignment is on its host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Known, nothing done yet.
    Pending,
    /// Its files are being fetched: share done, in parts per million.
    Fetching(u32),
    /// Started, not yet healthy.
    Starting,
    /// Runs and is healthy (or has no health check).
    Running,
    /// Runs and fails its health check.
    Unhealthy,
    /// Waits before it is started again.
    BackingOff,
    /// Was asked to stop and has not yet.
    Stopping,
    /// Does not run, as told.
    Stopped,
    /// A task that ended and whose results are collected.
    Completed(Exit),
    /// Cannot run here; another host may do better.
    Failed(Failure),
    /// Stopped and its files are gone.
    Wiped,
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exit {
    /// It returned this status.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
    /// It ended while nobody could see how (the machine went down).
    Unknown,
    /// It ran longer than its time limit and was killed.
    TimeLimit,
}

/// Why an assignment cannot run here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Failure {
    /// The artifact or an input could not be had, or was not what was promised.
    Fetch,
    /// No room on the disk.
    DiskFull,
    /// The program could not be started.
    Start,
    /// It ended by itself more often than its restart policy allows.
    Crashing,
    /// The specification asks for what this agent cannot do.
    Unsupported,
}

/// What the health checks of one run found, as counts since the start: a lost report loses nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Tries.
    pub checks: u64,
    /// Tries that failed after the first success.
    pub failures: u64,
    /// Median time of the last 64 successful tries.
    pub latency_p50: Micros,
    /// 95th percentile of the last 64 successful tries.
    pub latency_p95: Micros,
    /// Time in which it was healthy.
    pub up: Micros,
    /// Time in which it should have been healthy and was not.
    pub down: Micros,
}

/// A collected result of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputFile {
    /// Path inside the working directory; `stdout` and `stderr` are the logs.
    pub path: String,
    /// BLAKE3 of its content, which the controller has.
    pub digest: Digest,
    /// Its length in bytes.
    pub length: u64,
}
