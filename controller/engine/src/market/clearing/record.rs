//! The record of a clearing, and what its hash is of.

use std::collections::BTreeMap;

use chandler_protocol::Digest;

use super::super::book::Book;
use super::super::canon::Canon;
use super::super::demand::Demand;
use super::super::lot::LotOffer;
use super::super::refusal::Refusal;
use super::award::award;
use super::rank::{Scored, judge, tie};
use super::{Award, Call, Candidate, Clearing, KEPT, RULES, Refused};

/// Clears a demand that was checked and whose candidates are in order.
pub(super) fn clearing(call: &Call, demand: &Demand, book: &Book) -> Clearing {
    let judged = judge(call, demand, book);
    let candidate = |s: &Scored<'_>| Candidate {
        lot: s.opened.lot.clone(),
        rate: s.rate,
        extra: s.extra,
        score: s.score,
        tie: tie(call.seed, demand, s.opened.lot.offer),
    };
    let ranked: Vec<_> = judged.fits.iter().take(KEPT).map(candidate).collect();
    let runner_up = judged.runner_up.and_then(|i| judged.fits.get(i)).map(candidate);
    let kept = judged.refused.iter().take(KEPT);
    let refused: Vec<_> = kept.map(|(o, reason)| Refused { lot: o.lot.clone(), reason: reason.clone() }).collect();
    let mut refusals = BTreeMap::new();
    for (_, reason) in &judged.refused {
        *refusals.entry(reason.as_str()).or_insert(0_u64) += 1;
    }
    if judged.unnamed > 0 {
        refusals.insert(Refusal::NotQualified.as_str(), count(judged.unnamed));
    }
    let mut clearing = Clearing {
        call: *call,
        version: RULES,
        demand: cut(demand, &ranked, &refused, runner_up.as_ref()),
        demand_digest: demand.digest(),
        named: count(demand.candidates.len()),
        lots_digest: book.digest(),
        lots: count(book.len()),
        fit: count(judged.fits.len()),
        ranked,
        refused,
        refusals: refusals.into_iter().map(|(rule, count)| (rule.to_owned(), count)).collect(),
        winner: award(call.rule, demand, &judged),
        runner_up,
        hash: Digest([0; 32]),
    };
    clearing.hash = clearing.compute_hash();
    clearing
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

/// The demand with only those candidates, by machine, whose lots are kept.
fn cut(demand: &Demand, ranked: &[Candidate], refused: &[Refused], runner_up: Option<&Candidate>) -> Demand {
    let fits = ranked.iter().chain(runner_up).map(|c| c.lot.host);
    let mut hosts: Vec<_> = fits.chain(refused.iter().map(|r| r.lot.host)).collect();
    hosts.sort_unstable();
    let named = demand.candidates.iter().filter(|c| hosts.binary_search(&c.host).is_ok());
    let candidates = named.copied().collect();
    Demand {
        id: demand.id,
        buyer: demand.buyer,
        wanted: demand.wanted,
        cap: demand.cap,
        candidates,
        countries: demand.countries.clone(),
        availability_min: demand.availability_min,
        not_owners: demand.not_owners.clone(),
        same: demand.same.clone(),
    }
}

impl Clearing {
    /// The hash that the record should have: of all its fields but the hash, in their order, as
    /// `chandler.market.clearing.1`, or `.2` with GPUs. A refusal is written as its name in the API and its sentence.
    pub fn compute_hash(&self) -> Digest {
        let Call { rule, seed, at, previous } = self.call;
        let kinds = ["chandler.market.clearing.1", "chandler.market.clearing.2"];
        let to = Canon::of(kinds, self.has_gpus()).text(rule.as_str()).digest(seed);
        let to = to.raw(&at.0.to_le_bytes()).digest(previous).number(u64::from(self.version));
        let to = self.demand.write(to).digest(self.demand_digest).number(self.named);
        let to = to.digest(self.lots_digest).number(self.lots).number(self.fit);
        let to = to.list(&self.ranked, |to, c| c.write(to));
        let to = to.list(&self.refused, |to, r| r.lot.write(to).text(r.reason.as_str()).text(&r.reason.to_string()));
        let refusals: Vec<_> = self.refusals.iter().collect();
        let to = to.list(&refusals, |to, (rule, count)| to.text(rule).number(**count));
        let to = to.optional(self.winner.as_ref(), |to, w| w.write(to));
        to.optional(self.runner_up.as_ref(), |to, c| c.write(to)).hash()
    }

    fn has_gpus(&self) -> bool {
        let fits = self.ranked.iter().chain(&self.runner_up).map(|c| &c.lot);
        let mut lots = fits.chain(self.refused.iter().map(|r| &r.lot));
        let is_paid = self.winner.is_some_and(|w| w.rates.gpu_hour.0 != 0);
        self.demand.wanted.gpus > 0 || is_paid || lots.any(LotOffer::has_gpus)
    }
}

impl Candidate {
    fn write(&self, to: Canon) -> Canon {
        self.lot.write(to).money(self.rate).money(self.extra).money(self.score).digest(self.tie)
    }
}

impl Award {
    fn write(&self, to: Canon) -> Canon {
        to.raw(self.host.as_bytes())
            .raw(self.offer.as_bytes())
            .number(self.version)
            .raw(self.owner.as_bytes())
            .rates(self.rates)
            .money(self.posted)
            .money(self.paid)
    }
}
