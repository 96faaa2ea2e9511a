//! Tenancies: what buyers say that their software shall do on a host of this controller, and what its agent says of it.
//!
//! The home relays. It checks that each word is about what the buyer has leased, and never answers for it.

use chandler_protocol::state::{Assignment, ObservedAssignment, Phase, Target};
use chandler_protocol::way::{Door, Grant, Notice, ObservedWays, Ways};
use chandler_protocol::{AssignmentId, HostId, Micros, PartyId, Timestamp};
use serde::{Deserialize, Serialize};

use super::claim::Said;
use super::lease::{Lease, Side};
use super::size;
use super::word::Orders;
use crate::draft::Draft;
use crate::model::Model;

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
    /// As it was said last, what the buyer says nothing of any more and what its agent may still have: who is silent about
    /// something has not said that it may run on when its lease is over.
    #[serde(default)]
    pub left: Vec<Assignment>,
    /// What the buyer has signed of it: it may have to be reminded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub said: Option<Said>,
}

pub(super) fn runs(target: Target) -> bool {
    matches!(target, Target::Running | Target::Own(_) | Target::Receive(_))
}

pub(super) fn sold_to(model: &Model, buyer: PartyId, host: HostId, id: AssignmentId) -> Option<&Lease> {
    let lease = model.leases.get(&id)?;
    (lease.side == Side::Sold && lease.partner == buyer && lease.host == host).then_some(lease.as_ref())
}

/// How long the state of what is leased no more is kept for its buyer.
const KEPT: Micros = Micros::from_secs(86_400);

/// What the buyers' software shall do on a host. What is leased no more is stopped, also where its buyer has forgotten it;
/// its state is kept for a day.
pub fn desired(model: &Model, host: HostId, now: Timestamp) -> Vec<Assignment> {
    let of_host =
        model.tenancies_of(host).flat_map(|t| t.orders.assignments.iter().chain(&t.left).map(move |a| (t.buyer, a)));
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
        // Whether packets of this peer are relayed is looked at again, packet by packet: see [`super::trunk`].
        None => all.push(guest.clone()),
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
        size::seen(draft, seen.id, seen.epoch, rests);
        if seen.phase == Phase::Wiped {
            no_longer_left(draft, host, lease.partner, seen.id);
        }
        if draft.model.guests.get(&seen.id).is_none_or(|before| before.as_ref() != seen) {
            draft.model.guests.insert(seen.id, std::sync::Arc::new(seen.clone()));
            news.push(seen.id);
        }
    }
    news
}

/// Its agent has wiped what its buyer says nothing of any more.
fn no_longer_left(draft: &mut Draft<'_>, host: HostId, buyer: PartyId, id: AssignmentId) {
    let Some(tenancy) = draft.model.tenancies.get(&(host, buyer)).cloned() else { return };
    if tenancy.left.iter().any(|a| a.id == id) {
        let left = tenancy.left.iter().filter(|a| a.id != id).cloned().collect();
        draft.put(Tenancy { left, ..tenancy.as_ref().clone() });
    }
}

/// Forgets what buyers left behind under leases that are forgotten: nothing of it is told to anybody any more, and an agent
/// that never came back cannot say that it has wiped it.
pub fn retire(draft: &mut Draft<'_>) {
    let is_known = |a: &Assignment| draft.model.leases.contains_key(&a.id);
    let long = draft.model.tenancies.values().filter(|t| !t.left.iter().all(is_known));
    let next =
        long.map(|t| Tenancy { left: t.left.iter().filter(|a| is_known(a)).cloned().collect(), ..t.as_ref().clone() });
    for tenancy in next.collect::<Vec<_>>() {
        draft.put(tenancy);
    }
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
