//! Offers: what a site's owner posts on the market, the states it goes through, and what is refused.

mod check;
mod window;

use chandler_protocol::{Micros, OfferId, PartyId, Ppm, SiteId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::fleet::Capacity;
use crate::hours::Hours;
use crate::site::Rates;

pub use check::{check, check_rates};
pub use window::open_until;

/// Most that one core-hour, GiB-hour or GPU-hour may be asked for: a thousand units of the currency. A rate above is a slip
/// of the pen, and sums over the largest machine stay far from the ends of the integers.
pub const RATE_MAX: i64 = 1_000_000_000;
/// Most windows of one offer.
pub const WINDOWS_MAX: usize = 16;
/// Longest minimum term: what nobody can leave for longer than a month is a contract, not an offer.
pub const TERM_MAX: Micros = Micros::from_secs(31 * 86_400);
/// Longest notice of a reclaim or of a price.
pub const NOTICE_MAX: Micros = Micros::from_secs(31 * 86_400);

/// How an offer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum OfferState {
    /// It can be bought.
    Active,
    /// Its owner holds it back for now: nothing new is sold, and what was sold runs on under its lease.
    Paused,
    /// All of it is sold. It is active again once something is free.
    Exhausted,
    /// Its time is over.
    Expired,
    /// Its owner took it back for good.
    Withdrawn,
}

impl OfferState {
    /// All of them, in the order of the vocabulary.
    pub const ALL: [Self; 5] = [Self::Active, Self::Paused, Self::Exhausted, Self::Expired, Self::Withdrawn];

    /// As it stands in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Paused => "paused",
            Self::Exhausted => "exhausted",
            Self::Expired => "expired",
            Self::Withdrawn => "withdrawn",
        }
    }

    /// Whether nothing follows: who wants to sell again posts a new offer.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Expired | Self::Withdrawn)
    }

    /// The transition table. Nothing leaves a final state, and nothing becomes what it is.
    pub const fn may_become(self, to: Self) -> bool {
        match (self, to) {
            (Self::Active, to) => !matches!(to, Self::Active),
            // What is held back is not sold on: it cannot run out.
            (Self::Paused, Self::Active | Self::Expired | Self::Withdrawn) => true,
            (Self::Exhausted, to) => !matches!(to, Self::Exhausted),
            _ => false,
        }
    }
}

/// What a site's owner offers, for new leases; those that run keep what they were made under.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// Its id.
    pub id: OfferId,
    /// Whose machines.
    pub site: SiteId,
    /// Who is paid.
    pub owner: PartyId,
    /// How it is.
    pub state: OfferState,
    /// What is asked for, 0 to [`RATE_MAX`] each. Some may be zero (memory that comes with the core); all only if
    /// [`Offer::free`] says so.
    pub asked: Rates,
    /// That nothing is asked for on purpose: a rate that was forgotten must not give a machine away.
    #[serde(default)]
    pub free: bool,
    /// At most so much of each host; none: all that the machine gives to the fleet.
    pub capacity: Option<Capacity>,
    /// When it is there: 1 to [`WINDOWS_MAX`], in one time zone, none over another. `daily 00:00-24:00 UTC` is always.
    pub windows: Vec<Hours>,
    /// Shortest lease that is paid for, a minute to [`TERM_MAX`]; fits into the longest window.
    pub min_term: Micros,
    /// How long before the owner takes it back a buyer is told, 0 to [`NOTICE_MAX`]. 0: at once.
    pub reclaim_notice: Micros,
    /// ISO 3166-1 alpha-2 code of the country where data stays.
    pub residency: String,
    /// Promised share of the time within the windows.
    pub availability: Ppm,
    /// How long before a higher rate counts for leases that run, 0 to [`NOTICE_MAX`].
    pub price_notice: Micros,
    /// Counts changes, from 1: what a clearing and a commitment name.
    pub version: u64,
    /// When this version was posted.
    pub posted_at: Timestamp,
    /// Why it is in this state, when there is something to say.
    pub reason: String,
    /// When its last window is over and it expires; none: it stands until it is withdrawn.
    #[serde(default)]
    pub until: Option<Timestamp>,
}

#[cfg(test)]
mod tests {
    use super::OfferState::{self, *};

    #[test]
    fn only_lawful_changes_of_state() {
        let allowed: Vec<_> = OfferState::ALL
            .iter()
            .flat_map(|from| OfferState::ALL.map(|to| (*from, to)))
            .filter(|(from, to)| from.may_become(*to))
            .collect();
        let expect = [
            (Active, Paused),
            (Active, Exhausted),
            (Active, Expired),
            (Active, Withdrawn),
            (Paused, Active),
            (Paused, Expired),
            (Paused, Withdrawn),
            (Exhausted, Active),
            (Exhausted, Paused),
            (Exhausted, Expired),
            (Exhausted, Withdrawn),
        ];
        assert_eq!(allowed, expect);
        for (from, _) in allowed {
            assert!(!from.is_final(), "{from:?} is final and is left");
        }
    }
}
