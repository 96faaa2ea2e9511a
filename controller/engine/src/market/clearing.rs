//! Clearing: which of the lots that fit a demand gets it, what is paid, and the record by which anyone can check both.
//!
//! `qualify -> rank -> award -> record`, each in a file of its own. The rules are those of the vocabulary: score = rate +
//! transfer + risk, an hour, for all that is wanted; the least wins.

mod award;
#[cfg(test)]
mod cases;
#[cfg(test)]
mod laws;
mod rank;
mod record;
mod replay;

use std::collections::BTreeMap;

use chandler_protocol::{Digest, HostId, MicroMoney, OfferId, PartyId, Timestamp};
use serde::{Deserialize, Serialize};

use super::book::Book;
use super::demand::Demand;
use super::field::FieldError;
use super::lot::LotOffer;
use super::refusal::Refusal;
use crate::site::Rates;

pub use rank::Hourly;
pub use replay::{Difference, replay, replay_with, verify_chain};

/// Version of the rules; kept with every record.
pub const RULES: u32 = 1;
/// Most lots that fit, and most refused ones, that a record keeps in words; of the rest it keeps counts.
pub const KEPT: usize = 100;

/// How a demand is cleared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Rule {
    /// The least score wins and is paid as posted.
    PostedRate,
    /// The least score wins and is paid the highest rate at which it would still have been chosen: the best score of
    /// another owner without its own transfer and risk, at most the buyer's cap. All lots of one owner count as one.
    SecondScore,
}

impl Rule {
    /// Both.
    pub const ALL: [Self; 2] = [Self::PostedRate, Self::SecondScore];

    /// As it stands in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PostedRate => "postedRate",
            Self::SecondScore => "secondScore",
        }
    }
}

/// What a clearing goes by, apart from demand and lots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// The rule.
    pub rule: Rule,
    /// Decides between equal scores. Published before the offers are opened.
    pub seed: Digest,
    /// When.
    pub at: Timestamp,
    /// The hash of the record before this one; zeros for the first.
    pub previous: Digest,
}

/// A lot that fits, with the parts of its score. All amounts are an hour's, for all that is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// As it was laid before the clearing; its `risk` is part of the score.
    pub lot: LotOffer,
    /// What is asked for, by the arithmetic that later rates the use.
    pub rate: MicroMoney,
    /// What the buyer reckons with on top.
    pub extra: MicroMoney,
    /// The sum of rate, extra and risk.
    pub score: MicroMoney,
    /// Decides among equal scores: the lesser digest is before the greater.
    pub tie: Digest,
}

/// A lot that does not fit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// As it was laid before the clearing.
    pub lot: LotOffer,
    /// The first rule that refuses it.
    pub reason: Refusal,
}

/// Who got the demand, and for how much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Award {
    /// The machine.
    pub host: HostId,
    /// The offer.
    pub offer: OfferId,
    /// Its version, which the lease pins.
    pub version: u64,
    /// Who is paid.
    pub owner: PartyId,
    /// The posted rates, which the lease pins.
    pub rates: Rates,
    /// What they come to an hour, for all that is wanted.
    pub posted: MicroMoney,
    /// What is paid an hour. At least what is posted, at most the buyer's cap.
    pub paid: MicroMoney,
}

/// The record of one clearing: enough for anyone to reach the same result, and a link of the market's hash chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clearing {
    /// What it goes by.
    pub call: Call,
    /// Version of the rules.
    pub version: u32,
    /// The demand. Of its candidates, those whose lots stand in this record.
    pub demand: Demand,
    /// The hash of the whole demand.
    pub demand_digest: Digest,
    /// How many machines the whole demand names.
    pub named: u64,
    /// The hash of all lots.
    pub lots_digest: Digest,
    /// How many lots there were.
    pub lots: u64,
    /// How many of them fit.
    pub fit: u64,
    /// The first [`KEPT`] that fit, best first.
    pub ranked: Vec<Candidate>,
    /// The first [`KEPT`] that do not fit and that the buyer named, by machine and offer.
    pub refused: Vec<Refused>,
    /// How many each rule refused, in the words of the API.
    pub refusals: BTreeMap<String, u64>,
    /// Who got it.
    pub winner: Option<Award>,
    /// Who would have got it else: the next lot, under [`Rule::SecondScore`] the next of another owner.
    pub runner_up: Option<Candidate>,
    /// The hash of all of the above.
    pub hash: Digest,
}

/// Clears a demand.
///
/// # Errors
/// The demand has a field that cannot stand. That nothing fits is no error: the record then has no winner.
pub fn clear(call: &Call, demand: &Demand, book: &Book) -> Result<Clearing, FieldError> {
    let demand = demand.ordered();
    demand.check_ordered()?;
    Ok(record::clearing(call, &demand, book))
}

/// Only who gets a demand, whose candidates are in order, and for how much: the same without the record.
pub(super) fn outcome(call: &Call, demand: &Demand, book: &Book) -> Option<Award> {
    award::award(call.rule, demand, &rank::judge(call, demand, book))
}

impl Clearing {
    /// Whether every lot that could matter stands in the record, so that [`replay`] needs nothing else.
    pub fn is_whole(&self) -> bool {
        let unnamed = self.refusals.get(Refusal::NotQualified.as_str()).copied().unwrap_or(0);
        let kept = u64::try_from(self.ranked.len() + self.refused.len()).unwrap_or(u64::MAX);
        self.lots.saturating_sub(unnamed) == kept
    }

    /// Says in a sentence who got it and why.
    pub fn explain(&self) -> String {
        let Some((winner, first)) = self.winner.zip(self.ranked.first()) else {
            let most = self.refusals.iter().max_by_key(|(_, count)| **count);
            let why = most.map_or_else(String::new, |(rule, count)| format!(", {count} of them by the rule {rule}"));
            return format!("nothing fits: all of {} lots are refused{why}", self.lots);
        };
        let Award { offer, owner, host, paid, .. } = winner;
        let parts = format!("{} rate + {} transfer + {} risk", first.rate, first.extra, first.lot.risk);
        let against = match &self.runner_up {
            Some(next) if next.score == first.score => {
                format!("as good as {} and before it by the published seed", next.lot.offer)
            }
            Some(next) => format!("before {} of {} with {}", next.lot.offer, next.lot.owner, next.score),
            None => "and nobody else's fits".to_owned(),
        };
        let why = match (self.call.rule, &self.runner_up) {
            (Rule::PostedRate, _) => "as posted",
            (Rule::SecondScore, Some(_)) if paid < self.demand.cap => "the highest with which it still comes first",
            (Rule::SecondScore, _) => "the buyer's cap",
        };
        format!(
            "{offer} of {owner} gets it on {host}: it has the least score of {} that fit, {} an hour ({parts}), {against}; it is paid {paid} an hour, {why}",
            self.fit, first.score
        )
    }
}
