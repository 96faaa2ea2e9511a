//! Phases of a move: how long each may take, when it began, and when somebody must look again.

use chandler_protocol::{HostId, Micros, Timestamp};

use super::lease::{are_bound, is_unbound, over_in};
use super::tenure::Stage;
use crate::draft::Draft;
use crate::event::Noun;
use crate::fleet::HostState;
use crate::model::Model;
use crate::movement::{Move, MoveKind, MovePhase, PhaseTime};
use crate::order::HOLD_LONGEST;
use crate::service::Service;

/// Fetching the software: long enough for a gigabyte over a home line.
const PREPARING: Micros = Micros::from_secs(600);
/// Copying the state while it is in use. A copy that does not converge is given up sooner.
const COPYING: Micros = Micros::from_secs(24 * 3_600);
/// Waiting for a good moment.
const STANDBY: Micros = Micros::from_secs(3_600);
/// What the last copy may take beyond the time in which the old copy is stopped. Requests wait meanwhile: behind it the
/// old copy is started again, where its state and its caches are.
const FINAL_COPY: Micros = HOLD_LONGEST;
/// From the start of the new copy until it runs, and until it is healthy: as long as giving it back would take with care.
const STARTING: Micros = Micros::from_secs(30);
/// Doors answer within a round trip. One that does not in this time is not waited for: its requests are refused by the
/// old copy and sent to the new one.
const SWITCHING: Micros = Micros::from_secs(10);
/// A copy that is sealed, or gone, serves nobody: only doors that have not said so yet are waited for.
const DRAINING_SEALED: Micros = Micros::from_secs(5);
/// Long downloads and WebSockets end at the old copy by themselves.
const DRAINING: Micros = Micros::from_secs(3_600);

/// How often the hold is tried before the move is given up.
pub(super) const HOLDS_MAX: usize = 3;
/// The pause between two tries.
pub(super) const HOLD_PAUSE: Micros = Micros::from_secs(600);
/// Software that was told of its move is not waited for longer than this beyond its own time.
pub(super) const TELL_MARGIN: Micros = Micros::from_secs(5);
/// Rounds of copying that are made before it is asked whether they will ever come to an end.
pub(super) const ROUNDS: u32 = 8;
/// And the time.
pub(super) const ROUNDS_TAKE: Micros = Micros::from_secs(60);

/// How long a phase may take; `None`: as long as it takes.
fn allowed(service: &Service, kind: MoveKind, phase: MovePhase) -> Option<Micros> {
    let mobility = &service.policy.mobility;
    let grace = service.spec.health.as_ref().map_or(0, |h| h.grace.0.max(0));
    let start = Micros(STARTING.0.saturating_add(grace));
    match phase {
        // No state waits for it, and nobody is served worse meanwhile: fetching may take its time.
        MovePhase::Preparing if kind == MoveKind::Failover => None,
        MovePhase::Preparing => Some(PREPARING),
        MovePhase::Copying => Some(COPYING),
        MovePhase::Standby => Some(STANDBY),
        // Requests are let wait for no longer than agreed, so that what is under way has no longer to end.
        MovePhase::Holding => Some(mobility.drain_max.min(mobility.hold_max)),
        MovePhase::FinalCopy => Some(Micros(FINAL_COPY.0.saturating_add(service.spec.stop.grace.0.max(0)))),
        MovePhase::Starting | MovePhase::Verifying if kind == MoveKind::Failover => None,
        MovePhase::Starting | MovePhase::Verifying => Some(start),
        MovePhase::Switching => Some(SWITCHING),
        MovePhase::Draining if kind != MoveKind::Overlap => Some(DRAINING_SEALED),
        MovePhase::Draining => Some(DRAINING),
        MovePhase::Planned | MovePhase::Done | MovePhase::RolledBack | MovePhase::Declined => None,
    }
}

