//! Planning one move: another place for one copy, reserved before anything is said.

use std::sync::Arc;

use chandler_protocol::{AssignmentId, DecisionId, HostId, MoveId, ServiceId};

use super::{reserve, terms_of};
use crate::draft::Draft;
use crate::model::{Change, Model};
use crate::movement::{Effect, Move, MoveKind, MovePhase, Worth};
use crate::placement::{self, Outcome, Request};
use crate::service::{Assignment, ServiceState, Trigger};

/// What is asked of a move.
#[derive(Debug, Clone)]
pub struct Plan<'a> {
    /// What sets it off.
    pub trigger: Trigger,
    /// With which evidence, in one sentence with its numbers.
    pub evidence: String,
    /// Who asks: a token's name, or a task.
    pub by: String,
    /// What is expected of it.
    pub predicted: (Worth, Effect),
    /// The hosts it may go to; empty: any.
    pub only: &'a [HostId],
    /// Hosts it may not go to.
    pub avoid: &'a [HostId],
}

/// Whether a copy of this service may begin to move now.
pub fn may_move(model: &Model, service: ServiceId) -> bool {
    let Some(known) = model.services.get(&service) else { return false };
    known.state == ServiceState::Active && !known.is_task() && model.moves_of(service).next().is_none()
}

/// Places one copy of a service anew, elsewhere, and begins its move there.
///
/// # Errors
/// No place was found.
pub fn plan_move(
    draft: &mut Draft<'_>,
    service: ServiceId,
    from: AssignmentId,
    plan: &Plan<'_>,
) -> Result<MoveId, Box<Outcome>> {
    let empty = || Outcome { candidates: Vec::new(), refused: Vec::new(), predicted: None, refusal: None };
    let known = draft.model.services.get(&service).cloned();
    let copy = draft.model.assignments.get(&from).cloned();
    let (Some(known), Some(copy)) = (known, copy) else { return Err(Box::new(empty())) };
    let terms = terms_of(draft, &known);
    let model = draft.model.clone();
    let mut views = placement::views_of(&model, draft.now, service);
    views.retain(|v| v.host.id != copy.host && plan.only.contains(&v.host.id) && !plan.avoid.contains(&v.host.id));
    let request = Request {
        customer: known.customer,
        spec: &known.spec,
        platform: &known.platform,
        terms: &terms,
        policy: &known.policy,
        price: &known.price,
        access_rtt: placement::access_rtt(&model, known.customer),
        response_p95: super::response_p95(&model, &known),
        avoid: &[],
        current: &[],
        currency: &model.currency,
    };
    let outcome = placement::place(&views, &request);
    let Some(candidate) = outcome.chosen().next().cloned() else { return Err(Box::new(outcome)) };
    let id = DecisionId::from_random(draft.id());
    let decision =
        placement::decision(id, service, draft.now, model.generation, plan.trigger, &outcome, &views, &request);
    draft.put(Change::Decision(Arc::new(decision)));
    let epoch = draft.model.assignments_of(service).map(|a| a.epoch).max().unwrap_or(0) + 1;
    reserve(draft, &known, &candidate, (epoch, id), plan.trigger, &plan.evidence);
    let to = draft.model.assignments_of(service).find(|a| a.epoch == epoch).map(|a| a.id);
    draft.put(Assignment { leaving: true, ..copy.as_ref().clone() });
    let id = MoveId::from_random(draft.id());
    draft.put(Move {
        id,
        service,
        name: known.name.clone(),
        customer: known.customer,
        kind: if known.carries_state() { MoveKind::Exclusive } else { MoveKind::Overlap },
        trigger: plan.trigger,
        evidence: plan.evidence.clone(),
        by: plan.by.clone(),
        from: Some(from),
        from_host: copy.host,
        to,
        to_host: candidate.host,
        attempt: 0,
        phase: MovePhase::Planned,
        since: draft.now,
        deadline: None,
        phases: Vec::new(),
        predicted: plan.predicted,
        realised: (Worth::default(), Effect::default()),
        reason: String::new(),
        times: 0,
        started_at: draft.now,
        ended_at: None,
    });
    Ok(id)
}
