//! A move with state: copied while the old copy serves; handed over while requests wait.
//!
//! The tenure ([`super::tenure`]) says who owns the state; here is when it is asked to pass on, and what the two agents
//! and the front doors are told.

use chandler_protocol::state::{Failure, Own, Phase, Progress, Target};

use super::epoch::{commit, raise};
use super::estimate::estimate;
use super::lease::are_bound;
use super::phase::{HOLDS_MAX, ROUNDS, ROUNDS_TAKE, TELL_MARGIN, enter, is_late, is_told, paused_until, tries};
use super::rollback::roll_back;
use super::route::{self, doors, may_cut};
use super::step::{Side, failure_text, finish, side};
use super::tenure::{Stage, Tenure};
use crate::draft::Draft;
use crate::fleet::Capacity;
use crate::fulfilment::note_failure;
use crate::movement::{Move, MovePhase};
use crate::service::{AllocationState, Assignment, Service};

/// The next step.
pub(super) fn step(draft: &mut Draft<'_>, on: &Move, service: &Service) {
    let committed = matches!(on.phase, MovePhase::Switching | MovePhase::Draining);
    let (Some(old), Some(new)) = (side(draft, on.from), side(draft, on.to)) else {
        return if committed {
            finish(draft, on, "the old copy is gone")
        } else {
            roll_back(draft, on, "a copy was taken away")
        };
    };
    if !committed && let Some(reason) = broken(draft, on, &old, &new) {
        return roll_back(draft, on, &reason);
    }
    match on.phase {
        MovePhase::Planned => {
            enter(draft, on.clone(), MovePhase::Preparing, "made ready at the destination");
        }
        MovePhase::Preparing => preparing(draft, on, &new),
        MovePhase::Copying => copying(draft, on, service, &new),
        MovePhase::Standby => standby(draft, on, service, &old, &new),
        MovePhase::Holding => holding(draft, on, service, &old, &new),
        MovePhase::FinalCopy => final_copy(draft, on, service, &old, &new),
        MovePhase::Starting | MovePhase::Verifying => coming(draft, on, service, &new),
        MovePhase::Switching => switching(draft, on, service),
        MovePhase::Draining => draining(draft, on, service, &old),
        MovePhase::Done | MovePhase::RolledBack | MovePhase::Declined => {}
    }
}

/// What makes going on pointless before customers are served by the new copy.
fn broken(draft: &mut Draft<'_>, on: &Move, old: &Side, new: &Side) -> Option<String> {
    let host = draft.model.host_name(on.to_host);
    if let Some(Phase::Failed(failure)) = new.phase {
        note_failure(draft, on.to_host);
        let said = new.copy.observed.as_ref().map(|o| o.message.clone()).unwrap_or_default();
        return Some(format!("failed on {host}: {} ({said})", failure_text(failure)));
    }
    if new.gone {
        return Some(format!("host {host} is gone"));
    }
    // Before it is sealed the old copy is all there is of the newest state; after that it is only waited for.
    if old.gone && on.phase < MovePhase::FinalCopy {
        return Some(format!("host {} is gone", draft.model.host_name(on.from_host)));
    }
    if old.copy.state == AllocationState::Releasing || new.copy.state == AllocationState::Releasing {
        return Some("a copy was taken away".to_owned());
    }
    None
}

fn preparing(draft: &mut Draft<'_>, on: &Move, new: &Side) {
    match new.phase {
        Some(Phase::Receiving(_) | Phase::Verified(_)) => {
            enter(draft, on.clone(), MovePhase::Copying, "its state is copied while it serves");
        }
        _ if is_late(draft, on) => roll_back(draft, on, "it was not made ready in time"),
        _ => {}
    }
}

/// How far the copy is, of the attempt that it was told.
fn progress(new: &Side) -> Option<Progress> {
    let Target::Receive(order) = new.copy.target else { return None };
    match new.phase {
        Some(Phase::Receiving(p)) if p.attempt == order.attempt => Some(p),
        _ => None,
    }
}

fn copying(draft: &mut Draft<'_>, on: &Move, service: &Service, new: &Side) {
    let Some(p) = progress(new) else {
        if is_late(draft, on) {
            roll_back(draft, on, "its state was not copied in time");
        }
        return;
    };
    if p.in_step {
        let on = expected(draft, &with_copied(on, &p), service, &p);
        enter(draft, on, MovePhase::Standby, "the copy keeps up");
        return;
    }
    let tried = p.rounds >= ROUNDS && draft.now.since(on.since) >= ROUNDS_TAKE;
    if tried || is_late(draft, on) {
        let reason = format!(
            "its state changes faster than it is copied: {} of it differed after a round of {}, at {} a second; move it at a \
             quieter time, raise policy.move.rate, or allow a longer policy.move.hold",
            p.dirty, p.took, p.rate
        );
        roll_back(draft, on, &reason);
    }
}

