//! Knobs: the single terms of a request that can be changed, and the smallest change of one that helps.

use chandler_protocol::{Bytes, Micros, MilliCpu, Ppm};

use super::filter::{Ask, p95};
use super::search::{Solution, solve};
use super::value::{cores, countries, duration, monthly_cost, readable_duration, readable_money, readable_share, size};
use super::{HostView, Request};
use crate::fleet::Capacity;
use crate::sla::Terms;

/// Most countries that are tried as a further residency.
const COUNTRIES_MAX: usize = 64;
/// Limits are not proposed below this part of what was asked: it would be another service.
const LEAST_PART: u64 = 4;
/// The longest answer time that an order may allow.
const P95_MOST: Micros = Micros::from_secs(3_600);

/// A term that can be changed alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Knob {
    Cost,
    Interactivity,
    Availability,
    Residency,
    Cpu,
    Memory,
}

/// A request's values, to be changed.
#[derive(Debug, Clone)]
pub(super) struct Want {
    pub terms: Terms,
    pub size: Capacity,
}

/// The hosts that no term can rule out or in, and the request that all changes start from.
#[derive(Debug)]
pub(super) struct Market<'v, 'm, 'a> {
    pub hosts: Vec<&'v HostView<'m>>,
    pub ask: Ask<'a>,
}

impl<'v, 'm> Market<'v, 'm, '_> {
    /// The values as they were asked for.
    pub(super) fn asked(&self) -> Want {
        Want { terms: self.ask.request.terms.clone(), size: self.ask.wanted }
    }

    /// The placement of a changed request.
    pub(super) fn solve(&self, want: &Want) -> Option<Solution<'v, 'm>> {
        let request = Request { terms: &want.terms, ..self.ask.request };
        solve(&self.hosts, &Ask { request, wanted: want.size, ..self.ask })
    }

    /// Every predicted answer time in the fleet, readable, rising.
    pub(super) fn answer_times(&self) -> Vec<Micros> {
        let all = self.hosts.iter().filter_map(|view| p95(view, &self.ask.request));
        let mut all: Vec<_> = all.map(readable_duration).filter(|p95| p95.0 > 0 && *p95 <= P95_MOST).collect();
        all.sort_unstable();
        all.dedup();
        all
    }
}

/// Whether a placement is what one is after.
pub(super) type Good<'g> = dyn Fn(&Solution<'_, '_>) -> bool + 'g;
/// Changed values with the placement they lead to.
pub(super) type Found<'v, 'm> = (Want, Solution<'v, 'm>);

impl Knob {
    pub(super) const ALL: [Self; 6] =
        [Self::Cost, Self::Interactivity, Self::Availability, Self::Residency, Self::Cpu, Self::Memory];

    /// The term, as in an order file.
    pub(super) const fn term(self) -> &'static str {
        match self {
            Self::Cost => "sla.cost.max",
            Self::Interactivity => "sla.interactivity.p95",
            Self::Availability => "sla.availability.min",
            Self::Residency => "sla.residency",
            Self::Cpu => "software.limits.cpu",
            Self::Memory => "software.limits.memory",
        }
    }

    /// The value of this term, as in an order file (of a text, without its quotes).
    pub(super) fn value(self, want: &Want, currency: &str) -> String {
        let terms = &want.terms;
        match self {
            Self::Cost => monthly_cost(terms.cost_max.unwrap_or_default(), currency),
            Self::Interactivity => duration(terms.p95_max.unwrap_or_default()),
            Self::Availability => terms.availability_min.unwrap_or_default().to_string(),
            Self::Residency => countries(&terms.residency),
            Self::Cpu => cores(want.size.cpu),
            Self::Memory => size(want.size.memory),
        }
    }

    /// Takes the term out of `want`: as loose as it can be.
    pub(super) fn loosen(self, want: &mut Want) {
        match self {
            Self::Cost => want.terms.cost_max = None,
            Self::Interactivity => want.terms.p95_max = None,
            Self::Availability => want.terms.availability_min = None,
            Self::Residency => want.terms.residency.clear(),
            Self::Cpu => want.size.cpu.0 /= u32::try_from(LEAST_PART).unwrap_or(1),
            Self::Memory => want.size.memory.0 /= LEAST_PART,
        }
    }

    /// Puts the value that `from` has for this term into `want`.
    pub(super) fn restore(self, want: &mut Want, from: &Want) {
        match self {
            Self::Cost => want.terms.cost_max = from.terms.cost_max,
            Self::Interactivity => want.terms.p95_max = from.terms.p95_max,
            Self::Availability => want.terms.availability_min = from.terms.availability_min,
            Self::Residency => want.terms.residency.clone_from(&from.terms.residency),
            Self::Cpu => want.size.cpu = from.size.cpu,
            Self::Memory => want.size.memory = from.size.memory,
        }
    }

    /// The smallest change of this term alone whose placement is good; verified by placing with it.
    pub(super) fn relax<'v, 'm>(
        self,
        market: &Market<'v, 'm, '_>,
        from: &Want,
        good: &Good<'_>,
    ) -> Option<Found<'v, 'm>> {
        match self {
            Self::Cost => relax_cost(market, from, good),
            Self::Interactivity => relax_interactivity(market, from, good),
            Self::Availability => relax_availability(market, from, good),
            Self::Residency => relax_residency(market, from, good),
            Self::Cpu => shrink(market, from, good, from.size.cpu.0.into(), 10, |want, value| {
                want.size.cpu = MilliCpu(u32::try_from(value).unwrap_or(u32::MAX));
            }),
            Self::Memory => shrink(market, from, good, from.size.memory.0, 1 << 20, |want, value| {
                want.size.memory = Bytes(value);
            }),
        }
    }
}

