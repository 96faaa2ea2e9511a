//! A move without state: the new copy serves before the old one ends. Also what takes over from a copy that is gone.

use chandler_protocol::state::Phase;

use super::phase::{enter, is_late};
use super::rollback::roll_back;
use super::route::{doors, keep_route};
use super::step::{Side, failure_text, finish, side};
use super::wipe;
use crate::draft::Draft;
use crate::fulfilment::note_failure;
use crate::movement::{Move, MoveKind, MovePhase};
use crate::service::{AllocationState, Service};

/// The next step.
pub(super) fn step(draft: &mut Draft<'_>, on: &Move, service: &Service) {
    let (old, new) = (side(draft, on.from), side(draft, on.to));
    let Some(new) = new.filter(|n| n.copy.state != AllocationState::Releasing) else {
        return without_new(draft, on, service);
    };
    // What failed while the old copy is still there leaves that one in charge.
    if on.kind == MoveKind::Overlap && old.as_ref().is_some_and(|o| !o.gone) {
        if let Some(Phase::Failed(failure)) = new.phase {
            note_failure(draft, on.to_host);
            let host = draft.model.host_name(on.to_host);
            return roll_back(draft, on, &format!("failed on {host}: {}", failure_text(failure)));
        }
        if new.gone {
            let host = draft.model.host_name(on.to_host);
            return roll_back(draft, on, &format!("host {host} is gone"));
        }
    }
    match on.phase {
        MovePhase::Planned => {
            enter(draft, on.clone(), MovePhase::Preparing, "made ready at the destination");
        }
        MovePhase::Preparing | MovePhase::Starting | MovePhase::Verifying => coming(draft, on, &new),
        MovePhase::Switching => switching(draft, on, service),
        MovePhase::Draining => draining(draft, on, service, old),
        _ => {}
    }
}

/// The new copy was taken away: it failed, its host is gone, or its service ends.
fn without_new(draft: &mut Draft<'_>, on: &Move, service: &Service) {
    if service.exit.is_some() {
        return finish(draft, on, "its run has ended");
    }
    if on.phase == MovePhase::Draining && on.kind == MoveKind::Overlap {
        // It had taken over before; what becomes of it now is another matter.
        return finish(draft, on, "the new copy took over, and was taken away since");
    }
    roll_back(draft, on, "the new copy was taken away");
}

/// Until the new copy answers.
fn coming(draft: &mut Draft<'_>, on: &Move, new: &Side) {
    match (on.phase, new.phase) {
        (_, Some(Phase::Running)) => {
            if on.phase != MovePhase::Verifying {
                enter(draft, on.clone(), MovePhase::Verifying, "it runs and answers");
                return;
            }
            enter(draft, on.clone(), MovePhase::Switching, "front doors send requests to the new copy");
            keep_route(draft, on.service);
        }
        (MovePhase::Preparing, Some(Phase::Starting | Phase::Unhealthy | Phase::BackingOff)) => {
            enter(draft, on.clone(), MovePhase::Starting, "the new copy starts");
        }
        _ if is_late(draft, on) && on.kind == MoveKind::Overlap => {
            roll_back(draft, on, "the new copy was not healthy in time");
        }
        _ => {}
    }
}

fn switching(draft: &mut Draft<'_>, on: &Move, service: &Service) {
    let said = doors(draft, service, on.from);
    if said.acted || is_late(draft, on) {
        let reason =
            if said.acted { "every front door follows" } else { "a front door does not answer: it is not waited for" };
        enter(draft, on.clone(), MovePhase::Draining, reason);
    }
}

/// What is under way at the old copy ends; then the old copy does, and the move with it.
fn draining(draft: &mut Draft<'_>, on: &Move, service: &Service, old: Option<Side>) {
    let Some(old) = old else {
        // Those who waited for the new copy are let in just now: how long they waited is part of the record.
        let is_let_in = doors(draft, service, on.from).waiting == 0;
        if is_let_in || on.kind != MoveKind::Failover || is_late(draft, on) {
            finish(draft, on, "the old copy is gone");
        }
        return;
    };
    if old.copy.state == AllocationState::Releasing {
        if old.gone {
            finish(draft, on, "the host of the old copy is gone");
        }
        return;
    }
    let said = doors(draft, service, on.from);
    let left = said.under_way.saturating_add(said.long_lived);
    if (said.acted && left == 0) || is_late(draft, on) || old.gone {
        if left > 0 {
            let mut cut = on.clone();
            cut.realised.1.cut = cut.realised.1.cut.saturating_add(left.into());
            draft.put(cut);
        }
        wipe(draft, &old.copy, "the copy that takes over is healthy, and the front doors follow");
    }
}
