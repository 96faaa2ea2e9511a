//! What to run: software, its command, and what it needs from the machine.

use serde::{Deserialize, Serialize};

use crate::{Bytes, Digest, Micros, MilliCpu};

/// Everything an agent needs to know to run one piece of software.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkloadSpec {
    /// The service's name, for people: in logs and `chandler-agent status`.
    pub name: String,
    /// Runs until told otherwise, or to completion.
    pub kind: WorkloadKind,
    /// Which driver runs it.
    pub driver: DriverKind,
    /// What is run.
    pub software: Software,
    /// Program and arguments. Never passed to a shell. `{port.NAME}`, `{state}` and `{work}` are replaced.
    /// A program starting with `./` is inside the unpacked artifact.
    pub command: Vec<String>,
    /// Environment, replaced likewise. Nothing is inherited from the agent but `PATH`, `LANG` and `TZ`.
    pub environment: Vec<(String, String)>,
    /// What it may use.
    pub limits: Limits,
    /// Ports it listens on.
    pub ports: Vec<Port>,
    /// Its state directory, if it keeps any.
    pub state: Option<State>,
    /// How to tell whether it answers.
    pub health: Option<HealthCheck>,
    /// What happens when it ends by itself.
    pub restart: RestartPolicy,
    /// How it is stopped.
    pub stop: StopPolicy,
    /// Files to put into the working directory before it starts (tasks).
    pub inputs: Vec<InputFile>,
    /// Files in the working directory to collect after it ended (tasks).
    pub outputs: Vec<String>,
    /// How long a task may run before it is ended; none means no limit.
    pub time_limit: Option<Micros>,
}

/// Service or task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum WorkloadKind {
    /// Runs until told otherwise.
    Service,
    /// Runs to completion; its exit status, outputs and logs are collected.
    Task,
}

/// The way software is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum DriverKind {
    /// A program started directly by the agent.
    Process,
}

/// What is run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Software {
    /// An artifact that the agent fetches and unpacks.
    Artifact {
        /// Its name, for people.
        name: String,
        /// Its version, for people.
        version: String,
        /// BLAKE3 of the whole archive: what is fetched is this, or refused.
        digest: Digest,
        /// Length of the archive.
        length: Bytes,
    },
    /// A program that is on the machine already.
    Installed {
        /// The name under which the agent lists it, for instance the package's.
        name: String,
        /// Absolute path of the program.
        path: String,
    },
}

/// What a workload may use. `None` means no limit is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Processor time.
    pub cpu: Option<MilliCpu>,
    /// Resident memory.
    pub memory: Option<Bytes>,
    /// Processes and threads.
    pub pids: Option<u32>,
}

/// A port the workload listens on; the agent chooses its number unless `fixed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// Its name in `{port.NAME}`.
    pub name: String,
    /// What is spoken on it.
    pub mode: PortMode,
    /// The number, where the software cannot be told another.
    pub fixed: Option<u16>,
}

/// What is spoken on a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PortMode {
    /// Any bytes.
    Tcp,
    /// HTTP.
    Http,
}

/// A state directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Directory name; `{state}` is replaced by its absolute path.
    pub path: String,
    /// Whether at most one instance may run anywhere.
    pub exclusive: bool,
}

/// How to tell whether a workload answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// What is tried.
    pub probe: Probe,
    /// Time between two tries once it is healthy.
    pub interval: Micros,
    /// A try that takes longer has failed.
    pub timeout: Micros,
    /// Failures in a row that make it unhealthy.
    pub failures: u32,
    /// How long after the start failures do not count.
    pub grace: Micros,
}

/// One way of asking a workload whether it is well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Probe {
    /// Connect to a port.
    Tcp {
        /// Port name.
        port: String,
    },
    /// `GET path` answers 2xx or 3xx.
    Http {
        /// Port name.
        port: String,
        /// Absolute path of the URL.
        path: String,
    },
    /// A program that exits 0.
    Exec {
        /// Program and arguments, replaced like the workload's command.
        command: Vec<String>,
    },
}

/// What happens when a workload ends by itself. Delays double from `delay` up to `delay_max` and fall
/// back after the workload has run for ten times `delay_max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartPolicy {
    /// Restarts in a row before it has failed; a service has no limit when `None`.
    pub attempts: Option<u32>,
    /// Delay before the second restart in a row; the first is at once.
    pub delay: Micros,
    /// Longest delay.
    pub delay_max: Micros,
}

impl Default for RestartPolicy {
    fn default() -> Self {
        Self { attempts: None, delay: Micros::from_millis(200), delay_max: Micros::from_secs(30) }
    }
}

/// How a workload is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopPolicy {
    /// The signal sent first.
    pub signal: StopSignal,
    /// How long it then has before it is killed.
    pub grace: Micros,
}

impl Default for StopPolicy {
    fn default() -> Self {
        Self { signal: StopSignal::Terminate, grace: Micros::from_secs(10) }
    }
}

/// The signal that asks a workload to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StopSignal {
    /// SIGTERM.
    Terminate,
    /// SIGINT.
    Interrupt,
    /// SIGQUIT.
    Quit,
}

/// A file that is put into a task's working directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputFile {
    /// Path inside the working directory.
    pub path: String,
    /// BLAKE3 of its content.
    pub digest: Digest,
    /// Its length.
    pub length: Bytes,
}
