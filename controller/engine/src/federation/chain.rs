//! How far the chain of receipts with a partner is, in each direction, and what it comes to.

use chandler_protocol::{MicroMoney, PartyId};
use serde::{Deserialize, Serialize};

use super::lease::Side;
use super::restore::Waiting;
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
    /// Of [`Side::Bought`]: number of the last receipt that the seller has this controller's signature for.
    #[serde(default)]
    pub told: u64,
    /// What all of its receipts come to.
    #[serde(default)]
    pub sums: Sums,
    /// Of [`Side::Sold`]: whether the buyer has said since this controller was started how many receipts it has, and has
    /// no more than there are. Before, nothing is appended: it may have been restored from an older backup.
    #[serde(skip)]
    pub heard: bool,
    /// Of [`Side::Sold`]: what waits for that.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waiting: Vec<Waiting>,
}

/// What the receipts of a chain come to. Running sums: to add them up anew, all of it would have to be read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sums {
    /// What the seller asks for them.
    pub amount: MicroMoney,
    /// How much of that the buyer contested, decided by now or not.
    pub contested: MicroMoney,
    /// How much of that is not decided.
    pub held: MicroMoney,
    /// What the seller got by decisions.
    pub decided: MicroMoney,
    /// How many disputes are not decided.
    pub open: u64,
}

impl Sums {
    /// What both sides agreed at once.
    pub const fn agreed(&self) -> MicroMoney {
        MicroMoney(self.amount.0.saturating_sub(self.contested.0))
    }

    /// With one more receipt.
    #[must_use]
    pub const fn with(self, amount: MicroMoney) -> Self {
        Self { amount: plus(self.amount, amount), ..self }
    }

    /// With one more dispute.
    #[must_use]
    pub const fn disputed(self, contested: MicroMoney) -> Self {
        let (contested, held) = (plus(self.contested, contested), plus(self.held, contested));
        Self { contested, held, open: self.open.saturating_add(1), ..self }
    }

    /// With one dispute of so much decided.
    #[must_use]
    pub const fn decided(self, contested: MicroMoney, to_seller: MicroMoney) -> Self {
        let held = MicroMoney(self.held.0.saturating_sub(contested.0));
        Self { held, decided: plus(self.decided, to_seller), open: self.open.saturating_sub(1), ..self }
    }
}

const fn plus(a: MicroMoney, b: MicroMoney) -> MicroMoney {
    MicroMoney(a.0.saturating_add(b.0))
}

impl Chain {
    /// An empty one.
    pub fn new(partner: PartyId, side: Side, parties: Parties) -> Self {
        let head = Head::start(&parties);
        let (signed, told, sums, waiting) = (None, 0, Sums::default(), Vec::new());
        Self { partner, side, parties, head, signed, told, sums, heard: false, waiting }
    }

    /// The last receipt that both sides have signed: what stands there was agreed or contested, and cannot be contested
    /// any more.
    pub fn countersigned(&self) -> u64 {
        match self.side {
            Side::Sold => self.signed.as_ref().map_or(0, |(head, _)| head.number),
            Side::Bought => self.told,
        }
    }
}
