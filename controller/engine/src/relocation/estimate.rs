//! How long requests will wait while a state changes hands, told before they do.
//!
//! `hold = drain + stop + last round + start + health` (specification of moves, section 2). What the software takes to
//! end and to begin is learned from the service's own earlier moves; what the last round takes, from the rounds before
//! it. Told high: it shall cover nineteen moves of twenty.

use chandler_protocol::state::Progress;
use chandler_protocol::{Bytes, Micros};

use crate::model::Model;
use crate::movement::{Effect, Move, MoveKind, MovePhase};
use crate::service::Service;

/// A service's newest so many moves are learned from.
const LEARNED: usize = 20;
/// Of a service that never moved: until what is under way has ended.
const DRAIN: Micros = Micros::from_millis(100);
/// Until the old copy has stopped and written out what it had.
const STOP: Micros = Micros::from_millis(300);
/// Until the new one runs, and until it is known to be healthy where it is asked for that.
const START: Micros = Micros::from_millis(300);
const HEALTH: Micros = Micros::from_secs(1);
/// The longest of the earlier ones is exceeded by a quarter now and then (our own).
const MARGIN_PERCENT: i64 = 25;

/// What one move took, from the hold until front doors were told to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Took {
    /// Stopping the old copy, with the last round.
    last: i64,
    /// All the rest.
    rest: i64,
}

/// What it will be to users that this service hands its state over. `copied`: how far that is copied, once it is known.
/// `hold` is the 95th percentile.
pub(super) fn estimate(model: &Model, service: &Service, copied: Option<&Progress>) -> Effect {
    let past: Vec<&Move> = done(model, service).collect();
    let round = copied.map_or(0, last_round);
    let of = |took: Took| took.rest.saturating_add(took.last.max(round.saturating_add(STOP.0)));
    let own = past.iter().filter_map(|m| took(m)).map(of);
    let hold = match (own.clone().max(), i64::try_from(own.count())) {
        (Some(longest), Ok(n)) => longest.saturating_mul(100 + MARGIN_PERCENT + 100 / n.max(1)) / 100,
        _ => of(never_moved(service)),
    };
    let bytes = past.iter().map(|m| m.realised.1.bytes).max().unwrap_or_default();
    match copied {
        Some(p) => Effect {
            hold: Micros(hold),
            bytes: Bytes(p.sent.0.saturating_add(p.dirty.0)),
            state: p.size,
            rounds: p.rounds.saturating_add(1),
            ..Effect::default()
        },
        None => Effect { hold: Micros(hold), bytes, ..Effect::default() },
    }
}

fn done<'m>(model: &'m Model, service: &Service) -> impl Iterator<Item = &'m Move> {
    let exclusive = |m: &&Move| m.kind == MoveKind::Exclusive && m.phase == MovePhase::Done;
    model.moves_about(service.id).map(AsRef::as_ref).filter(exclusive).take(LEARNED)
}

/// What was taken in the last hold of a move; earlier ones were let go.
fn took(on: &Move) -> Option<Took> {
    let from = on.phases.iter().rposition(|p| p.phase == MovePhase::Holding)?;
    let held = on.phases.get(from..)?.iter().take_while(|p| p.phase < MovePhase::Switching);
    Some(held.fold(Took { last: 0, rest: 0 }, |sum, p| match p.phase {
        MovePhase::FinalCopy => Took { last: sum.last.saturating_add(p.took.0), ..sum },
        _ => Took { rest: sum.rest.saturating_add(p.took.0), ..sum },
    }))
}

fn never_moved(service: &Service) -> Took {
    let health = service.spec.health.as_ref().map_or(0, |h| HEALTH.0.saturating_add(h.interval.0));
    Took { last: 0, rest: DRAIN.0 + START.0 + health }
}

/// What is copied when the source has stopped is what it wrote in one more round at most. The last round is never slowed,
/// those before it may have been: what differed counts at the rate at which it can be had.
fn last_round(p: &Progress) -> i64 {
    let carried = u128::from(p.dirty.0) * 1_000_000 / u128::from(p.rate.0.max(1));
    let carried = i64::try_from(carried).unwrap_or(i64::MAX);
    if p.rate.0 == 0 { p.took.0 } else { p.took.0.min(carried.saturating_add(DRAIN.0)) }
}
