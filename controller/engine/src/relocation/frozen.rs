//! Frozen: a controller that knows less than its fleet, because it was restored from a backup, does not guess who owns a
//! state. The service stands still until an operator says whose copy is right.

use chandler_protocol::state::{ObservedAssignment, Phase};

use super::epoch::{hand_to, raise};
use super::phase::enter;
use super::release;
use super::rollback::reinstated;
use super::tenure::{Stage, Tenure};
use crate::draft::Draft;
use crate::event::Noun;
use crate::movement::MovePhase;
use crate::service::{Assignment, Service};

/// Whether nobody may own the service's state until an operator says who does.
pub(super) fn is_frozen(service: &Service) -> bool {
    matches!(service.tenure, Some(Tenure { owner: None, stage: Stage::Settled, .. }))
}

/// What an agent says of an owner that cannot be by all that this controller ever told it: its database is older than the
/// fleet. In words, without a name.
pub(crate) fn contradiction(draft: &Draft<'_>, copy: &Assignment, seen: &ObservedAssignment) -> Option<String> {
    let service = draft.model.services.get(&copy.service)?;
    let tenure = service.tenure.filter(|t| t.owner == Some(copy.id) && t.epoch == copy.epoch)?;
    if seen.epoch != copy.epoch {
        return None;
    }
    let ran = copy.observed.as_ref().map_or(0, |o| o.starts);
    match seen.phase {
        // A hand-over that was given up goes on under a higher epoch.
        Phase::Sealed(s) if !matches!(tenure.stage, Stage::Sealing { .. }) || s.attempt > tenure.attempt => {
            Some(format!("has handed its state over in attempt {}, which this controller never ordered", s.attempt))
        }
        // Its files were removed, because another copy owned the state.
        _ if service.carries_state() && seen.starts == 0 && ran > 0 => {
            Some("knows nothing of its state, which it has run with before".to_owned())
        }
        _ => None,
    }
}

/// An agent knows of an owned state what this controller never gave out, such as a later epoch, or `what` else it says: the
/// database is older than the fleet, and who owns the state now is not in it. Nothing is given out until an operator says.
pub(crate) fn freeze(draft: &mut Draft<'_>, copy: &Assignment, epoch: u64, what: &str) {
    let Some(service) = draft.model.services.get(&copy.service).cloned() else { return };
    let Some(tenure) = service.tenure else { return };
    if is_frozen(&service) && tenure.epoch >= epoch {
        return;
    }
    let name = draft.model.host_name(copy.host);
    let reason = format!(
        "frozen: the agent on {name} {what}, so that its database is older than the fleet; say whose copy is right with \
         `chandler service move {} --to HOST`, or delete it",
        service.name
    );
    let what = (Noun::Service, service.id.to_string(), service.name.as_str());
    draft.event(what, service.status.as_str(), service.status.as_str(), reason.clone());
    let open: Vec<_> = draft.model.moves_of(service.id).cloned().collect();
    for on in open {
        enter(draft, on.as_ref().clone(), MovePhase::RolledBack, &reason);
    }
    let tenure = Some(Tenure { owner: None, stage: Stage::Settled, epoch: tenure.epoch.max(epoch), ..tenure });
    let mut next = draft.model.services.get(&service.id).map_or(service.as_ref().clone(), |s| s.as_ref().clone());
    if next.route.hold.take().is_some() {
        next.route.sequence += 1;
    }
    draft.put(Service { tenure, reason, ..next });
}

/// An operator says that this copy is the right one.
pub(super) fn thaw(draft: &mut Draft<'_>, service: &Service, copy: &Assignment) {
    let epoch = hand_to(draft, service, copy.id);
    raise(draft, reinstated(service, copy, epoch), epoch);
    let others: Vec<_> = draft.model.assignments_of(service.id).filter(|a| a.id != copy.id).cloned().collect();
    for other in others {
        // Kept, stopped: who was wrong may still have something that somebody misses.
        release(draft, &other, "an operator said that another copy is the right one");
    }
    if let Some(now) = draft.model.services.get(&service.id).cloned() {
        draft.put(Service { reason: String::new(), ..now.as_ref().clone() });
    }
}
