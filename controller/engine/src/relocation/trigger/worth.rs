//! What a move costs and brings, in money: predicted from what earlier moves measured, and realised.

use chandler_protocol::{Bytes, MicroMoney, Micros, MoveId, Ppm, Timestamp};

use super::rules::Rules;
use crate::draft::Draft;
use crate::model::Model;
use crate::movement::{Effect, Move, MoveKind, MovePhase, Worth};
use crate::placement::{HOURS_PER_MONTH, monthly};
use crate::service::Service;

/// Moves that are learned from: the newest so many.
const LEARNED: usize = 500;
/// Fewer are no sample.
const SAMPLE: usize = 10;
/// Of its own, a service's newest so many count.
const OWN: usize = 4;
/// Learned anew after this time.
const LEARN_AGAIN: Micros = Micros::from_secs(600);
const HOUR: i128 = 3_600_000_000;

/// What moves of one kind took: the value that nine of ten stay below.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Took {
    pub took: Micros,
    pub bytes: Bytes,
    pub hold: Micros,
}

/// What earlier moves of the fleet took.
#[derive(Debug, Clone, Default)]
pub(super) struct Past {
    at: Option<Timestamp>,
    overlap: Option<Took>,
    exclusive: Option<Took>,
    /// Of the last moves, how many were rolled back; `None` when there were too few.
    fails: Option<Ppm>,
}

fn took(m: &Move) -> Option<Took> {
    let ended = m.ended_at.filter(|_| m.phase == MovePhase::Done)?;
    let effect = m.realised.1;
    Some(Took { took: ended.since(m.started_at), bytes: effect.bytes, hold: effect.longest_stall.max(effect.hold) })
}

fn ninetieth(mut all: Vec<Took>) -> Option<Took> {
    let n = all.len();
    let mut at = |key: fn(&Took) -> i64| {
        all.sort_by_key(key);
        all.get(n * 9 / 10).map(key)
    };
    let bytes = at(|t| i64::try_from(t.bytes.0).unwrap_or(i64::MAX))?;
    Some(Took {
        took: Micros(at(|t| t.took.0)?),
        bytes: Bytes(u64::try_from(bytes).unwrap_or(0)),
        hold: Micros(at(|t| t.hold.0)?),
    })
}

impl Past {
    /// Looks at the fleet's last moves, if it did not just do so.
    pub(super) fn learn(&mut self, model: &Model, now: Timestamp) {
        if self.at.is_some_and(|at| now.since(at) < LEARN_AGAIN) {
            return;
        }
        let ended = model
            .moves_since(Timestamp(i64::MIN))
            .filter(|m| matches!(m.phase, MovePhase::Done | MovePhase::RolledBack));
        let last: Vec<_> = ended.take(LEARNED).collect();
        let of = |kind| {
            let all: Vec<_> = last.iter().filter(|m| m.kind == kind).filter_map(|m| took(m)).collect();
            if all.len() < SAMPLE { None } else { ninetieth(all) }
        };
        let failed = last.iter().filter(|m| m.phase == MovePhase::RolledBack).count();
        let share = u32::try_from(failed * 1_000_000 / last.len().max(1)).unwrap_or(0);
        *self = Self {
            at: Some(now),
            overlap: of(MoveKind::Overlap),
            exclusive: of(MoveKind::Exclusive),
            fails: (last.len() >= SAMPLE).then_some(Ppm(share)),
        };
    }

    /// What a move of this service will probably take: as its own last ones, else as nine of ten of its kind, else what
    /// is taken for one that was never measured. Never nothing.
    fn expect(&self, model: &Model, service: &Service, kind: MoveKind, rules: &Rules) -> Took {
        let own: Vec<_> =
            model.moves_about(service.id).filter(|m| m.kind == kind).filter_map(|m| took(m)).take(OWN).collect();
        let of_kind = if kind == MoveKind::Exclusive { self.exclusive } else { self.overlap };
        let unknown = rules.unknown(kind);
        let unknown = Took { took: unknown.took, bytes: unknown.bytes, hold: unknown.hold };
        let known = ninetieth(own).or(of_kind).unwrap_or(unknown);
        Took { took: Micros(known.took.0.max(1_000_000)), ..known }
    }

