//! Assurance: which hosts are there, and whether each SLA holds as measured.

mod budget;
mod cost;
mod indicator;
mod watch;

pub use budget::Budget;
pub use indicator::{Indicators, MINUTE, Reading, Slice, seen_door, turn};

use chandler_protocol::{Micros, Ppm, Timestamp};

use crate::model::Model;
use crate::service::{Measured, Service};
use crate::sla::Terms;

pub use watch::{Patience, Watch, heard, host_to, most_are_silent, next_look, watch};

/// The measurement after the service was found up or down at `now`; time in which the controller could not see
/// counts as neither.
#[must_use]
pub fn measure(before: Measured, up: bool, now: Timestamp, observable_since: Timestamp) -> Measured {
    let mut after = before;
    if let Some((was_up, since)) = before.current {
        let seen = now.since(since.max(observable_since));
        let sum = if was_up { &mut after.up } else { &mut after.down };
        sum.0 = sum.0.saturating_add(seen.0);
    }
    after.current = Some((up, now));
    after
}

/// Whether a term holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It holds.
    Met,
    /// It holds, and will not for long: what it allows is used up too quickly, or nearly gone.
    AtRisk,
    /// It does not.
    Violated,
    /// Not enough was measured.
    NotDetermined,
}

/// One term as agreed, promised and measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Objective {
    /// The attribute.
    pub name: &'static str,
    /// What was agreed.
    pub target: String,
    /// What was promised.
    pub predicted: String,
    /// What is measured; empty while nothing is.
    pub measured: String,
    /// Whether it holds.
    pub status: Status,
    /// How much of what it allows is left, where it allows anything.
    pub budget: Option<Budget>,
}

/// Every term of a service's SLA as measured up to `now`. `currency` stands behind amounts of money.
pub fn objectives(model: &Model, service: &Service, terms: &Terms, now: Timestamp, currency: &str) -> Vec<Objective> {
    let mut list = Vec::new();
    if let Some(max) = terms.cost_max {
        list.push(cost::objective(model, service, max, now, currency));
    }
    if let Some(max) = terms.p95_max {
        list.push(interactivity(model, service, max, now));
    }
    if let Some(min) = terms.availability_min {
        list.push(availability(model, service, min, now));
    }
    if !terms.residency.is_empty() {
        let countries: Vec<_> = model
            .assignments_of(service.id)
            .filter_map(|a| model.sites.get(&a.site).map(|s| s.country.clone()))
            .collect();
        list.push(Objective {
            name: "residency",
            target: terms.residency.join(", "),
            predicted: countries.join(", "),
            measured: countries.join(", "),
            status: verdict((!countries.is_empty()).then(|| countries.iter().all(|c| terms.residency.contains(c)))),
            budget: None,
        });
    }
    list
}

/// As users felt it at the front doors; where nobody asked, as health checks and round trips let expect.
fn interactivity(model: &Model, service: &Service, max: Micros, now: Timestamp) -> Objective {
    let own = model.indicators.get(&service.id).filter(|i| i.month(now).answers > 0);
    let own = own.map(|i| i.up_to(service, now, model.observable_since));
    let felt = own.as_ref().and_then(Indicators::p95);
    let (measured, status, budget) = match &own {
        Some(own) => {
            let budget = budget::of_interactivity(own, now);
            (felt.map_or(String::new(), |p| p.to_string()), spent(&budget), Some(budget))
        }
        None => {
            let p95 = answer_p95(model, service);
            (p95.map_or(String::new(), |p| p.to_string()), verdict(p95.map(|p| p <= max)), None)
        }
    };
    let predicted = service.predicted.and_then(|p| p.p95).map_or(String::new(), |p| p.to_string());
    Objective { name: "interactivity", target: format!("95 % within {max}"), predicted, measured, status, budget }
}

/// Of the calendar month, from the service's first answer on.
fn availability(model: &Model, service: &Service, min: Ppm, now: Timestamp) -> Objective {
    let so_far = measured_availability(service, now, model.observable_since);
    let since = service.completed_at.unwrap_or(now);
    let budget = model
        .indicators
        .get(&service.id)
        .map(|own| budget::of_availability(&own.up_to(service, now, model.observable_since), min, since, now));
    let status = match (&budget, so_far) {
        (_, None) => Status::NotDetermined,
        (Some(budget), Some(_)) => spent(budget),
        (None, Some(share)) => verdict(Some(share >= min)),
    };
    Objective {
        name: "availability",
        target: format!("at least {min}"),
        predicted: service.predicted.map_or(String::new(), |p| p.availability.to_string()),
        measured: so_far.map_or(String::new(), |s| s.to_string()),
        status,
        budget,
    }
}

const fn spent(budget: &Budget) -> Status {
    match (budget.is_spent, budget.is_low) {
        (true, _) => Status::Violated,
        (_, true) => Status::AtRisk,
        _ => Status::Met,
    }
}

fn verdict(holds: Option<bool>) -> Status {
    match holds {
        Some(true) => Status::Met,
        Some(false) => Status::Violated,
        None => Status::NotDetermined,
    }
}

/// The 95th percentile of the answer time: the way to the host plus what its health checks measured, of the
/// slowest copy. `None` while nothing is measured.
pub fn answer_p95(model: &Model, service: &Service) -> Option<Micros> {
    let access = crate::placement::access_rtt(model, service.customer);
    model
        .assignments_of(service.id)
        .filter_map(|a| {
            let health = a.observed.as_ref()?.health;
            if health.checks == 0 {
                return None;
            }
            let own = model.sites.get(&a.site).is_some_and(|s| s.owner == service.customer);
            let way = if own { Micros::ZERO } else { Micros(access.0 + model.pulse(a.host).rtt?.0) };
            Some(Micros(way.0 + health.latency_p95.0))
        })
        .max()
}

/// The share of its time in which at least one copy was healthy; `None` before it first was.
pub fn measured_availability(service: &Service, now: Timestamp, observable_since: Timestamp) -> Option<Ppm> {
    let (up_now, _) = service.measured.current?;
    let m = measure(service.measured, up_now, now, observable_since);
    let total = i128::from(m.up.0) + i128::from(m.down.0);
    (total > 0).then(|| Ppm(u32::try_from(i128::from(m.up.0) * 1_000_000 / total).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn downtime_is_counted_only_while_the_controller_could_see() {
        let s = |n: i64| Timestamp(n * 1_000_000);
        let m = measure(Measured::default(), true, s(0), s(0));
        let m = measure(m, false, s(100), s(0));
        // The controller was away from 100 s to 150 s; the service came back at 160 s.
        let m = measure(m, true, s(160), s(150));
        assert_eq!((m.up, m.down), (Micros::from_secs(100), Micros::from_secs(10)));
    }
}
