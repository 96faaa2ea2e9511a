//! Compares what was intended with what is observed, and takes the next step for one service.

use std::sync::Arc;

use chandler_protocol::state::{Exit, Failure, ObservedAssignment, Phase, Target};
use chandler_protocol::{HostId, Micros, ServiceId, Timestamp};

use crate::draft::Draft;
use crate::event::Noun;
use crate::fleet::{Capacity, FAILURES_KEPT, Host, HostState};
use crate::model::Change;
use crate::movement::{Move, MoveKind, MovePhase};
use crate::order::{Order, OrderState};
use crate::relocation;
use crate::service::{AllocationState, Assignment, OperatingStatus, Service, ServiceState, Trigger};
use crate::sla::Agreement;

/// Takes in what one host's agent observed. An assignment that is not this host's, or of an epoch that was never
/// given out, is not believed. Gives the services that were touched.
///
/// The first report of a host that was lost decides what becomes of its copies ([`relocation::returned`]): it is to be
/// taken in before the host is told anything.
pub fn observe(draft: &mut Draft<'_>, host: HostId, observed: &[ObservedAssignment]) -> Vec<ServiceId> {
    let mut touched = relocation::returned(draft, host, observed);
    for seen in observed {
        let Some(assignment) = draft.model.assignments.get(&seen.id).cloned() else { continue };
        if assignment.host == host && seen.epoch > assignment.epoch {
            // It has seen a later epoch than we ever gave out: our store is an older copy. We go on above it, but who
            // owns a state is not guessed.
            if is_owned(draft, &assignment) {
                let known = draft.model.services.get(&assignment.service).and_then(|s| s.tenure).map_or(0, |t| t.epoch);
                let what = format!("knows epoch {} of its state, this controller gave out {known} at most", seen.epoch);
                relocation::freeze(draft, &assignment, seen.epoch, &what);
                continue;
            }
            draft.put(Assignment { epoch: seen.epoch.saturating_add(1), ..assignment.as_ref().clone() });
            continue;
        }
        let believable = assignment.host == host;
        if believable
            && is_owned(draft, &assignment)
            && let Some(what) = relocation::contradiction(draft, &assignment, seen)
        {
            draft.put(Assignment { observed: Some(seen.clone()), ..assignment.as_ref().clone() });
            relocation::freeze(draft, &assignment, seen.epoch, &what);
            continue;
        }
        if believable && is_missed(draft, &assignment, seen) {
            touched.push(assignment.service);
        }
        if !believable || assignment.observed.as_ref() == Some(seen) {
            continue;
        }
        touched.push(assignment.service);
        draft.put(Assignment { observed: Some(seen.clone()), ..assignment.as_ref().clone() });
    }
    touched.sort_unstable();
    touched.dedup();
    touched
}

/// Whether a copy answers that no door knows of: its host was away, and is heard again with nothing new to say.
fn is_missed(draft: &Draft<'_>, a: &Assignment, seen: &ObservedAssignment) -> bool {
    let service = draft.model.services.get(&a.service);
    let unknown = service.is_some_and(|s| !s.is_task() && !s.route.backends.contains(&a.id));
    seen.phase == Phase::Running && a.is_to_run() && unknown
}

/// Whether the copy is of a service whose state one copy owns, and which goes on.
fn is_owned(draft: &Draft<'_>, a: &Assignment) -> bool {
    let service = draft.model.services.get(&a.service);
    service.is_some_and(|s| s.tenure.is_some() && s.state != ServiceState::Terminating)
}

/// The next step for one service. Idempotent.
pub fn advance(draft: &mut Draft<'_>, id: ServiceId) {
    remove_wiped(draft, id);
    relocation::step_moves(draft, id);
    for assignment in copies(draft, id) {
        step(draft, &assignment);
    }
    relocation::conclude(draft, id);
    release_leaving(draft, id);
    relocation::keep_route(draft, id);
    // What the steps above took away may end a move, and what they ended may free a copy.
    relocation::step_moves(draft, id);
    let Some(service) = draft.model.services.get(&id).cloned() else { return };
    update_service(draft, &service);
    complete_order(draft, id);
}

fn copies(draft: &Draft<'_>, id: ServiceId) -> Vec<Arc<Assignment>> {
    draft.model.assignments_of(id).cloned().collect()
}

