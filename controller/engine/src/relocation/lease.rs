//! Leases: who may run, for how long, and when a copy that cannot be heard has surely stopped.

use chandler_protocol::lease::{LEASES_MAX, LeaseGrant, LeaseRequest, LeaseWanted};
use chandler_protocol::state::{Own, Target};
use chandler_protocol::{AssignmentId, HostId, Micros};

use super::phase::is_gone;
use crate::draft::Draft;
use crate::model::Model;
use crate::service::{AllocationState, Assignment, Service};

/// When a lease is surely over where nothing else was configured.
const GRACE: Micros = Micros::from_secs(12);

/// How long after it was last given a lease a copy has surely stopped.
pub(super) fn grace(model: &Model) -> Micros {
    if model.grace.0 > 0 { model.grace } else { GRACE }
}

/// Answers a request for leases. A copy gets one while it is to run under one, as the owner of its state where it has
/// any; what is not given is not in the answer. Renewing changes no record, only when the lease was last given; but the
/// first renewal of a copy that ran without one shows that it is bound by it now.
///
/// The software is dead after three quarters of the grace, counted from when its agent asked; the rest is what two
/// clocks may differ in.
pub fn lease(draft: &mut Draft<'_>, host: HostId, request: &LeaseRequest) -> LeaseGrant {
    let grace = grace(&draft.model);
    let mut given = Vec::new();
    let is_here = draft.model.hosts.get(&host).is_some_and(|h| !is_gone(h.state));
    for wanted in request.wanted.iter().take(LEASES_MAX).filter(|_| is_here) {
        if let Some(generation) = give(draft, host, wanted) {
            let now = draft.boot;
            draft.model.lease_given.insert(wanted.assignment, now);
            given.push(LeaseWanted { generation, ..*wanted });
        }
    }
    LeaseGrant { nonce: request.nonce, lasts: Micros(grace.0 / 4 * 3), renew: Micros(grace.0 / 4), given }
}

/// The generation that is given, if any.
fn give(draft: &mut Draft<'_>, host: HostId, wanted: &LeaseWanted) -> Option<u64> {
    let copy = draft.model.assignments.get(&wanted.assignment).filter(|a| a.host == host)?;
    let leased = matches!(copy.target, Target::Own(Own { leased: true, .. }));
    // An owner that is asked to seal its state ends in its own time: the lease that it has goes on until it has sealed.
    let sealing = matches!(copy.target, Target::Seal { .. }) && wanted.generation != 0;
    if copy.state == AllocationState::Releasing || copy.epoch != wanted.epoch || !(leased || sealing) {
        return None;
    }
    let service = draft.model.services.get(&copy.service)?.clone();
    if wanted.generation == 0 && may_run_elsewhere(draft, &service) {
        return None;
    }
    let Some(tenure) = service.tenure else { return leased.then_some(wanted.generation.max(1)) };
    let (after, generation) = tenure.grant(wanted.assignment, wanted.epoch, wanted.generation).ok()?;
    // Its agent asks again for what it was given: from now on it runs no longer than that.
    if let Some(bound) = draft.model.assignments.get(&wanted.assignment).filter(|a| a.free && wanted.generation > 0) {
        let bound = Assignment { free: false, ..bound.as_ref().clone() };
        draft.put(bound);
    }
    if after != tenure {
        draft.put(Service { tenure: Some(after), ..service.as_ref().clone() });
    }
    Some(generation)
}

/// Whether a copy of this service that nobody here knows may still run under a lease. A controller that was restored from
/// a backup has forgotten to whom it gave one since, and cannot tell that it was restored: so what was ordered before it
/// began begins nowhere until such a lease is over. But who renews a lease proves that nobody was given a later one.
fn may_run_elsewhere(draft: &Draft<'_>, service: &Service) -> bool {
    let model = &draft.model;
    let is_old = service.turn.0 <= model.ordered_before;
    let passed = draft.boot.0.saturating_sub(model.leasing_since.0);
    let renewed = || model.assignments_of(service.id).any(|a| model.lease_given.contains_key(&a.id));
    is_old && passed <= grace(model).0 && !renewed()
}

/// Whether nothing but the word of its agent, or of an operator, says that this copy has stopped: it alone may write its
/// state, and may run without a lease.
pub(super) fn is_unbound(service: &Service, copy: &Assignment) -> bool {
    !service.is_task() && service.is_exclusive() && copy.free
}

/// Whether what is told to run like this runs without a lease.
pub(super) const fn is_free(target: Target) -> bool {
    matches!(target, Target::Running | Target::Own(Own { leased: false, .. }))
}

/// Whether copies of a service stop by themselves when their lease is over, but for those that are [`is_unbound`].
pub(super) fn are_bound(service: &Service) -> bool {
    service.is_leased() || (!service.is_task() && service.is_exclusive())
}

/// Whether a copy that runs only under a lease has surely stopped. `boot` is the time by the clock that never jumps.
pub fn lease_over(model: &Model, copy: AssignmentId, boot: Micros) -> bool {
    over_in(model, copy, boot) == Micros::ZERO
}

/// How long until it surely has; zero when it has. What an earlier run of this controller gave is not known: it is
/// counted as if it had been given when this one began.
pub(super) fn over_in(model: &Model, copy: AssignmentId, boot: Micros) -> Micros {
    let last = model.lease_given.get(&copy).copied().unwrap_or_default().max(model.leasing_since);
    let passed = boot.0.saturating_sub(last.0);
    let left = grace(model).0.saturating_add(1).saturating_sub(passed);
    Micros(left.max(0))
}
