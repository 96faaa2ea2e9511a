//! Buying: what this controller wants of a partner's hosts, and what it makes of the partner's answers.

use std::collections::{BTreeMap, BTreeSet};

use chandler_protocol::inventory::{HostInventory, Offered};
use chandler_protocol::state::{Assignment as Told, Failure, ObservedAssignment, Phase};
use chandler_protocol::{AssignmentId, HostId, MicroMoney, PartyId, Timestamp};

use super::lease::{Closed, Lease, LeaseState, Party, Side};
use super::repute;
use super::size;
use super::term;
use super::watch::Watch;
use super::word::{Demand, LeaseWord, Orders, Qualified};
use crate::draft::Draft;
use crate::event::Noun;
use crate::finance::AMOUNT_MAX;
use crate::fleet::{Capacity, Host, LotTerms};
use crate::fulfilment;
use crate::market::clearing::Hourly;
use crate::model::Model;
use crate::movement::{Move, MoveKind};
use crate::placement::{Decision, HOURS_PER_MONTH};
use crate::service::{AllocationState, Assignment, Service};
use crate::way;

/// The assignments that need a lease of this partner and have none yet, in order of id.
pub fn unleased(model: &Model, partner: PartyId) -> Vec<AssignmentId> {
    let all = hosts_of(model, partner).flat_map(|h| model.assignments_of_host(h));
    let is_wanted = |a: &Assignment| a.state != AllocationState::Releasing && !model.leases.contains_key(&a.id);
    let mut found: Vec<_> = all.filter(|a| is_wanted(a)).map(|a| a.id).collect();
    found.sort_unstable();
    found
}

/// What is wanted for an assignment: the hosts that its decision found fit, at this partner, but for those where other
/// copies of the service are. The market chooses among them.
pub fn demand(model: &Model, assignment: &Assignment, decided: Option<&Decision>) -> Option<Demand> {
    let partner = model.home_of(assignment.host)?;
    let service = model.services.get(&assignment.service)?;
    let taken: BTreeSet<HostId> =
        model.assignments_of(service.id).filter(|a| a.id != assignment.id).map(|a| a.host).collect();
    let from: BTreeSet<HostId> = model.moves_of(service.id).map(|m| m.from_host).collect();
    let fit = decided.into_iter().flat_map(|d| d.candidates.iter().map(|c| c.host));
    let mut hosts: BTreeSet<HostId> = fit.filter(|h| !taken.contains(h) && !from.contains(h)).collect();
    hosts.retain(|h| model.home_of(*h) == Some(partner));
    // A move goes where it was weighed to go: then the market has nothing to choose.
    let brings = |m: &Move| m.to == Some(assignment.id) && m.kind != MoveKind::Failover;
    let is_told = model.moves_of(service.id).any(|m| brings(m));
    if is_told {
        hosts.clear();
    }
    hosts.insert(assignment.host);
    // The place was chosen for what was posted: for more than the dearest of them another might have been.
    let named = decided.into_iter().flat_map(|d| &d.candidates).filter(|c| hosts.contains(&c.host)).map(|c| c.rates);
    let hour = Hourly::new(assignment.reserved);
    let reckoned = named.map(|rates| hour.cost(rates)).fold(hour.cost(assignment.rates), MicroMoney::max);
    Some(Demand {
        service: service.id,
        label: service.name.clone(),
        wanted: assignment.reserved,
        cap: cap(model, service, assignment).min(reckoned),
        candidates: hosts.into_iter().map(|host| Qualified { host, extra: MicroMoney(0) }).collect(),
        epoch: 0,
        turn: 0,
    })
}

/// The most that an hour may cost so that the SLA's own limit holds with the provider's part on top. Without a limit, as
/// much as an hour can cost at all.
fn cap(model: &Model, service: &Service, assignment: &Assignment) -> MicroMoney {
    let terms = model.agreements.get(&service.agreement).map(|a| a.terms()).unwrap_or_default();
    let Some(most) = terms.cost_max else { return MicroMoney(AMOUNT_MAX) };
    let copies = i128::from(service.copies.max(1));
    let hour = i128::from(most.0) / copies / i128::from(HOURS_PER_MONTH);
    let left = (hour - i128::from(assignment.price.management_hour.0)).max(0);
    let cap = left * 100 / (100 + i128::from(assignment.price.margin_percent));
    MicroMoney(i64::try_from(cap).unwrap_or(AMOUNT_MAX).min(AMOUNT_MAX))
}

