//! Which lots fit a demand, and in which order.

use std::cmp::Ordering;

use chandler_protocol::{Digest, MicroMoney, Micros, OfferId};

use super::super::book::{Book, Opened};
use super::super::canon::Canon;
use super::super::demand::{Demand, Qualified};
use super::super::refusal::Refusal;
use super::{Call, KEPT, Rule};
use crate::finance::{AMOUNT_MAX, rate, round_div};
use crate::fleet::Capacity;
use crate::service::PriceTerms;
use crate::site::Rates;

/// One hour of some capacity, as rating counts it: what any rates come to is then one multiplication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hourly {
    core_hours_micros: i64,
    gib_hours_micros: i64,
    gpu_hours_micros: i64,
}

impl Hourly {
    /// One hour of `wanted`.
    pub fn new(wanted: Capacity) -> Self {
        let terms = PriceTerms { offering: (String::new(), 0), margin_percent: 0, management_hour: MicroMoney(0) };
        let charge = rate(Micros::from_secs(3_600), wanted, Rates::default(), &terms);
        Self {
            core_hours_micros: charge.core_hours_micros,
            gib_hours_micros: charge.gib_hours_micros,
            gpu_hours_micros: charge.gpu_hours_micros,
        }
    }

    /// What rates come to: what [`rate`] says of an hour, to the millionth.
    pub fn cost(&self, rates: Rates) -> MicroMoney {
        let part = |amount: i64, rate: MicroMoney| i128::from(amount) * i128::from(rate.0.max(0));
        let parts = [
            part(self.core_hours_micros, rates.core_hour),
            part(self.gib_hours_micros, rates.gib_hour),
            part(self.gpu_hours_micros, rates.gpu_hour),
        ];
        let sum = parts.into_iter().fold(0, i128::saturating_add);
        let cost = round_div(sum, 1_000_000).min(i128::from(AMOUNT_MAX));
        MicroMoney(i64::try_from(cost).unwrap_or(AMOUNT_MAX))
    }
}

/// A lot that fits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scored<'b> {
    pub(super) opened: &'b Opened,
    pub(super) rate: MicroMoney,
    pub(super) extra: MicroMoney,
    pub(super) score: MicroMoney,
}

/// All lots, judged.
#[derive(Debug)]
pub(super) struct Judged<'b> {
    /// Those that fit, best first; in order as far as the record and the award need it.
    pub(super) fits: Vec<Scored<'b>>,
    /// Those that the buyer named and that do not fit, by machine and offer.
    pub(super) refused: Vec<(&'b Opened, Refusal)>,
    /// How many the buyer did not name.
    pub(super) unnamed: usize,
    /// Where in `fits` the runner-up stands.
    pub(super) runner_up: Option<usize>,
}

/// Judges and ranks the lots of a book, for a demand whose candidates are in order.
pub(super) fn judge<'b>(call: &Call, demand: &Demand, book: &'b Book) -> Judged<'b> {
    let mut judged = Judged { fits: Vec::new(), refused: Vec::new(), unnamed: 0, runner_up: None };
    let hourly = Hourly::new(demand.wanted);
    let mut named = demand.candidates.iter().peekable();
    // Both are in order of machine: one walk over both finds all pairs.
    for opened in book.lots() {
        while named.next_if(|c| c.host < opened.lot.host).is_some() {}
        let Some(candidate) = named.peek().filter(|c| c.host == opened.lot.host) else {
            judged.unnamed += 1;
            continue;
        };
        match qualify(demand, candidate, opened, &hourly) {
            Ok(scored) => judged.fits.push(scored),
            Err(reason) => judged.refused.push((opened, reason)),
        }
    }
    rank(call, demand, &mut judged);
    judged
}

