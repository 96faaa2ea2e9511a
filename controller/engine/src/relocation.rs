//! Relocation: what makes a service change its place, and the change itself.
//!
//! One mechanism serves every trigger: place the service anew with its current hosts in sight, and [`settle`] the
//! difference. Copies on hosts that were chosen again stay untouched; each that leaves does so in a move
//! ([`crate::movement`]), which [`step_moves`] takes from phase to phase as agents and front doors report.

mod conclude;
mod epoch;
mod estimate;
mod exclusive;
mod frozen;
mod lease;
mod operator;
mod overlap;
mod phase;
mod plan;
mod retire;
mod rollback;
mod route;
mod settle;
mod step;
#[cfg(test)]
mod stories;
pub mod tenure;
pub mod trigger;

pub(crate) use conclude::WAITS_FOR_HOST;
pub use conclude::{conclude, returned};
pub(crate) use epoch::renew;
pub(crate) use frozen::{contradiction, freeze};
pub use lease::{lease, lease_over};
pub use operator::{Destination, NotMoved, order_move};
pub(crate) use phase::is_told;
pub use phase::next_look;
pub use plan::{Plan, may_move, plan_move};
pub use retire::retire;
pub(crate) use rollback::abandon_all;
pub(crate) use rollback::{give_way, may_give_way};
pub(crate) use route::{is_held, is_quiet, keep_route};
pub(crate) use step::failure_text;
pub use step::step_moves;

use std::sync::Arc;

use chandler_protocol::state::Target;
use chandler_protocol::{DecisionId, HostId, Micros};

use self::tenure::Stage;
use self::trigger::storm;
use crate::assurance;
use crate::draft::Draft;
use crate::event::Noun;
use crate::movement::MovePhase;
use crate::placement::{self, Outcome, Request};
use crate::service::{AllocationState, Assignment, Displaced, OperatingStatus, Service, ServiceState, Trigger};
use crate::sla::Terms;

/// Takes all work of a host that is gone away from it, as far as that may be concluded now ([`conclude`]); the rest
/// follows when it may.
pub fn displace(draft: &mut Draft<'_>, host: HostId) {
    let mut services: Vec<_> = draft.model.assignments_of_host(host).map(|a| a.service).collect();
    services.dedup();
    for service in services {
        step_moves(draft, service);
        conclude(draft, service);
        keep_route(draft, service);
    }
}

/// Takes one copy away from its host.
pub fn displace_one(draft: &mut Draft<'_>, assignment: &Assignment, trigger: Trigger, reason: &str) {
    release(draft, assignment, reason);
    let Some(service) = draft.model.services.get(&assignment.service).cloned() else { return };
    if matches!(service.state, ServiceState::Terminating | ServiceState::Terminated) || assignment.leaving {
        return;
    }
    let displaced = Some(Displaced { trigger, from: assignment.host, reason: reason.to_owned() });
    draft.put(Service { displaced, ..service.as_ref().clone() });
}

/// Takes a copy out of use. One without state is wiped; state is kept where it is, stopped, until its service is
/// deleted: nothing that a customer wrote is removed because a host was silent or a program failed.
pub fn release(draft: &mut Draft<'_>, assignment: &Assignment, reason: &str) {
    if assignment.state == AllocationState::Releasing {
        return;
    }
    let target = if assignment.spec.state.is_some() { Target::Stopped } else { Target::Wiped };
    leave(draft, assignment, target, reason);
}

/// Stops a copy and removes everything of it: its service is deleted.
pub fn wipe(draft: &mut Draft<'_>, assignment: &Assignment, reason: &str) {
    if assignment.target != Target::Wiped {
        leave(draft, assignment, Target::Wiped, reason);
    }
}

/// The copy stays reserved until its agent says that it is stopped or gone.
fn leave(draft: &mut Draft<'_>, assignment: &Assignment, target: Target, reason: &str) {
    draft.event(
        (Noun::Assignment, assignment.id.to_string(), ""),
        assignment.state.as_str(),
        AllocationState::Releasing.as_str(),
        reason,
    );
    renew(draft, Assignment { state: AllocationState::Releasing, target, ..assignment.clone() });
}

