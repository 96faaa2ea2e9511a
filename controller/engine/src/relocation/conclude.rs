//! Failover: what becomes of copies on hosts that are gone, and of hosts that come back.

use std::sync::Arc;

use chandler_protocol::state::{ObservedAssignment, Phase};
use chandler_protocol::{HostId, ServiceId};

use super::epoch::{hand_to, next_epoch, raise};
use super::frozen::is_frozen;
use super::lease::{are_bound, is_unbound, lease_over};
use super::phase::{enter, is_gone};
use super::rollback::reinstated;
use super::settle::carries;
use super::{displace_one, release, wipe};
use crate::draft::Draft;
use crate::event::Noun;
use crate::fleet::{Host, HostState};
use crate::movement::{Move, MoveKind, MovePhase};
use crate::order::OnLoss;
use crate::service::{AllocationState, Assignment, Service, ServiceState, Trigger};

/// What a service says while it waits for its host.
pub(crate) const WAITS_FOR_HOST: &str = "waits for its host";

/// Takes copies away from hosts that are gone, as soon as that may be concluded: one that runs under a lease only when
/// that is surely over. State that only a silent host has is not given up, unless its order or an operator says so.
pub fn conclude(draft: &mut Draft<'_>, id: ServiceId) {
    let Some(service) = draft.model.services.get(&id).cloned() else { return };
    if matches!(service.state, ServiceState::Terminating | ServiceState::Terminated) || is_frozen(&service) {
        return;
    }
    let copies: Vec<_> = draft.model.assignments_of(id).cloned().collect();
    for copy in copies.iter().filter(|a| a.state != AllocationState::Releasing) {
        let host = draft.model.hosts.get(&copy.host).filter(|h| is_gone(h.state)).cloned();
        if let Some(host) = host {
            conclude_one(draft, &service, copy, &host);
        }
    }
}

fn conclude_one(draft: &mut Draft<'_>, service: &Service, copy: &Assignment, host: &Host) {
    let revoked = host.state == HostState::Revoked;
    let how = if revoked { "was revoked" } else { host.note.as_str() };
    let reason = format!("host {} {how}", host.name);
    let part = draft.model.moves_of(service.id).find(|m| m.from == Some(copy.id) || m.to == Some(copy.id)).cloned();
    match part.as_deref() {
        // Its own steps say what becomes of it.
        Some(Move { kind: MoveKind::Exclusive, phase, to, .. })
            if *to != Some(copy.id) || !matches!(phase, MovePhase::Switching | MovePhase::Draining) =>
        {
            return;
        }
        // The new copy comes all the same.
        Some(Move { kind: MoveKind::Overlap, from, .. }) if *from == Some(copy.id) => {
            return release(draft, copy, &reason);
        }
        _ => {}
    }
    if !revoked && is_unbound(service, copy) {
        return wait(draft, service, copy, host);
    }
    if are_bound(service) && !lease_over(&draft.model, copy.id, draft.boot) {
        return;
    }
    let decided = revoked || service.policy.mobility.on_loss == OnLoss::StartEmpty;
    if carries(service) && service.has_run() && !decided {
        return wait(draft, service, copy, host);
    }
    let trigger = if revoked { Trigger::HostRevoked } else { Trigger::HostFailed };
    displace_one(draft, copy, trigger, &reason);
}

/// Said once.
fn wait(draft: &mut Draft<'_>, service: &Service, copy: &Assignment, host: &Host) {
    let (name, state) = (&host.name, host.state.as_str());
    let reason = if is_unbound(service, copy) {
        format!(
            "{WAITS_FOR_HOST}: {name} is {state}, and it may run on there (policy.onPartition = \"keepRunning\"), so that \
             it is begun nowhere else; it goes on when the host is back; revoke the host to begin anew without its state"
        )
    } else {
        format!(
            "{WAITS_FOR_HOST}: {name} is {state} and has its only state; revoke the host, or order it with \
             policy.onLoss = \"startEmpty\", to begin anew without"
        )
    };
    if service.reason != reason {
        let what = (Noun::Service, service.id.to_string(), service.name.as_str());
        draft.event(what, service.status.as_str(), service.status.as_str(), reason.clone());
        draft.put(Service { reason, ..service.clone() });
    }
}

/// A host that was given up is back. A copy that still runs there, while what shall take over does not answer yet, stays
/// as it is, without a restart; the other one goes.
///
/// Called with the first report of the host, before it is told anything.
pub fn returned(draft: &mut Draft<'_>, host: HostId, observed: &[ObservedAssignment]) -> Vec<ServiceId> {
    let mut touched = Vec::new();
    for seen in observed {
        let runs = matches!(seen.phase, Phase::Running | Phase::Unhealthy | Phase::Starting | Phase::BackingOff);
        let copy = draft.model.assignments.get(&seen.id).filter(|a| {
            // It has not been told yet that it is given up.
            a.host == host && a.state == AllocationState::Releasing && seen.epoch < a.epoch
        });
        let Some(copy) = copy.filter(|_| runs).cloned() else { continue };
        if take_again(draft, &copy, seen) {
            touched.push(copy.service);
        }
    }
    touched
}

fn take_again(draft: &mut Draft<'_>, copy: &Assignment, seen: &ObservedAssignment) -> bool {
    let Some(service) = draft.model.services.get(&copy.service).cloned() else { return false };
    // What runs under a lease has lost it, and is dead by now: there is nothing to keep running.
    // Exclusive state was given up only because an operator said so: that stays.
    if are_bound(&service) || matches!(service.state, ServiceState::Terminating | ServiceState::Terminated) {
        return false;
    }
    let instead = draft
        .model
        .moves_of(service.id)
        .find(|m| m.kind == MoveKind::Failover && m.from_host == copy.host && m.phase < MovePhase::Switching);
    let instead: Option<Arc<Move>> = instead.cloned();
    let waits = service.displaced.as_ref().is_some_and(|d| d.from == copy.host && d.trigger == Trigger::HostFailed);
    if instead.is_none() && !waits {
        return false;
    }
    let epoch =
        if carries(&service) { hand_to(draft, &service, copy.id) } else { next_epoch(&draft.model, service.id) };
    let mut kept = reinstated(&service, copy, epoch);
    kept.observed = Some(seen.clone());
    let name = draft.model.host_name(copy.host);
    let reason = format!("{name} is back and the copy there still runs: it is kept");
    let what = (Noun::Assignment, copy.id.to_string(), service.name.as_str());
    draft.event(what, copy.state.as_str(), kept.state.as_str(), reason.clone());
    raise(draft, kept, epoch);
    if let Some(service) = draft.model.services.get(&service.id).filter(|s| s.displaced.is_some()).cloned() {
        draft.put(Service { displaced: None, reason: String::new(), ..service.as_ref().clone() });
    }
    if let Some(on) = instead {
        if let Some(new) = on.to.and_then(|t| draft.model.assignments.get(&t).cloned()) {
            wipe(draft, &new, &reason);
        }
        enter(draft, on.as_ref().clone(), MovePhase::RolledBack, &reason);
    }
    true
}
