//! What an operator orders: this service there. Never outside its SLA and its policy.

use std::sync::Arc;

use chandler_protocol::state::{Phase, Target};
use chandler_protocol::{HostId, MoveId, ServiceId, SiteId};

use super::frozen::{is_frozen, thaw};
use super::lease::{are_bound, is_unbound, lease_over};
use super::phase::enter;
use super::plan::{Begin, Plan, begin, plan_move};
use super::rollback::{give_way, may_give_way};
use super::settle::standing;
use crate::draft::Draft;
use crate::fleet::HostState;
use crate::model::Model;
use crate::movement::{Effect, MoveKind, MovePhase, Worth};
use crate::order::OwnerKind;
use crate::placement::{Outcome, Refusal};
use crate::service::{Assignment, Service, ServiceState, Trigger};
use crate::site::SiteRole;

/// Where a copy shall go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// To this host.
    Host(HostId),
    /// To any host of this site.
    Site(SiteId),
    /// To any host of such an owner.
    Owner(OwnerKind),
}

/// Why an ordered move was not begun. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotMoved {
    /// A stable code: `E0130` unknown, `E0310` it cannot go there, `E0311` it may not move now, `E0312` it is there.
    pub code: &'static str,
    /// Why, in one sentence that names the rule that binds.
    pub text: String,
    /// The nearest host that it could go to.
    pub nearest: Option<String>,
}

impl NotMoved {
    fn new(code: &'static str, text: impl Into<String>) -> Self {
        Self { code, text: text.into(), nearest: None }
    }
}

/// Moves one copy of a service to where an operator wants it. A move that has not begun to hold gives way to this one.
///
/// # Errors
/// See [`NotMoved`].
pub fn order_move(
    draft: &mut Draft<'_>,
    service: ServiceId,
    wanted: Destination,
    by: &str,
) -> Result<MoveId, NotMoved> {
    let known = draft.model.services.get(&service).cloned();
    let Some(known) = known else { return Err(NotMoved::new("E0130", "there is no such service")) };
    let hosts = hosts_of(&draft.model, wanted).ok_or_else(|| NotMoved::new("E0130", "there is no such destination"))?;
    let copy = draft.model.assignments_of(service).find(|a| is_at(a, &hosts)).cloned();
    if let Some(copy) = copy.filter(|_| is_frozen(&known)) {
        return thaw_there(draft, &known, &copy, by);
    }
    if known.state != ServiceState::Active || known.is_task() || is_frozen(&known) {
        let text = format!("{} is not in use: only what runs can be moved", known.name);
        return Err(NotMoved::new("E0311", text));
    }
    if let Some(on) =
        draft.model.moves_of(service).find(|m| hosts.contains(&m.to_host) && m.phase != MovePhase::Draining)
    {
        return Ok(on.id);
    }
    // Whether it could be done is found out on a draft of its own: what is impossible disturbs nothing.
    let before = (draft.model.clone(), draft.changes.len());
    let done = begin_order(draft, &known, wanted, &hosts, by);
    if done.is_err() {
        draft.model = before.0;
        draft.changes.truncate(before.1);
    }
    done
}

fn begin_order(
    draft: &mut Draft<'_>,
    service: &Arc<Service>,
    wanted: Destination,
    hosts: &[HostId],
    by: &str,
) -> Result<MoveId, NotMoved> {
    if !draft.model.moves_of(service.id).all(|m| may_give_way(m) && m.phase != MovePhase::Draining) {
        let text = format!("a move of {} is being switched; order it again when that has ended", service.name);
        return Err(NotMoved::new("E0311", text));
    }
    give_way(draft, service.id, &format!("superseded: {by} ordered it elsewhere"));
    let copy = leaving(draft, service, hosts).ok_or_else(|| {
        let text = format!("{} runs there already", service.name);
        NotMoved::new("E0312", text)
    })?;
    let evidence = format!("{by} ordered it to {}", named(&draft.model, wanted));
    let predicted = (Worth::default(), Effect::default());
    let mut plan = Plan { trigger: Trigger::Operator, evidence, by: by.to_owned(), predicted, only: hosts, avoid: &[] };
    match plan_move(draft, service.id, copy.id, &plan) {
        Ok(id) => Ok(id),
        Err(outcome) => {
            plan.only = &[];
            let (anywhere, _) = super::plan::place_one(draft, service, &copy, &plan);
            let nearest = anywhere.chosen().next().map(|c| c.host_name.clone());
            let text = format!("{} cannot go to {}: {}", service.name, named(&draft.model, wanted), why(&outcome));
            Err(NotMoved { code: "E0310", text, nearest })
        }
    }
}

