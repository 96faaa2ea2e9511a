//! Commands: what is asked of an agent that is not state. Each has an id and an expiry and takes effect at most once.

use serde::{Deserialize, Serialize};

use crate::{AssignmentId, Micros};

/// Something to do once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// Unique for ever. A command seen before is answered from memory, not done again.
    pub id: u64,
    /// How long after it arrived it may still begin.
    pub expires_in: Micros,
    /// What to do.
    pub action: Action,
}

/// What a command does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// Read part of a workload's kept log.
    ReadLog {
        /// Whose.
        assignment: AssignmentId,
        /// Which of its two streams.
        stream: LogStream,
        /// First byte wanted, counted from the very first the workload wrote; `None`: the newest.
        offset: Option<u64>,
        /// Most bytes wanted.
        limit: u32,
    },
    /// Report the inventory again.
    Inventory,
}

/// One of a workload's two output streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandResult {
    /// Which.
    pub id: u64,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Done; nothing to say.
    Done,
    /// Part of a log.
    Log {
        /// Offset of the first byte given.
        offset: u64,
        /// The bytes.
        bytes: Vec<u8>,
        /// Offset behind the newest byte there is.
        end: u64,
    },
    /// It arrived too late and was not begun.
    Expired,
    /// It could not be done.
    Failed(String),
}
