//! Orders: what a buyer says that its software shall do on a host of this controller.
//!
//! Taken in as far as it is about what the buyer has leased. What cannot be taken is refused by itself, with the reason:
//! one wrong word must not hold up the others.

#[cfg(test)]
mod cases;

use std::collections::BTreeSet;

use chandler_protocol::state::{Assignment, Phase};
use chandler_protocol::text::{TEXT_MAX, clean};
use chandler_protocol::way::{Grant, Permit, Ways};
use chandler_protocol::{AssignmentId, HostId, PartyId};
use serde::{Deserialize, Serialize};

use super::buy::refuse;
use super::claim::Said;
use super::lease::{Lease, LeaseState};
use super::tenancy::{Tenancy, runs, sold_to};
use super::word::Orders;
use crate::draft::Draft;
use crate::fleet::Capacity;
use crate::model::Model;

/// Most assignments of one buyer on one host.
const ASSIGNMENTS_MAX: usize = 1_024;
/// Most doors and most peers of one buyer on one host.
const WAYS_MAX: usize = 1_024;

/// What became of orders.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Taken {
    /// Which hold. A higher generation than was sent means that the sender knows less than it once did, and that nothing
    /// of it was taken.
    pub generation: u64,
    /// Assignments that were not taken; what was said of them before goes on to hold.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<Refused>,
    /// Doors, peers and notices that were not taken, each in one sentence.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ways: Vec<String>,
}

/// An assignment that was not taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Refused {
    /// Which.
    pub id: AssignmentId,
    /// What is wrong with it.
    #[serde(default)]
    pub wrong: Wrong,
    /// Why, in one sentence.
    pub why: String,
}

/// What is wrong with an assignment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Wrong {
    /// It is named twice.
    Twice,
    /// There is no lease of the buyer's for it on this host.
    Unleased,
    /// It may take more than was leased.
    Limits,
    /// A later epoch was said before.
    Older,
    /// It was at rest, and its place is taken.
    NoRoom,
    /// It was wrong when it was said first, and would not be now.
    Then,
    /// Something that this controller knows no word for.
    #[default]
    #[serde(other)]
    Other,
}

/// Takes in what a buyer says about a host. What was said under a lower generation, or is the same, changes nothing.
///
/// # Errors
/// One sentence: it is too much at once. Nothing of it is taken.
pub fn take_orders(draft: &mut Draft<'_>, buyer: PartyId, host: HostId, orders: Orders) -> Result<Taken, String> {
    let ways = &orders.ways;
    let is_long = orders.assignments.len() > ASSIGNMENTS_MAX
        || ways.doors.len().max(ways.grants.len()).max(ways.notices.len()) > WAYS_MAX;
    if is_long {
        return Err(format!("too much at once: at most {ASSIGNMENTS_MAX} assignments and {WAYS_MAX} doors and peers"));
    }
    let known = draft.model.tenancies.get(&(host, buyer)).cloned();
    if let Some(known) = known.as_deref().filter(|k| k.orders.generation >= orders.generation) {
        return Ok(said_before(draft, known, &orders));
    }
    let signed = Said::of(&orders);
    let mut refused = Vec::new();
    let mut taken: Vec<Assignment> = Vec::new();
    let mut is_older = false;
    for assignment in orders.assignments {
        let first = taken.iter().all(|t| t.id != assignment.id);
        let checked =
            if first { check(draft, known.as_deref(), (buyer, host), &assignment) } else { Err(Wrong::Twice) };
        match checked {
            Ok(lease) => {
                draft.put(lease);
                taken.push(assignment);
            }
            Err(bad) => {
                is_older |= bad == Wrong::Older;
                refused.push(bad.refused(&assignment));
            }
        }
    }
    let (ways, not_let) = let_in(&draft.model, host, &taken, orders.ways);
    let left = left(draft, known.as_deref(), &taken);
    // A buyer that says an older epoch was restored from a backup: what it signed then is to remind it.
    let said = if is_older { known.and_then(|k| k.said.clone()) } else { signed };
    let generation = orders.generation;
    let orders = Orders { generation, assignments: taken, ways, signature: String::new() };
    draft.put(Tenancy { host, buyer, orders, left, said });
    Ok(Taken { generation, refused, ways: not_let })
}

/// What became of orders that were said before: the answer may have been lost.
fn said_before(draft: &Draft<'_>, known: &Tenancy, orders: &Orders) -> Taken {
    let generation = known.orders.generation;
    if generation > orders.generation {
        return Taken { generation, ..Taken::default() };
    }
    let missing = orders.assignments.iter().filter(|a| known.orders.assignments.iter().all(|k| k.id != a.id));
    let refused = missing.map(|a| {
        let checked = check(draft, Some(known), (known.buyer, known.host), a);
        checked.err().unwrap_or(Wrong::Then).refused(a)
    });
    Taken { generation, refused: refused.collect(), ways: Vec::new() }
}

impl Wrong {
    fn refused(self, assignment: &Assignment) -> Refused {
        let why = match self {
            Self::Twice => "it is named twice".to_owned(),
            Self::Unleased => "there is no lease of yours for it on this host: ask for one first".to_owned(),
            Self::Limits => "its limits are more than was leased".to_owned(),
            Self::Older => format!("epoch {} is older than one that was said before", assignment.epoch),
            Self::NoRoom => "it was at rest, and its place is taken: ask for another lease".to_owned(),
            Self::Then | Self::Other => "it could not be taken then: say it under a new generation".to_owned(),
        };
        Refused { id: assignment.id, wrong: self, why }
    }
}