/// The assignments at this partner that are to go and have no lease: nothing can be told to them, and nothing runs there.
pub fn unheld(model: &Model, partner: PartyId) -> Vec<AssignmentId> {
    let all = hosts_of(model, partner).flat_map(|h| model.assignments_of_host(h));
    let is_leased = |a: &Assignment| model.leases.get(&a.id).is_some_and(|l| l.is_open());
    let gone = all.filter(|a| a.state == AllocationState::Releasing && !is_leased(a));
    gone.map(|a| a.id).collect()
}

/// The leases of this partner that nothing of ours needs any more, in order of id.
pub fn unused(model: &Model, partner: PartyId) -> Vec<AssignmentId> {
    let mine = model.leases.values().filter(|l| l.side == Side::Bought && l.partner == partner && l.is_open());
    mine.filter(|l| !model.assignments.contains_key(&l.id)).map(|l| l.id).collect()
}

/// The leases that a partner says this controller has, and of which it knows nothing: it was restored from a backup. They
/// are to be given back, in order of id; what ran under them is stopped.
pub fn unknown(model: &Model, partner: PartyId, said: &[LeaseWord]) -> Vec<AssignmentId> {
    let is_theirs = |l: &&LeaseWord| l.state != LeaseState::Closed && model.home_of(l.host) == Some(partner);
    let is_unknown = |l: &&LeaseWord| !model.leases.contains_key(&l.id) && !model.assignments.contains_key(&l.id);
    // What is over here and goes on there was not told: it is told again.
    let is_over = |l: &&LeaseWord| model.leases.get(&l.id).is_some_and(|b| b.side == Side::Bought && !b.is_open());
    let mut found: Vec<_> =
        said.iter().filter(is_theirs).filter(|l| is_unknown(l) || is_over(l)).map(|l| l.id).collect();
    found.sort_unstable();
    found
}

fn hosts_of(model: &Model, partner: PartyId) -> impl Iterator<Item = HostId> + '_ {
    let sites = model.sites_of(partner).filter(move |s| s.home == Some(partner));
    sites.flat_map(|s| model.hosts_of(s.id)).map(|h| h.id)
}

/// What each host of a partner that has leases of ours shall do, without a generation; in order of host. One where a lease
/// is not as large yet as what shall run under it is left out: what was said before goes on to hold there.
pub fn wanted(model: &Model, partner: PartyId) -> BTreeMap<HostId, Orders> {
    let mut all = BTreeMap::new();
    for host in hosts_of(model, partner) {
        let leased = |id: &AssignmentId| model.leases.get(id).is_some_and(|l| l.side == Side::Bought && l.is_open());
        let told = model.assignments_of_host(host).filter(|a| leased(&a.id)).map(|a| Told {
            id: a.id,
            epoch: a.epoch,
            target: a.target,
            spec: a.spec.clone(),
        });
        let assignments: Vec<_> = told.collect();
        if assignments.is_empty() || !assignments.iter().all(|a| size::is_sized(model, a.id)) {
            continue;
        }
        let mut ways = way::ways(model, host);
        for grant in &mut ways.grants {
            // What is not leased yet is not to be let in to.
            grant.permits.retain(|p| match p {
                chandler_protocol::way::Permit::Port(id)
                | chandler_protocol::way::Permit::State { assignment: id, .. } => leased(id),
            });
        }
        ways.notices.retain(|n| leased(&n.assignment));
        all.insert(host, Orders { assignments, ways, ..Orders::default() });
    }
    all
}

