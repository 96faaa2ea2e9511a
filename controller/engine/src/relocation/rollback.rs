//! The way back: a move that is given up leaves everything as it was, whatever had been done.

use chandler_protocol::state::{Own, Phase, Target};
use chandler_protocol::{Micros, ServiceId};

use super::epoch::{commit, raise};
use super::lease::{are_bound, is_unbound, lease_over};
use super::phase::{enter, is_gone};
use super::settle::{carries, owned};
use super::tenure::{Stage, Tenure};
use super::{route, wipe};
use crate::draft::Draft;
use crate::event::Noun;
use crate::fleet::HostState;
use crate::model::Model;
use crate::movement::{Move, MoveKind, MovePhase};
use crate::service::{AllocationState, Assignment, Displaced, Service, Trigger};

/// The longest pause before a move that somebody ordered is tried again.
const PAUSE_MAX: Micros = Micros::from_secs(300);

/// Gives a move up. Before its commit the old copy goes on at once; after it the state is first taken from the new copy,
/// and the move ends when that has surely stopped.
pub(super) fn roll_back(draft: &mut Draft<'_>, on: &Move, reason: &str) {
    let Some(service) = draft.model.services.get(&on.service).cloned() else { return };
    let Some(tenure) = service.tenure.filter(|_| carries(&service)) else { return end(draft, on, reason) };
    match tenure.stage {
        Stage::Committed { .. } if tenure.owner == on.to => take_back(draft, on, tenure, reason),
        Stage::Sealing { to, .. } if on.to == Some(to) => {
            if let Ok(after) = tenure.cancel() {
                let kept = commit(draft, on.service, after);
                run_again(draft, on, &kept);
            }
            end(draft, on, reason);
        }
        Stage::Returning { .. } => {}
        _ => end(draft, on, reason),
    }
}

/// The old copy owns the state again, and runs.
fn run_again(draft: &mut Draft<'_>, on: &Move, tenure: &Tenure) {
    let Some(service) = draft.model.services.get(&on.service).cloned() else { return };
    let Some(copy) = tenure.owner.and_then(|o| draft.model.assignments.get(&o).cloned()) else { return };
    let target = Target::Own(Own { leased: service.is_leased(), from: None });
    raise(draft, Assignment { target, ..copy.as_ref().clone() }, tenure.epoch);
}

/// Takes the state from the new copy, which is told to stop.
fn take_back(draft: &mut Draft<'_>, on: &Move, tenure: Tenure, reason: &str) {
    let Ok(after) = tenure.give_back() else { return };
    let kept = commit(draft, on.service, after);
    if let Some(copy) = on.to.and_then(|t| draft.model.assignments.get(&t).cloned()) {
        raise(draft, Assignment { target: Target::Stopped, ..copy.as_ref().clone() }, kept.epoch);
    }
    let reason = format!("{reason}; goes back once the new copy has surely stopped");
    draft.event((Noun::Move, on.id.to_string(), &on.name), on.phase.as_str(), on.phase.as_str(), &reason);
    draft.put(Move { reason, deadline: None, ..on.clone() });
}

/// Whether the state is being taken back from this move's new copy.
pub(super) fn is_returning(service: &Service) -> bool {
    matches!(service.tenure.map(|t| t.stage), Some(Stage::Returning { .. }))
}

/// Ends the way back once the new copy has surely stopped: the old one runs again.
pub(super) fn await_fence(draft: &mut Draft<'_>, on: &Move) {
    let Some(service) = draft.model.services.get(&on.service).cloned() else { return };
    let Some(tenure @ Tenure { stage: Stage::Returning { from, .. }, .. }) = service.tenure else { return };
    let copy = draft.model.assignments.get(&from).cloned();
    let says = copy.as_ref().and_then(|a| a.phase().map(|p| (p, a.epoch)));
    let after = match says {
        Some((Phase::Stopped | Phase::Wiped, epoch)) => tenure.fenced(from, epoch),
        _ if has_surely_stopped(&draft.model, &service, copy.as_deref(), draft.boot) => tenure.lease_over(from),
        _ => return,
    };
    let Ok(after) = after else { return };
    let kept = commit(draft, on.service, after);
    run_again(draft, on, &kept);
    let reason = on.reason.split("; goes back").next().unwrap_or_default().to_owned();
    end(draft, on, &reason);
}

