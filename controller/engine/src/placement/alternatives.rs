//! Alternatives: what would be possible with one term changed, each verified by placing with it.

use chandler_protocol::{MicroMoney, Ppm};

use super::filter::{Ask, refuse_for_good};
use super::knob::{Found, Good, Knob, Market, Want};
use super::search::Solution;
use super::value::{readable_duration, readable_share};
use super::wording::listed;
use super::{HostView, Request};
use crate::sla::Alternative;

/// Stands between the terms, and between the values, of an alternative that changes two.
pub const BOTH: &str = " + ";

/// What one changed term leads to, cheapest first.
///
/// Of a request that cannot be placed: the smallest change of each term alone that makes it possible; where no
/// single one does, of two. Of one that can be placed: for each term the smallest change that makes it cheaper,
/// and the next better value that can be had.
pub fn around(hosts: &[HostView<'_>], request: &Request<'_>) -> Vec<Alternative> {
    let mut all: Vec<&HostView<'_>> = hosts.iter().collect();
    all.sort_by_key(|view| view.host.id);
    let ask = Ask::new(request);
    let market = market(&all, &ask);
    let Some(now) = market.solve(&market.asked()) else { return nearest(&all, &ask) };
    let cheaper = savings(&market, now.predicted.monthly_cost);
    let mut found: Vec<_> = cheaper.into_iter().map(|(knob, found)| alternative(&[knob], &found, &ask)).collect();
    found.extend(tighter(&market, &now).into_iter().map(|(knob, found)| alternative(&[knob], &found, &ask)));
    sorted(found)
}

/// For a request that cannot be placed: one changed term, or else two.
pub(super) fn nearest(hosts: &[&HostView<'_>], ask: &Ask<'_>) -> Vec<Alternative> {
    let single = nearest_single(hosts, ask);
    if single.is_empty() { nearest_pair(hosts, ask) } else { single }
}

/// For a request that cannot be placed: one changed term.
pub(super) fn nearest_single(hosts: &[&HostView<'_>], ask: &Ask<'_>) -> Vec<Alternative> {
    let market = market(hosts, ask);
    let from = market.asked();
    let found = Knob::ALL.iter().filter_map(|knob| {
        let found = knob.relax(&market, &from, &|_| true)?;
        Some(alternative(&[*knob], &found, ask))
    });
    sorted(found.collect())
}

fn nearest_pair(hosts: &[&HostView<'_>], ask: &Ask<'_>) -> Vec<Alternative> {
    let market = market(hosts, ask);
    let from = market.asked();
    let pairs = Knob::ALL.iter().flat_map(|a| Knob::ALL.iter().filter(move |b| a < *b).map(move |b| (*a, *b)));
    let found = pairs.filter_map(|(a, b)| Some(alternative(&[a, b], &relax_both(a, b, &market, &from)?, ask)));
    sorted(found.collect())
}

/// With `a` out of the way, the smallest change of `b`; then with that the smallest change of `a`.
fn relax_both<'v, 'm>(a: Knob, b: Knob, market: &Market<'v, 'm, '_>, from: &Want) -> Option<Found<'v, 'm>> {
    let any: &Good<'_> = &|_| true;
    let mut want = from.clone();
    a.loosen(&mut want);
    let (mut want, _) = b.relax(market, &want, any)?;
    a.restore(&mut want, from);
    a.relax(market, &want, any)
}

/// For a request that can be placed at `price`: for each term the smallest change that makes it cheaper.
pub(super) fn savings<'v, 'm>(market: &Market<'v, 'm, '_>, price: MicroMoney) -> Vec<(Knob, Found<'v, 'm>)> {
    let from = market.asked();
    let cheaper: &Good<'_> = &|solution| solution.predicted.monthly_cost < price;
    [Knob::Interactivity, Knob::Availability, Knob::Residency]
        .into_iter()
        .filter_map(|knob| Some((knob, knob.relax(market, &from, cheaper)?)))
        .collect()
}

/// For a request that can be placed: the next better answer time and availability, where they were asked for.
fn tighter<'v, 'm>(market: &Market<'v, 'm, '_>, now: &Solution<'_, '_>) -> Vec<(Knob, Found<'v, 'm>)> {
    let mut found = Vec::new();
    let from = market.asked();
    if let (Some(_), Some(p95)) = (from.terms.p95_max, now.predicted.p95) {
        let next = market.answer_times().into_iter().rev().find(|t| *t < p95.min(readable_duration(p95)));
        let mut want = from.clone();
        want.terms.p95_max = next;
        found.extend(next.and_then(|_| market.solve(&want)).map(|s| (Knob::Interactivity, (want, s))));
    }
    if from.terms.availability_min.is_some() {
        let better = Ppm(now.predicted.availability.0.saturating_add(1));
        found.extend(availability_of_at_least(better, market, from).map(|f| (Knob::Availability, f)));
    }
    found
}

/// The cheapest placement of at least this availability, with the readable value that asks for it.
fn availability_of_at_least<'v, 'm>(least: Ppm, market: &Market<'v, 'm, '_>, from: Want) -> Option<Found<'v, 'm>> {
    let mut want = from;
    want.terms.availability_min = Some(least);
    let solution = market.solve(&want)?;
    let reached = solution.predicted.availability;
    want.terms.availability_min = Some(readable_share(reached).max(least));
    let solution = market.solve(&want)?;
    Some((want, solution))
}

/// The hosts that some change of the terms could let in.
pub(super) fn market<'v, 'm, 'a>(hosts: &[&'v HostView<'m>], ask: &Ask<'a>) -> Market<'v, 'm, 'a> {
    let hosts = hosts.iter().filter(|view| refuse_for_good(view, &ask.request).is_none()).copied().collect();
    Market { hosts, ask: *ask }
}

fn alternative(knobs: &[Knob], (want, solution): &Found<'_, '_>, ask: &Ask<'_>) -> Alternative {
    let hosts: Vec<&str> = solution.hosts.iter().map(|view| view.host.name.as_str()).collect();
    let mut sites: Vec<&str> = solution.hosts.iter().map(|view| view.site_name).collect();
    sites.dedup();
    let terms: Vec<_> = knobs.iter().map(|knob| knob.term()).collect();
    let values: Vec<_> = knobs.iter().map(|knob| knob.value(want, ask.request.currency)).collect();
    Alternative {
        term: terms.join(BOTH),
        value: values.join(BOTH),
        host: listed(&hosts),
        site: listed(&sites),
        predicted: solution.predicted,
    }
}

fn sorted(mut found: Vec<Alternative>) -> Vec<Alternative> {
    found.sort_by(|a, b| (a.predicted.monthly_cost, &a.term).cmp(&(b.predicted.monthly_cost, &b.term)));
    found
}
