//! Settling: what a placement chose becomes assignments, and each copy that leaves its place for another one a move.

use std::sync::Arc;

use chandler_protocol::state::{Own, Receive, Target};
use chandler_protocol::{AssignmentId, DecisionId, HostId, Micros, MoveId};

use super::epoch::{hand_to, next_epoch, renew};
use super::estimate::estimate;
use super::lease::is_free;
use super::plan::{Begin, begin};
use super::tenure::Tenure;
use crate::draft::Draft;
use crate::event::Noun;
use crate::model::Model;
use crate::movement::{Effect, MoveKind, MovePhase, Worth};
use crate::placement::{Candidate, Outcome};
use crate::service::{AllocationState, Assignment, Displaced, OperatingStatus, Service, Trigger};

/// What a copy of this service is told when it is to run.
pub(crate) fn owned(service: &Service) -> Target {
    if service.is_task() || !(service.carries_state() || service.is_leased()) {
        Target::Running
    } else {
        Target::Own(Own { leased: service.is_leased(), from: None })
    }
}

/// Whether its state moves with it. A task's run begins anew wherever it is put.
pub(super) fn carries(service: &Service) -> bool {
    !service.is_task() && service.carries_state()
}

/// Copies that count: not on their way out, and not the leaving side of a move whose other side serves already.
pub(super) fn standing(model: &Model, service: &Service) -> Vec<Arc<Assignment>> {
    let gone: Vec<_> = model.moves_of(service.id).filter_map(|m| m.from).collect();
    let copies = model.assignments_of(service.id).filter(|a| a.state != AllocationState::Releasing);
    copies.filter(|a| !gone.contains(&a.id)).cloned().collect()
}

/// Turns the chosen hosts into assignments.
pub(super) fn settle(
    draft: &mut Draft<'_>,
    service: &Arc<Service>,
    outcome: &Outcome,
    decision: DecisionId,
    trigger: Trigger,
    text: &str,
) {
    let old = standing(&draft.model, service);
    let chosen: Vec<_> = outcome.chosen().cloned().collect();
    let mut left: Vec<Arc<Assignment>> = Vec::new();
    for copy in &old {
        if chosen.iter().any(|c| c.host == copy.host) {
            keep(draft, copy, service);
        } else {
            let copy = Assignment { leaving: true, ..copy.as_ref().clone() };
            draft.put(copy.clone());
            left.push(Arc::new(copy));
        }
    }
    let mut next = service.as_ref().clone();
    let displaced = next.displaced.take();
    // The settled state of the service first: what is begun below reads and changes it.
    next.copies = u32::try_from(chosen.len()).unwrap_or(u32::MAX);
    next.predicted = outcome.predicted;
    next.decision = Some(decision);
    if matches!(next.status, OperatingStatus::Pending) {
        next.status = OperatingStatus::Starting;
        next.since = draft.now;
    }
    next.reason = String::new();
    let tenure = draft.model.services.get(&service.id).and_then(|s| s.tenure);
    let route = draft.model.services.get(&service.id).map(|s| s.route.clone()).unwrap_or_default();
    draft.put(Service { tenure, route, ..next });
    let mut left = left.into_iter();
    for candidate in chosen.iter().filter(|c| old.iter().all(|a| a.host != c.host)) {
        let Some(now) = draft.model.services.get(&service.id).cloned() else { return };
        match (left.next(), &displaced) {
            (Some(copy), _) => {
                let why = Why { decision, trigger, text, evidence: text.to_owned(), by: draft.by().to_owned() };
                change_place(draft, &now, &copy, candidate, &why, (Worth::default(), Effect::default()));
            }
            (None, Some(d)) => take_over(draft, &now, d, candidate, (decision, trigger, text)),
            (None, None) => {
                reserve(draft, &now, candidate, (decision, trigger, text));
            }
        }
    }
}

/// Why a copy changes its place.
pub(super) struct Why<'a> {
    pub decision: DecisionId,
    pub trigger: Trigger,
    pub text: &'a str,
    pub evidence: String,
    pub by: String,
}

/// One copy goes to another host, with its state where it has one.
pub(super) fn change_place(
    draft: &mut Draft<'_>,
    service: &Service,
    from: &Assignment,
    candidate: &Candidate,
    why: &Why<'_>,
    predicted: (Worth, Effect),
) -> MoveId {
    let carried = carries(service);
    let decided = (why.decision, why.trigger, why.text);
    let to = if carried {
        let tenure = service.tenure.unwrap_or_else(|| Tenure::first(from.id, from.epoch));
        if service.tenure.is_none() {
            draft.put(Service { tenure: Some(tenure), ..service.clone() });
        }
        let order = Receive {
            attempt: tenure.attempt + 1,
            host: from.host,
            source: from.id,
            rate_max: service.policy.mobility.rate_max,
        };
        let id = AssignmentId::from_random(draft.id());
        let epoch = next_epoch(&draft.model, service.id);
        put_reserved(draft, service, candidate, decided, (id, epoch, Target::Receive(order)), None);
        id
    } else {
        reserve(draft, service, candidate, decided).0
    };
    if let Some(old) = draft.model.assignments.get(&from.id).filter(|a| !a.leaving).cloned() {
        draft.put(Assignment { leaving: true, ..old.as_ref().clone() });
    }
    let (worth, effect) = predicted;
    let is_told = effect != Effect::default();
    let effect = if carried && !is_told { estimate(&draft.model, service, None) } else { effect };
    let own_state = service.spec.state.is_some() && !carried;
    let lost = if own_state { "; each copy has a state of its own: the new one begins without" } else { "" };
    let how = Begin {
        kind: if carried { MoveKind::Exclusive } else { MoveKind::Overlap },
        trigger: why.trigger,
        evidence: format!("{}{lost}", why.evidence),
        by: why.by.clone(),
        from: Some(from.id),
        from_host: from.host,
        to,
        to_host: candidate.host,
        predicted: (worth, effect),
    };
    begin(draft, service, how)
}

