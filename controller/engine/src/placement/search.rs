//! The cheapest set of hosts on which an SLA holds: branch and bound over hosts sorted by what they have to be expected to
//! cost, their price and what may go wrong there.

use chandler_protocol::{HostId, MicroMoney, Micros, Ppm};

use super::filter::{Ask, Company, Misfit, p95, price_of, refuse_alone, refuse_together, replicas};
use super::risk::risk_of;
use super::{HostView, MonthlyPrice};
use crate::availability::of_any;
use crate::order::REPLICAS_MAX;
use crate::sla::Predicted;

/// The cheapest hosts that sets are made of.
const CHEAPEST: usize = 24;
/// The most available of the other hosts that sets are made of; never fewer than copies may run.
const MOST_AVAILABLE: usize = 8;
/// Most steps of the search for each number of copies. Behind it the most available hosts are taken, if they do.
const STEPS_MAX: u32 = 10_000;

/// The order of hosts: money first, then stay, then avoid trouble, then the id, so that no two are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Score {
    expected: MicroMoney,
    elsewhere: bool,
    recent_failures: u32,
    host: HostId,
}

/// A host that met every rule.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fit<'v, 'm> {
    pub view: &'v HostView<'m>,
    pub price: MonthlyPrice,
    /// What may go wrong there, a month.
    pub risk: MicroMoney,
    pub p95: Option<Micros>,
    score: Score,
}

/// Every host's fate.
#[derive(Debug, Clone)]
pub(super) struct Survey<'v, 'm> {
    /// Hosts that met every rule, best first.
    pub fits: Vec<Fit<'v, 'm>>,
    /// The others, in the order given.
    pub misfits: Vec<(&'v HostView<'m>, Misfit)>,
}

/// Applies every rule to every host.
pub(super) fn survey<'v, 'm>(hosts: &[&'v HostView<'m>], ask: &Ask<'_>) -> Survey<'v, 'm> {
    let mut company = Company { hosts: 0, availability: Ppm(0), price: MicroMoney(i64::MAX) };
    let alone: Vec<_> = hosts
        .iter()
        .map(|view| {
            let misfit = refuse_alone(view, ask);
            let price = price_of(view, ask);
            if misfit.is_none() {
                company.hosts += 1;
                company.availability = company.availability.max(view.availability);
                company.price = company.price.min(price.total());
            }
            (*view, price, misfit)
        })
        .collect();
    let mut result = Survey { fits: Vec::new(), misfits: Vec::new() };
    for (view, price, misfit) in alone {
        match misfit.or_else(|| refuse_together(view, ask, price, company)) {
            Some(misfit) => result.misfits.push((view, misfit)),
            None => result.fits.push(fit(view, ask, price)),
        }
    }
    result.fits.sort_by_key(|f| f.score);
    result
}

fn fit<'v, 'm>(view: &'v HostView<'m>, ask: &Ask<'_>, price: MonthlyPrice) -> Fit<'v, 'm> {
    let risk = risk_of(view, ask, price);
    let score = Score {
        expected: MicroMoney(price.total().0.saturating_add(risk.0)),
        elsewhere: !ask.request.current.contains(&view.host.id),
        recent_failures: view.recent_failures,
        host: view.host.id,
    };
    Fit { view, price, risk, p95: p95(view, &ask.request), score }
}

/// A set of hosts and what to expect of it.
#[derive(Debug, Clone)]
pub(super) struct Solution<'v, 'm> {
    /// The hosts, cheapest first.
    pub hosts: Vec<&'v HostView<'m>>,
    /// What to expect of all copies together.
    pub predicted: Predicted,
}

/// Surveys the hosts and chooses among those that fit.
pub(super) fn solve<'v, 'm>(hosts: &[&'v HostView<'m>], ask: &Ask<'_>) -> Option<Solution<'v, 'm>> {
    let fits = survey(hosts, ask).fits;
    let chosen = cheapest(&fits, ask)?;
    let hosts = chosen.iter().filter_map(|i| fits.get(*i)).map(|f| f.view).collect();
    Some(Solution { hosts, predicted: predicted(&fits, &chosen) })
}

/// What to expect of the chosen hosts together.
pub(super) fn predicted(fits: &[Fit<'_, '_>], chosen: &[usize]) -> Predicted {
    let chosen = || chosen.iter().filter_map(|i| fits.get(*i));
    let monthly_cost = chosen().fold(0_i64, |sum, f| sum.saturating_add(f.price.total().0));
    let availabilities: Vec<Ppm> = chosen().map(|f| f.view.availability).collect();
    Predicted {
        monthly_cost: MicroMoney(monthly_cost),
        p95: chosen().map(|f| f.p95).collect::<Option<Vec<_>>>().and_then(|all| all.into_iter().max()),
        availability: of_any(&availabilities),
    }
}

/// Positions of the chosen hosts in `fits`, in order: least to be expected, then fewest copies, then the best scores.
///
/// Exact among the hosts on the short list as long as the search ends within [`STEPS_MAX`].
pub(super) fn cheapest(fits: &[Fit<'_, '_>], ask: &Ask<'_>) -> Option<Vec<usize>> {
    let (least, most) = replicas(ask.request.policy);
    let short = short_list(fits, most);
    let mut search = Search {
        hosts: short.iter().filter_map(|i| fits.get(*i)).map(Entry::of).collect(),
        behind: Vec::new(),
        availability_min: ask.request.terms.availability_min,
        cost_max: ask.request.terms.cost_max.map_or(i64::MAX, |m| m.0),
        steps: 0,
        picked: Vec::new(),
        best: None,
    };
    search.note_behind();
    let counts = least..=most.min(short.len());
    for copies in counts.clone() {
        search.steps = 0;
        search.descend(copies, 0, 0, 0);
    }
    for copies in counts {
        search.try_most_available(copies);
    }
    let (_, picked) = search.best?;
    Some(picked.into_iter().filter_map(|i| short.get(i).copied()).collect())
}