fn with_copied(on: &Move, p: &Progress) -> Move {
    let mut on = on.clone();
    let effect = &mut on.realised.1;
    (effect.bytes, effect.state, effect.rounds) = (p.sent, p.size, p.rounds);
    on
}

/// With what users will feel, as it can be told now.
fn expected(draft: &Draft<'_>, on: &Move, service: &Service, copied: &Progress) -> Move {
    Move { predicted: (on.predicted.0, estimate(&draft.model, service, Some(copied))), ..on.clone() }
}

/// All but the last changes are there: a good moment is waited for.
fn standby(draft: &mut Draft<'_>, on: &Move, service: &Service, old: &Side, new: &Side) {
    let told = is_told(on);
    let paused = paused_until(on).is_some_and(|until| draft.now < until);
    let copied = progress(new).filter(|p| p.in_step);
    // What does not run now has no requests to wait for, and will not say that it is at a good point.
    let serves = matches!(old.phase, Some(Phase::Running | Phase::Unhealthy));
    // What made way for the owner of its machine does not come back before that: its requests wait already.
    let made_way = matches!(old.phase, Some(Phase::Failed(Failure::Owner)));
    let is_bad = paused || !(serves || made_way) || route::is_deaf(draft);
    let Some(copied) = copied.filter(|_| !is_bad) else {
        if is_late(draft, on) {
            roll_back(draft, on, "no good moment came");
        }
        return;
    };
    if service.policy.mobility.prepare.is_some() && !told && !made_way {
        let next = Move { attempt: on.attempt + 1, ..on.clone() };
        enter(draft, next, MovePhase::Standby, "its software is told, and says when it is at a good point");
        return;
    }
    if told && !made_way && !is_ready(draft, on, service) {
        return;
    }
    let attempt = if told { on.attempt } else { on.attempt + 1 };
    let next = expected(draft, &Move { attempt, ..on.clone() }, service, &copied);
    let reason = hold_reason(&next, service);
    let next = enter(draft, next, MovePhase::Holding, &reason);
    route::hold(draft, &next);
}

/// Nobody is let wait for longer than agreed without that being said.
fn hold_reason(on: &Move, service: &Service) -> String {
    let (hold, most) = (on.predicted.1.hold, service.policy.mobility.hold_max);
    let over = if hold > most { format!(", longer than policy.move.hold, {most}: raise that") } else { String::new() };
    format!("front doors let requests wait, probably for less than {hold}{over}; those under way end")
}

/// Whether the software that was told is at a good point, or its time is over.
fn is_ready(draft: &Draft<'_>, on: &Move, service: &Service) -> bool {
    let Some(prepare) = &service.policy.mobility.prepare else { return true };
    let answered = on.from.and_then(|f| draft.model.told.get(&f)).is_some_and(|t| t.attempt == on.attempt);
    answered || draft.now.since(on.since).0 > prepare.within.0.saturating_add(TELL_MARGIN.0)
}

/// Requests wait: once none is under way, the old copy is sealed.
fn holding(draft: &mut Draft<'_>, on: &Move, service: &Service, old: &Side, new: &Side) {
    // Doors that were known before a restart may have let go since: the hold begins anew.
    let restarted = draft.model.observable_since > on.since;
    let said = doors(draft, service, on.from);
    let is_quiet = said.under_way == 0 && (said.long_lived == 0 || may_cut(service));
    if is_late(draft, on) || restarted {
        let left = said.under_way.saturating_add(said.long_lived);
        let reason = match (restarted, left) {
            (true, _) => "the controller was away".to_owned(),
            (_, 0) => "a front door did not say that it holds, or the copy fell behind".to_owned(),
            (_, n) => format!(
                "{n} requests under way did not end within {}",
                on.deadline.map_or_else(Default::default, |d| d.since(on.since))
            ),
        };
        // Users asked for too much just then: it is tried again much later. Otherwise nobody who uses it is to blame, and
        // once the copy keeps up there is nothing to wait for.
        let again = if restarted || left == 0 { MovePhase::Copying } else { MovePhase::Standby };
        return let_go(draft, on, again, &reason);
    }
    let keeps_up = progress(new).is_some_and(|p| p.in_step);
    if !said.acted || !said.holding || !is_quiet || !keeps_up {
        return;
    }
    let Some(after) = service.tenure.and_then(|t| t.seal(new.copy.id).ok()) else {
        return let_go(draft, on, MovePhase::Standby, "its state cannot be handed over now");
    };
    let kept = commit(draft, on.service, after);
    let target = Target::Seal { attempt: kept.attempt };
    draft.put(Assignment { target, ..old.copy.as_ref().clone() });
    let mut on = on.clone();
    on.realised.1.cut = on.realised.1.cut.saturating_add(said.long_lived.into());
    enter(draft, on, MovePhase::FinalCopy, "the old copy stops for good; the last changes are copied and compared");
}

