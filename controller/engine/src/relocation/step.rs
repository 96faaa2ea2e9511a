//! Steps: every move of a service as far as what is known now allows. Idempotent.

use std::sync::Arc;

use chandler_protocol::state::{Failure, Phase};
use chandler_protocol::way::Stall;
use chandler_protocol::{MoveId, ServiceId};

use super::phase::{enter, is_gone};
use super::rollback::{await_fence, is_returning};
use super::{exclusive, overlap};
use crate::draft::Draft;
use crate::event::Noun;
use crate::movement::{Effect, Move, MoveKind, MovePhase};
use crate::service::{Assignment, REPLACEMENTS_KEPT, Replacement, Service};

/// Phases that one call may pass through: more than there are, fewer than for ever.
const STEPS_MAX: usize = 32;

/// Takes the moves of one service as far as what agents and doors have said allows.
pub fn step_moves(draft: &mut Draft<'_>, service: ServiceId) {
    let open: Vec<_> = draft.model.moves_of(service).map(|m| m.id).collect();
    for id in open {
        for _ in 0..STEPS_MAX {
            let before = draft.changes.len();
            step(draft, id);
            if draft.changes.len() == before {
                break;
            }
        }
    }
}

fn step(draft: &mut Draft<'_>, id: MoveId) {
    let Some(on) = draft.model.moves.get(&id).filter(|m| !m.phase.is_final()).cloned() else { return };
    let Some(service) = draft.model.services.get(&on.service).cloned() else { return };
    if on.kind == MoveKind::Exclusive && is_returning(&service) {
        return await_fence(draft, &on);
    }
    match on.kind {
        MoveKind::Exclusive => exclusive::step(draft, &on, &service),
        MoveKind::Overlap | MoveKind::Failover => overlap::step(draft, &on, &service),
    }
}

/// One side of a move as it is now.
#[derive(Debug, Clone)]
pub(super) struct Side {
    /// The copy.
    pub copy: Arc<Assignment>,
    /// What its agent says, of what it was told last.
    pub phase: Option<Phase>,
    /// Its host is not waited for.
    pub gone: bool,
}

/// A side of a move; `None` when there is no such copy (any more).
pub(super) fn side(draft: &Draft<'_>, id: Option<chandler_protocol::AssignmentId>) -> Option<Side> {
    let copy = draft.model.assignments.get(&id?)?.clone();
    let gone = draft.model.hosts.get(&copy.host).is_none_or(|h| is_gone(h.state));
    Some(Side { phase: copy.phase(), gone, copy })
}

/// Why a copy cannot run where it was put, in words.
pub(crate) const fn failure_text(failure: Failure) -> &'static str {
    match failure {
        Failure::Fetch => "its files could not be had",
        Failure::DiskFull => "no room on the disk",
        Failure::Start => "it could not be started",
        Failure::Crashing => "it keeps ending by itself",
        Failure::Unsupported => "the agent cannot run it",
        Failure::State => "its state could not be had",
        Failure::Lease => "its capacity is not to be had",
        Failure::Owner => "its owner needs the machine",
    }
}

/// The move has done what it was for: what it did to those who use the service is kept with it.
pub(super) fn finish(draft: &mut Draft<'_>, on: &Move, reason: &str) {
    let measured = Effect { hold: held_for(on), ..with_doors(draft, on) };
    let done = Move { realised: (on.realised.0, measured), ..on.clone() };
    let done = enter(draft, done, MovePhase::Done, reason);
    note_replacement(draft, &done);
}

/// How long requests waited: from the last hold until the switch.
fn held_for(on: &Move) -> chandler_protocol::Micros {
    let began = on.phases.iter().rfind(|p| p.phase == MovePhase::Holding).map(|p| p.at);
    let ended = on.phases.iter().rfind(|p| p.phase == MovePhase::Switching).map(|p| p.at);
    began.zip(ended).map(|(b, e)| e.since(b)).unwrap_or_default()
}

/// Most changes of a route that are looked at: a failover makes a few.
const ROUTES_MAX: u64 = 64;

/// What the doors counted for this move; for one that takes over from a copy that is gone, in the outages that ended with
/// a route since it was decided.
fn with_doors(draft: &Draft<'_>, on: &Move) -> Effect {
    let mut effect = on.realised.1;
    let route = draft.model.services.get(&on.service).map_or(0, |s| s.route.sequence);
    let first = on.route.saturating_add(1).max(route.saturating_sub(ROUTES_MAX));
    let is_its = |line: MoveId| match on.kind {
        MoveKind::Failover => (first..=route).any(|ended| Stall::outage(ended) == line),
        _ => line == on.id,
    };
    for (_, door) in draft.model.doors_of(on.service) {
        for stall in door.counters.stalls.iter().filter(|s| is_its(s.r#move)) {
            effect.held = effect.held.saturating_add(stall.held);
            effect.failed = effect.failed.saturating_add(stall.failed);
            effect.cut = effect.cut.max(stall.cut);
            effect.longest_stall = effect.longest_stall.max(stall.longest);
        }
    }
    effect
}

fn note_replacement(draft: &mut Draft<'_>, on: &Move) {
    let Some(service) = draft.model.services.get(&on.service).cloned() else { return };
    let (from, to) = (draft.model.host_name(on.from_host), draft.model.host_name(on.to_host));
    let reason = on.evidence.clone();
    let what = (Noun::Service, service.id.to_string(), service.name.as_str());
    draft.event(what, &from, &to, format!("{}: {reason}", on.trigger.as_str()));
    let mut replacements = service.replacements.clone();
    if replacements.len() >= REPLACEMENTS_KEPT {
        replacements.remove(0);
    }
    let (trigger, from, to) = (on.trigger, on.from_host, on.to_host);
    replacements.push(Replacement { at: draft.now, trigger, from, to, reason });
    draft.put(Service { replacements, ..service.as_ref().clone() });
}