/// Whether this copy owns its service's state, or gave it up to one that customers are not served by yet: then nothing
/// of it is removed (P9).
fn carries_owner(draft: &Draft<'_>, copy: &Assignment) -> bool {
    let tenure = draft.model.services.get(&copy.service).and_then(|s| s.tenure);
    tenure.is_some_and(|t| {
        let source = matches!(t.stage, Stage::Committed { from, .. } if from == copy.id);
        let heir = matches!(t.stage, Stage::Returning { to, .. } if to == copy.id);
        t.owner == Some(copy.id) || source || heir
    })
}

/// Finds places for every service that has too few copies, in the order of their turn. Gives how many still wait.
pub fn place_waiting(draft: &mut Draft<'_>) -> usize {
    let mut waiting: Vec<_> = draft
        .model
        .live
        .iter()
        .filter_map(|id| draft.model.services.get(id))
        .filter(|s| wants_place(draft, s))
        .map(|s| (storm::turn(draft, s), s.turn, s.id))
        .collect();
    waiting.sort_unstable();
    let mut left = 0;
    // Items of one order ask for the same: once one of them finds no room, the others need not ask again now.
    let mut full_orders = Vec::new();
    for (_, _, id) in waiting {
        let Some(service) = draft.model.services.get(&id).cloned() else { continue };
        if storm::holds_back(draft, &service) {
            left += 1;
            continue;
        }
        if service.is_task() && full_orders.contains(&service.order) {
            left += 1;
            continue;
        }
        if !place_again(draft, &service) {
            left += 1;
            if service.is_task() {
                full_orders.push(service.order);
            }
        }
    }
    left
}

/// Finds a place for one service that waits. Where it just failed is the last choice, but a choice.
fn place_again(draft: &mut Draft<'_>, service: &Arc<Service>) -> bool {
    let terms = terms_of(draft, service);
    let (trigger, avoid) = match &service.displaced {
        Some(d) if d.trigger == Trigger::ProcessFailed => (d.trigger, vec![d.from]),
        Some(d) => (d.trigger, Vec::new()),
        None => (Trigger::Order, Vec::new()),
    };
    let mut avoid = avoid;
    avoid.extend(settle::failed_places(draft, service));
    let elsewhere = !avoid.is_empty() && decide(draft, service, &terms, trigger, &avoid).0.refusal.is_none();
    let avoid = if elsewhere { avoid } else { Vec::new() };
    replan(draft, service, &terms, trigger, &avoid).is_ok()
}

/// Whether a service has fewer copies than were decided, and its time has come.
fn wants_place(draft: &Draft<'_>, service: &Service) -> bool {
    if draft.now < service.not_before {
        return false;
    }
    if !matches!(service.state, ServiceState::Reserved | ServiceState::Active) || service.exit.is_some() {
        return false;
    }
    // A move ends one way or the other before another place is looked for.
    if draft.model.moves_of(service.id).any(|m| m.phase != MovePhase::Draining) || frozen::is_frozen(service) {
        return false;
    }
    let copies = settle::standing(&draft.model, service);
    let waits = |a: &Assignment| draft.model.hosts.get(&a.host).is_none_or(|h| phase::is_gone(h.state));
    if settle::carries(service) && copies.iter().any(|a| waits(a)) {
        return false;
    }
    let copies = copies.iter().filter(|a| !a.leaving).count();
    service.status != OperatingStatus::Failed && copies < service.copies.max(1) as usize
}

/// The terms a service is under.
pub fn terms_of(draft: &Draft<'_>, service: &Service) -> Terms {
    draft.model.agreements.get(&service.agreement).map(|a| a.terms()).unwrap_or_default()
}

