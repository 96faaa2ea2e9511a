//! Planning one move: another place for one copy, reserved before anything is said.

use std::sync::Arc;

use chandler_protocol::{AssignmentId, DecisionId, HostId, MicroMoney, MoveId, Ppm, ServiceId};

use super::phase::enter;
use super::settle::{Why, change_place, standing};
use super::terms_of;
use crate::availability::{estimate, of_any};
use crate::draft::Draft;
use crate::model::{Change, Model};
use crate::movement::{Effect, Move, MoveKind, MovePhase, Worth};
use crate::order::Policy;
use crate::placement::{self, Decision, Outcome, Refusal, Request};
use crate::service::{AllocationState, Assignment, Service, ServiceState, Trigger};
use crate::sla::Terms;

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

/// Whether a copy of this service may begin to move now: it is in use, runs until told otherwise, and none of its copies
/// moves already.
pub fn may_move(model: &Model, service: ServiceId) -> bool {
    let Some(known) = model.services.get(&service) else { return false };
    known.state == ServiceState::Active && !known.is_task() && model.moves_of(service).next().is_none()
}

/// Places one copy of a service anew, elsewhere, and begins its move there. The other copies stay where they are.
/// Nothing outside the SLA and the policy is chosen, and the place is reserved at once.
///
/// # Errors
/// No place was found, with every host's fate; or the service may not move now ([`may_move`]), which the refusal says.
/// Nothing was changed then.
pub fn plan_move(
    draft: &mut Draft<'_>,
    service: ServiceId,
    from: AssignmentId,
    plan: &Plan<'_>,
) -> Result<MoveId, Box<Outcome>> {
    let known = draft.model.services.get(&service).cloned();
    let copy = draft.model.assignments.get(&from).filter(|a| a.service == service).cloned();
    let (Some(known), Some(copy)) = (known, copy) else { return Err(refused("there is no such copy")) };
    if !may_move(&draft.model, service) {
        return Err(refused("it is not in use, or moves already"));
    }
    if copy.state == AllocationState::Releasing || !copy.is_to_run() {
        return Err(refused("this copy is on its way out"));
    }
    let (outcome, decision) = place_one(draft, &known, &copy, plan);
    let Some(candidate) = outcome.chosen().next().cloned() else { return Err(Box::new(outcome)) };
    let text = decision.text.clone();
    let why = Why {
        decision: decision.id,
        trigger: plan.trigger,
        text: &text,
        evidence: plan.evidence.clone(),
        by: plan.by.clone(),
    };
    draft.put(Change::Decision(Arc::new(decision)));
    let mut next = known.as_ref().clone();
    next.decision = Some(why.decision);
    if standing(&draft.model, &known).len() == 1 {
        next.predicted = outcome.predicted;
    }
    draft.put(next.clone());
    Ok(change_place(draft, &next, &copy, &candidate, &why, plan.predicted))
}

fn refused(text: &str) -> Box<Outcome> {
    let refusal = Some(Refusal::NoCapacity { text: text.to_owned(), nearest: Vec::new() });
    Box::new(Outcome { candidates: Vec::new(), refused: Vec::new(), predicted: None, refusal })
}

/// The cheapest place for one copy beside the others, which stay: what they bring counts for the SLA.
pub(super) fn place_one(
    draft: &mut Draft<'_>,
    service: &Service,
    copy: &Assignment,
    plan: &Plan<'_>,
) -> (Outcome, Decision) {
    let id = DecisionId::from_random(draft.id());
    let model = &draft.model;
    let others: Vec<_> = standing(model, service).into_iter().filter(|a| a.id != copy.id).collect();
    let agreed = terms_of(draft, service);
    let terms = if others.is_empty() { agreed.clone() } else { alone(&agreed, &others) };
    let policy = Policy { replicas_min: 1, replicas_max: 1, ..service.policy.clone() };
    let mut views = placement::views_of(model, draft.now, service.id);
    views.retain(|v| {
        let taken = v.host.id == copy.host || others.iter().any(|a| a.host == v.host.id);
        !taken && (plan.only.is_empty() || plan.only.contains(&v.host.id)) && !plan.avoid.contains(&v.host.id)
    });
    let request = Request {
        customer: service.customer,
        spec: &service.spec,
        platform: &service.platform,
        terms: &terms,
        policy: &policy,
        price: &service.price,
        access_rtt: placement::access_rtt(model, service.customer),
        response_p95: super::response_p95(model, service),
        avoid: &[],
        current: &[],
        currency: &model.currency,
    };
    let mut outcome = placement::place(&views, &request);
    if let Some(least) = agreed.availability_min.filter(|_| !others.is_empty()) {
        choose_together(&mut outcome, least, &availabilities(draft, &others));
    }
    let decision =
        placement::decision(id, service.id, draft.now, model.generation, plan.trigger, &outcome, &views, &request);
    (outcome, decision)
}