/// Positions of the hosts that sets are made of, in order: those to be expected to cost least, the most available of the
/// others, and those of the lowest price, so that a limit of it can be kept if it can at all.
fn short_list(fits: &[Fit<'_, '_>], copies: usize) -> Vec<usize> {
    let mut others: Vec<usize> = (CHEAPEST.min(fits.len())..fits.len()).collect();
    let price = |i: &usize| fits.get(*i).map(|f| f.price.total());
    let mut lowest = others.clone();
    lowest.sort_by_key(price);
    lowest.truncate(copies);
    // The sort is stable: among the equally available, the cheaper come first.
    others.sort_by_key(|i| std::cmp::Reverse(fits.get(*i).map(|f| f.view.availability)));
    others.truncate(MOST_AVAILABLE.max(copies));
    let mut list: Vec<usize> = (0..CHEAPEST.min(fits.len())).chain(others).chain(lowest).collect();
    list.sort_unstable();
    list.dedup();
    list
}

/// What the search knows of a host.
#[derive(Debug, Clone, Copy)]
struct Entry {
    /// Price and risk.
    expected: i64,
    price: i64,
    up: Ppm,
}

impl Entry {
    fn of(fit: &Fit<'_, '_>) -> Self {
        Self { expected: fit.score.expected.0, price: fit.price.total().0, up: fit.view.availability }
    }
}

struct Search {
    /// By what is to be expected, least first.
    hosts: Vec<Entry>,
    /// The highest availability and the lowest price from each position on.
    behind: Vec<(Ppm, i64)>,
    availability_min: Option<Ppm>,
    cost_max: i64,
    steps: u32,
    picked: Vec<usize>,
    best: Option<(i64, Vec<usize>)>,
}

impl Search {
    fn note_behind(&mut self) {
        let mut best = (Ppm(0), i64::MAX);
        let from_behind = self.hosts.iter().rev().map(|h| {
            best = (best.0.max(h.up), best.1.min(h.price));
            best
        });
        self.behind = from_behind.collect();
        self.behind.reverse();
    }

    /// Adds hosts from position `from` on until `copies` are picked. Since hosts are sorted by what is to be expected,
    /// `copies` times the next is the least that any further set can come to.
    fn descend(&mut self, copies: usize, from: usize, expected: i64, price: i64) {
        self.steps += 1;
        let left = copies - self.picked.len();
        if left == 0 {
            if price <= self.cost_max && self.is_available_enough(&self.picked) {
                self.best = Some((expected, self.picked.clone()));
            }
            return;
        }
        let times = i64::try_from(left).unwrap_or(i64::MAX);
        for i in from..=self.hosts.len().saturating_sub(left) {
            let Some(&host) = self.hosts.get(i) else { return };
            let least = expected.saturating_add(host.expected.saturating_mul(times));
            let lowest = self.behind.get(i).map_or(0, |(_, lowest)| *lowest);
            let is_worse = self.best.as_ref().is_some_and(|(best, _)| least >= *best);
            let is_dear = price.saturating_add(lowest.saturating_mul(times)) > self.cost_max;
            if is_worse || is_dear || !self.may_reach(i, left) || self.steps >= STEPS_MAX {
                return;
            }
            self.picked.push(i);
            self.descend(copies, i + 1, expected.saturating_add(host.expected), price.saturating_add(host.price));
            self.picked.pop();
        }
    }

    fn is_available_enough(&self, picked: &[usize]) -> bool {
        let Some(least) = self.availability_min else { return true };
        let mut hosts = [Ppm(0); REPLICAS_MAX as usize];
        for (place, i) in hosts.iter_mut().zip(picked) {
            *place = self.hosts.get(*i).map(|h| h.up).unwrap_or_default();
        }
        of_any(&hosts[..picked.len().min(hosts.len())]) >= least
    }

    /// Whether the picked hosts with `left` more from position `from` on could be available enough: an upper bound,
    /// with as many of the best host there as are wanted and no correlation.
    fn may_reach(&self, from: usize, left: usize) -> bool {
        let Some(least) = self.availability_min else { return true };
        let best = self.behind.get(from).map(|(up, _)| *up).unwrap_or_default();
        let picked = self.picked.iter().filter_map(|i| self.hosts.get(*i)).map(|h| h.up);
        let down = picked
            .chain(std::iter::repeat_n(best, left))
            .fold(1_000_000_u64, |down, a| down * u64::from(1_000_000 - a.0.min(1_000_000)) / 1_000_000);
        1_000_000 - down >= u64::from(least.0)
    }

    /// The most available hosts, in case the search ended before it found any set.
    fn try_most_available(&mut self, copies: usize) {
        let mut order: Vec<usize> = (0..self.hosts.len()).collect();
        order.sort_by_key(|i| std::cmp::Reverse(self.hosts.get(*i).map(|h| h.up)));
        order.truncate(copies);
        order.sort_unstable();
        let hosts = || order.iter().filter_map(|i| self.hosts.get(*i));
        let expected = hosts().fold(0_i64, |sum, h| sum.saturating_add(h.expected));
        let price = hosts().fold(0_i64, |sum, h| sum.saturating_add(h.price));
        let is_better = self.best.as_ref().is_none_or(|(best, _)| expected < *best);
        if is_better && price <= self.cost_max && self.is_available_enough(&order) {
            self.best = Some((expected, order));
        }
    }
}
