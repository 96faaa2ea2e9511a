//! Explaining: the immutable record of one placement, in words and numbers.

use chandler_protocol::{DecisionId, MicroMoney, Micros, Ppm, ServiceId, Timestamp};

use super::alternatives::{market, savings};
use super::filter::Ask;
use super::knob::{Found, Knob};
use super::value::{duration, price as price_text, readable_duration};
use super::wording::{listed, names, plural};
use super::{Candidate, Decision, HostView, KEPT, Outcome, RULES, Refusal, Refused, Request, Rule};
use crate::service::Trigger;

/// The record of a placement: what was looked at, what was refused by which rule, what was chosen and why.
#[expect(clippy::too_many_arguments, reason = "a record of everything that went into a decision")]
pub fn decision(
    id: DecisionId,
    service: ServiceId,
    at: Timestamp,
    snapshot: u64,
    trigger: Trigger,
    outcome: &Outcome,
    hosts: &[HostView<'_>],
    request: &Request<'_>,
) -> Decision {
    Decision {
        id,
        service,
        at,
        rules: RULES,
        snapshot,
        trigger,
        considered: u32::try_from(hosts.len()).unwrap_or(u32::MAX),
        funnel: funnel(&outcome.refused),
        candidates: kept_candidates(&outcome.candidates),
        refused: kept_refused(&outcome.refused),
        nearest_miss: nearest_miss(outcome, hosts, request).unwrap_or_default(),
        text: text(outcome, request),
    }
}

fn funnel(refused: &[Refused]) -> Vec<(Rule, u32)> {
    let mut counts = std::collections::BTreeMap::new();
    for host in refused {
        *counts.entry(host.rule).or_insert(0) += 1;
    }
    counts.into_iter().collect()
}

/// The cheapest, and in any case the chosen.
fn kept_candidates(all: &[Candidate]) -> Vec<Candidate> {
    let chosen = all.iter().filter(|c| c.chosen).count();
    let mut others = KEPT.saturating_sub(chosen);
    let kept = all.iter().filter(|c| {
        if c.chosen {
            return true;
        }
        let is_kept = others > 0;
        others = others.saturating_sub(1);
        is_kept
    });
    kept.cloned().collect()
}

/// The nearest to fitting.
fn kept_refused(all: &[Refused]) -> Vec<Refused> {
    let mut nearest: Vec<&Refused> = all.iter().collect();
    nearest.sort_by_key(|r| (r.distance, r.price_month, r.host));
    nearest.into_iter().take(KEPT).cloned().collect()
}

/// The smallest change of one term that would have led to a lower price.
fn nearest_miss(outcome: &Outcome, hosts: &[HostView<'_>], request: &Request<'_>) -> Option<String> {
    let price = outcome.predicted?.monthly_cost;
    let mut all: Vec<&HostView<'_>> = hosts.iter().collect();
    all.sort_by_key(|view| view.host.id);
    let market = market(&all, &Ask::new(request));
    let misses = savings(&market, price);
    let (knob, found) = misses.iter().min_by_key(|(knob, found)| (change(*knob, found, request), *knob))?;
    Some(miss(*knob, found, price, outcome, request))
}

/// How large a change is, in parts per million of what was asked; another country is the largest.
fn change(knob: Knob, (want, _): &Found<'_, '_>, request: &Request<'_>) -> u64 {
    let (asked, now) = match knob {
        Knob::Interactivity => (request.terms.p95_max.map(|v| v.0), want.terms.p95_max.map(|v| v.0)),
        Knob::Availability => (
            request.terms.availability_min.map(|v| i64::from(v.0)),
            want.terms.availability_min.map(|v| i64::from(v.0)),
        ),
        Knob::Cost | Knob::Residency | Knob::Cpu | Knob::Memory => (None, None),
    };
    let (Some(asked), Some(now)) = (asked, now) else { return u64::MAX };
    let ppm = u128::from(asked.abs_diff(now)) * 1_000_000 / u128::from(asked.unsigned_abs()).max(1);
    u64::try_from(ppm).unwrap_or(u64::MAX)
}

fn miss(
    knob: Knob,
    (want, solution): &Found<'_, '_>,
    price: MicroMoney,
    outcome: &Outcome,
    request: &Request<'_>,
) -> String {
    let currency = request.currency;
    let cheaper = solution.predicted.monthly_cost;
    let saved = price_text(MicroMoney(price.0.saturating_sub(cheaper.0)), currency);
    let value = knob.value(want, currency);
    let change = if knob == Knob::Residency { value } else { format!("\"{value}\"") };
    let refused = solution.hosts.iter().find_map(|view| outcome.refused.iter().find(|r| r.host == view.host.id));
    let why = refused.map_or_else(
        || "would not meet the SLA".to_owned(),
        |r| {
            if solution.hosts.len() == 1 {
                format!("was refused: {}", r.reason)
            } else {
                format!("would not do: {}: {}", r.host_name, r.reason)
            }
        },
    );
    format!(
        "{} at {} {why}; {} = {change} would save {saved}",
        names(&solution.hosts),
        price_text(cheaper, currency),
        knob.term(),
    )
}

/// Where it runs and why there, or why nowhere.
fn text(outcome: &Outcome, request: &Request<'_>) -> String {
    match (&outcome.refusal, outcome.predicted) {
        (Some(Refusal::Infeasible { text, .. } | Refusal::NoCapacity { text, .. }), _) => text.clone(),
        (None, Some(predicted)) => {
            let why = why_there(outcome, request.currency);
            let cost = price_text(predicted.monthly_cost, request.currency);
            format!("{why}: {cost}; {}", expectation(predicted.p95, predicted.availability))
        }
        (None, None) => "nothing was chosen".to_owned(),
    }
}

fn why_there(outcome: &Outcome, currency: &str) -> String {
    let chosen: Vec<&str> = outcome.chosen().map(|c| c.host_name.as_str()).collect();
    let fit = outcome.candidates.len();
    let is_cheapest = outcome.candidates.iter().take(chosen.len()).all(|c| c.chosen);
    let hosts = listed(&chosen);
    match (chosen.len(), is_cheapest) {
        (1, true) if fit == 1 => format!("{hosts} is the only host that meets the SLA"),
        (1, true) => match spared(outcome, currency) {
            None => format!("{hosts} is the cheapest of {} that meet the SLA", plural(fit, "host")),
            Some(why) => {
                format!("{hosts} is expected to cost the least of {} that meet the SLA {why}", plural(fit, "host"))
            }
        },
        (1, false) => format!("{hosts} is the cheapest way to meet the SLA with {}", plural(fit, "host")),
        (n, true) => format!("{hosts} are the cheapest {n} of {} that fit", plural(fit, "host")),
        (_, false) => format!("{hosts} together are the cheapest way to meet the SLA with {}", plural(fit, "host")),
    }
}

/// Where what may go wrong decided: the cheapest host that was left for it. Of a single copy.
fn spared(outcome: &Outcome, currency: &str) -> Option<String> {
    let chosen = outcome.chosen().next()?;
    let cheaper = outcome.candidates.iter().filter(|c| c.price.total() < chosen.price.total() && c.risk > chosen.risk);
    let left = cheaper.min_by_key(|c| (c.price.total(), c.host))?;
    let less = MicroMoney(chosen.price.total().0.saturating_sub(left.price.total().0));
    let more = MicroMoney(left.risk.0.saturating_sub(chosen.risk.0));
    Some(format!(
        "({} would save {}, and by what is known of its seller {} more are at risk there)",
        left.host_name,
        price_text(less, currency),
        price_text(more, currency)
    ))
}

fn expectation(p95: Option<Micros>, availability: Ppm) -> String {
    match p95 {
        Some(p95) => format!("expected p95 {}, availability {availability}", duration(readable_duration(p95))),
        None => format!("expected availability {availability}; the path to it was not measured yet"),
    }
}
