//! The words between two controllers, in the order in which they are said. JSON on the wire: fields are only ever added.
//!
//! What is said about agents is said in the agents' own words ([`chandler_protocol::state`], [`chandler_protocol::way`]):
//! a home relays, it does not translate.

use std::net::SocketAddr;

use chandler_protocol::inventory::HostInventory;
use chandler_protocol::lease::LeaseRequest;
use chandler_protocol::state::{Assignment, ObservedAssignment};
use chandler_protocol::telemetry::Readings;
use chandler_protocol::way::{ObservedWays, Ways};
use chandler_protocol::{AssignmentId, HostId, MicroMoney, Micros, PartyId, Ppm, ServiceId, SiteId};
use serde::{Deserialize, Serialize};

use super::claim::Said;
use super::lease::{LeaseState, Party};
use super::repute::Odds;
use crate::availability::History;
use crate::fleet::Capacity;
use crate::site::Rates;

/// Most lots in one catalogue.
pub(super) const LOTS_MAX: usize = 100_000;

/// Everything that one partner offers to another.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Catalogue {
    /// Changes whenever the rest does.
    pub generation: u64,
    /// ISO 4217 code of every amount.
    pub currency: String,
    /// In order of host.
    pub lots: Vec<Lot>,
}

/// Whose machine a lot is, seen from the buyer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LotKind {
    /// The seller's own server.
    Partner,
    /// A remote site's, registered with the seller's marketplace.
    Remote,
}

/// One host of an offer, as a buyer sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lot {
    /// The host; the same id at its home and at every buyer.
    pub host: HostId,
    /// What its home calls it.
    pub name: String,
    /// Its site at its home.
    pub site: SiteId,
    /// What its home calls the site.
    pub site_name: String,
    /// Whose machine it is.
    pub kind: LotKind,
    /// Who is paid by the seller. Offers of one owner count as one where a second score is paid.
    pub owner: PartyId,
    /// ISO 3166-1 alpha-2 code.
    pub country: String,
    /// Id of the offer.
    pub offer: String,
    /// Its version: rates of another version are other rates.
    pub version: u64,
    /// What is asked.
    pub rates: Rates,
    /// What this buyer could have of it in all: what is free, and what it has leased already.
    pub available: Capacity,
    /// Share of its time that the seller promises it to be up.
    pub availability: Ppm,
    /// How often it was there, as its home saw it.
    pub history: History,
    /// How long before it is taken back a buyer is told.
    pub notice: Micros,
    /// What its seller has to be expected to do, as the home has it in its books.
    #[serde(default)]
    pub odds: Odds,
    /// The least time that is paid for.
    pub min_term: Micros,
    /// Why it takes no new lease now; absent: it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed: Option<String>,
    /// Whether it is connected to its home.
    pub connected: bool,
    /// Round trip between it and its home.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtt: Option<Micros>,
    /// SHA-256 of its agent's public key: what tunnels to it are pinned to.
    pub key: [u8; 32],
    /// Where its agent accepts tunnels, best first.
    pub listens: Vec<SocketAddr>,
    /// Version of the messages that its agent speaks.
    pub protocol: u16,
    /// What it is.
    pub inventory: HostInventory,
}

/// What a buyer wants for one assignment. Its id is the assignment's and stands in the address of the call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Demand {
    /// What runs, for the statement.
    pub service: ServiceId,
    /// Its name, for people.
    pub label: String,
    /// How much.
    pub wanted: Capacity,
    /// The most that is paid for the whole of it, an hour.
    pub cap: MicroMoney,
    /// The hosts that would do, by the buyer's own rules; at most [`crate::market::demand::CANDIDATES_MAX`].
    pub candidates: Vec<Qualified>,
    /// 0: it is asked for the first time. Otherwise what is leased already shall be as large as `wanted` from this epoch of
    /// the assignment on; of the rest nothing changes.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub epoch: u64,
    /// Counts the sizes that were asked for: a word that a later one has overtaken changes nothing.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub turn: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A host that would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Qualified {
    /// Which.
    pub host: HostId,
    /// What it costs the buyer beside the rate, an hour: transfer and risk.
    pub extra: MicroMoney,
}

/// How a lease is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LeaseWord {
    /// The assignment that it is for.
    pub id: AssignmentId,
    /// Where.
    pub host: HostId,
    /// How much.
    pub capacity: Capacity,
    /// From which epoch of the assignment on. 0: it never was otherwise.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub epoch: u64,
    /// The demand by which it has this size, by [`Demand::turn`].
    #[serde(default, skip_serializing_if = "is_zero")]
    pub turn: u64,
    /// What is paid.
    pub rates: Rates,
    /// How it is.
    pub state: LeaseState,
    /// How long until that ends by itself: a reservation that is not used, a host that is taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_in: Option<Micros>,
    /// Who closed it, if it is closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_by: Option<Party>,
    /// Why it is so, in one sentence.
    #[serde(default)]
    pub reason: String,
    /// How long before a higher rate counts, pinned with the rates.
    #[serde(default)]
    pub price_notice: Micros,
    /// Higher rates that will hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<NextRates>,
}

/// Higher rates that will hold for a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NextRates {
    /// What is paid then.
    pub rates: Rates,
    /// How long until then.
    pub starts_in: Micros,
}

/// All that one buyer's software shall do on one host. Whole; replaces what was said under a lower generation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Orders {
    /// Grows with every change.
    pub generation: u64,
    /// In order of id. Each has a lease.
    pub assignments: Vec<Assignment>,
    /// Doors, peers and notices of these.
    pub ways: Ways,
    /// The buyer's, over the epochs ([`Said::to_sign`]); hexadecimal. Empty: they are not signed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub signature: String,
}

/// What is new for one buyer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct News {
    /// Ask for what comes after this next time.
    pub generation: u64,
    /// Hosts of which something is new, in order of id.
    pub hosts: Vec<HostNews>,
    /// Every lease of the buyer that is not closed, and those closed since, in order of id.
    pub leases: Vec<LeaseWord>,
}

/// How one host does, as far as it concerns one buyer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostNews {
    /// Which.
    pub host: HostId,
    /// Whether its home hears it.
    pub connected: bool,
    /// How long it has been silent towards its home.
    pub silent: Micros,
    /// Round trip between it and its home.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtt: Option<Micros>,
    /// Where its agent accepts tunnels, best first.
    #[serde(default)]
    pub listens: Vec<SocketAddr>,
    /// The generation of the orders that its agent has stored; 0 while that is not known.
    pub stored: u64,
    /// What it found of the buyer's assignments; absent while it has not said so to this run of its home.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed: Option<Vec<ObservedAssignment>>,
    /// What became of the buyer's ways.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ways: Option<ObservedWays>,
    /// How the machine does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readings: Option<Readings>,
    /// Leases (in the sense of [`chandler_protocol::lease`]) that it asks the buyer for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub asks: Vec<LeaseRequest>,
    /// What the buyer signed when it said last what this host shall do: one that was restored has forgotten it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub said: Option<Said>,
}