/// What an agent has wiped is back in the inventory. So is what was on a host whose identity is gone for good.
fn remove_wiped(draft: &mut Draft<'_>, id: ServiceId) {
    for a in copies(draft, id) {
        if a.state != AllocationState::Releasing {
            continue;
        }
        if a.target == Target::Stopped {
            free_stopped(draft, &a);
        }
        let gone = draft.model.hosts.get(&a.host).is_none_or(|h| h.state == HostState::Revoked);
        let wiped = a.observed.as_ref().is_some_and(|o| o.phase == Phase::Wiped && o.epoch == a.epoch);
        if wiped || gone {
            let name = draft.model.host_name(a.host);
            draft.event(
                (Noun::Assignment, a.id.to_string(), ""),
                AllocationState::Releasing.as_str(),
                "released",
                format!("wiped; its resources on {name} are available again"),
            );
            draft.put(a.closed(draft.now));
            draft.put(Change::RemoveAssignment(a.id));
            forget_owner(draft, &a);
        }
    }
}

/// Whoever begins next is the first owner again.
fn forget_owner(draft: &mut Draft<'_>, gone: &Assignment) {
    let service = draft.model.services.get(&gone.service).cloned();
    if let Some(service) = service.filter(|s| s.tenure.is_some_and(|t| t.owner == Some(gone.id))) {
        draft.put(Service { tenure: None, ..service.as_ref().clone() });
    }
}

/// A copy that is stopped and kept for its state needs no processor and no memory any more.
fn free_stopped(draft: &mut Draft<'_>, a: &Assignment) {
    let stopped = a.observed.as_ref().is_some_and(|o| o.phase == Phase::Stopped && o.epoch == a.epoch);
    if stopped && a.reserved != Capacity::default() {
        let name = draft.model.host_name(a.host);
        let reason = format!("stopped; its state is kept on {name} until the service is deleted");
        draft.event((Noun::Assignment, a.id.to_string(), ""), AllocationState::Releasing.as_str(), "kept", reason);
        draft.put(Assignment { reserved: Capacity::default(), ..a.clone() });
    }
}

/// The next step for one copy.
fn step(draft: &mut Draft<'_>, a: &Assignment) {
    let Some(seen) = a.observed.as_ref().filter(|o| o.epoch == a.epoch) else { return };
    if a.state == AllocationState::Releasing || is_arriving(draft, a) {
        return;
    }
    match seen.phase {
        Phase::Running | Phase::Unhealthy if a.state == AllocationState::Reserved => {
            let what = (Noun::Assignment, a.id.to_string(), "");
            draft.event(what, a.state.as_str(), AllocationState::Allocated.as_str(), "its agent runs it");
            draft.put(Assignment { state: AllocationState::Allocated, ..a.clone() });
        }
        Phase::Failed(failure) => fail(draft, a, failure, &seen.message),
        Phase::Completed(exit) => item_ended(draft, a, exit),
        _ => {}
    }
}

/// Whether a move brings this copy here and still decides what becomes of it when it fails.
fn is_arriving(draft: &Draft<'_>, a: &Assignment) -> bool {
    let comes = |m: &Move| m.to == Some(a.id) && m.kind != MoveKind::Failover && m.phase < MovePhase::Switching;
    let failed = matches!(a.phase(), Some(Phase::Failed(_)));
    // What receives or gives up a state is no software that runs.
    if failed && matches!(a.target, Target::Seal { .. } | Target::Receive(_)) {
        return true;
    }
    failed && draft.model.moves_of(a.service).any(|m| comes(m))
}

/// It cannot run there: the host's record bears it, and another place is looked for.
fn fail(draft: &mut Draft<'_>, a: &Assignment, failure: Failure, message: &str) {
    let why = relocation::failure_text(failure);
    let reason = format!("failed on {}: {why} ({message})", draft.model.host_name(a.host));
    let Some(service) = draft.model.services.get(&a.service).cloned() else { return };
    let stays = service.spec.state.is_some() && service.has_run();
    let by_owner = failure == Failure::Owner;
    if stays && by_owner {
        // It runs again by itself when its owner allows it; until then the host is left, with the state.
        return;
    }
    if stays && draft.now < service.not_before {
        return;
    }
    if !by_owner {
        note_failure(draft, a.host);
    }
    let setback = set_back(&service, draft.now, &reason);
    if setback.setbacks >= SETBACKS_MAX && !service.has_run() {
        // It never answered: nobody has written anything that is to be kept.
        relocation::abandon_all(draft, service.id, &reason);
        relocation::wipe(draft, a, &reason);
        let known = draft.model.services.get(&service.id).cloned().unwrap_or(service);
        return give_up(draft, Service { tenure: known.tenure, route: known.route.clone(), ..setback });
    }
    tell_order(draft, &setback);
    draft.put(setback);
    if stays {
        // Its state is here, so that it is tried again here: a new epoch makes the agent begin anew.
        relocation::renew(draft, a.clone());
    } else {
        relocation::displace_one(draft, a, Trigger::ProcessFailed, &reason);
    }
}