/// Whether a copy that does not say so has stopped: its lease is over, or it never had customers and its host is gone.
fn has_surely_stopped(model: &Model, service: &Service, copy: Option<&Assignment>, boot: Micros) -> bool {
    let Some(copy) = copy else { return true };
    let host = model.hosts.get(&copy.host).map(|h| h.state);
    if is_unbound(service, copy) {
        return host.is_none_or(|h| h == HostState::Revoked);
    }
    if are_bound(service) { lease_over(model, copy.id, boot) } else { host.is_none_or(is_gone) }
}

/// The move has ended without effect: requests go on, the old copy stays, the new one goes.
fn end(draft: &mut Draft<'_>, on: &Move, reason: &str) {
    let ordered = matches!(on.trigger, Trigger::SlaAmended | Trigger::OrderModified);
    if let Some(old) = on.from.and_then(|f| draft.model.assignments.get(&f).cloned())
        && old.state != AllocationState::Releasing
        && !ordered
    {
        draft.put(Assignment { leaving: false, ..old.as_ref().clone() });
    }
    // What took over from a copy that is gone is all there is: whether it stays is decided by whoever ends this.
    let new = on.to.filter(|_| on.kind != MoveKind::Failover);
    if let Some(new) = new.and_then(|t| draft.model.assignments.get(&t).cloned()) {
        wipe(draft, &new, reason);
    }
    let ended = enter(draft, on.clone(), MovePhase::RolledBack, reason);
    route::release(draft, on.service);
    if ordered {
        try_again(draft, &ended, reason);
    }
}

/// What was ordered is tried again, elsewhere if there is another place, after a pause that doubles.
fn try_again(draft: &mut Draft<'_>, on: &Move, reason: &str) {
    let Some(service) = draft.model.services.get(&on.service).cloned() else { return };
    let setbacks = service.setbacks.saturating_add(1);
    let pause = Micros(Micros::from_secs(1 << setbacks.min(9)).0.min(PAUSE_MAX.0));
    let displaced = Some(Displaced { trigger: on.trigger, from: on.from_host, reason: reason.to_owned() });
    let not_before = draft.now.after(pause);
    draft.put(Service { setbacks, not_before, displaced, reason: reason.to_owned(), ..service.as_ref().clone() });
}

/// A later order takes the place of whatever moves: moves that have not begun to hold are given up for good, and their
/// copies stay until the later order says otherwise. Gives whether none is left that must first end by itself.
pub(crate) fn give_way(draft: &mut Draft<'_>, service: ServiceId, reason: &str) -> bool {
    let open: Vec<_> = draft.model.moves_of(service).cloned().collect();
    if !open.iter().all(|m| may_give_way(m)) {
        return false;
    }
    for on in open.iter().filter(|m| m.phase != MovePhase::Draining) {
        // It is not what was ordered that failed: nothing is tried again.
        let on = Move { trigger: Trigger::Operator, ..on.as_ref().clone() };
        let kept = draft.model.moves.get(&on.id).map(|m| m.trigger);
        end(draft, &on, reason);
        if let (Some(trigger), Some(ended)) = (kept, draft.model.moves.get(&on.id).cloned()) {
            draft.put(Move { trigger, ..ended.as_ref().clone() });
        }
    }
    true
}

/// Whether a move can be given up without anybody noticing, or is as good as over.
pub(crate) fn may_give_way(on: &Move) -> bool {
    // A move without state has done nothing that a customer sees before its switch.
    let unseen = if on.kind == MoveKind::Exclusive { MovePhase::Holding } else { MovePhase::Switching };
    on.phase < unseen || on.phase == MovePhase::Draining
}

/// The service ends: its moves end with it, and nobody owns its state any more.
pub(crate) fn abandon_all(draft: &mut Draft<'_>, id: ServiceId, reason: &str) {
    let open: Vec<_> = draft.model.moves_of(id).cloned().collect();
    for on in open {
        enter(draft, on.as_ref().clone(), MovePhase::RolledBack, reason);
    }
    let Some(service) = draft.model.services.get(&id).cloned() else { return };
    let tenure = service.tenure.map(|t| Tenure { owner: None, stage: Stage::Settled, ..t });
    let mut route = service.route.clone();
    if route.hold.is_some() || !route.backends.is_empty() {
        route.sequence += 1;
        (route.hold, route.backends) = (None, Vec::new());
    }
    draft.put(Service { tenure, route, displaced: None, ..service.as_ref().clone() });
}

/// What a copy shall do again that was on its way out: what its service does.
pub(super) fn reinstated(service: &Service, copy: &Assignment, epoch: u64) -> Assignment {
    Assignment {
        state: AllocationState::Allocated,
        target: owned(service),
        leaving: false,
        reserved: service.reserved(),
        epoch,
        ..copy.clone()
    }
}
