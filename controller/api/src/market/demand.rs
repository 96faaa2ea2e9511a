//! Demands that were cleared, and the record of each: all that is needed to reach the same result.

use std::collections::BTreeMap;

use chandler_protocol::unit::Ppm;
use chandler_protocol::{AssignmentId, Digest, HostId, OfferId, PartyId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::MarketRule;
use crate::host::Capacity;
use crate::site::Rates;
use crate::value::{Money, Time};

/// A demand that was cleared, in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DemandLine {
    /// Its id: that of the buyer's assignment, and of the lease.
    #[schema(value_type = String)]
    pub id: AssignmentId,
    /// When it was cleared.
    #[schema(value_type = String)]
    pub at: Time,
    /// Name of who pays.
    pub buyer: String,
    /// How much of one machine.
    pub wanted: Capacity,
    /// Most that it may cost an hour.
    pub cap: Money,
    /// How many lots fit.
    pub fit: u64,
    /// Who got it; absent when nothing fits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub winner: Option<Award>,
}

/// Who got a demand, and for how much.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Award {
    /// Name of the machine.
    pub host: String,
    /// Its id.
    #[schema(value_type = String)]
    pub host_id: HostId,
    /// The offer.
    #[schema(value_type = String)]
    pub offer: OfferId,
    /// Its version.
    pub version: u64,
    /// Name of who is paid.
    pub owner: String,
    /// Its id.
    #[schema(value_type = String)]
    pub owner_id: PartyId,
    /// The posted rates.
    pub rates: Rates,
    /// What they come to an hour, for all that is wanted.
    pub posted: Money,
    /// What is paid an hour.
    pub paid: Money,
}

/// The record of a clearing, and what the controller finds when it clears the same again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DemandRecord {
    /// The demand. Of its candidates, those whose lots stand in this record.
    pub demand: DemandWish,
    /// Hash of the whole demand.
    #[schema(value_type = String)]
    pub demand_digest: Digest,
    /// How many machines the whole demand names.
    pub named: u64,
    /// The rule.
    pub rule: MarketRule,
    /// Version of the rules.
    pub rules: u32,
    /// Decides between equal scores; published before.
    #[schema(value_type = String)]
    pub seed: Digest,
    /// When it was cleared.
    #[schema(value_type = String)]
    pub at: Time,
    /// Hash of the record before this one; zeros for the first.
    #[schema(value_type = String)]
    pub previous: Digest,
    /// Hash of this record.
    #[schema(value_type = String)]
    pub hash: Digest,
    /// Hash of all lots of that moment.
    #[schema(value_type = String)]
    pub lots_digest: Digest,
    /// How many lots there were.
    pub lots: u64,
    /// How many of them fit.
    pub fit: u64,
    /// The first hundred that fit, best first.
    pub ranked: Vec<RankedLot>,
    /// The first hundred that the buyer named and that do not fit.
    pub refused: Vec<RefusedLot>,
    /// How many each rule refused.
    pub refusals: BTreeMap<String, u64>,
    /// Who got it; absent when nothing fits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub winner: Option<Award>,
    /// Who would have got it else; under `secondScore` the next of another owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runner_up: Option<RankedLot>,
    /// Who got it and why, in one sentence.
    pub explain: String,
    /// Whether clearing what the record keeps again gives the same.
    pub replays: bool,
    /// Where it differs, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub difference: Option<String>,
    /// Whether every lot that could matter stands in the record, so that nothing else is needed to check it.
    pub whole: bool,
}

/// What a buyer wanted for one assignment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DemandWish {
    /// Its id: that of the buyer's assignment.
    #[schema(value_type = String)]
    pub id: AssignmentId,
    /// Name of who pays.
    pub buyer: String,
    /// Its id.
    #[schema(value_type = String)]
    pub buyer_id: PartyId,
    /// How much of one machine.
    pub wanted: Capacity,
    /// Most that it may cost an hour.
    pub cap: Money,
    /// The machines that would do.
    pub candidates: Vec<Named>,
    /// Countries where data may stay; empty for all.
    pub countries: Vec<String>,
    /// Least availability, in parts per million.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u32>)]
    pub availability_min_ppm: Option<Ppm>,
    /// Owners that were left out, by id.
    #[schema(value_type = Vec<String>)]
    pub not_owners: Vec<PartyId>,
    /// Parties that are the buyer under another id.
    #[schema(value_type = Vec<String>)]
    pub same: Vec<PartyId>,
}

/// A machine that would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Named {
    /// Its id.
    #[schema(value_type = String)]
    pub host_id: HostId,
    /// What the buyer reckons with on top of the rate, an hour.
    pub extra: Money,
}

/// One machine of one offer, as it was laid before the clearing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Lot {
    /// Name of the machine.
    pub host: String,
    /// Its id.
    #[schema(value_type = String)]
    pub host_id: HostId,
    /// The offer.
    #[schema(value_type = String)]
    pub offer: OfferId,
    /// Its version.
    pub version: u64,
    /// Name of who is paid.
    pub owner: String,
    /// Its id.
    #[schema(value_type = String)]
    pub owner_id: PartyId,
    /// What was asked for.
    pub rates: Rates,
    /// What was not sold yet.
    pub free: Capacity,
    /// Country where data stays.
    pub country: String,
    /// Share of the time that it will be there, in parts per million.
    #[schema(value_type = u32)]
    pub availability_ppm: Ppm,
    /// What it is expected to cost an hour that the owner may fail.
    pub risk: Money,
    /// Why it could not be bought then, if so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed: Option<String>,
    /// What was committed to with the offer, opened.
    #[schema(value_type = String)]
    pub salt: Digest,
    /// The commitment that was published before.
    #[schema(value_type = String)]
    pub commitment: Digest,
}

/// A lot that fits, with the parts of its score. All amounts are an hour's, for all that is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RankedLot {
    /// From 1.
    pub rank: u64,
    /// The lot.
    pub lot: Lot,
    /// What is asked for.
    pub rate: Money,
    /// What the buyer reckons with on top: transfer, and its own risk.
    pub extra: Money,
    /// The sum of rate, extra and the lot's risk.
    pub score: Money,
    /// Decides among equal scores: the lesser is before the greater.
    #[schema(value_type = String)]
    pub tie: Digest,
}

/// A lot that does not fit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RefusedLot {
    /// The lot.
    pub lot: Lot,
    /// The first rule that refuses it.
    pub rule: String,
    /// Why, in one sentence.
    pub reason: String,
}
