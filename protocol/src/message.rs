//! Every message of the control connection. Append-only: new variants go to the end.

use serde::{Deserialize, Serialize};

use crate::command::{Command, CommandResult};
use crate::handshake::{Hello, Refusal, Welcome};
use crate::inventory::HostInventory;
use crate::lease::{LeaseGrant, LeasePart, LeaseRequest};
use crate::state::{DesiredState, ObservedState};
use crate::telemetry::Sample;
use crate::usage::UsageRecord;
use crate::way::{ObservedWays, Ways};

/// What an agent says.
#[expect(clippy::large_enum_variant, reason = "an inventory is sent once a connection; boxing would not save a copy")]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum AgentMessage {
    /// First on every connection.
    Hello(Hello),
    /// What the computer is.
    Inventory(HostInventory),
    /// What the agent found.
    Observed(ObservedState),
    /// How the computer does, oldest first.
    Telemetry(Vec<Sample>),
    /// What was used, in order of sequence.
    Usage(Vec<UsageRecord>),
    /// What became of a command.
    CommandResult(CommandResult),
    /// Asks for a new certificate for the same key: PKCS#10, DER.
    Renew(Vec<u8>),
    /// Nothing new, still here. Any other message says the same.
    Alive,
    /// What became of the ways: doors, tunnels, notices. Since version 2.
    Ways(ObservedWays),
    /// Asks for leases. Since version 2.
    Lease(LeaseRequest),
}

/// What a controller says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ControllerMessage {
    /// First on every connection that is accepted.
    Welcome(Welcome),
    /// The connection is not accepted, or no longer.
    Refused(Refusal),
    /// What the agent shall run.
    Desired(DesiredState),
    /// Telemetry samples up to this sequence are the base of the next delta.
    TelemetryAcknowledged(u64),
    /// Usage records up to and with this sequence are stored.
    UsageAcknowledged(u64),
    /// Something to do once.
    Command(Command),
    /// The new certificate, DER.
    Renewed(Vec<u8>),
    /// The doors that the agent shall keep and the hosts that it may talk to. Since version 2.
    Ways(Ways),
    /// The leases that were given. Since version 2.
    Lease(LeaseGrant),
    /// An answer to a part of a request for leases: the rest is answered by others, later or never. Since version 3.
    LeasePart(LeasePart),
}