/// Whether a lot that the buyer named fits, and its score.
fn qualify<'b>(
    demand: &Demand,
    candidate: &Qualified,
    opened: &'b Opened,
    hourly: &Hourly,
) -> Result<Scored<'b>, Refusal> {
    if let Some(refused) = &opened.refused {
        return Err(refused.clone());
    }
    let lot = &opened.lot;
    if demand.is_buyer(lot.owner) {
        return Err(Refusal::SelfDealing);
    }
    if demand.not_owners.contains(&lot.owner) {
        return Err(Refusal::OwnerLeftOut);
    }
    if !demand.countries.is_empty() && !demand.countries.contains(&lot.country) {
        return Err(Refusal::Country(lot.country.clone()));
    }
    if let Some(least) = demand.availability_min.filter(|least| lot.availability < *least) {
        return Err(Refusal::Availability { least, has: lot.availability });
    }
    let Capacity { gpus: free, .. } = lot.free;
    if free < demand.wanted.gpus {
        return Err(Refusal::NoGpus { wanted: demand.wanted.gpus, free });
    }
    if !lot.free.holds(demand.wanted) {
        return Err(Refusal::NoRoom { free: lot.free });
    }
    let rate = hourly.cost(lot.rates);
    if rate > demand.cap {
        return Err(Refusal::OverCap { rate });
    }
    // Each part is at most 10^15: the sum is far from the end of the integers.
    let score = MicroMoney(rate.0.saturating_add(candidate.extra.0).saturating_add(lot.risk.0));
    Ok(Scored { opened, rate, extra: candidate.extra, score })
}

/// Puts the lots that fit in order: by score, then by the tie's digest, then by machine (lots of one offer share a
/// digest). They are put in order only as far down as it matters: of ten thousand lots a hundred are looked at.
fn rank(call: &Call, demand: &Demand, judged: &mut Judged<'_>) {
    let order = |a: &Scored<'_>, b: &Scored<'_>| a.score.cmp(&b.score).then_with(|| by_place(a, b));
    let all = judged.fits.len();
    let mut sorted = all.min(2 * KEPT);
    if sorted < all {
        judged.fits.select_nth_unstable_by(sorted, order);
    }
    judged.fits[..sorted].sort_unstable_by(order);
    let mut begin = 0;
    while begin < all && (begin < KEPT || judged.runner_up.is_none()) {
        let score = judged.fits.get(begin).filter(|_| begin < sorted).map(|s| s.score);
        let same = judged.fits[begin..sorted].partition_point(|s| Some(s.score) == score);
        if begin + same == sorted && sorted < all {
            // The next one may have the same score; what stands before this one is in its place.
            judged.fits[begin..].sort_unstable_by(order);
            sorted = all;
            continue;
        }
        let run = &mut judged.fits[begin..begin + same];
        if run.len() > 1 {
            run.sort_by_cached_key(|s| (tie(call.seed, demand, s.opened.lot.offer), s.opened.lot.host));
        }
        begin += same;
        judged.runner_up = runner_up(call.rule, &judged.fits[..begin]);
    }
}

fn by_place(a: &Scored<'_>, b: &Scored<'_>) -> Ordering {
    a.opened.lot.host.cmp(&b.opened.lot.host)
}

/// The next lot behind the winner; where lots of one owner count as one, the next of another owner.
fn runner_up(rule: Rule, fits: &[Scored<'_>]) -> Option<usize> {
    match rule {
        Rule::PostedRate => (fits.len() > 1).then_some(1),
        Rule::SecondScore => {
            let winner = fits.first()?.opened.lot.owner;
            fits.iter().position(|s| s.opened.lot.owner != winner)
        }
    }
}

/// What decides among equal scores: of (seed, demand, offer), as `chandler.market.tie.1`. Nobody who posts an offer
/// knows it beforehand, and everybody can compute it afterwards.
pub(super) fn tie(seed: Digest, demand: &Demand, offer: OfferId) -> Digest {
    Canon::new("chandler.market.tie.1").digest(seed).raw(demand.id.as_bytes()).raw(offer.as_bytes()).hash()
}
