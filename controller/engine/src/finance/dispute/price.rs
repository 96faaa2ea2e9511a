//! What each side would settle a dispute for. The buyer's offer only grows, the seller's demand only falls: who moves,
//! moves against itself, and once they meet the dispute is decided.

use chandler_protocol::{MicroMoney, Timestamp};

use super::{Dispute, DisputeError, DisputeState};

/// Who names a price.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bidder {
    /// Who would pay it.
    Buyer,
    /// Who would take it.
    Seller,
}

impl Dispute {
    /// The most that the buyer would pay of what is contested.
    pub const fn offered(&self) -> MicroMoney {
        self.offer
    }

    /// The least that the seller would take.
    pub fn asked(&self) -> MicroMoney {
        self.ask.unwrap_or(self.hold.contested)
    }

    /// What both would settle for, once there is such an amount: what the seller would take.
    pub fn deal(&self) -> Option<MicroMoney> {
        (self.asked() <= self.offer).then(|| self.asked())
    }

    /// A side names its price: the timer begins anew. The same price again changes nothing.
    ///
    /// # Errors
    /// It is decided already; `price` is not from 0 to what is contested; or it takes back what was said before.
    pub fn propose(&self, bidder: Bidder, price: MicroMoney, now: Timestamp) -> Result<Self, DisputeError> {
        if !(0..=self.hold.contested.0.max(0)).contains(&price.0) {
            return Err(DisputeError::Share(self.hold.contested));
        }
        let (before, is_back) = match bidder {
            Bidder::Buyer => (self.offer, price < self.offer),
            Bidder::Seller => (self.asked(), price > self.asked()),
        };
        if is_back {
            return Err(DisputeError::Back(before));
        }
        let next = self.moved(DisputeState::Evidence, now)?;
        if price == before {
            return Ok(self.clone());
        }
        Ok(match bidder {
            Bidder::Buyer => Self { offer: price, ..next },
            Bidder::Seller => Self { ask: Some(price), ..next },
        })
    }
}
