//! Moves that were considered and not made: told once with the reason and what was missing, not at every look.

use chandler_protocol::{HostId, Micros, MoveId, ServiceId};

use super::rules::Rules;
use crate::draft::Draft;
use crate::event::Noun;
use crate::model::Change;
use crate::movement::{Effect, Move, MoveKind, MovePhase, Worth};
use crate::service::{Assignment, Service, Trigger};

/// Most such records of one service.
pub const DECLINED_KEPT: usize = 8;

/// Why a move that was wanted is not made. Its name begins the reason of the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Why {
    /// It does not bring enough.
    Worth,
    /// There is no place to go to.
    Place,
    /// It was moved a moment ago.
    Cooldown,
    /// It was moved often enough.
    Budget,
    /// The customer wants no move now.
    Blackout,
    /// Too many machines are lost.
    Storm,
    /// An attempt failed a while ago.
    Failed,
    /// Attempts keep failing.
    Person,
}

impl Why {
    /// How the reason begins.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Worth => "not worth it",
            Self::Place => "nowhere to go",
            Self::Cooldown => "moved lately",
            Self::Budget => "moved often enough",
            Self::Blackout => "not at this hour",
            Self::Storm => "storm",
            Self::Failed => "failed before",
            Self::Person => "needs a person",
        }
    }
}

/// A move that is not made.
pub(super) struct NonMove<'a> {
    pub service: &'a Service,
    pub from: &'a Assignment,
    /// Where it would have gone; `None` when there is no such place.
    pub to: Option<HostId>,
    pub trigger: Trigger,
    pub evidence: String,
    pub why: Why,
    pub detail: String,
    pub predicted: (Worth, Effect),
}

/// Keeps the record of a move that is not made. One of the same service, trigger and kind of reason is brought up to
/// date instead, the more rarely the older it is.
pub(super) fn note(draft: &mut Draft<'_>, non_move: NonMove<'_>, rules: &Rules) {
    let NonMove { service, from, to, trigger, evidence, why, detail, predicted } = non_move;
    let reason = format!("{}: {detail}", why.as_str());
    let known = of_service(draft, service.id).find(|m| is_same(m, trigger, why, from));
    if let Some(known) = known {
        let told_for = known.since.since(known.started_at);
        let pause = Micros(rules.retell.0.max(told_for.0 / 8));
        if draft.now.since(known.since) < pause {
            return;
        }
        let (times, since) = (known.times.saturating_add(1), draft.now);
        let to_host = to.unwrap_or(from.host);
        return draft.put(Move { evidence, reason, predicted, times, since, to_host, ended_at: Some(since), ..known });
    }
    let id = MoveId::from_random(draft.id());
    draft.event(
        (Noun::Move, id.to_string(), &service.name),
        "",
        MovePhase::Declined.as_str(),
        format!("{}: {evidence}; {reason}", trigger.as_str()),
    );
    draft.put(Move {
        id,
        service: service.id,
        name: service.name.clone(),
        customer: service.customer,
        kind: if service.carries_state() { MoveKind::Exclusive } else { MoveKind::Overlap },
        trigger,
        evidence,
        by: draft.by().to_owned(),
        from: Some(from.id),
        from_host: from.host,
        to: None,
        to_host: to.unwrap_or(from.host),
        attempt: 0,
        phase: MovePhase::Declined,
        since: draft.now,
        deadline: None,
        phases: Vec::new(),
        predicted,
        realised: (Worth::default(), Effect::default()),
        reason,
        times: 1,
        started_at: draft.now,
        route: service.route.sequence,
        ended_at: Some(draft.now),
    });
    let old: Vec<_> = of_service(draft, service.id).skip(DECLINED_KEPT).map(|m| m.id).collect();
    for id in old {
        draft.put(Change::ForgetMove(id));
    }
}

fn of_service<'d>(draft: &'d Draft<'_>, service: ServiceId) -> impl Iterator<Item = Move> + 'd {
    draft.model.moves_about(service).filter(|m| m.phase == MovePhase::Declined).map(|m| m.as_ref().clone())
}

fn is_same(m: &Move, trigger: Trigger, why: Why, from: &Assignment) -> bool {
    let named = m.reason.split_once(':').is_some_and(|(name, _)| name == why.as_str());
    m.trigger == trigger && named && m.from_host == from.host
}
