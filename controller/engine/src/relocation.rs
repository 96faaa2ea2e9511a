//! Relocation: what makes a service change its place, and the change itself.
//!
//! One mechanism serves every trigger: place the service anew with its current hosts in sight, and settle the
//! difference. Copies on hosts that were chosen again stay untouched; new ones are reserved; old ones leave once
//! the new ones are healthy.

mod plan;
pub mod tenure;
pub mod trigger;

pub use plan::{Plan, may_move, plan_move};

use std::sync::Arc;

use chandler_protocol::state::Target;
use chandler_protocol::{AssignmentId, DecisionId, HostId, Micros};

use crate::assurance;
use crate::draft::Draft;
use crate::event::Noun;
use crate::placement::{self, Outcome, Request};
use crate::service::{
    AllocationState, Assignment, Displaced, OperatingStatus, REPLACEMENTS_KEPT, Replacement, Service, ServiceState,
    Trigger,
};
use crate::sla::Terms;

/// Takes all work of a host away from it: its copies are released there and their services look for a new place.
///
/// Exclusive state stays where it is while nobody knows whether its host still runs it: silence is no proof that it does
/// not, and two writers are worse than none. Revoking the host, or deleting the service, decides it.
pub fn displace(draft: &mut Draft<'_>, host: HostId, trigger: Trigger, reason: &str) {
    let here: Vec<_> = draft.model.assignments_of_host(host).cloned().collect();
    for assignment in here.iter().filter(|a| a.state != AllocationState::Releasing) {
        let service = draft.model.services.get(&assignment.service);
        if trigger == Trigger::HostFailed && service.is_some_and(|s| s.is_exclusive()) {
            continue;
        }
        displace_one(draft, assignment, trigger, reason);
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
    draft.put(Assignment {
        state: AllocationState::Releasing,
        target,
        epoch: assignment.epoch + 1,
        ..assignment.clone()
    });
}

/// Finds places for every service that has too few copies, in the order of their turn. Gives how many still wait.
pub fn place_waiting(draft: &mut Draft<'_>) -> usize {
    let mut waiting: Vec<_> = draft
        .model
        .live
        .iter()
        .filter_map(|id| draft.model.services.get(id))
        .filter(|s| wants_place(draft, s))
        .map(|s| (s.turn, s.id))
        .collect();
    waiting.sort_unstable();
    let mut left = 0;
    // Items of one order ask for the same: once one of them finds no room, the others need not ask again now.
    let mut full_orders = Vec::new();
    for (_, id) in waiting {
        let Some(service) = draft.model.services.get(&id).cloned() else { continue };
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
    let copies =
        draft.model.assignments_of(service.id).filter(|a| a.state != AllocationState::Releasing && !a.leaving).count();
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
    settle(draft, service, &outcome, decision_id, trigger, &decision.text);
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
    let current: Vec<_> =
        model.assignments_of(service.id).filter(|a| a.state != AllocationState::Releasing).map(|a| a.host).collect();
    let mut views = placement::views_of(model, draft.now, service.id);
    if service.is_exclusive() && !current.is_empty() {
        // State does not travel yet, and must never be left behind silently: such a service stays where it is.
        views.retain(|v| current.contains(&v.host.id));
    }
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
    let outcome = placement::place(&views, &request);
    let decision =
        placement::decision(id, service.id, draft.now, model.generation, trigger, &outcome, &views, &request);
    (outcome, decision)
}

/// The software's own answer time as measured on its hosts, without the way there.
fn response_p95(model: &crate::model::Model, service: &Service) -> Micros {
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

/// Turns the chosen hosts into assignments.
fn settle(
    draft: &mut Draft<'_>,
    service: &Arc<Service>,
    outcome: &Outcome,
    decision: DecisionId,
    trigger: Trigger,
    text: &str,
) {
    let old: Vec<_> =
        draft.model.assignments_of(service.id).filter(|a| a.state != AllocationState::Releasing).cloned().collect();
    let chosen: Vec<_> = outcome.chosen().cloned().collect();
    let mut left: Vec<HostId> = Vec::new();
    for assignment in &old {
        let stays = chosen.iter().any(|c| c.host == assignment.host);
        if stays {
            keep(draft, assignment, service);
        } else {
            left.push(assignment.host);
            draft.put(Assignment { leaving: true, ..assignment.as_ref().clone() });
        }
    }
    if let Some(d) = &service.displaced
        && !left.contains(&d.from)
    {
        left.push(d.from);
    }
    let mut service = service.as_ref().clone();
    let from_reason = service.displaced.take().map_or_else(String::new, |d| format!("{}; ", d.reason));
    let epoch = draft.model.assignments_of(service.id).map(|a| a.epoch).max().unwrap_or(0) + 1;
    let mut left = left.into_iter();
    for candidate in chosen.iter().filter(|c| old.iter().all(|a| a.host != c.host)) {
        let resumes = reserve(draft, &service, candidate, (epoch, decision), trigger, text);
        if let Some(from) = left.next() {
            let empty = service.spec.state.is_some() && !resumes && service.has_run();
            let lost = if empty { "; its state does not travel yet: it begins empty" } else { "" };
            let reason = format!("{from_reason}{text}{lost}");
            note_replacement(
                draft,
                &mut service,
                Replacement { at: draft.now, trigger, from, to: candidate.host, reason },
            );
        }
    }
    service.copies = u32::try_from(chosen.len()).unwrap_or(u32::MAX);
    service.predicted = outcome.predicted;
    service.decision = Some(decision);
    if matches!(service.status, OperatingStatus::Pending) {
        service.status = OperatingStatus::Starting;
        service.since = draft.now;
    }
    service.reason = String::new();
    draft.put(service);
}

/// Reserves one copy's resources on a host. Where a stopped copy with its state was kept, that one goes on; says so.
fn reserve(
    draft: &mut Draft<'_>,
    service: &Service,
    candidate: &placement::Candidate,
    (epoch, decision): (u64, DecisionId),
    trigger: Trigger,
    text: &str,
) -> bool {
    let kept = draft.model.assignments_of(service.id);
    let kept = kept.filter(|a| a.host == candidate.host && a.target == Target::Stopped).last().cloned();
    let id = kept.as_ref().map_or_else(|| AssignmentId::from_random(draft.id()), |a| a.id);
    draft.event(
        (Noun::Assignment, id.to_string(), &service.name),
        kept.as_ref().map_or("", |a| a.state.as_str()),
        AllocationState::Reserved.as_str(),
        format!("{} on {}", trigger.as_str(), candidate.host_name),
    );
    let resumes = kept.is_some();
    let (since, metered_total, observed) =
        kept.map_or((draft.now, Micros::ZERO, None), |a| (a.since, a.metered_total, a.observed.clone()));
    draft.put(Assignment {
        id,
        service: service.id,
        host: candidate.host,
        site: candidate.site,
        epoch,
        state: AllocationState::Reserved,
        target: Target::Running,
        leaving: false,
        reserved: service.reserved(),
        rates: candidate.rates,
        price: service.price.clone(),
        previous: None,
        spec: service.spec.clone(),
        decision,
        reason: text.to_owned(),
        since,
        metered: Micros::ZERO,
        metered_total,
        observed,
    });
    resumes
}

/// A copy stays where it is; its configuration follows the service's.
fn keep(draft: &mut Draft<'_>, assignment: &Assignment, service: &Service) {
    // A new price is a new epoch too: the agent goes on, and splits what it meters at that moment.
    let same = assignment.spec == service.spec && assignment.price == service.price;
    let (spec, reserved) = (service.spec.clone(), service.reserved());
    if same && !assignment.leaving {
        return;
    }
    let epoch = if same { assignment.epoch } else { assignment.epoch + 1 };
    if !same {
        draft.event(
            (Noun::Assignment, assignment.id.to_string(), &service.name),
            assignment.state.as_str(),
            assignment.state.as_str(),
            format!("configured anew, epoch {epoch}"),
        );
    }
    let mut next =
        Assignment { leaving: false, epoch, spec, reserved, price: service.price.clone(), ..assignment.clone() };
    if (next.reserved, &next.price) != (assignment.reserved, &assignment.price) {
        // Another tariff: it is metered from nothing again, and what is still to be reported of the old one is not lost.
        next.previous = Some(assignment.tariff());
        next.metered = Micros::ZERO;
    }
    draft.put(next);
}

fn note_replacement(draft: &mut Draft<'_>, service: &mut Service, replacement: Replacement) {
    let (from, to) = (draft.model.host_name(replacement.from), draft.model.host_name(replacement.to));
    draft.event(
        (Noun::Service, service.id.to_string(), &service.name),
        &from,
        &to,
        format!("{}: {}", replacement.trigger.as_str(), replacement.reason),
    );
    if service.replacements.len() >= REPLACEMENTS_KEPT {
        service.replacements.remove(0);
    }
    service.replacements.push(replacement);
}

/// Marks the time at which a service was found up or down.
pub(crate) fn measured(draft: &Draft<'_>, service: &Service, up: bool) -> crate::service::Measured {
    assurance::measure(service.measured, up, draft.now, draft.model.observable_since)
}
