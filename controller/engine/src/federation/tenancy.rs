//! Tenancies: what buyers say that their software shall do on a host of this controller, and what its agent says of it.
//!
//! The home relays. It checks that each word is about what the buyer has leased, and never answers for it.

use std::collections::BTreeSet;

use chandler_protocol::state::{Assignment, ObservedAssignment, Phase, Target};
use chandler_protocol::way::{Door, Grant, Notice, ObservedWays, Permit, Ways};
use chandler_protocol::{AssignmentId, HostId, Micros, PartyId, ServiceId, Timestamp};
use serde::{Deserialize, Serialize};

use super::lease::{Lease, LeaseState, Side};
use super::word::Orders;
use crate::draft::Draft;
use crate::fleet::Capacity;
use crate::model::Model;

/// Most assignments of one buyer on one host.
const ASSIGNMENTS_MAX: usize = 1_024;
/// Most doors and most peers of one buyer on one host.
const WAYS_MAX: usize = 1_024;

/// What one buyer has said about one host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tenancy {
    /// Where.
    pub host: HostId,
    /// Who.
    pub buyer: PartyId,
    /// What.
    pub orders: Orders,
}

/// Takes in what a buyer says about a host; gives the generation that holds. What was said under a lower generation, or
/// is the same, changes nothing.
///
/// # Errors
/// One sentence: it is about something that the buyer has not leased there, or more than it has leased.
pub fn take_orders(draft: &mut Draft<'_>, buyer: PartyId, host: HostId, orders: Orders) -> Result<u64, String> {
    let known = draft.model.tenancies.get(&(host, buyer)).cloned();
    if let Some(known) = &known
        && known.orders.generation >= orders.generation
    {
        return Ok(known.orders.generation);
    }
    check(draft, buyer, host, &orders)?;
    let before = |id: AssignmentId| known.as_ref().and_then(|k| k.orders.assignments.iter().find(|a| a.id == id));
    for assignment in &orders.assignments {
        let Some(lease) = draft.model.leases.get(&assignment.id).cloned() else { continue };
        if before(assignment.id).is_some_and(|b| b.epoch > assignment.epoch) {
            return Err(format!(
                "{}: epoch {} is older than one that was said before",
                assignment.id, assignment.epoch
            ));
        }
        let runs = runs(assignment.target);
        if runs && lease.idle && !has_room(&draft.model, &lease) {
            return Err(format!("{}: it was at rest, and its place is taken: ask for another lease", assignment.id));
        }
        let mut next = Lease { touched_at: draft.now, idle: lease.idle && !runs, ..lease.as_ref().clone() };
        if lease.state == LeaseState::Reserved {
            next = next.to(LeaseState::Active, draft.now, "assigned").unwrap_or(next);
        }
        draft.put(next);
    }
    let generation = orders.generation;
    draft.put(Tenancy { host, buyer, orders });
    Ok(generation)
}

fn runs(target: Target) -> bool {
    matches!(target, Target::Running | Target::Own(_) | Target::Receive(_))
}

fn has_room(model: &Model, lease: &Lease) -> bool {
    let offered = model.hosts.get(&lease.host).map(|h| h.offered()).unwrap_or_default();
    offered.minus(model.reserved.get(&lease.host).copied().unwrap_or_default()).holds(lease.capacity)
}

/// Whether every word is about what the buyer has leased on this host.
fn check(draft: &Draft<'_>, buyer: PartyId, host: HostId, orders: &Orders) -> Result<(), String> {
    let model = &draft.model;
    let ways = &orders.ways;
    let is_long = orders.assignments.len() > ASSIGNMENTS_MAX
        || ways.doors.len().max(ways.grants.len()).max(ways.notices.len()) > WAYS_MAX;
    if is_long {
        return Err(format!("too much at once: at most {ASSIGNMENTS_MAX} assignments and {WAYS_MAX} doors and peers"));
    }
    let mut named = BTreeSet::new();
    for assignment in &orders.assignments {
        if !named.insert(assignment.id) {
            return Err(format!("{} is named twice", assignment.id));
        }
        let lease = sold_to(model, buyer, host, assignment.id).ok_or_else(|| {
            format!("{}: there is no lease of yours for it on {host}: ask for one first", assignment.id)
        })?;
        if !lease.capacity.holds(Capacity::of_limits(assignment.spec.limits)) {
            return Err(format!("{}: its limits are more than was leased", assignment.id));
        }
    }
    let about = |id: &AssignmentId| named.contains(id);
    for grant in &ways.grants {
        let of_ours = grant.permits.iter().all(|p| match p {
            Permit::Port(id) | Permit::State { assignment: id, .. } => about(id),
        });
        let key_fits = model.hosts.get(&grant.peer).is_none_or(|h| h.key_fingerprint == grant.key);
        if !of_ours || !key_fits || grant.peer == host {
            return Err(format!("peer {}: it may be let to what you have leased only, under its own key", grant.peer));
        }
    }
    let own_service = |id: &ServiceId| model.services.contains_key(id);
    if ways.doors.iter().any(|d| own_service(&d.service)) || !ways.notices.iter().all(|n| about(&n.assignment)) {
        return Err("a door or a notice is about something that is not yours".to_owned());
    }
    Ok(())
}