/// A copy is reserved for one that is gone.
fn take_over(
    draft: &mut Draft<'_>,
    service: &Service,
    gone: &Displaced,
    candidate: &Candidate,
    decided: (DecisionId, Trigger, &str),
) {
    let (to, resumes) = reserve(draft, service, candidate, decided);
    if gone.from == candidate.host {
        // It begins anew where it was: nothing changes its place.
        return;
    }
    let empty = service.spec.state.is_some() && !resumes && service.has_run();
    let lost = if empty { "; its state was lost with its host: it begins empty" } else { "" };
    let older = if resumes { "; it goes on with the state that was kept there" } else { "" };
    let how = Begin {
        kind: MoveKind::Failover,
        trigger: decided.1,
        evidence: format!("{}; {}{lost}{older}", gone.reason, decided.2),
        by: draft.by().to_owned(),
        from: None,
        from_host: gone.from,
        to,
        to_host: candidate.host,
        predicted: (Worth::default(), Effect::default()),
    };
    begin(draft, service, how);
}

/// Reserves one copy's resources on a host, to run there. Where a stopped copy with its state was kept, that one goes
/// on; says so. It owns the state from now on: whoever did before has surely stopped.
pub(super) fn reserve(
    draft: &mut Draft<'_>,
    service: &Service,
    candidate: &Candidate,
    decided: (DecisionId, Trigger, &str),
) -> (AssignmentId, bool) {
    let kept = draft.model.assignments_of(service.id);
    let kept = kept.filter(|a| a.host == candidate.host && a.target == Target::Stopped).last().cloned();
    let id = kept.as_ref().map_or_else(|| AssignmentId::from_random(draft.id()), |a| a.id);
    let mut epoch = next_epoch(&draft.model, service.id);
    if carries(service) {
        epoch = hand_to(draft, service, id);
    }
    let resumes = kept.is_some();
    put_reserved(draft, service, candidate, decided, (id, epoch, owned(service)), kept.as_deref());
    (id, resumes)
}

fn put_reserved(
    draft: &mut Draft<'_>,
    service: &Service,
    candidate: &Candidate,
    (decision, trigger, text): (DecisionId, Trigger, &str),
    (id, epoch, target): (AssignmentId, u64, Target),
    kept: Option<&Assignment>,
) {
    draft.event(
        (Noun::Assignment, id.to_string(), &service.name),
        kept.map_or("", |a| a.state.as_str()),
        AllocationState::Reserved.as_str(),
        format!("{} on {}", trigger.as_str(), candidate.host_name),
    );
    let (since, metered_total, observed) =
        kept.map_or((draft.now, Micros::ZERO, None), |a| (a.since, a.metered_total, a.observed.clone()));
    draft.put(Assignment {
        id,
        service: service.id,
        host: candidate.host,
        site: candidate.site,
        epoch,
        state: AllocationState::Reserved,
        target,
        leaving: false,
        free: is_free(target) || kept.is_some_and(|a| a.free),
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
}

/// A copy stays where it is; its configuration follows the service's.
fn keep(draft: &mut Draft<'_>, copy: &Assignment, service: &Service) {
    // A new price is a new epoch too: the agent goes on, and splits what it meters at that moment.
    let target = same_or(copy.target, owned(service));
    let reserved = service.reserved();
    let same =
        copy.spec == service.spec && copy.reserved == reserved && copy.price == service.price && copy.target == target;
    take_charge(draft, copy, service);
    if same && !copy.leaving {
        return;
    }
    let spec = service.spec.clone();
    let mut next = Assignment { leaving: false, target, spec, reserved, price: service.price.clone(), ..copy.clone() };
    if (next.reserved, &next.price) != (copy.reserved, &copy.price) {
        // Another tariff: it is metered from nothing again, and what is still to be reported of the old one is not lost.
        next.previous = Some(copy.tariff());
        next.metered = Micros::ZERO;
    }
    if same {
        return draft.put(next);
    }
    let epoch = renew(draft, next);
    draft.event(
        (Noun::Assignment, copy.id.to_string(), &service.name),
        copy.state.as_str(),
        copy.state.as_str(),
        format!("configured anew, epoch {epoch}"),
    );
}

/// The target of a copy that runs, unless another kind of running is wanted now.
fn same_or(is: Target, wanted: Target) -> Target {
    match (is, wanted) {
        (Target::Own(a), Target::Own(b)) if a.leased == b.leased => is,
        (Target::Running | Target::Own(_), _) => wanted,
        _ => is,
    }
}

/// The tenure follows when a service begins or ceases to carry its state.
fn take_charge(draft: &mut Draft<'_>, copy: &Assignment, service: &Service) {
    let Some(known) = draft.model.services.get(&service.id).cloned() else { return };
    let tenure = match known.tenure {
        None if carries(service) => Some(Tenure::first(copy.id, copy.epoch)),
        Some(_) if !carries(service) => None,
        same => same,
    };
    if tenure != known.tenure {
        draft.put(Service { tenure, ..known.as_ref().clone() });
    }
}

/// The hosts that a service was moved to in vain lately: they are the last choice when it is tried again.
pub(super) fn failed_places(draft: &Draft<'_>, service: &Service) -> Vec<HostId> {
    const LATELY: Micros = Micros::from_secs(3_600);
    let moves = draft.model.moves.values().filter(|m| m.service == service.id && m.phase == MovePhase::RolledBack);
    moves.filter(|m| m.ended_at.is_some_and(|at| draft.now.since(at) < LATELY)).map(|m| m.to_host).collect()
}
