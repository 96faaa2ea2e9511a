//! What must hold of moves, and of who owns a state: at most one writer (P3), and nothing of the old copy removed before
//! the new one serves (P9).

use chandler_protocol::AssignmentId;
use chandler_protocol::state::Target;

use super::{Violation, report};
use crate::model::Model;
use crate::movement::{Move, MoveKind, MovePhase};
use crate::relocation::tenure::{Stage, Tenure};
use crate::service::{AllocationState, Assignment, Service, ServiceState};

pub(super) fn check(model: &Model, found: &mut Vec<Violation>) {
    for service in model.services.values().filter(|s| s.state != ServiceState::Terminated) {
        if let Some(tenure) = &service.tenure {
            owner(model, service, tenure, found);
            hand_over(model, service, tenure, found);
            served(service, tenure, found);
        }
        route(model, service, found);
        let open = model.moves_of(service.id).filter(|m| m.phase != MovePhase::Draining).count();
        if service.carries_state() && open > 1 {
            report(found, "one-move", format!("{} carries state and has {open} open moves", service.id));
        }
    }
    for on in model.moves.values().filter(|m| !m.phase.is_final()) {
        refers(model, on, found);
    }
}

fn copy<'m>(model: &'m Model, service: &Service, id: AssignmentId) -> Option<&'m Assignment> {
    model.assignments.get(&id).map(AsRef::as_ref).filter(|a| a.service == service.id)
}

/// Who owns the state is there, and is the only one that may run (P3).
fn owner(model: &Model, service: &Service, tenure: &Tenure, found: &mut Vec<Violation>) {
    if let Some(owner) = tenure.owner
        && copy(model, service, owner).is_none()
    {
        report(found, "owner", format!("{} is owned by {owner}, which is not one of its copies", service.id));
    }
    // Frozen: until an operator says whose copy is right nothing is told anew, and nothing gets a lease.
    if tenure.owner.is_none() && tenure.stage == Stage::Settled {
        return;
    }
    for a in model.assignments_of(service.id).filter(|a| a.state != AllocationState::Releasing && a.is_to_run()) {
        if tenure.owner != Some(a.id) || a.epoch != tenure.epoch {
            let text = format!("{} is to run under {}, which {} has no right to: {tenure:?}", a.id, a.epoch, a.id);
            report(found, "one-owner", text);
        }
    }
}

/// The two copies of a hand-over are told what its stage says; neither is removed while the other may still need it (P9).
fn hand_over(model: &Model, service: &Service, tenure: &Tenure, found: &mut Vec<Violation>) {
    // Who has, or may have to be given back, a state that nobody else has for sure.
    let holds = match tenure.stage {
        Stage::Settled => [tenure.owner, None],
        Stage::Sealing { .. } => [tenure.owner, None],
        Stage::Committed { from, .. } => [tenure.owner, Some(from)],
        Stage::Returning { to, .. } => [Some(to), None],
    };
    for id in holds.into_iter().flatten() {
        match copy(model, service, id).map(|a| a.target) {
            Some(Target::Wiped) => {
                report(found, "kept", format!("{id} is being wiped and has the state of {}: {tenure:?}", service.id));
            }
            None if tenure.owner != Some(id) => {
                report(found, "kept", format!("{id} is gone and had the state of {}: {tenure:?}", service.id));
            }
            _ => {}
        }
    }
    let told = |id: Option<AssignmentId>| id.and_then(|id| copy(model, service, id)).map(|a| a.target);
    let is_told = match tenure.stage {
        Stage::Settled => true,
        Stage::Sealing { .. } => {
            matches!(told(tenure.owner), Some(Target::Seal { attempt }) if attempt == tenure.attempt)
        }
        // The old owner stays sealed; what gives the state back does not run.
        Stage::Committed { from, .. } => matches!(told(Some(from)), Some(Target::Seal { .. })),
        Stage::Returning { from, to } => {
            matches!(told(Some(to)), Some(Target::Seal { .. }))
                && !matches!(told(Some(from)), Some(Target::Own(_) | Target::Running))
        }
    };
    if !is_told {
        report(found, "hand-over", format!("the copies of {} are not told what goes on: {tenure:?}", service.id));
    }
}

/// No customer is sent to a new owner before the switch.
fn served(service: &Service, tenure: &Tenure, found: &mut Vec<Violation>) {
    let early = match tenure.stage {
        Stage::Settled => None,
        Stage::Sealing { to, .. } => Some(to),
        Stage::Committed { .. } => tenure.owner,
        Stage::Returning { from, .. } => Some(from),
    };
    if early.is_some_and(|id| service.route.backends.contains(&id)) {
        report(found, "early-traffic", format!("{} is served by {early:?} before the switch", service.id));
    }
}

fn route(model: &Model, service: &Service, found: &mut Vec<Violation>) {
    for id in &service.route.backends {
        if copy(model, service, *id).is_none() {
            report(found, "backend", format!("{} is served by {id}, which is not one of its copies", service.id));
        }
    }
    if !service.route.backends.is_sorted() {
        report(found, "backend", format!("the copies that serve {} are not in order", service.id));
    }
    if let Some((id, _)) = service.route.hold
        && model.moves.get(&id).is_none_or(|m| m.service != service.id || m.phase.is_final())
    {
        report(found, "hold", format!("requests to {} wait for {id}, which is not under way", service.id));
    }
}

/// What an open move is about is there.
fn refers(model: &Model, on: &Move, found: &mut Vec<Violation>) {
    let Some(service) = model.services.get(&on.service) else {
        return report(found, "move-service", format!("{} moves {}, which is not known", on.id, on.service));
    };
    let uncommitted = on.phase < MovePhase::Switching;
    // A copy without state may go before the one that replaces it is there.
    let ends = [(on.from.filter(|_| on.kind == MoveKind::Exclusive), "leaves"), (on.to, "goes to")];
    for (id, what) in ends.into_iter().filter_map(|(id, what)| Some((id?, what))) {
        if copy(model, service, id).is_none() && uncommitted {
            report(found, "move-copy", format!("{} {what} {id}, which is not a copy of {}", on.id, service.id));
        }
    }
    let source = on.from.filter(|_| on.kind == MoveKind::Exclusive).and_then(|id| copy(model, service, id));
    if uncommitted && source.is_some_and(|a| a.target == Target::Wiped) {
        report(
            found,
            "kept",
            format!(
                "{} is being wiped and is what {} moves",
                source.map_or_else(String::new, |a| a.id.to_string()),
                on.id
            ),
        );
    }
}