/// How often software that never ran is put somewhere before it is given up.
const SETBACKS_MAX: u32 = 8;
/// The longest pause between two tries.
const PAUSE_MAX: Micros = Micros::from_secs(300);

/// The service after one more failure: the first is tried again at once, the next after 1, 2, 4, ... seconds.
fn set_back(service: &Service, now: Timestamp, reason: &str) -> Service {
    let setbacks = service.setbacks.saturating_add(1);
    let pause = match setbacks {
        0 | 1 => Micros::ZERO,
        n => Micros(Micros::from_secs(1 << (n - 2).min(20)).0.min(PAUSE_MAX.0)),
    };
    Service { setbacks, not_before: now.after(pause), reason: reason.to_owned(), ..service.clone() }
}

/// The order that waits for this service says why it is not done yet.
fn tell_order(draft: &mut Draft<'_>, service: &Service) {
    let Some(order) = service.pending_order.and_then(|o| draft.model.orders.get(&o).cloned()) else { return };
    let state = order.state.as_str();
    let reason = format!("try {}: {}", service.setbacks, service.reason);
    draft.event((Noun::Order, order.id.to_string(), &order.name), state, state, reason.clone());
    draft.put(Order { reason, ..order.as_ref().clone() });
}

/// It could not be run anywhere: the order has failed, or the item has.
fn give_up(draft: &mut Draft<'_>, service: Service) {
    let reason = format!("given up after {} tries: {}", service.setbacks, service.reason);
    draft.event(
        (Noun::Service, service.id.to_string(), &service.name),
        service.status.as_str(),
        OperatingStatus::Failed.as_str(),
        reason.clone(),
    );
    let pending = service.pending_order.and_then(|o| draft.model.orders.get(&o).cloned());
    let exit = service.is_task().then_some(Exit::Unknown);
    draft.put(Service {
        state: ServiceState::Terminating,
        status: OperatingStatus::Failed,
        since: draft.now,
        reason: reason.clone(),
        displaced: None,
        pending_order: None,
        exit,
        ..service
    });
    if let Some(order) = pending {
        draft.order_to(&order, OrderState::Failed, reason);
    }
}

pub(crate) fn note_failure(draft: &mut Draft<'_>, host: HostId) {
    let Some(host) = draft.model.hosts.get(&host).cloned() else { return };
    let mut failures: Vec<Timestamp> = host.failures.clone();
    if failures.len() >= FAILURES_KEPT {
        failures.remove(0);
    }
    failures.push(draft.now);
    draft.put(Host { failures, ..host.as_ref().clone() });
}

/// A task item ended. The first end that is believed counts; a machine that went down is no end.
fn item_ended(draft: &mut Draft<'_>, a: &Assignment, exit: Exit) {
    let Some(service) = draft.model.services.get(&a.service).cloned() else { return };
    let host = draft.model.host_name(a.host);
    relocation::release(draft, a, "its run has ended");
    if service.exit.is_some() {
        return;
    }
    let mut service = service.as_ref().clone();
    if exit == Exit::Unknown {
        service = set_back(&service, draft.now, &format!("its run on {host} was cut off; it is run again"));
        if service.setbacks >= SETBACKS_MAX {
            return give_up(draft, service);
        }
        service.displaced = None;
        service.status = OperatingStatus::Pending;
        draft.put(service);
        return;
    }
    service.attempts += 1;
    if exit != Exit::Code(0) && service.retries_left > 0 {
        service.retries_left -= 1;
        service.status = OperatingStatus::Pending;
        service.reason = format!("ended with {} on {host}; {} tries left", exit_text(exit), service.retries_left);
        draft.put(service);
        return;
    }
    service.exit = Some(exit);
    service.outputs = a.observed.as_ref().map(|o| o.outputs.clone()).unwrap_or_default();
    // What its agent says about it, for instance which results are missing.
    let said = a.observed.as_ref().map(|o| o.message.clone()).unwrap_or_default();
    service.reason = match (exit == Exit::Code(0), said.is_empty()) {
        (true, _) => said,
        (false, true) => format!("ended with {}", exit_text(exit)),
        (false, false) => format!("ended with {}; {said}", exit_text(exit)),
    };
    service.completed_at = Some(draft.now);
    let to = if exit == Exit::Code(0) { OperatingStatus::Completed } else { OperatingStatus::Failed };
    draft.event(
        (Noun::Service, service.id.to_string(), &service.name),
        service.status.as_str(),
        to.as_str(),
        format!("item {} ended with {} on {host}", service.item.as_deref().unwrap_or_default(), exit_text(exit)),
    );
    service.status = to;
    service.state = ServiceState::Terminating;
    service.since = draft.now;
    draft.put(service);
}

