//! Metering: what was used, in records that are numbered, kept on the agent's disk and sent until stored.

use serde::{Deserialize, Serialize};

use crate::{AssignmentId, Micros};

/// A stretch of time in which one assignment ran. (host, sequence) is unique for ever.
///
/// Durations come from the boot clock, which no wall-clock jump can bend.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageRecord {
    /// Counts this host's records, from 1, without gaps.
    pub sequence: u64,
    /// What ran.
    pub assignment: AssignmentId,
    /// The epoch it ran under.
    pub epoch: u64,
    /// How long it ran in this stretch.
    pub running: Micros,
    /// Processor time used in this stretch.
    pub cpu: Micros,
    /// How long ago the stretch ended when this message was sent; `None` when the machine rebooted between
    /// and nobody can know.
    pub age: Option<Micros>,
}
