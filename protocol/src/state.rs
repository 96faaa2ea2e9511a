//! Desired and observed state. Level-triggered: each message is whole, so a lost or repeated one changes nothing.

use serde::{Deserialize, Serialize};

use crate::workload::WorkloadSpec;
use crate::{AssignmentId, Bytes, Digest, HostId, Micros};

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
    /// It runs as the owner of its state. Since version 2.
    Own(Own),
    /// It does not run here yet: its software is made ready and its state is received from the copy that owns it, round
    /// after round, until it is told otherwise. Since version 2.
    Receive(Receive),
    /// It does not run any more: it is stopped, gives up its lease, its state is written out and measured, and it never
    /// runs again but under a higher epoch. Since version 2.
    Seal {
        /// Counts the attempts to hand this state over.
        attempt: u64,
    },
}

/// How the owner of a state runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Own {
    /// It may run only while its agent holds a lease for it, and is killed before the lease ends.
    pub leased: bool,
    /// Its first start under this epoch begins with exactly this received state, or does not happen.
    pub from: Option<Received>,
}

/// A whole state that was received, compared with what the source measured, and written out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Received {
    /// The attempt it was received in.
    pub attempt: u64,
    /// The root of the tree of its hashes.
    pub root: Digest,
}

/// Where a state is received from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receive {
    /// Counts the attempts to hand this state over.
    pub attempt: u64,
    /// The host of the copy that owns the state.
    pub host: HostId,
    /// That copy.
    pub source: AssignmentId,
    /// Most bytes a second while the source runs; no limit when absent. The last round is never slowed.
    pub rate_max: Option<Bytes>,
}

/// How far a state is received.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The attempt.
    pub attempt: u64,
    /// Rounds that are complete: each one brought the copy to how the source was at some moment in it.
    pub rounds: u32,
    /// Of this round: bytes that are here, of those that differed when it began.
    pub done: Bytes,
    /// Of this round: bytes that differed when it began.
    pub total: Bytes,
    /// Size of the whole state.
    pub size: Bytes,
    /// Bytes that came over the wire in this attempt, all rounds together.
    pub sent: Bytes,
    /// Bytes of state that differed in the last complete round, and how long that round took: how quickly the
    /// source changes.
    pub dirty: Bytes,
    /// How long the last complete round took.
    pub took: Micros,
    /// Bytes of state a second, lately.
    pub rate: Bytes,
    /// The last round would be short now: what is missing fits the hold.
    pub in_step: bool,
}

/// A state that its copy gave up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// The attempt.
    pub attempt: u64,
    /// The root of the tree of its hashes.
    pub root: Digest,
    /// The generation of the last lease it ran under; 0 when it ran without one.
    pub lease: u64,
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
    /// Does not run; its state is being received. Since version 2.
    Receiving(Progress),
    /// Does not run; the whole of a sealed state is here, compared and written out. Since version 2.
    Verified(Received),
    /// Does not run and never will under this epoch. Since version 2.
    Sealed(Sealed),
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
    /// Its state could not be received, or is not what it was to begin with. Since version 2.
    State,
    /// The capacity for it is not to be had, or not any more: its home says so, not its agent. Since version 3.
    Lease,
    /// The owner of the computer needs it. It is started again here when that is over and it is still wanted. Since version 3.
    Owner,
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