/// How a program ended, in words.
fn exit_text(exit: Exit) -> String {
    match exit {
        Exit::Code(code) => format!("status {code}"),
        Exit::Signal(signal) => format!("signal {signal}"),
        Exit::Unknown => "an unknown status".to_owned(),
        Exit::TimeLimit => "its time limit".to_owned(),
    }
}

/// A copy that leaves without another one in its stead goes once the others are healthy and no front door sends it
/// anything. With it goes what it wrote: each copy of such a service has a state of its own.
fn release_leaving(draft: &mut Draft<'_>, id: ServiceId) {
    let Some(service) = draft.model.services.get(&id).cloned() else { return };
    let all = copies(draft, id);
    let staying: Vec<_> = all.iter().filter(|a| !a.leaving && a.state != AllocationState::Releasing).collect();
    if staying.len() < service.copies.max(1) as usize || !staying.iter().all(|a| is_running(a)) {
        return;
    }
    relocation::keep_route(draft, id);
    for old in all.iter().filter(|a| a.leaving && a.state != AllocationState::Releasing) {
        let moves = draft.model.moves_of(id).any(|m| m.from == Some(old.id));
        if !moves && relocation::is_quiet(draft, id, old.id) {
            relocation::wipe(draft, old, "the other copies are healthy");
        }
    }
}

fn is_running(a: &Assignment) -> bool {
    a.observed.as_ref().is_some_and(|o| o.epoch == a.epoch && o.phase == Phase::Running)
}

/// Whether a copy runs somewhere and answers, of whatever epoch.
fn is_healthy(a: &Assignment) -> bool {
    a.is_to_run() && a.observed.as_ref().is_some_and(|o| o.phase == Phase::Running)
}

/// The service's life and status follow from its copies.
fn update_service(draft: &mut Draft<'_>, service: &Arc<Service>) {
    let all = copies(draft, service.id);
    let mut next = service.as_ref().clone();
    if matches!(next.state, ServiceState::Terminating) {
        // A lost host cannot confirm; it is told to wipe if it ever returns, and nobody waits for it.
        let waits = all.iter().any(|a| draft.model.hosts.get(&a.host).is_some_and(|h| h.state != HostState::Lost));
        if !waits {
            next.state = ServiceState::Terminated;
            if next.exit.is_none() && next.status != OperatingStatus::Failed {
                next.status = OperatingStatus::Stopped;
            }
        }
    } else {
        next.status =
            if relocation::is_held(draft, service) { service.status } else { status_of(draft, service, &all) };
        // Requests that wait for a move are answered: nobody misses the service meanwhile.
        let held = relocation::is_held(draft, service);
        let healthy = held || all.iter().any(|a| is_healthy(a) && is_seen(draft, a.host));
        // What is silent may run; what was on a host that is lost does not answer anybody, also while it waits for it.
        let is_lost = |a: &Arc<Assignment>| {
            draft.model.hosts.get(&a.host).is_none_or(|h| matches!(h.state, HostState::Lost | HostState::Revoked))
        };
        let unseen = next.status == OperatingStatus::Unknown && !all.iter().all(is_lost);
        if healthy && next.completed_at.is_none() && !next.is_task() {
            next.completed_at = Some(draft.now);
        }
        if healthy {
            next.state = ServiceState::Active;
            // What was ordered and could not be done yet keeps its pause.
            if next.displaced.is_none() {
                (next.setbacks, next.not_before) = (0, Timestamp(0));
            }
            if next.reason.starts_with(relocation::WAITS_FOR_HOST) {
                next.reason = String::new();
            }
        }
        // Measured from the first answer on; while nobody can see, nothing is measured.
        let changed = next.measured.current.is_none_or(|(up, _)| up != healthy);
        if next.completed_at.is_some() && !next.is_task() && !unseen && changed {
            next.measured = relocation::measured(draft, &next, healthy);
        }
    }
    if next == **service {
        return;
    }
    if next.status != service.status {
        next.since = draft.now;
        let reason = all.iter().find_map(|a| a.observed.as_ref().map(|o| o.message.clone())).unwrap_or_default();
        draft.event(
            (Noun::Service, next.id.to_string(), &next.name),
            service.status.as_str(),
            next.status.as_str(),
            reason,
        );
    }
    let ended = next.state == ServiceState::Terminated && next.item.is_none();
    let agreement = next.agreement;
    draft.put(next);
    if ended && let Some(agreement) = draft.model.agreements.get(&agreement).cloned() {
        let what = (Noun::Sla, agreement.id.to_string(), agreement.service.as_str());
        draft.event(what, "approved", "terminated", "its service is gone");
        draft.put(Agreement { terminated: true, ..agreement.as_ref().clone() });
    }
}