/// Takes in how a lease is, in the seller's words. What it says of something that was never asked for is not believed.
///
/// # Errors
/// One sentence: it is not about what was asked for.
pub fn bought(draft: &mut Draft<'_>, partner: PartyId, word: &LeaseWord) -> Result<(), String> {
    if let Some(lease) = draft.model.leases.get(&word.id).cloned() {
        if lease.side != Side::Bought || lease.partner != partner {
            return Err(format!("{} is not a lease of this partner", word.id));
        }
        return go_on(draft, &lease, word);
    }
    let Some(assignment) = draft.model.assignments.get(&word.id).cloned() else {
        return Err(format!("{}: nothing of that id was asked for", word.id));
    };
    if draft.model.home_of(assignment.host) != Some(partner) || draft.model.home_of(word.host) != Some(partner) {
        return Err(format!("{}: it was asked for at another partner", word.id));
    }
    if word.state == LeaseState::Closed {
        return Ok(());
    }
    if !word.capacity.holds(assignment.reserved) {
        return Err(format!("{}: less was given than was asked for", word.id));
    }
    let name = draft.model.services.get(&assignment.service).map(|s| s.name.clone()).unwrap_or_default();
    let reason = format!("leased from {} on {}", party(&draft.model, partner), draft.model.host_name(word.host));
    draft.event((Noun::Lease, word.id.to_string(), &name), "", word.state.as_str(), reason.clone());
    draft.put(Lease {
        id: word.id,
        side: Side::Bought,
        partner,
        host: word.host,
        site: draft.model.hosts.get(&word.host).map_or(assignment.site, |h| h.site),
        service: assignment.service,
        label: name,
        capacity: word.capacity,
        rates: word.rates,
        demand: [0; 32],
        state: word.state,
        since: draft.now,
        made_at: draft.now,
        ends_at: None,
        touched_at: draft.now,
        reason,
        closed: None,
        idle: false,
        metered: chandler_protocol::Micros::ZERO,
        watch: Watch { epoch: assignment.epoch, term: repute::bought(draft, word), ..Watch::default() },
    });
    // Where it is and what is paid was settled by the clearing, not by what was posted when the place was chosen.
    let site = draft.model.hosts.get(&word.host).map_or(assignment.site, |h| h.site);
    if assignment.rates != word.rates || assignment.host != word.host {
        draft.put(Assignment { rates: word.rates, host: word.host, site, ..assignment.as_ref().clone() });
    }
    let moves: Vec<_> = draft.model.moves_of(assignment.service).filter(|m| m.to == Some(word.id)).cloned().collect();
    for on in moves.into_iter().filter(|m| m.to_host != word.host) {
        draft.put(Move { to_host: word.host, ..on.as_ref().clone() });
    }
    Ok(())
}

fn party(model: &Model, id: PartyId) -> String {
    model.parties.get(&id).map_or_else(|| id.to_string(), |p| p.name.clone())
}

fn go_on(draft: &mut Draft<'_>, lease: &Lease, word: &LeaseWord) -> Result<(), String> {
    let rates = [lease.rates, lease.rates_to_come()];
    if !rates.contains(&word.rates) || word.host != lease.host {
        return Err(format!("{}: what was agreed does not change while it lasts", word.id));
    }
    if word.state == LeaseState::Reclaiming {
        let at = word.ends_in.map_or(draft.now, |left| draft.now.after(left));
        reclaimed(draft, lease.host, Some(at));
    }
    let lease = &size::heard(draft, lease, word)?;
    term::hear(draft, lease, word);
    let Some(lease) = draft.model.leases.get(&word.id).cloned() else { return Ok(()) };
    if lease.state == word.state || !lease.state.may_become(word.state) {
        return Ok(());
    }
    let text = chandler_protocol::text::clean(&word.reason, chandler_protocol::text::TEXT_MAX);
    let what = (Noun::Lease, lease.id.to_string(), lease.label.as_str());
    draft.event(what, lease.state.as_str(), word.state.as_str(), text.clone());
    let by = word.closed_by.unwrap_or(Party::Seller);
    let ended = word.state == LeaseState::Closed;
    let closed = ended.then(|| Closed { at: draft.now, by, reason: text.clone() });
    draft.put(Lease { state: word.state, since: draft.now, closed, reason: text.clone(), ..lease.as_ref().clone() });
    if ended {
        repute::taken(draft, &lease, by);
        lost(draft, lease.id, &format!("the lease ended: {text}"));
    }
    Ok(())
}

