//! Federation: capacity that is sold to and bought from other controllers.
//!
//! A lot is a host whose session runs through its home. The seller keeps a [`Lease`] for each assignment that a buyer may
//! run on one of its hosts, passes on what the buyer says ([`Tenancy`]) and what the host's agent answers, and meters it.
//! For the buyer the same host stands in its own model ([`supply`]): placement, moves, leases, front doors and bills treat
//! it as any other. One id goes from the demand to the receipt: the buyer's assignment.

mod buy;
mod catalogue;
mod chain;
mod contest;
mod cover;
mod lease;
mod meter;
mod receive;
mod repute;
mod restore;
mod sell;
mod stock;
mod supply;
mod tenancy;
mod term;
mod watch;
mod word;

pub use buy::{bought, demand, given_back, reclaimed, refuse, unheld, unleased, unused, wanted};
pub use catalogue::{Posted, lots, offer_of};
pub use chain::{Chain, Sums};
pub use contest::{
    Contested, DisputeWord, WORDS_MAX, contested, countersign, hear, heard, propose, say, sweep as sweep_disputes,
    words,
};
pub use cover::{Covered, coverage};
pub(crate) use cover::{gaps_risk, supplied};
pub use lease::{Closed, Lease, LeaseState, Party, Side};
pub use meter::{chain_with, rate_sold};
pub use receive::{Untaken, receive};
pub(crate) use repute::{CREDIT, CREDIT_UNAGREED, PROVISIONING_HOURS, expected, lost};
pub use repute::{Odds, Reputation, month_at_risk, odds, prior};
pub use restore::{Unrestored, Waiting, forgotten, restored, said};
pub use sell::{Market, Unsold, close, reserve, sweep};
pub use supply::supply;
pub use tenancy::{Tenancy, desired, guest_ways, guests, take_orders, ways_of};
pub use term::{Raise, Term};
pub use watch::{Watch, watched};
pub use word::{Catalogue, Demand, HostNews, LeaseWord, Lot, LotKind, News, NextRates, Orders, Qualified};
