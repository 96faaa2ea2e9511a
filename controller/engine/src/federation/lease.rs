//! Leases: capacity of one host that one controller has sold to another, for one assignment of the buyer.
//!
//! Not to be confused with the leases that copies run under ([`chandler_protocol::lease`]): those are short and are about
//! who is alive; these are about money.

use chandler_protocol::{AssignmentId, HostId, Micros, PartyId, ServiceId, SiteId, Timestamp};
use serde::{Deserialize, Serialize};

use super::watch::Watch;
use crate::fleet::Capacity;
use crate::service::{PriceTerms, Tariff};
use crate::site::Rates;

/// On which side of a lease this controller is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Side {
    /// It is the host's home and is paid.
    Sold,
    /// It runs something there and pays.
    Bought,
}

impl Side {
    /// As it is kept and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sold => "sold",
            Self::Bought => "bought",
        }
    }
}

/// A lease's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LeaseState {
    /// The capacity is held for a while; nothing is told to run yet.
    Reserved,
    /// It is used.
    Active,
    /// It is used until it is taken back; the buyer was told when.
    Reclaiming,
    /// It is over.
    Closed,
}

impl LeaseState {
    /// As it stands in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reserved => "reserved",
            Self::Active => "active",
            Self::Reclaiming => "reclaiming",
            Self::Closed => "closed",
        }
    }

    /// Whether a lease may go from this state to `to`. What is not listed is refused.
    pub const fn may_become(self, to: Self) -> bool {
        use LeaseState::{Active, Closed, Reclaiming, Reserved};
        matches!(
            (self, to),
            (Reserved, Active | Reclaiming | Closed) | (Active, Reclaiming | Closed) | (Reclaiming, Active | Closed)
        )
    }
}

/// Who ended something, and so whose fault it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Party {
    /// Who pays for it.
    Buyer,
    /// Whose controller is the host's home.
    Seller,
    /// Whose machine it is: it was taken back.
    Owner,
    /// Nobody touched it for too long.
    Time,
}

/// How a lease ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Closed {
    /// When.
    pub at: Timestamp,
    /// Who ended it.
    pub by: Party,
    /// Why, in one sentence.
    pub reason: String,
}

/// Capacity of one host that was sold for one assignment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lease {
    /// The buyer's assignment.
    pub id: AssignmentId,
    /// On which side this controller is.
    pub side: Side,
    /// The other side.
    pub partner: PartyId,
    /// Where.
    pub host: HostId,
    /// The host's site in this controller's model.
    pub site: SiteId,
    /// What runs, in the buyer's words.
    pub service: ServiceId,
    /// Its name, for people and statements.
    pub label: String,
    /// How much, from the epoch on that [`super::size`] keeps.
    pub capacity: Capacity,
    /// What is paid, pinned when it was made but for what is announced ([`super::term`]). Of [`Side::Sold`]: by the buyer;
    /// the site's owner gets the same.
    pub rates: Rates,
    /// BLAKE3 of the demand: the same id with another demand is refused.
    pub demand: [u8; 32],
    /// How it is.
    pub state: LeaseState,
    /// Since when.
    pub since: Timestamp,
    /// When it was made.
    pub made_at: Timestamp,
    /// When this state ends by itself: a reservation that is not used, a host that is taken back.
    pub ends_at: Option<Timestamp>,
    /// When the other side last had a word about it.
    pub touched_at: Timestamp,
    /// Why it is as it is.
    pub reason: String,
    /// How it ended.
    pub closed: Option<Closed>,
    /// What it holds does not run and keeps its state only: it needs no processor and no memory.
    pub idle: bool,
    /// How long was metered.
    pub metered: Micros,
    /// What this side knows of it itself.
    #[serde(default)]
    pub watch: Watch,
}

impl Lease {
    /// Whether its capacity is taken.
    pub fn is_open(&self) -> bool {
        self.state != LeaseState::Closed
    }

    /// What it takes of a host of this controller.
    pub fn taken(&self) -> Capacity {
        let takes = self.side == Side::Sold && self.is_open() && !self.idle;
        if !takes {
            return Capacity::default();
        }
        self.watch.size.still.map_or(self.capacity, |still| still.most(self.capacity))
    }

    /// What its usage is rated by. A seller adds nothing to the rates that were agreed.
    pub fn tariff(&self, epoch: u64) -> Tariff {
        let price = PriceTerms {
            offering: ("lease".to_owned(), 1),
            margin_percent: 0,
            management_hour: chandler_protocol::MicroMoney(0),
        };
        Tariff { epoch, reserved: self.capacity_at(epoch), rates: self.rates, price, metered: self.metered }
    }

    /// The same in another state; `None` where that is no way to go.
    #[must_use]
    pub fn to(&self, state: LeaseState, now: Timestamp, reason: &str) -> Option<Self> {
        let is_way = self.state.may_become(state);
        is_way.then(|| Self { state, since: now, ends_at: None, reason: reason.to_owned(), ..self.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_comes_back_from_closed() {
        use LeaseState::*;
        for to in [Reserved, Active, Reclaiming, Closed] {
            assert!(!Closed.may_become(to), "closed -> {to:?}");
            assert!(to == Reserved || [Reserved, Active, Reclaiming].iter().any(|from| from.may_become(to)));
        }
        assert!(!Active.may_become(Reserved) && Reclaiming.may_become(Active));
    }
}
