//! How far the chain of receipts with a partner is, in each direction.

use chandler_protocol::PartyId;
use serde::{Deserialize, Serialize};

use super::lease::Side;
use crate::finance::receipt::{Head, Parties};

/// One chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chain {
    /// With whom.
    pub partner: PartyId,
    /// On which side of it this controller is.
    pub side: Side,
    /// Who sells to whom, by trust domain.
    pub parties: Parties,
    /// Its end.
    pub head: Head,
    /// How far the other side has signed, and its signature.
    pub signed: Option<(Head, Vec<u8>)>,
}

impl Chain {
    /// An empty one.
    pub fn new(partner: PartyId, side: Side, parties: Parties) -> Self {
        let head = Head::start(&parties);
        Self { partner, side, parties, head, signed: None }
    }
}
