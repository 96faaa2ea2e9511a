//! Running software: what a driver must be able to do. The real one is [`process`]; simulations bring their own.

use async_trait::async_trait;
use chandler_protocol::command::LogStream;
use chandler_protocol::state::{Exit, OutputFile};
use chandler_protocol::workload::{Probe, StopSignal, WorkloadSpec};
use chandler_protocol::{AssignmentId, Bytes, Micros};
use serde::{Deserialize, Serialize};

mod check;
mod files;
mod layout;
mod ports;
pub mod process;
mod substitute;

pub use layout::Layout;

/// Ports by name.
pub type Ports = Vec<(String, u16)>;

/// One start of one assignment. Its files are in the depot already.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launch {
    /// Which.
    pub assignment: AssignmentId,
    /// The epoch it runs under.
    pub epoch: u64,
    /// What to run.
    pub spec: WorkloadSpec,
    /// Ports it had the last time; it keeps them.
    pub ports: Ports,
    /// Whether its working directory is emptied first (a task, run from scratch).
    pub fresh: bool,
}

/// It runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    /// Where it listens.
    pub ports: Ports,
    /// When it was started, by the boot clock.
    pub at: Micros,
    /// What a person should know, for instance a limit that is not enforced here; empty when nothing.
    pub note: String,
}

/// Why it does not run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// The specification asks for what cannot be done here.
    #[error("{0}")]
    Unsupported(String),
    /// The disk is full.
    #[error("{0}")]
    DiskFull(String),
    /// The program could not be started.
    #[error("{0}")]
    Failed(String),
    /// It may work the next time.
    #[error("{0}")]
    Temporary(String),
}

/// What was found of an assignment that an earlier agent may have started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// It does not run, and how it ended is not known.
    Nothing,
    /// It runs; it is watched from now on.
    Running(Box<Adopted>),
    /// It ended.
    Ended(Ended),
}

/// A running instance that an earlier agent started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adopted {
    /// How it was started.
    pub launch: Launch,
    /// Where it listens.
    pub ports: Ports,
    /// When it was started, by the boot clock.
    pub at: Micros,
    /// When it is killed unless its guard is told otherwise, by the boot clock.
    pub guarded: Option<Micros>,
}

/// How one run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// How.
    pub exit: Exit,
    /// The epoch it ran under.
    pub epoch: u64,
    /// When it was started, by the boot clock.
    pub started: Micros,
    /// When it ended, by the boot clock.
    pub at: Micros,
    /// Processor time it used in all, where known.
    pub cpu: Option<Micros>,
    /// Its guard ended it: see [`Driver::guard`].
    pub expired: bool,
}

/// What an instance uses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Measure {
    /// Processor time since it was started.
    pub cpu: Micros,
    /// Resident memory.
    pub memory: Bytes,
}

/// What is sent to an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Asks it to stop.
    Stop(StopSignal),
    /// Ends it and everything it started.
    Kill,
}

/// Starts software and watches it. At most one instance of an assignment runs at any time.
#[async_trait]
pub trait Driver: Send + Sync {
    /// Starts it. Returns once the program runs.
    async fn start(&self, launch: &Launch) -> Result<Started, StartError>;
    /// Looks for what an earlier agent started. Nothing is started or stopped by looking.
    async fn adopt(&self, assignment: AssignmentId) -> Found;
    /// Waits until the instance has ended, with everything it started. May be dropped and called again.
    async fn wait(&self, assignment: AssignmentId) -> Ended;
    /// Sends a signal; nothing happens when it does not run.
    fn signal(&self, assignment: AssignmentId, signal: Signal);
    /// From now on, and for starts to come: whatever runs is killed at that moment by the boot clock, with everything it
    /// started, and even if this agent is frozen or dead by then. Said again with another moment, the newer one counts.
    /// `None`: it is not.
    ///
    /// # Errors
    /// The guard does not know: what was said before still counts.
    fn guard(&self, assignment: AssignmentId, until: Option<Micros>) -> std::io::Result<()>;
    /// Asks it once whether it is well. The caller bounds the time.
    async fn check(&self, assignment: AssignmentId, probe: &Probe) -> bool;
    /// Tells it once that it is moved in so many microseconds, and whether it says that this is a good moment. The caller
    /// bounds the time.
    async fn tell(&self, assignment: AssignmentId, probe: &Probe, within: Micros) -> bool {
        let _ = within;
        self.check(assignment, probe).await
    }
    /// What it uses now.
    fn measure(&self, assignment: AssignmentId) -> Option<Measure>;
}

/// Part of a log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogPart {
    /// Offset of the first byte given, counted from the very first ever written.
    pub offset: u64,
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Offset behind the newest byte there is.
    pub end: u64,
}

/// The results of a task, hashed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Collected {
    /// The files, logs included.
    pub files: Vec<OutputFile>,
    /// What is missing, for people.
    pub notes: Vec<String>,
}

/// What software leaves behind.
#[async_trait]
pub trait Workspace: Send + Sync {
    /// Hashes the results of a task that has ended, and its logs as `stdout` and `stderr`.
    async fn collect(&self, assignment: AssignmentId, outputs: &[String]) -> Collected;
    /// Part of a result.
    async fn read_output(
        &self,
        assignment: AssignmentId,
        path: &str,
        offset: u64,
        limit: usize,
    ) -> std::io::Result<Vec<u8>>;
    /// Part of a kept log.
    async fn read_log(
        &self,
        assignment: AssignmentId,
        stream: LogStream,
        offset: Option<u64>,
        limit: usize,
    ) -> std::io::Result<LogPart>;
    /// Deletes everything that belongs to the assignment. It does not run.
    async fn wipe(&self, assignment: AssignmentId) -> std::io::Result<()>;
}
