//! What holds a move back that is wanted: cooldown, budgets, failed attempts, crowding.

use chandler_protocol::{HostId, Micros, Timestamp};

use super::declined::Why;
use super::rules::{Class, Rules};
use super::storm::Storm;
use crate::model::Model;
use crate::movement::{Move, MoveKind, MovePhase};
use crate::service::Service;

/// What holds a move back: a reason worth telling, or one that is gone in a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Held {
    pub why: Why,
    pub text: String,
}

fn held(why: Why, text: String) -> Option<Held> {
    Some(Held { why, text })
}

/// Moves of a service that were begun lately, the newest first.
fn begun<'m>(model: &'m Model, service: &Service, now: Timestamp, within: Micros) -> impl Iterator<Item = &'m Move> {
    let all = model.moves_about(service.id).map(AsRef::as_ref);
    all.take_while(move |m| now.since(m.started_at) <= within).filter(|m| m.phase != MovePhase::Declined)
}

/// Whether a service left a host lately.
pub(super) fn left_lately(model: &Model, service: &Service, host: HostId, now: Timestamp, rules: &Rules) -> bool {
    begun(model, service, now, rules.memory).any(|m| m.from_host == host && m.phase != MovePhase::RolledBack)
}

/// What holds back any move of this class of this service, wherever to.
pub(super) fn of_service(
    model: &Model,
    service: &Service,
    class: Class,
    storm: Storm,
    now: Timestamp,
    rules: &Rules,
) -> Option<Held> {
    let pace = rules.pace(class)?;
    if let (Class::Economic, Storm::Raging { lost, of, .. }) = (class, storm) {
        return held(
            Why::Storm,
            format!("{lost} of {of} machines were lost; nothing moves for money until that is over"),
        );
    }
    if let Some(hours) = service.policy.criteria.blackout(now) {
        return held(Why::Blackout, format!("the customer wants no move {hours}"));
    }
    let last = begun(model, service, now, pace.cooldown).map(|m| m.ended_at.unwrap_or(m.started_at)).max();
    if let Some(rest) = last.map(|at| Micros(pace.cooldown.0 - now.since(at).0)).filter(|rest| rest.0 > 0) {
        return held(
            Why::Cooldown,
            format!("it was moved {} ago and is left in peace for another {rest}", Micros(pace.cooldown.0 - rest.0)),
        );
    }
    let count = begun(model, service, now, rules.budget_window).count();
    if count >= pace.budget {
        return held(
            Why::Budget,
            format!("it was moved {count} times within {}; its budget is {}", rules.budget_window, pace.budget),
        );
    }
    None
}

/// What holds back a move from one host to another after earlier attempts failed.
pub(super) fn of_pair(
    model: &Model,
    service: &Service,
    from: HostId,
    to: HostId,
    now: Timestamp,
    rules: &Rules,
) -> Option<Held> {
    let attempts =
        model.moves_about(service.id).filter(|m| m.from_host == from && m.to_host == to && m.phase.is_final());
    let failed: Vec<_> = attempts
        .filter(|m| m.phase != MovePhase::Declined)
        .take_while(|m| m.phase == MovePhase::RolledBack)
        .take(rules.failures_most + 8)
        .collect();
    let last = failed.first().map(|m| m.ended_at.unwrap_or(m.started_at))?;
    if failed.len() >= rules.failures_most {
        let reason = failed.first().map(|m| m.reason.clone()).unwrap_or_default();
        return held(
            Why::Person,
            format!("{} attempts failed in a row ({reason}); order the move once it is mended", failed.len()),
        );
    }
    let doubled = rules.block_first.0.saturating_mul(1 << failed.len().saturating_sub(1).min(20));
    let rest = doubled.min(rules.block_most.0) - now.since(last).0;
    (rest > 0).then(|| Held {
        why: Why::Failed,
        text: format!("the last attempt there failed; it is tried again in {}", Micros(rest)),
    })
}

/// Whether a move has to wait its turn, because others are under way.
pub(super) fn is_crowded(
    model: &Model,
    service: &Service,
    class: Class,
    pair: (HostId, HostId),
    now: Timestamp,
    rules: &Rules,
) -> bool {
    let open = || model.moving.values().flatten().filter_map(|id| model.moves.get(id));
    let takes_part = |host: HostId| open().filter(|m| m.from_host == host || m.to_host == host).count();
    if takes_part(pair.0) >= rules.per_host || takes_part(pair.1) >= rules.per_host {
        return true;
    }
    // The doors of one customer are on the same computers: requests wait there for one move at a time.
    let holds = |m: &Move| m.kind == MoveKind::Exclusive && m.customer == service.customer;
    if service.carries_state() && open().any(|m| holds(m)) {
        return true;
    }
    if class == Class::Mandatory {
        return false;
    }
    let since = |window: Micros| Timestamp(now.0.saturating_sub(window.0));
    let begun = |window| model.moves_since(since(window)).filter(|m| m.phase != MovePhase::Declined);
    let site = |host| model.hosts.get(&host).map(|h| h.site);
    let home = site(pair.0);
    let of_site = begun(rules.site_window).filter(|m| site(m.from_host) == home).count();
    let hosts = home.and_then(|home| model.by_site.get(&home)).into_iter().flatten();
    let copies = hosts.map(|h| model.by_host.get(h).map_or(0, imbl::OrdSet::len)).sum();
    if of_site >= share(copies, rules.site_share.0) {
        return true;
    }
    class == Class::Economic
        && begun(rules.fleet_window).filter(|m| m.kind != MoveKind::Failover).count()
            >= share(model.live.len(), rules.fleet_share.0)
}

/// A share of a number, at least one.
fn share(of: usize, ppm: u32) -> usize {
    (of as u64).saturating_mul(u64::from(ppm)).div_euclid(1_000_000).max(1) as usize
}

/// The moment of its own within the time over which moves of one cause are spread: always the same for one service.
pub(super) fn jitter(service: &Service, rules: &Rules) -> Micros {
    let mixed = service
        .id
        .as_bytes()
        .iter()
        .fold(0_u64, |sum, b| sum.wrapping_mul(0x0100_0000_01b3).wrapping_add(u64::from(*b) + 1));
    let share = i64::try_from(mixed % 1_000).unwrap_or(0);
    Micros(rules.jitter.0 * share / 1_000)
}
