//! Buying: what this controller wants of a partner's hosts, and what it makes of the partner's answers.

use std::collections::BTreeMap;

use chandler_protocol::state::{Assignment as Told, Failure, ObservedAssignment, Phase};
use chandler_protocol::{AssignmentId, HostId, PartyId, Timestamp};

use super::lease::{Closed, Lease, LeaseState, Party, Side};
use super::word::{LeaseWord, Orders};
use crate::draft::Draft;
use crate::event::Noun;
use crate::fleet::{Capacity, Host, LotTerms};
use crate::fulfilment;
use crate::model::Model;
use crate::service::{AllocationState, Assignment};
use crate::way;

/// The assignments that need a lease of this partner and have none yet, in order of id.
pub fn unleased(model: &Model, partner: PartyId) -> Vec<AssignmentId> {
    let all = hosts_of(model, partner).flat_map(|h| model.assignments_of_host(h));
    let mut found: Vec<_> = all.filter(|a| !model.leases.contains_key(&a.id)).map(|a| a.id).collect();
    found.sort_unstable();
    found
}

/// The leases of this partner that nothing of ours needs any more, in order of id.
pub fn unused(model: &Model, partner: PartyId) -> Vec<AssignmentId> {
    let mine = model.leases.values().filter(|l| l.side == Side::Bought && l.partner == partner && l.is_open());
    mine.filter(|l| !model.assignments.contains_key(&l.id)).map(|l| l.id).collect()
}

fn hosts_of(model: &Model, partner: PartyId) -> impl Iterator<Item = HostId> + '_ {
    let sites = model.sites_of(partner).filter(move |s| s.home == Some(partner));
    sites.flat_map(|s| model.hosts_of(s.id)).map(|h| h.id)
}

/// What each host of a partner that has leases of ours shall do, without a generation; in order of host.
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
        if assignments.is_empty() {
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
        all.insert(host, Orders { generation: 0, assignments, ways });
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
    if draft.model.home_of(assignment.host) != Some(partner) || word.host != assignment.host {
        return Err(format!("{}: it was asked for on another host", word.id));
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
        site: assignment.site,
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
    });
    // What is paid was settled by the clearing, not by what was posted when the place was chosen.
    if assignment.rates != word.rates {
        draft.put(Assignment { rates: word.rates, ..assignment.as_ref().clone() });
    }
    Ok(())
}

fn party(model: &Model, id: PartyId) -> String {
    model.parties.get(&id).map_or_else(|| id.to_string(), |p| p.name.clone())
}

fn go_on(draft: &mut Draft<'_>, lease: &Lease, word: &LeaseWord) -> Result<(), String> {
    if word.rates != lease.rates || word.host != lease.host || word.capacity != lease.capacity {
        return Err(format!("{}: what was agreed does not change while it lasts", word.id));
    }
    if word.state == LeaseState::Reclaiming {
        let at = word.ends_in.map_or(draft.now, |left| draft.now.after(left));
        reclaimed(draft, lease.host, Some(at));
    }
    if lease.state == word.state || !lease.state.may_become(word.state) {
        return Ok(());
    }
    let text = chandler_protocol::text::clean(&word.reason, chandler_protocol::text::TEXT_MAX);
    let what = (Noun::Lease, lease.id.to_string(), lease.label.as_str());
    draft.event(what, lease.state.as_str(), word.state.as_str(), text.clone());
    let by = word.closed_by.unwrap_or(Party::Seller);
    let ended = word.state == LeaseState::Closed;
    let closed = ended.then(|| Closed { at: draft.now, by, reason: text.clone() });
    draft.put(Lease { state: word.state, since: draft.now, closed, reason: text.clone(), ..lease.clone() });
    if ended {
        lost(draft, lease.id, &format!("the lease ended: {text}"));
    }
    Ok(())
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

/// The capacity cannot be had, or not any more: what was to run there cannot. What is on its way out anyway is gone.
pub fn refuse(draft: &mut Draft<'_>, id: AssignmentId, why: &str) {
    lost(draft, id, why);
}

fn lost(draft: &mut Draft<'_>, id: AssignmentId, why: &str) {
    let Some(assignment) = draft.model.assignments.get(&id).cloned() else { return };
    let releasing = assignment.state == AllocationState::Releasing;
    let phase = if releasing { Phase::Wiped } else { Phase::Failed(Failure::Lease) };
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

/// What is reserved of a partner's host by this controller's own reckoning.
pub fn held(model: &Model, host: HostId) -> Capacity {
    model.reserved.get(&host).copied().unwrap_or_default()
}