/// Requests go on at the old copy. From this phase on it is tried again, a few times.
fn let_go(draft: &mut Draft<'_>, on: &Move, again: MovePhase, reason: &str) {
    if tries(on) >= HOLDS_MAX {
        return roll_back(draft, on, &format!("{reason}; tried {HOLDS_MAX} times"));
    }
    enter(draft, on.clone(), again, reason);
    route::release(draft, on.service);
}

/// The old copy has stopped; once the new one has all of its state, that one owns it.
fn final_copy(draft: &mut Draft<'_>, on: &Move, service: &Service, old: &Side, new: &Side) {
    let Some(tenure) = service.tenure else { return roll_back(draft, on, "nobody owns its state") };
    let sealed = match (tenure.stage, old.phase) {
        (Stage::Sealing { root: None, .. }, Some(Phase::Sealed(s))) => {
            tenure.sealed(old.copy.id, old.copy.epoch, s.attempt, s.root, s.lease).ok()
        }
        _ => None,
    };
    let tenure = sealed.map_or(tenure, |after| commit(draft, on.service, after));
    let verified = match new.phase {
        Some(Phase::Verified(received)) => tenure.verified(new.copy.id, received).ok().map(|t| (t, received)),
        _ => None,
    };
    let Some((after, received)) = verified else {
        if is_late(draft, on) {
            roll_back(draft, on, "the last changes were not copied in time");
        }
        return;
    };
    let Tenure { epoch, .. } = commit(draft, on.service, after);
    // Until customers are served by it it may have to be taken back, from a host that is silent too: so it has a lease.
    let target = Target::Own(Own { leased: are_bound(service), from: Some(received) });
    raise(draft, Assignment { target, ..new.copy.as_ref().clone() }, epoch);
    enter(draft, on.clone(), MovePhase::Starting, "the new copy has the whole state, compared and written out");
}

/// Until the new copy answers.
fn coming(draft: &mut Draft<'_>, on: &Move, service: &Service, new: &Side) {
    match (on.phase, new.phase) {
        (MovePhase::Verifying, Some(Phase::Running)) => {
            let Some(after) = service.tenure.and_then(|t| t.switched().ok()) else { return };
            commit(draft, on.service, after);
            let_run_free(draft, service, new);
            enter(draft, on.clone(), MovePhase::Switching, "front doors send requests to the new copy");
            route::release(draft, on.service);
        }
        (MovePhase::Starting, Some(Phase::Starting | Phase::Running | Phase::Unhealthy)) => {
            enter(draft, on.clone(), MovePhase::Verifying, "the new copy runs and is checked");
        }
        _ if is_late(draft, on) => roll_back(draft, on, "the new copy was not healthy in time"),
        _ => {}
    }
}

/// There is no way back any more: where its order says so the copy needs no lease from now on.
fn let_run_free(draft: &mut Draft<'_>, service: &Service, new: &Side) {
    if let Target::Own(own @ Own { leased: true, .. }) = new.copy.target
        && !service.is_leased()
    {
        let target = Target::Own(Own { leased: false, ..own });
        draft.put(Assignment { target, free: true, ..new.copy.as_ref().clone() });
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

/// The old copy is sealed: nothing is under way there but what doors have not noticed yet. Then its state is only kept.
fn draining(draft: &mut Draft<'_>, on: &Move, service: &Service, old: &Side) {
    let said = doors(draft, service, on.from);
    let quiet = said.acted && said.under_way == 0 && said.long_lived == 0;
    // Never before another copy owns the state and serves it (P9).
    let safe = service.tenure.is_some_and(|t| t.stage == Stage::Settled && t.owner != on.from);
    if !safe || !(quiet || is_late(draft, on)) {
        return;
    }
    let kept = service.policy.mobility.undo_kept;
    let host = draft.model.host_name(on.from_host);
    let what = (crate::event::Noun::Assignment, old.copy.id.to_string(), service.name.as_str());
    let reason =
        format!("its state is on {} now; the old one is kept on {host} for {kept}", draft.model.host_name(on.to_host));
    draft.event(what, old.copy.state.as_str(), AllocationState::Releasing.as_str(), &reason);
    // The epoch stays: under it this copy has given its state up and never runs again.
    draft.put(Assignment {
        state: AllocationState::Releasing,
        target: Target::Stopped,
        reserved: Capacity::default(),
        ..old.copy.as_ref().clone()
    });
    finish(draft, on, &reason);
}