/// A lease that nothing of ours needs any more was given back.
pub fn given_back(draft: &mut Draft<'_>, id: AssignmentId, reason: &str) {
    let known = draft.model.leases.get(&id).filter(|l| l.side == Side::Bought && l.is_open()).cloned();
    let Some(lease) = known else { return };
    draft.event((Noun::Lease, id.to_string(), &lease.label), lease.state.as_str(), LeaseState::Closed.as_str(), reason);
    let closed = Some(Closed { at: draft.now, by: Party::Buyer, reason: reason.to_owned() });
    draft.put(Lease {
        state: LeaseState::Closed,
        since: draft.now,
        closed,
        reason: reason.to_owned(),
        ..lease.as_ref().clone()
    });
    repute::taken(draft, &lease, Party::Buyer);
}

/// The host is taken back at a moment, or is not any more.
pub fn reclaimed(draft: &mut Draft<'_>, host: HostId, at: Option<Timestamp>) {
    let Some(known) = draft.model.hosts.get(&host).cloned() else { return };
    let Some(terms) = known.terms.clone() else { return };
    // Told again, it is a little earlier or later by the two clocks: that is no news.
    if terms.reclaimed_at.is_some() == at.is_some() {
        return;
    }
    let text = at.map_or("its owner keeps it there after all", |_| "its owner takes it back soon");
    draft.event((Noun::Host, host.to_string(), &known.name), "", "reclaim", text);
    draft.put(Host { terms: Some(LotTerms { reclaimed_at: at, ..terms }), ..known.as_ref().clone() });
}

/// The capacity cannot be had: what was to run there cannot. What is on its way out anyway is gone. An order that nothing
/// else can serve now has failed, as it would have been rejected had the last room been gone a moment earlier.
pub fn refuse(draft: &mut Draft<'_>, id: AssignmentId, why: &str) {
    let Some(assignment) = draft.model.assignments.get(&id).cloned() else { return };
    let releasing = assignment.state == AllocationState::Releasing;
    lost(draft, id, why);
    // Until its home says again what it has, it has no more than what is leased. What waits there with its state stays.
    let held = draft.model.reserved.get(&assignment.host).copied().unwrap_or_default();
    let stays = draft.model.assignments.get(&id).is_some_and(|a| a.state != AllocationState::Releasing);
    let left = draft.model.assignments.get(&id).filter(|_| !stays).map_or_else(Default::default, |a| a.reserved);
    full(draft, assignment.host, held.minus(left));
    if !releasing {
        fulfilment::unserved(draft, assignment.service, why);
    }
}

/// There is no more room on a host than what is held of it.
pub(super) fn full(draft: &mut Draft<'_>, host: HostId, held: Capacity) {
    let Some(host) = draft.model.hosts.get(&host).cloned() else { return };
    let Some(mut inventory) = host.inventory.clone() else { return };
    inventory.gpus.truncate(held.gpus as usize);
    let offered = Offered { cpu: held.cpu, memory: held.memory, ..inventory.offered };
    draft.put(Host { inventory: Some(HostInventory { offered, ..inventory }), ..host.as_ref().clone() });
}

pub(super) fn lost(draft: &mut Draft<'_>, id: AssignmentId, why: &str) {
    said(draft, id, Phase::Failed(Failure::Lease), why);
    // Without a lease nothing can be told to it any more: what is to go has gone.
    let goes = draft.model.assignments.get(&id).is_some_and(|a| a.state == AllocationState::Releasing);
    if goes {
        said(draft, id, Phase::Wiped, why);
    }
}

/// Takes in a phase as if an agent had said it.
fn said(draft: &mut Draft<'_>, id: AssignmentId, phase: Phase, why: &str) {
    let Some(assignment) = draft.model.assignments.get(&id).cloned() else { return };
    let before = assignment.observed.clone();
    let seen = ObservedAssignment {
        id,
        epoch: assignment.epoch,
        phase,
        ports: Vec::new(),
        starts: before.as_ref().map_or(0, |o| o.starts),
        failures: 0,
        message: why.to_owned(),
        health: before.map(|o| o.health).unwrap_or_default(),
        outputs: Vec::new(),
    };
    for service in fulfilment::observe(draft, assignment.host, &[seen]) {
        fulfilment::advance(draft, service);
    }
}
