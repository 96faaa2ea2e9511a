//! Replay: whether a record says what the rules say. Needs nothing but the record; everything, if all lots are there.

use std::collections::BTreeMap;

use chandler_protocol::Digest;

use super::super::book::Book;
use super::super::demand::Demand;
use super::super::lot::LotOffer;
use super::super::refusal::Refusal;
use super::record::clearing;
use super::{Clearing, KEPT, RULES, Refused};

/// Where a record differs from what the rules say.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {what}")]
pub struct Difference {
    /// The field, as it stands in the API.
    pub field: &'static str,
    /// What is there, and what should be.
    pub what: String,
}

fn differs(field: &'static str, what: &str) -> Difference {
    Difference { field, what: what.to_owned() }
}

fn same<T: PartialEq>(field: &'static str, is: &T, should: &T) -> Result<(), Difference> {
    if is == should { Ok(()) } else { Err(differs(field, "is not what the rules say")) }
}

/// Checks a record by itself: its hash, and the result of clearing again what it keeps. If it keeps all
/// ([`Clearing::is_whole`]), nothing else can be wrong but what stood before it (see [`verify_chain`]) and whether there
/// were lots that it does not tell of (see [`replay_with`]). Else the order of what it keeps, the pay, and every reason
/// are checked, but not that a lot it only counts should have won.
///
/// # Errors
/// The first field that differs.
pub fn replay(record: &Clearing) -> Result<(), Difference> {
    check_form(record)?;
    let again = clearing(&record.call, &record.demand, &Book::open(kept_lots(record)));
    same("ranked", &record.ranked, &again.ranked)?;
    same("winner", &record.winner, &again.winner)?;
    same("runnerUp", &record.runner_up, &again.runner_up)?;
    for refused in record.refused.iter().filter(|r| is_judged_alone(record, r)) {
        same("refused", &again.refused.contains(refused), &true)?;
    }
    check_demand(record)?;
    check_counts(record)
}

/// Checks a record against the whole demand and all lots of that moment.
///
/// # Errors
/// The first field that differs.
pub fn replay_with(
    record: &Clearing,
    demand: &Demand,
    lots: impl IntoIterator<Item = LotOffer>,
) -> Result<(), Difference> {
    check_form(record)?;
    let again = clearing(&record.call, &demand.ordered(), &Book::open(lots));
    same("demandDigest", &record.demand_digest, &again.demand_digest)?;
    same("lotsDigest", &record.lots_digest, &again.lots_digest)?;
    same("named", &record.named, &again.named)?;
    same("lots", &record.lots, &again.lots)?;
    same("fit", &record.fit, &again.fit)?;
    same("ranked", &record.ranked, &again.ranked)?;
    same("refused", &record.refused, &again.refused)?;
    same("refusals", &record.refusals, &again.refusals)?;
    same("winner", &record.winner, &again.winner)?;
    same("runnerUp", &record.runner_up, &again.runner_up)?;
    same("demand", &record.demand, &again.demand)
}

/// Checks that each record follows the one before it; `before` is the hash of what stands before the first. The new
/// head.
///
/// # Errors
/// A record was changed, left out, or put elsewhere.
pub fn verify_chain(before: Digest, records: &[Clearing]) -> Result<Digest, Difference> {
    records.iter().try_fold(before, |before, record| {
        same("previous", &record.call.previous, &before)?;
        same("hash", &record.hash, &record.compute_hash())?;
        Ok(record.hash)
    })
}

/// Whether it is a record that we could have written, before any work is done on it.
fn check_form(record: &Clearing) -> Result<(), Difference> {
    if record.version != RULES {
        return Err(differs("version", "is not a version of the rules that is known here"));
    }
    if record.ranked.len() > KEPT || record.refused.len() > KEPT {
        return Err(differs("ranked", "has more entries than a record keeps"));
    }
    // One candidate for each lot that is kept.
    let kept = record.ranked.len() + record.refused.len() + 1;
    if record.demand.candidates.len() > kept {
        return Err(differs("demand", "names machines of which the record says nothing"));
    }
    if !record.demand.candidates.windows(2).all(|pair| pair[0].host < pair[1].host) {
        return Err(differs("demand", "has candidates that are out of order or there twice"));
    }
    same("hash", &record.hash, &record.compute_hash())
}

/// All lots that stand in a record, each once.
fn kept_lots(record: &Clearing) -> Vec<LotOffer> {
    let behind = record.runner_up.iter().filter(|r| !record.ranked.contains(r));
    let fits = record.ranked.iter().chain(behind).map(|c| c.lot.clone());
    let refused = record.refused.iter().filter(|r| is_judged_alone(record, r)).map(|r| r.lot.clone());
    fits.chain(refused).collect()
}

/// Whether a reason can be checked with the record alone. That another offer for the machine is before it can be only if
/// that one is kept as well.
fn is_judged_alone(record: &Clearing, refused: &Refused) -> bool {
    let (Refusal::SecondOffer { first }, host) = (&refused.reason, refused.lot.host) else { return true };
    let fits = record.ranked.iter().chain(&record.runner_up).map(|c| &c.lot);
    let is_second = |r: &Refused| matches!(r.reason, Refusal::SecondOffer { .. });
    let mut kept = fits.chain(record.refused.iter().filter(|r| !is_second(r)).map(|r| &r.lot));
    kept.any(|l| l.host == host && l.offer == *first)
}

/// Whether the demand can be what was cleared: if none of its candidates was left out, its hash is known.
fn check_demand(record: &Clearing) -> Result<(), Difference> {
    let kept = u64::try_from(record.demand.candidates.len()).unwrap_or(u64::MAX);
    if kept > record.named {
        return Err(differs("named", "is less than the candidates that are listed"));
    }
    if kept == record.named { same("demandDigest", &record.demand_digest, &record.demand.digest()) } else { Ok(()) }
}

/// Whether the counts can be true of what is kept.
fn check_counts(record: &Clearing) -> Result<(), Difference> {
    let sum = record.refusals.values().fold(record.fit, |sum, n| sum.saturating_add(*n));
    same("lots", &record.lots, &sum)?;
    let kept = |len: usize| u64::try_from(len).unwrap_or(u64::MAX);
    let most = kept(KEPT);
    same("fit", &kept(record.ranked.len()), &record.fit.min(most))?;
    let named = Refusal::NotQualified.as_str();
    let of_named: u64 =
        record.refusals.iter().filter(|(rule, _)| *rule != named).fold(0, |s, (_, n)| s.saturating_add(*n));
    same("refusals", &kept(record.refused.len()), &of_named.min(most))?;
    let mut counted: BTreeMap<&str, u64> = BTreeMap::new();
    for refused in &record.refused {
        *counted.entry(refused.reason.as_str()).or_insert(0) += 1;
    }
    for (rule, count) in counted {
        let said = record.refusals.get(rule).copied().unwrap_or(0);
        if said < count || (of_named <= most && said != count) {
            return Err(differs("refusals", "are not as many as are listed"));
        }
    }
    Ok(())
}