/// Places a service anew and settles the difference.
///
/// # Errors
/// The outcome, when no place was found. The refusal is kept as a decision, and the service waits.
pub fn replan(
    draft: &mut Draft<'_>,
    service: &Arc<Service>,
    terms: &Terms,
    trigger: Trigger,
    avoid: &[HostId],
) -> Result<(), Box<Outcome>> {
    let (outcome, decision) = decide(draft, service, terms, trigger, avoid);
    if outcome.refusal.is_some() {
        keep_waiting(draft, service, decision);
        return Err(Box::new(outcome));
    }
    let decision_id = decision.id;
    draft.put(crate::model::Change::Decision(Arc::new(decision.clone())));
    settle::settle(draft, service, &outcome, decision_id, trigger, &decision.text);
    Ok(())
}

/// One placement of a service on the draft as it is now, with its record.
pub fn decide(
    draft: &mut Draft<'_>,
    service: &Service,
    terms: &Terms,
    trigger: Trigger,
    avoid: &[HostId],
) -> (Outcome, placement::Decision) {
    let id = DecisionId::from_random(draft.id());
    let model = &draft.model;
    let copies = settle::standing(model, service);
    let current: Vec<_> = copies.iter().map(|a| a.host).collect();
    let mut views = placement::views_of(model, draft.now, service.id);
    // Where a copy is just leaving there is no place for another one.
    let left: Vec<_> = model.moves_of(service.id).filter_map(|m| m.from.map(|_| m.from_host)).collect();
    views.retain(|v| !left.contains(&v.host.id) || current.contains(&v.host.id));
    let request = Request {
        customer: service.customer,
        spec: &service.spec,
        platform: &service.platform,
        terms,
        policy: &service.policy,
        price: &service.price,
        access_rtt: placement::access_rtt(model, service.customer),
        response_p95: response_p95(model, service),
        avoid,
        current: &current,
        currency: &model.currency,
    };
    let mut outcome = placement::place(&views, &request);
    let stays = settle::carries(service) && stay(&mut outcome, &views, &request);
    let mut decision =
        placement::decision(id, service.id, draft.now, model.generation, trigger, &outcome, &views, &request);
    if stays {
        decision.text = format!("it stays where its state is, which meets the SLA; {}", decision.text);
    }
    (outcome, decision)
}

/// State is not moved for money alone whenever something is ordered: where the places that it has meet the SLA, they are
/// chosen again. Gives whether others were chosen before.
fn stay(outcome: &mut Outcome, views: &[placement::HostView<'_>], request: &Request<'_>) -> bool {
    if request.current.is_empty() || outcome.chosen().all(|c| request.current.contains(&c.host)) {
        return false;
    }
    let here: Vec<_> = views.iter().filter(|v| request.current.contains(&v.host.id)).cloned().collect();
    let again = placement::place(&here, request);
    if again.refusal.is_some() {
        return false;
    }
    for candidate in &mut outcome.candidates {
        candidate.chosen = again.chosen().any(|c| c.host == candidate.host);
    }
    outcome.predicted = again.predicted;
    true
}

/// The software's own answer time as measured on its hosts, without the way there.
pub(crate) fn response_p95(model: &crate::model::Model, service: &Service) -> Micros {
    model
        .assignments_of(service.id)
        .filter_map(|a| a.observed.as_ref())
        .filter(|o| o.health.checks > 0)
        .map(|o| o.health.latency_p95)
        .max()
        .unwrap_or_default()
}

/// No place now: the service waits, and says why. Told once, not at every try.
fn keep_waiting(draft: &mut Draft<'_>, service: &Service, decision: placement::Decision) {
    let reason = format!("waits for a place: {}", decision.text);
    if service.reason == reason {
        return;
    }
    draft.event(
        (Noun::Service, service.id.to_string(), &service.name),
        service.status.as_str(),
        service.status.as_str(),
        reason.clone(),
    );
    let id = decision.id;
    draft.put(crate::model::Change::Decision(Arc::new(decision)));
    draft.put(Service { decision: Some(id), reason, ..service.clone() });
}

/// Marks the time at which a service was found up or down.
pub(crate) fn measured(draft: &Draft<'_>, service: &Service, up: bool) -> crate::service::Measured {
    assurance::measure(service.measured, up, draft.now, draft.model.observable_since)
}