fn is_seen(draft: &Draft<'_>, host: HostId) -> bool {
    draft.model.hosts.get(&host).is_some_and(|h| h.state == HostState::Active)
}

/// What a service does right now.
fn status_of(draft: &Draft<'_>, service: &Service, all: &[Arc<Assignment>]) -> OperatingStatus {
    let staying: Vec<_> = all.iter().filter(|a| a.state != AllocationState::Releasing).collect();
    if staying.is_empty() {
        return OperatingStatus::Pending;
    }
    let running = staying.iter().filter(|a| is_healthy(a) && is_seen(draft, a.host)).count();
    let wanted = service.copies.max(1) as usize;
    if running >= wanted && staying.iter().filter(|a| !a.leaving).all(|a| is_running(a)) {
        OperatingStatus::Running
    } else if running > 0 && service.completed_at.is_some() {
        // The old copy still serves while the new one is made ready, or one of several is missing.
        if running >= wanted { OperatingStatus::Running } else { OperatingStatus::Degraded }
    } else if staying.iter().all(|a| !is_seen(draft, a.host)) {
        OperatingStatus::Unknown
    } else if staying.iter().any(|a| a.observed.as_ref().is_some_and(|o| o.phase == Phase::Unhealthy)) {
        OperatingStatus::Degraded
    } else if service.is_task() && staying.iter().any(|a| is_running(a)) {
        OperatingStatus::Running
    } else {
        OperatingStatus::Starting
    }
}

/// Completes the order that is being carried out on this service, when what it asked for is so.
fn complete_order(draft: &mut Draft<'_>, id: ServiceId) {
    let Some(service) = draft.model.services.get(&id).cloned() else { return };
    if service.is_task() {
        return complete_task(draft, &service);
    }
    let Some(order) = service.pending_order.and_then(|o| draft.model.orders.get(&o).cloned()) else { return };
    let done = match service.state {
        ServiceState::Terminated => true,
        ServiceState::Terminating => false,
        _ => {
            let staying: Vec<_> =
                copies(draft, id).into_iter().filter(|a| a.state != AllocationState::Releasing).collect();
            service.status == OperatingStatus::Running
                && staying.len() >= service.copies.max(1) as usize
                && staying.iter().all(|a| !a.leaving && is_running(a))
        }
    };
    if !done || order.state != OrderState::InProgress {
        return;
    }
    let reason = match service.state {
        ServiceState::Terminated => "stopped, wiped and back in the inventory".to_owned(),
        _ => format!("{} runs and answers", service.name),
    };
    draft.order_to(&order, OrderState::Completed, reason);
    draft.put(Service { pending_order: None, ..service.as_ref().clone() });
}

/// A task is done when its last item has ended.
fn complete_task(draft: &mut Draft<'_>, item: &Service) {
    let Some(order) = draft.model.orders.get(&item.order).cloned() else { return };
    if order.state != OrderState::InProgress {
        return;
    }
    let mut failed = 0_usize;
    for other in draft.model.services_of(order.id) {
        match other.exit {
            None => return,
            Some(Exit::Code(0)) => {}
            Some(_) => failed += 1,
        }
    }
    finish_task(draft, &order, failed);
}

fn finish_task(draft: &mut Draft<'_>, order: &Order, failed: usize) {
    let total = order.spec.items.len();
    let late = order.spec.terms.deadline.filter(|d| draft.now.since(order.ordered_at) > *d);
    let mut reason = format!("{} of {total} items ended with status 0", total - failed);
    if let Some(deadline) = late {
        reason = format!("{reason}, later than the deadline of {deadline}");
    }
    let to = match failed {
        0 => OrderState::Completed,
        n if n == total => OrderState::Failed,
        _ => OrderState::Partial,
    };
    draft.order_to(order, to, reason);
    if let Some(agreement) = order.agreement.and_then(|a| draft.model.agreements.get(&a).cloned()) {
        draft.put(Agreement { terminated: true, ..agreement.as_ref().clone() });
    }
}
