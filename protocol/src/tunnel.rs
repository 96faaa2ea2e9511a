//! Tunnels: connections straight between two agents, or through a relay, known to each other by pinned keys.
//!
//! Each stream carries one [`TunnelRequest`] frame, one [`TunnelAnswer`] frame, and then what was asked for.

use serde::{Deserialize, Serialize};

use crate::AssignmentId;

/// ALPN of a tunnel.
pub const ALPN: &[u8] = b"chandler-tunnel/1";
/// ALPN of an agent's connection to its controller's relay: each datagram is a host id and a packet of a tunnel.
pub const RELAY_ALPN: &[u8] = b"chandler-relay/1";
/// ALPN of a trunk, which joins the relays of two controllers that are partners: each datagram is the id of the sending host,
/// the id of the receiving one, and a packet of a tunnel.
pub const TRUNK_ALPN: &[u8] = b"chandler-trunk/1";
/// Largest request or answer frame.
pub const FRAME_MAX: usize = 4 << 10;

/// What a stream of a tunnel is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum TunnelRequest {
    /// Carry bytes to and from a port of a workload. The first byte after this frame may follow at once.
    Port {
        /// The copy.
        assignment: AssignmentId,
        /// The epoch of the route it was chosen from.
        epoch: u64,
        /// The port's name.
        port: String,
    },
    /// Give the state of a copy; the stream then speaks [`crate::transfer`].
    State {
        /// The copy that owns the state.
        assignment: AssignmentId,
        /// The attempt to hand it over.
        attempt: u64,
    },
    /// Nothing but an answer: how long the way takes.
    Ping,
}

/// Whether the stream is carried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum TunnelAnswer {
    /// What follows goes through.
    Open,
    /// Nothing of what followed the request has reached the workload, nor ever will.
    Refused {
        /// Why.
        why: TunnelRefusal,
        /// The epoch that this agent knows for the copy; 0 when it knows none.
        epoch: u64,
    },
}

/// Why a stream is not carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TunnelRefusal {
    /// The copy is not on this host, or does not run.
    NotHere,
    /// The copy has given up its state, or is about to: another one takes over.
    Sealed,
    /// No grant lets this peer ask for that.
    NotGranted,
    /// The workload does not accept a connection.
    Unreachable,
    /// Too much goes on at once.
    Busy,
}