/// The copy that goes: the first that is not where it shall be.
fn leaving(draft: &Draft<'_>, service: &Service, hosts: &[HostId]) -> Option<Arc<Assignment>> {
    let copies = standing(&draft.model, service);
    // A host takes one copy; of a site or a kind of owner, any other host will do.
    let is_there = |a: &Arc<Assignment>| hosts.contains(&a.host);
    if hosts.len() == 1 && copies.iter().any(is_there) {
        return None;
    }
    copies.into_iter().find(|a| !is_there(a))
}

/// The rule that binds, of the host that is nearest to fitting.
fn why(outcome: &Outcome) -> String {
    let nearest = outcome.refused.iter().min_by_key(|r| (r.distance, r.host));
    match (nearest, &outcome.refusal) {
        (Some(r), _) => format!("{}: {} ({})", r.host_name, r.reason, r.rule.as_str()),
        (None, Some(Refusal::Infeasible { text, .. } | Refusal::NoCapacity { text, .. })) => text.clone(),
        (None, None) => "there is no host".to_owned(),
    }
}

/// The hosts of a destination; `None` when it is not known.
fn hosts_of(model: &Model, wanted: Destination) -> Option<Vec<HostId>> {
    let role = |host: &crate::fleet::Host| model.sites.get(&host.site).map(|s| s.role);
    match wanted {
        Destination::Host(id) => model.hosts.contains_key(&id).then(|| vec![id]),
        Destination::Site(id) => {
            model.sites.get(&id)?;
            Some(model.hosts.values().filter(|h| h.site == id).map(|h| h.id).collect())
        }
        Destination::Owner(kind) => {
            let wanted = match kind {
                OwnerKind::Customer => SiteRole::Customer,
                OwnerKind::Provider => SiteRole::Provider,
                OwnerKind::Remote => SiteRole::Remote,
                OwnerKind::Partner => SiteRole::Partner,
            };
            Some(model.hosts.values().filter(|h| role(h) == Some(wanted)).map(|h| h.id).collect())
        }
    }
    .filter(|hosts: &Vec<HostId>| !hosts.is_empty())
}

fn named(model: &Model, wanted: Destination) -> String {
    match wanted {
        Destination::Host(id) => model.host_name(id),
        Destination::Site(id) => model.sites.get(&id).map_or_else(|| id.to_string(), |s| s.name.clone()),
        Destination::Owner(kind) => format!("a host of owner {}", kind.as_str()),
    }
}

/// A copy that is there and still has its state.
fn is_at(copy: &Assignment, hosts: &[HostId]) -> bool {
    hosts.contains(&copy.host) && copy.target != Target::Wiped
}

fn has_said_that_it_stopped(copy: &Assignment) -> bool {
    copy.target == Target::Stopped && matches!(copy.phase(), Some(Phase::Stopped | Phase::Wiped))
}

fn is_revoked(model: &Model, copy: &Assignment) -> bool {
    model.hosts.get(&copy.host).is_none_or(|h| h.state == HostState::Revoked)
}

/// An operator says which copy of a frozen service is right, by its host. The record of it is a move that is done.
fn thaw_there(draft: &mut Draft<'_>, service: &Service, copy: &Assignment, by: &str) -> Result<MoveId, NotMoved> {
    let model = &draft.model;
    let runs = model.assignments_of(service.id).any(|a| a.id != copy.id && !lease_over(model, a.id, draft.boot));
    let others = model.assignments_of(service.id).filter(|a| a.id != copy.id && is_unbound(service, a));
    if let Some(other) = others.into_iter().find(|a| !has_said_that_it_stopped(a) && !is_revoked(model, a)) {
        let host = model.host_name(other.host);
        let text = format!("the copy of {} on {host} may still run: wait for that host, or revoke it", service.name);
        return Err(NotMoved::new("E0311", text));
    }
    if are_bound(service) && runs {
        let text = format!("another copy of {} may still run: order it again in a few seconds", service.name);
        return Err(NotMoved::new("E0311", text));
    }
    thaw(draft, service, copy);
    let evidence = format!("{by} said that the copy on {} is the right one", draft.model.host_name(copy.host));
    let how = Begin {
        kind: MoveKind::Failover,
        trigger: Trigger::Operator,
        evidence: evidence.clone(),
        by: by.to_owned(),
        from: None,
        from_host: copy.host,
        to: copy.id,
        to_host: copy.host,
        predicted: (Worth::default(), Effect::default()),
    };
    let id = begin(draft, service, how);
    if let Some(on) = draft.model.moves.get(&id).cloned() {
        enter(draft, on.as_ref().clone(), MovePhase::Done, &evidence);
    }
    Ok(id)
}
