//! Federation: capacity that is sold to and bought from other controllers.
//!
//! A lot is a host whose session runs through its home. The seller keeps a [`Lease`] for each assignment that a buyer may
//! run on one of its hosts, passes on what the buyer says ([`Tenancy`]) and what the host's agent answers, and meters it.
//! For the buyer the same host stands in its own model ([`supply`]): placement, moves, leases, front doors and bills treat
//! it as any other. One id goes from the demand to the receipt: the buyer's assignment.

mod answer;
mod buy;
mod catalogue;
mod chain;
mod claim;
mod contest;
mod cover;
mod lease;
mod meter;
mod orders;
mod receive;
mod repute;
mod restore;
mod sell;
mod size;
mod stock;
#[cfg(test)]
mod stories;
mod supply;
mod tenancy;
mod term;
pub mod trunk;
mod watch;
mod word;

pub use answer::answers;
pub use buy::{bought, demand, given_back, reclaimed, refuse, unheld, unknown, unleased, unused, wanted};
pub use catalogue::{Posted, lots, offer_of};
pub use chain::{Chain, Sums};
pub use claim::{Said, believed, claims_later};
pub use contest::{
    Contested, DisputeWord, WORDS_MAX, contested, countersign, hear, heard, propose, say, sweep as sweep_disputes,
    words,
};
pub use cover::{Covered, coverage};
pub(crate) use cover::{gaps_risk, supplied};
pub use lease::{Closed, Lease, LeaseState, Party, Side};
pub use meter::{chain_with, rate_sold};
pub use orders::{Refused, Taken, Wrong, not_taken, take_orders};
pub use receive::{Untaken, receive};
pub(crate) use repute::{CREDIT, CREDIT_UNAGREED, PROVISIONING_HOURS, expected, lost};
pub use repute::{Odds, Reputation, month_at_risk, odds, prior};
pub use restore::{Unrestored, Waiting, forgotten, not_given_again, restored, said};
pub use sell::{Market, Unsold, close, reserve, sweep};
pub use size::{Earlier, Size, Sizing, is_resized, not_sized, resize_all, resizing};
pub(crate) use size::{waiting, waits_for_room};
pub use supply::supply;
pub use tenancy::{Tenancy, desired, guest_ways, guests, retire as retire_tenancies, ways_of};
pub use term::{Raise, Term};
pub use watch::{Watch, watched};
pub use word::{Catalogue, Demand, HostNews, LeaseWord, Lot, LotKind, News, NextRates, Orders, Qualified};
