//! The first words on a control connection, and how both sides agree on a version.

use serde::{Deserialize, Serialize};

use crate::{Micros, Timestamp};

/// ALPN of the control connection.
pub const ALPN: &[u8] = b"chandler/1";
/// The newest version of the messages that this build speaks. Version 2 knows leases, ways and moves; version 3 work of
/// several controllers on one host.
pub const VERSION: u16 = 3;
/// The first version whose agents can hold leases of several controllers.
pub const VERSION_GUESTS: u16 = 3;
/// The first version whose agents can hold a lease, carry tunnels and move state.
pub const VERSION_MOVES: u16 = 2;
/// The oldest version that this build still speaks.
pub const VERSION_MIN: u16 = 1;

/// The agent introduces itself. Who it is stands in its certificate, not here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Oldest version the agent speaks.
    pub version_min: u16,
    /// Newest version the agent speaks.
    pub version_max: u16,
    /// The agent software's version, for people.
    pub agent_version: String,
    /// Changes with each boot of the computer.
    pub boot_id: [u8; 16],
    /// Drawn once for each start of the agent: two values alive at once mean one key in two places.
    pub instance: [u8; 16],
    /// The agent's wall clock: shown when it is wrong, never believed.
    pub agent_time: Timestamp,
    /// Counts the agent's starts on this disk: a lower one than seen before means an old copy of the disk.
    pub starts: u64,
}

/// The controller accepts the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The version both sides speak from here on.
    pub version: u16,
    /// The controller's clock.
    pub controller_time: Timestamp,
    /// How often to report telemetry.
    pub telemetry_interval: Micros,
    /// The longest the agent may stay silent: it sends [`crate::message::AgentMessage::Alive`] when nothing
    /// else was said for this long.
    pub heartbeat: Micros,
    /// Over how long to spread reconnecting after this connection is lost.
    pub reconnect_window: Micros,
    /// Usage records up to and with this sequence are stored already.
    pub usage_acknowledged: u64,
}

/// Why a connection is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// A stable code such as `E0204`.
    pub code: String,
    /// One sentence that says what to do.
    pub message: String,
    /// When trying again may help; `None`: it never will.
    pub retry_after: Option<Micros>,
}

/// The newest version that both ranges hold, if any.
pub fn negotiate(ours: (u16, u16), theirs: (u16, u16)) -> Option<u16> {
    let newest = ours.1.min(theirs.1);
    (newest >= ours.0 && newest >= theirs.0).then_some(newest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_common_version_wins() {
        assert_eq!(negotiate((1, 3), (1, 3)), Some(3));
        assert_eq!(negotiate((3, 5), (1, 3)), Some(3), "N-2 works with N");
        assert_eq!(negotiate((4, 5), (1, 3)), None);
        assert_eq!(negotiate((1, 3), (4, 4)), None);
    }
}