/// The lease of an assignment once it is told.
fn check(
    draft: &Draft<'_>,
    known: Option<&Tenancy>,
    (buyer, host): (PartyId, HostId),
    assignment: &Assignment,
) -> Result<Lease, Wrong> {
    let lease = sold_to(&draft.model, buyer, host, assignment.id).ok_or(Wrong::Unleased)?;
    let runs = runs(assignment.target);
    // What is to end needs no room, however much it wanted.
    if runs && !lease.capacity_at(assignment.epoch).holds(Capacity::of_limits(assignment.spec.limits)) {
        return Err(Wrong::Limits);
    }
    let before = known.into_iter().flat_map(|k| k.orders.assignments.iter().chain(&k.left));
    if before.filter(|b| b.id == assignment.id).any(|b| b.epoch > assignment.epoch) {
        return Err(Wrong::Older);
    }
    if runs && lease.idle && !has_room(&draft.model, lease) {
        return Err(Wrong::NoRoom);
    }
    let next = Lease { touched_at: draft.now, idle: lease.idle && !runs, ..lease.clone() };
    if lease.state == LeaseState::Reserved {
        return Ok(next.to(LeaseState::Active, draft.now, "assigned").unwrap_or(next));
    }
    Ok(next)
}

/// The buyer's side: what of its orders a partner has not taken cannot run there, as if its agent had said so. What the
/// partner has forgotten, or this controller, is settled otherwise: the lease is asked for again, the epoch looked up.
pub fn not_taken(draft: &mut Draft<'_>, partner: PartyId, host: HostId, refused: &[Refused]) {
    for one in refused.iter().take(ASSIGNMENTS_MAX) {
        let here = draft.model.assignments.get(&one.id).filter(|a| a.host == host);
        if here.is_none() || draft.model.home_of(host) != Some(partner) {
            continue;
        }
        let leased = draft.model.leases.get(&one.id).is_some_and(|l| l.is_open());
        let passes = match one.wrong {
            Wrong::Unleased => leased,
            Wrong::Older | Wrong::Then | Wrong::Twice => true,
            Wrong::Limits | Wrong::NoRoom | Wrong::Other => false,
        };
        if !passes {
            refuse(draft, one.id, &format!("its orders were refused: {}", clean(&one.why, TEXT_MAX)));
        }
    }
}

/// What was said before and is not said any more, until its agent has wiped it.
fn left(draft: &Draft<'_>, known: Option<&Tenancy>, taken: &[Assignment]) -> Vec<Assignment> {
    let before = known.into_iter().flat_map(|k| k.left.iter().chain(&k.orders.assignments));
    let is_known = |a: &Assignment| draft.model.leases.contains_key(&a.id) && !is_wiped(&draft.model, a.id);
    let is_left = |a: &Assignment| taken.iter().all(|b| b.id != a.id) && is_known(a);
    before.filter(|a| is_left(a)).cloned().collect()
}

fn is_wiped(model: &Model, id: AssignmentId) -> bool {
    model.guests.get(&id).is_some_and(|seen| seen.phase == Phase::Wiped)
}

fn has_room(model: &Model, lease: &Lease) -> bool {
    let offered = model.hosts.get(&lease.host).map(|h| h.offered()).unwrap_or_default();
    offered.minus(model.reserved.get(&lease.host).copied().unwrap_or_default()).holds(lease.capacity)
}

/// The ways that are about what was taken, and why others are not.
fn let_in(model: &Model, host: HostId, taken: &[Assignment], said: Ways) -> (Ways, Vec<String>) {
    let named: BTreeSet<AssignmentId> = taken.iter().map(|a| a.id).collect();
    let mut bad = Vec::new();
    let Ways { mut doors, grants, mut notices, generation } = said;
    let grants = grants.into_iter().filter_map(|grant| granted(model, host, &named, grant, &mut bad)).collect();
    doors.retain(|door| {
        let own = model.services.contains_key(&door.service);
        if own {
            bad.push(format!("door of {}: this service is not yours", door.service));
        }
        !own
    });
    notices.retain(|notice| {
        let is_theirs = named.contains(&notice.assignment);
        if !is_theirs {
            bad.push(format!("notice for {}: it is not told to run here", notice.assignment));
        }
        is_theirs
    });
    (Ways { doors, grants, notices, generation }, bad)
}

/// A peer is let to what was leased only, under its own key.
fn granted(
    model: &Model,
    host: HostId,
    named: &BTreeSet<AssignmentId>,
    mut grant: Grant,
    bad: &mut Vec<String>,
) -> Option<Grant> {
    let key_fits = model.hosts.get(&grant.peer).is_none_or(|h| h.key_fingerprint == grant.key);
    if !key_fits || grant.peer == host {
        bad.push(format!("peer {}: it may be let in under its own key only, and not to itself", grant.peer));
        return None;
    }
    let count = grant.permits.len();
    grant.permits.retain(|p| match p {
        Permit::Port(id) | Permit::State { assignment: id, .. } => named.contains(id),
    });
    if grant.permits.len() < count {
        bad.push(format!("peer {}: it may be let to what you have leased here only", grant.peer));
    }
    (count == 0 || !grant.permits.is_empty()).then_some(grant)
}
