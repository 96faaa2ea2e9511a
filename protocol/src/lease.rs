//! Leases: what runs under one is killed by its agent before the lease ends, so that the controller may start it
//! elsewhere once it surely has.
//!
//! The agent counts from the moment it *sent* the request, the controller from the moment it *answered*, and each by a
//! clock that never jumps. The controller waits longer than the agent runs on; the difference is what two clocks may
//! differ in rate.

use serde::{Deserialize, Serialize};

use crate::{AssignmentId, Micros};

/// Most leases in one message.
pub const LEASES_MAX: usize = 4_096;

/// Asks for leases: new ones, or those that are held for longer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseRequest {
    /// Names this request among those of one connection. An answer is counted from the sending of its request.
    pub nonce: u64,
    /// For what, in order of id.
    pub wanted: Vec<LeaseWanted>,
}

/// A lease that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LeaseWanted {
    /// What runs, or shall.
    pub assignment: AssignmentId,
    /// The epoch it runs under.
    pub epoch: u64,
    /// The generation of the lease that is held; 0 asks for a new one.
    pub generation: u64,
}

/// The leases that were given. What was asked for and is not here was not given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseGrant {
    /// Of which request.
    pub nonce: u64,
    /// How long each runs, from the sending of the request: the software is dead by then.
    pub lasts: Micros,
    /// When to ask again, from the sending of the request.
    pub renew: Micros,
    /// What was given, in order of id.
    pub given: Vec<LeaseWanted>,
}

/// The answer to a part of a request. An agent's controller answers for what it owns itself, and passes the rest on to the
/// controllers that own it; each answer counts from the sending of the same request, however late it comes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeasePart {
    /// What was given.
    pub grant: LeaseGrant,
    /// What was answered, in order of id: of this, what is not in the grant was not given.
    pub about: Vec<AssignmentId>,
}
