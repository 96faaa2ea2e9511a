//! Each term of an agreement as it is measured now.

use chandler_api::sla::{SlaBudget, SlaObjective, SlaStatus};
use chandler_engine::assurance::{self, Objective, Status};
use chandler_engine::model::Model;
use chandler_engine::service::Service;
use chandler_engine::sla::{Agreement, Terms};
use chandler_protocol::{Micros, Timestamp};

/// Items of a task that are looked at for terms which each item has for itself. The deadline looks at all.
const ITEMS_MEASURED: usize = 64;

/// Every term of an agreement as measured at `now`.
pub(super) fn objectives(
    model: &Model,
    agreement: &Agreement,
    services: &[&Service],
    now: Timestamp,
) -> Vec<SlaObjective> {
    let terms = agreement.terms();
    let Some(first) = services.first() else { return Vec::new() };
    if first.item.is_none() {
        return assurance::objectives(model, first, &terms, now, &model.currency).into_iter().map(shown).collect();
    }
    let mut list = worst_of_items(model, services, &terms, now);
    list.extend(deadline(model, services, &terms, now));
    list
}

/// The worst of all: violated before not determined before met.
pub(super) fn status(objectives: &[SlaObjective]) -> SlaStatus {
    let has = |status| objectives.iter().any(|o| o.status == status);
    match () {
        () if has(SlaStatus::Violated) => SlaStatus::Violated,
        () if has(SlaStatus::AtRisk) => SlaStatus::AtRisk,
        () if has(SlaStatus::NotDetermined) => SlaStatus::NotDetermined,
        () => SlaStatus::Met,
    }
}

/// Of each term, the item that does worst with it.
fn worst_of_items(model: &Model, services: &[&Service], terms: &Terms, now: Timestamp) -> Vec<SlaObjective> {
    let mut worst: Vec<SlaObjective> = Vec::new();
    let placed = services.iter().filter(|s| model.assignments_of(s.id).next().is_some());
    let unplaced = services.iter().take(1);
    for item in placed.take(ITEMS_MEASURED).chain(unplaced) {
        for objective in assurance::objectives(model, item, terms, now, &model.currency).into_iter().map(shown) {
            match worst.iter_mut().find(|w| w.name == objective.name) {
                None => worst.push(objective),
                Some(w) if rank(objective.status) < rank(w.status) => *w = objective,
                Some(_) => {}
            }
        }
    }
    worst
}

/// Violated first; an item that is not measured says nothing where another one is.
const fn rank(status: SlaStatus) -> u8 {
    match status {
        SlaStatus::Violated => 0,
        SlaStatus::AtRisk => 1,
        SlaStatus::Met => 2,
        SlaStatus::NotDetermined => 3,
    }
}

/// By when the last item has ended, against the deadline.
fn deadline(model: &Model, services: &[&Service], terms: &Terms, now: Timestamp) -> Option<SlaObjective> {
    let within = terms.deadline?;
    let ordered_at = services.first().and_then(|s| model.orders.get(&s.order)).map(|o| o.ordered_at)?;
    let ended = services.iter().filter(|s| s.exit.is_some()).count();
    let last = services.iter().filter_map(|s| s.completed_at).max();
    let total = services.len();
    let (measured, holds) = judge(ordered_at, within, last.filter(|_| ended == total), now);
    let measured = match holds {
        Some(_) if ended == total => format!("done after {measured}"),
        _ => format!("{ended} of {total} items done after {measured}"),
    };
    let status = match holds {
        Some(true) => SlaStatus::Met,
        Some(false) => SlaStatus::Violated,
        None => SlaStatus::NotDetermined,
    };
    let target = format!("done within {within} of the order");
    Some(SlaObjective { name: "deadline".to_owned(), target, predicted: String::new(), measured, status, budget: None })
}

/// How long it took or takes so far, and whether the deadline holds, if that is known.
fn judge(ordered_at: Timestamp, within: Micros, done: Option<Timestamp>, now: Timestamp) -> (Micros, Option<bool>) {
    let took = done.unwrap_or(now).since(ordered_at);
    let holds = match done {
        Some(_) => Some(took <= within),
        // What is late stays late, also while it goes on.
        None => (took > within).then_some(false),
    };
    (took, holds)
}

fn shown(objective: Objective) -> SlaObjective {
    SlaObjective {
        name: objective.name.to_owned(),
        target: objective.target,
        predicted: objective.predicted,
        measured: objective.measured,
        status: match objective.status {
            Status::Met => SlaStatus::Met,
            Status::AtRisk => SlaStatus::AtRisk,
            Status::Violated => SlaStatus::Violated,
            Status::NotDetermined => SlaStatus::NotDetermined,
        },
        budget: objective.budget.map(|b| SlaBudget { left_ppm: b.left.0, burn_rate_milli: b.burn }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_judged_when_all_is_done_or_it_is_over() {
        let at = |s: i64| Timestamp(s * 1_000_000);
        let check = |done: Option<i64>, now: i64, expect: Option<bool>| {
            assert_eq!(judge(at(100), Micros::from_secs(60), done.map(at), at(now)).1, expect, "{done:?} {now}");
        };
        check(None, 160, None);
        check(None, 161, Some(false));
        check(Some(160), 999, Some(true));
        check(Some(161), 999, Some(false));
    }

    #[test]
    fn the_worst_counts() {
        let of = |list: &[SlaStatus]| {
            let one = |status: &SlaStatus| SlaObjective {
                name: String::new(),
                target: String::new(),
                predicted: String::new(),
                measured: String::new(),
                status: *status,
                budget: None,
            };
            status(&list.iter().map(one).collect::<Vec<_>>())
        };
        use SlaStatus::{AtRisk, Met, NotDetermined, Violated};
        assert_eq!(of(&[]), Met);
        assert_eq!(of(&[Met, NotDetermined]), NotDetermined);
        assert_eq!(of(&[NotDetermined, Violated, Met]), Violated);
        assert_eq!(of(&[Met, AtRisk, NotDetermined]), AtRisk);
    }
}