fn sold_to(model: &Model, buyer: PartyId, host: HostId, id: AssignmentId) -> Option<&Lease> {
    let lease = model.leases.get(&id)?;
    (lease.side == Side::Sold && lease.partner == buyer && lease.host == host).then_some(lease.as_ref())
}

/// How long the state of what is leased no more is kept for its buyer.
const KEPT: Micros = Micros::from_secs(86_400);

/// What the buyers' software shall do on a host. What is leased no more is stopped; its state is kept for a day.
pub fn desired(model: &Model, host: HostId, now: Timestamp) -> Vec<Assignment> {
    let of_host = model.tenancies_of(host).flat_map(|t| t.orders.assignments.iter().map(move |a| (t.buyer, a)));
    let told = of_host.filter_map(|(buyer, a)| {
        let lease = sold_to(model, buyer, host, a.id)?;
        let ended = lease.closed.as_ref().map(|c| now.since(c.at));
        let target = match ended {
            None => a.target,
            Some(ago) if ago > KEPT => Target::Wiped,
            Some(_) if runs(a.target) => Target::Stopped,
            Some(_) => a.target,
        };
        Some(Assignment { target, ..a.clone() })
    });
    told.collect()
}

/// The ways of a host with those that its buyers ask for. Its own come first: a buyer can neither change a key nor take a
/// door.
pub fn guest_ways(model: &Model, host: HostId, own: Ways) -> Ways {
    let mut all = own;
    for tenancy in model.tenancies_of(host) {
        let ways = &tenancy.orders.ways;
        for door in &ways.doors {
            if all.doors.iter().all(|d| d.service != door.service) {
                all.doors.push(Door { ports: without_number(door), ..door.clone() });
            }
        }
        for grant in &ways.grants {
            merge(&mut all.grants, grant);
        }
        all.notices.extend(ways.notices.iter().cloned());
    }
    all.doors.sort_by_key(|d| d.service);
    all.grants.sort_by_key(|g| g.peer);
    all.notices.sort_by_key(|n: &Notice| n.assignment);
    all
}

/// A guest takes no port that it names, and none beyond loopback: these are the host's.
fn without_number(door: &Door) -> Vec<chandler_protocol::way::DoorPort> {
    let anonymous = |p: &chandler_protocol::way::DoorPort| chandler_protocol::way::DoorPort {
        number: None,
        lan: None,
        ..p.clone()
    };
    door.ports.iter().map(anonymous).collect()
}

fn merge(all: &mut Vec<Grant>, guest: &Grant) {
    match all.iter_mut().find(|g| g.peer == guest.peer) {
        Some(own) if own.key == guest.key => {
            own.permits.extend(guest.permits.iter().copied());
            own.permits.sort_unstable();
            own.permits.dedup();
        }
        Some(_) => {}
        // This controller relays between its own hosts only.
        None => all.push(Grant { relay: false, ..guest.clone() }),
    }
}

/// Takes in what an agent found of its guests; gives those of which something is new. Not kept in the store: agents say
/// it again.
pub fn guests(draft: &mut Draft<'_>, host: HostId, observed: &[ObservedAssignment]) -> Vec<AssignmentId> {
    let mut news = Vec::new();
    for seen in observed {
        let Some(lease) = draft.model.leases.get(&seen.id).cloned() else { continue };
        if lease.side != Side::Sold || lease.host != host {
            continue;
        }
        let rests = matches!(seen.phase, Phase::Stopped | Phase::Sealed(_) | Phase::Wiped);
        let told = draft.model.tenancies.get(&(host, lease.partner));
        let told = told.and_then(|t| t.orders.assignments.iter().find(|a| a.id == seen.id));
        let idle = rests && told.is_none_or(|a| a.epoch == seen.epoch && !runs(a.target));
        if idle != lease.idle {
            draft.put(Lease { idle, ..lease.as_ref().clone() });
        }
        if draft.model.guests.get(&seen.id).is_none_or(|before| before.as_ref() != seen) {
            draft.model.guests.insert(seen.id, std::sync::Arc::new(seen.clone()));
            news.push(seen.id);
        }
    }
    news
}

/// What an agent says of its ways, as far as it concerns one buyer.
pub fn ways_of(model: &Model, host: HostId, buyer: PartyId) -> Option<ObservedWays> {
    let all = model.guest_ways.get(&host)?;
    let tenancy = model.tenancies.get(&(host, buyer))?;
    let orders = &tenancy.orders;
    let mut said = all.as_ref().clone();
    said.doors.retain(|d| orders.ways.doors.iter().any(|mine| mine.service == d.service));
    said.paths.retain(|p| orders.ways.grants.iter().any(|g| g.peer == p.peer));
    said.told.retain(|t| orders.assignments.iter().any(|a| a.id == t.assignment));
    Some(said)
}