/// Places the changed request and keeps it when it is good.
fn attempt<'v, 'm>(market: &Market<'v, 'm, '_>, want: Want, good: &Good<'_>) -> Option<Found<'v, 'm>> {
    let solution = market.solve(&want)?;
    good(&solution).then_some((want, solution))
}

/// The first of `n` ever larger changes that is good, found by halving: what a change lets in, a larger one does too.
fn smallest<'v, 'm>(
    market: &Market<'v, 'm, '_>,
    n: u64,
    good: &Good<'_>,
    change: impl Fn(u64) -> Want,
) -> Option<Found<'v, 'm>> {
    let (mut low, mut high) = (0, n);
    let mut found = None;
    while low < high {
        let middle = low + (high - low) / 2;
        match attempt(market, change(middle), good) {
            Some(better) => {
                found = Some(better);
                high = middle;
            }
            None => low = middle + 1,
        }
    }
    found
}

fn relax_cost<'v, 'm>(market: &Market<'v, 'm, '_>, from: &Want, good: &Good<'_>) -> Option<Found<'v, 'm>> {
    from.terms.cost_max?;
    let mut want = from.clone();
    want.terms.cost_max = None;
    want.terms.cost_max = Some(readable_money(market.solve(&want)?.predicted.monthly_cost));
    attempt(market, want, good)
}

fn relax_interactivity<'v, 'm>(market: &Market<'v, 'm, '_>, from: &Want, good: &Good<'_>) -> Option<Found<'v, 'm>> {
    let most = from.terms.p95_max?;
    let mut times = market.answer_times();
    times.retain(|p95| *p95 > most);
    smallest(market, times.len() as u64, good, |step| {
        let mut want = from.clone();
        want.terms.p95_max = usize::try_from(step).ok().and_then(|step| times.get(step)).copied();
        want
    })
}

fn relax_availability<'v, 'm>(market: &Market<'v, 'm, '_>, from: &Want, good: &Good<'_>) -> Option<Found<'v, 'm>> {
    let least = from.terms.availability_min?;
    let with = |share: Ppm| {
        let mut want = from.clone();
        want.terms.availability_min = Some(share);
        want
    };
    let exact = smallest(market, least.0.into(), good, |step| {
        with(Ppm(least.0.saturating_sub(u32::try_from(step).unwrap_or(u32::MAX)).saturating_sub(1)))
    })?;
    let rounded = readable_share(exact.0.terms.availability_min?);
    attempt(market, with(rounded), good).or(Some(exact))
}

fn relax_residency<'v, 'm>(market: &Market<'v, 'm, '_>, from: &Want, good: &Good<'_>) -> Option<Found<'v, 'm>> {
    if from.terms.residency.is_empty() {
        return None;
    }
    let mut others: Vec<&str> = market.hosts.iter().map(|view| view.country).collect();
    others.sort_unstable();
    others.dedup();
    others.retain(|country| !from.terms.residency.iter().any(|c| c == country));
    let found = others.into_iter().take(COUNTRIES_MAX).filter_map(|country| {
        let mut want = from.clone();
        want.terms.residency.push(country.to_owned());
        want.terms.residency.sort();
        attempt(market, want, good)
    });
    // Of equally cheap countries the first by name is taken: `min_by_key` keeps the first.
    found.min_by_key(|(_, solution)| solution.predicted.monthly_cost)
}

/// The largest value below `asked` that is good, in whole steps while it is large, down to a part of it.
fn shrink<'v, 'm>(
    market: &Market<'v, 'm, '_>,
    from: &Want,
    good: &Good<'_>,
    asked: u64,
    step: u64,
    set: impl Fn(&mut Want, u64),
) -> Option<Found<'v, 'm>> {
    let step = if asked / LEAST_PART > step { step } else { 1 };
    let highest = asked.checked_sub(1)? / step;
    let lowest = (asked / LEAST_PART).div_ceil(step).max(1);
    let n = (highest + 1).checked_sub(lowest)?;
    smallest(market, n, good, |i| {
        let mut want = from.clone();
        set(&mut want, (highest - i) * step);
        want
    })
}
