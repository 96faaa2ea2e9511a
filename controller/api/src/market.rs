//! The market: what sites offer to partners, the demands that were cleared, and the capacity that was sold or bought.

mod demand;
mod lease;
mod standing;

use chandler_protocol::unit::{Micros, MilliCpu, Ppm};
use chandler_protocol::{Digest, OfferId};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::{IntoParams, ToSchema};

pub use self::demand::{Award, DemandLine, DemandRecord, DemandWish, Lot, Named, RankedLot, RefusedLot};
pub use self::lease::{ClosedBy, Lease, LeaseClosed, LeaseQuery, LeaseSide, LeaseState};
pub use self::standing::Standing;
use crate::order::cores;
use crate::site::Rates;
use crate::value::{Quantity, Size, Span, Time};

/// How demands are cleared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum MarketRule {
    /// The least score wins and is paid as posted.
    PostedRate,
    /// The least score wins and is paid the highest rate at which it would still have been chosen.
    SecondScore,
}

/// How an offer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
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

/// This controller's market.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Market {
    /// The rule of its next clearing.
    pub rule: MarketRule,
    /// Decides between equal scores; drawn once and published.
    #[schema(value_type = String)]
    pub seed: Digest,
    /// Hash of the last record: each is a link of one chain.
    #[schema(value_type = String)]
    pub head: Digest,
    /// How many demands were cleared.
    pub cleared: u64,
    /// How many offers can be bought.
    pub active_offers: u64,
    /// How many leases are open, sold and bought.
    pub open_leases: u64,
}

/// How much of one machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MachineShare {
    /// Cores, for instance 0.5.
    #[serde(with = "cores")]
    #[schema(value_type = f64, example = 2.0)]
    pub cpu: MilliCpu,
    /// Memory.
    #[schema(value_type = String, example = "4 GiB")]
    pub memory: Size,
    /// GPUs (default: none of them).
    #[serde(default, skip_serializing_if = "is_none")]
    pub gpus: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
const fn is_none(gpus: &u32) -> bool {
    *gpus == 0
}

/// Offers the machines of a site to partners.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OfferPost {
    /// Name or id of the site.
    pub site: String,
    /// What is asked for, 0 to 1000 each.
    pub rates: Rates,
    /// That nothing is asked for on purpose (default false).
    #[serde(default)]
    pub free: bool,
    /// At most so much of each machine (default: all that it gives to the fleet).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<MachineShare>,
    /// When it is there, such as `Mon-Fri 18:00-08:00 Europe/Berlin`: 1 to 16, in one time zone, none over another
    /// (default: always).
    #[serde(default = "always")]
    pub windows: Vec<String>,
    /// Shortest lease that is paid for, 1 min to 31 d (default 1 min).
    #[serde(default = "a_minute")]
    #[schema(value_type = String, example = "30 min")]
    pub min_term: Span,
    /// How long before it is taken back a buyer is told, up to 31 d (default 10 min). `0 s`: at once.
    #[serde(default = "ten_minutes")]
    #[schema(value_type = String, example = "10 min")]
    pub reclaim_notice: Span,
    /// Country where data stays (default: the site's).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub residency: Option<String>,
    /// Promised share of the time within the windows (default: what is expected of such a site).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "99 %")]
    pub availability: Option<Quantity<Ppm>>,
    /// How long before a higher rate counts for leases that run, up to 31 d (default 1 d).
    #[serde(default = "a_day")]
    #[schema(value_type = String, example = "1 d")]
    pub price_notice: Span,
    /// When it ends for good (default: when it is withdrawn).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub until: Option<Time>,
}

/// All hours of the week.
fn always() -> Vec<String> {
    vec!["daily 00:00-24:00 UTC".to_owned()]
}

const fn a_minute() -> Span {
    Span(Micros::from_secs(60))
}

const fn ten_minutes() -> Span {
    Span(Micros::from_secs(600))
}

const fn a_day() -> Span {
    Span(Micros::from_secs(86_400))
}

/// Changes an offer, for new leases; those that run keep what they were made under, but for a higher rate: that counts
/// for them too once the notice that was agreed has passed. Fields left out stay.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OfferChange {
    /// What is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rates: Option<Rates>,
    /// That nothing is asked for on purpose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free: Option<bool>,
    /// At most so much of each machine; `null`: all that it gives to the fleet.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<MachineShare>)]
    pub capacity: Option<Option<MachineShare>>,
    /// When it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub windows: Option<Vec<String>>,
    /// Shortest lease that is paid for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub min_term: Option<Span>,
    /// How long before it is taken back a buyer is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub reclaim_notice: Option<Span>,
    /// Country where data stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub residency: Option<String>,
    /// Promised share of the time within the windows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub availability: Option<Quantity<Ppm>>,
    /// How long before a higher rate counts for leases that run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub price_notice: Option<Span>,
    /// When it ends for good; `null`: when it is withdrawn.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub until: Option<Option<Time>>,
    /// `active`, `paused` or `withdrawn`; nothing follows the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<OfferState>,
    /// Why, for whoever reads the history; up to 512 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A field that is there, also when it is `null`.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(d: D) -> Result<Option<T>, D::Error> {
    T::deserialize(d).map(Some)
}

/// An offer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Offer {
    /// Its id.
    #[schema(value_type = String)]
    pub id: OfferId,
    /// Name of the site.
    pub site: String,
    /// Name of who is paid.
    pub owner: String,
    /// How it is.
    pub state: OfferState,
    /// Why, when there is something to say.
    pub reason: String,
    /// What is asked for.
    pub rates: Rates,
    /// That nothing is asked for on purpose.
    pub free: bool,
    /// At most so much of each machine; absent: all that it gives to the fleet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<MachineShare>,
    /// When it is there.
    pub windows: Vec<String>,
    /// Shortest lease that is paid for.
    #[schema(value_type = String)]
    pub min_term: Span,
    /// How long before it is taken back a buyer is told.
    #[schema(value_type = String)]
    pub reclaim_notice: Span,
    /// Country where data stays.
    pub residency: String,
    /// Promised share of the time within the windows.
    #[schema(value_type = String)]
    pub availability: Quantity<Ppm>,
    /// How long before a higher rate counts for leases that run.
    #[schema(value_type = String)]
    pub price_notice: Span,
    /// When it ends for good; absent: when it is withdrawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub until: Option<Time>,
    /// Counts changes, from 1: what a clearing names.
    pub version: u64,
    /// When this version was posted.
    #[schema(value_type = String)]
    pub posted_at: Time,
    /// Hash of this version and a secret salt, which a clearing opens: what was asked for cannot be changed afterwards.
    #[schema(value_type = String)]
    pub commitment: Digest,
    /// How many machines the site has.
    pub machines: u32,
    /// How many of them are not offered now, and why, by reason.
    pub closed: std::collections::BTreeMap<String, u32>,
    /// Open leases of its machines.
    pub leases: u32,
}

/// Which offers are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct OfferQuery {
    /// Only those of this site (name or id).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
    /// Only those in this state (default: all).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<String>)]
    pub state: Option<OfferState>,
    /// Most items wanted, 1 to 500 (default 100).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// The `nextPageToken` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page_token: Option<String>,
}