/// Takes a move into a phase: the one before has ended now, an event says so. Gives the move as it is kept.
pub(super) fn enter(draft: &mut Draft<'_>, mut on: Move, phase: MovePhase, reason: &str) -> Move {
    let now = draft.now;
    let before = if on.phases.is_empty() { "" } else { on.phase.as_str() };
    if let Some(last) = on.phases.last_mut() {
        last.took = now.since(last.at);
    }
    on.phases.push(PhaseTime { phase, at: now, took: Micros::ZERO });
    on.phase = phase;
    on.since = now;
    let allowed = draft.model.services.get(&on.service).and_then(|s| allowed(s, on.kind, phase));
    on.deadline = allowed.map(|a| now.after(a));
    reason.clone_into(&mut on.reason);
    on.ended_at = phase.is_final().then_some(now);
    draft.event((Noun::Move, on.id.to_string(), &on.name), before, phase.as_str(), reason);
    draft.put(on.clone());
    on
}

/// Whether the phase has taken longer than it may.
pub(super) fn is_late(draft: &Draft<'_>, on: &Move) -> bool {
    on.deadline.is_some_and(|d| draft.now >= d)
}

/// When something is due though nobody reports anything: a phase is over its time, a pause is over, or a copy on a lost
/// host has surely stopped. `None` while nothing is.
pub fn next_look(model: &Model, now: Timestamp, boot: Micros) -> Option<Timestamp> {
    let moves = model.moving.values().flatten().filter_map(|id| model.moves.get(id));
    let phases = moves.flat_map(|m| {
        let standby = (m.phase == MovePhase::Standby).then(|| standby_ends(model, m)).flatten();
        // A deadline that has passed was looked at: whoever is given the state back is waited for, not time.
        let due = |at: &Timestamp| *at > now;
        [m.deadline.filter(due), standby.filter(due), returning(model, m, now, boot)]
    });
    let lost = model.hosts.values().filter(|h| is_gone(h.state)).flat_map(|h| concluded(model, h.id, now, boot));
    phases.flatten().chain(lost).min()
}

/// A host that is not waited for.
pub(super) const fn is_gone(state: HostState) -> bool {
    matches!(state, HostState::Lost | HostState::Revoked)
}

/// When a move in standby goes on though nobody reports anything: the pause after a failed try is over, or the time that
/// its software has to say that it is ready.
fn standby_ends(model: &Model, on: &Move) -> Option<Timestamp> {
    let prepare = model.services.get(&on.service)?.policy.mobility.prepare.as_ref();
    match prepare {
        Some(p) if is_told(on) => Some(on.since.after(Micros(p.within.0.saturating_add(TELL_MARGIN.0 + 1)))),
        _ => paused_until(on),
    }
}

/// Whether the software of a move in standby was told of the try that comes: standby is then entered a second time.
pub(crate) fn is_told(on: &Move) -> bool {
    let mut last = on.phases.iter().rev().map(|p| p.phase);
    last.next() == Some(MovePhase::Standby) && last.next() == Some(MovePhase::Standby)
}

/// When the hold may be tried again that was given up because of what its users asked for: such a move went straight
/// back to waiting for a good moment.
pub(super) fn paused_until(on: &Move) -> Option<Timestamp> {
    let mut last = on.phases.iter().rev().map(|p| p.phase);
    let is_pause = last.next() == Some(MovePhase::Standby) && last.next() == Some(MovePhase::Holding);
    is_pause.then(|| on.since.after(HOLD_PAUSE))
}

/// How often the hold was tried.
pub(super) fn tries(on: &Move) -> usize {
    on.phases.iter().filter(|p| p.phase == MovePhase::Holding).count()
}

/// When the lease of a copy that is to give the state back is surely over.
fn returning(model: &Model, on: &Move, now: Timestamp, boot: Micros) -> Option<Timestamp> {
    let service = model.services.get(&on.service)?;
    let Some(Stage::Returning { from, .. }) = service.tenure.map(|t| t.stage) else { return None };
    are_bound(service).then(|| now.after(over_in(model, from, boot))).filter(|at| *at > now)
}

/// When the leases of copies on a host that is gone are surely over.
fn concluded(model: &Model, host: HostId, now: Timestamp, boot: Micros) -> impl Iterator<Item = Timestamp> {
    let leased = model.assignments_of_host(host).filter(|a| {
        let service = model.services.get(&a.service);
        a.is_to_run() && service.is_some_and(|s| are_bound(s) && !is_unbound(s, a))
    });
    leased.map(move |a| now.after(over_in(model, a.id, boot))).filter(move |at| *at > now)
}