/// What is left of the terms for one copy, when the others stay.
fn alone(agreed: &Terms, others: &[Arc<Assignment>]) -> Terms {
    let spent = others.iter().map(|a| placement::monthly(a.rates, a.reserved, &a.price).total().0);
    let spent = spent.fold(0, i64::saturating_add);
    Terms {
        availability_min: None,
        cost_max: agreed.cost_max.map(|m| MicroMoney(m.0.saturating_sub(spent).max(0))),
        ..agreed.clone()
    }
}

fn availabilities(draft: &Draft<'_>, copies: &[Arc<Assignment>]) -> Vec<Ppm> {
    let model = &draft.model;
    let of = |a: &Arc<Assignment>| {
        let (host, site) = (model.hosts.get(&a.host)?, model.sites.get(&a.site)?);
        Some(estimate(&host.history, site.role, draft.now, model.observable_since))
    };
    copies.iter().filter_map(of).collect()
}

/// The cheapest candidate that is available enough together with the copies that stay.
fn choose_together(outcome: &mut Outcome, least: Ppm, others: &[Ppm]) {
    let reaches = |own: Ppm| {
        let all: Vec<_> = others.iter().copied().chain([own]).collect();
        of_any(&all) >= least
    };
    let best = outcome.candidates.iter().position(|c| reaches(c.predicted.availability));
    for (i, candidate) in outcome.candidates.iter_mut().enumerate() {
        candidate.chosen = Some(i) == best;
    }
    if best.is_none() && outcome.refusal.is_none() {
        let text = format!("no other host is up often enough for {least} together with the copies that stay");
        outcome.refusal = Some(Refusal::Infeasible { text, nearest: Vec::new() });
        outcome.predicted = None;
    }
}

/// A move that begins.
pub(super) struct Begin {
    pub kind: MoveKind,
    pub trigger: Trigger,
    pub evidence: String,
    pub by: String,
    pub from: Option<AssignmentId>,
    pub from_host: HostId,
    pub to: AssignmentId,
    pub to_host: HostId,
    pub predicted: (Worth, Effect),
}

/// Writes the record of a move whose destination is reserved.
pub(super) fn begin(draft: &mut Draft<'_>, service: &Service, how: Begin) -> MoveId {
    let id = MoveId::from_random(draft.id());
    // One numbering for all moves of a service: what a copy or a door says of an earlier one is not taken for this one.
    let of_service = draft.model.moves.values().filter(|m| m.service == service.id);
    let attempt = of_service.map(|m| m.attempt).max().unwrap_or(0);
    let planned = Move {
        id,
        service: service.id,
        name: service.name.clone(),
        customer: service.customer,
        kind: how.kind,
        trigger: how.trigger,
        evidence: how.evidence,
        by: how.by,
        from: how.from,
        from_host: how.from_host,
        to: Some(how.to),
        to_host: how.to_host,
        attempt,
        phase: MovePhase::Planned,
        since: draft.now,
        deadline: None,
        phases: Vec::new(),
        predicted: how.predicted,
        realised: (Worth::default(), Effect::default()),
        reason: String::new(),
        times: 0,
        started_at: draft.now,
        route: service.route.sequence,
        ended_at: None,
    };
    let reason = planned.evidence.clone();
    enter(draft, planned, MovePhase::Planned, &reason);
    id
}