    /// What a move costs, and what those who use the service will feel.
    pub(super) fn cost(
        &self,
        model: &Model,
        service: &Service,
        rules: &Rules,
        hourly: MicroMoney,
    ) -> (MicroMoney, Effect) {
        let kind = if service.carries_state() { MoveKind::Exclusive } else { MoveKind::Overlap };
        let took = self.expect(model, service, kind, rules);
        let hour = i128::from(hourly.0.max(0));
        // While it is copied and drained both copies are paid.
        let both = hour * i128::from(took.took.0) / HOUR;
        let wire = i128::from(took.bytes.0) * i128::from(rules.egress_gib.0) / i128::from(1_u64 << 30);
        let wait = hour * i128::from(took.hold.0) * i128::from(rules.hold_penalty) / HOUR;
        let once = both + wire + wait;
        let fails = i128::from(self.fails.unwrap_or(rules.fails).0);
        let cost = money(once + once * fails / 1_000_000).0.max(1);
        let (hold, bytes) = (took.hold, took.bytes);
        (MicroMoney(cost), Effect { hold, bytes, ..Effect::default() })
    }
}

/// A sum as an amount of money, held at the ends of what that can be.
pub(super) fn money(sum: i128) -> MicroMoney {
    MicroMoney(i64::try_from(sum).unwrap_or(if sum < 0 { i64::MIN } else { i64::MAX }))
}

/// A month's price for an hour.
pub(super) const fn hourly(month: MicroMoney) -> MicroMoney {
    MicroMoney(month.0 / HOURS_PER_MONTH)
}

/// An hourly difference over a horizon.
pub(super) fn over(hourly: MicroMoney, horizon: Micros) -> MicroMoney {
    money(i128::from(hourly.0) * i128::from(horizon.0) / HOUR)
}

/// What came of a move that is done, as far as it can be told now: what the two places cost at today's rates, over the
/// horizon of the prediction, and what was measured of the move.
///
/// Of a move for another reason than money the gain is what was predicted: nobody can measure an outage that was not.
pub fn realised(model: &Model, done: &Move, rules: &Rules) -> Option<Worth> {
    let service = model.services.get(&done.service)?;
    let month = |host| {
        let site = model.sites.get(&model.hosts.get(host)?.site)?;
        Some(monthly(site.rates, service.reserved(), &service.price).total())
    };
    let (from, to) = (hourly(month(&done.from_host)?), hourly(month(&done.to_host)?));
    let predicted = done.predicted.0;
    let saved = over(MicroMoney(from.0.saturating_sub(to.0)), predicted.horizon);
    let is_for_money =
        matches!(done.trigger, crate::service::Trigger::Price | crate::service::Trigger::CustomerCriterion);
    let gain = if is_for_money { saved } else { predicted.gain };
    let took = took(done)?;
    let hour = i128::from(from.0.max(to.0).max(0));
    let stall = i128::from(took.hold.0) * i128::from(rules.hold_penalty);
    let cost = hour * (i128::from(took.took.0) + stall) / HOUR
        + i128::from(took.bytes.0) * i128::from(rules.egress_gib.0) / i128::from(1_u64 << 30);
    Some(Worth { gain, cost: money(cost), horizon: predicted.horizon })
}

/// Writes down what came of a move, once.
pub fn realise(draft: &mut Draft<'_>, id: MoveId, rules: &Rules) {
    let Some(done) = draft.model.moves.get(&id).cloned() else { return };
    let is_due =
        done.phase == MovePhase::Done && done.realised.0 == Worth::default() && done.predicted.0 != Worth::default();
    if !is_due {
        return;
    }
    if let Some(worth) = realised(&draft.model, &done, rules) {
        draft.put(Move { realised: (worth, done.realised.1), ..done.as_ref().clone() });
    }
}
