//! Trunks: which packets go from one controller's relay to another's, and which that come from there are handed on.
//!
//! A buyer's host and a seller's that find no straight way to each other talk through both their relays. The buyer
//! decides who may talk to whom, as for its own hosts; the seller lets a buyer's hosts talk to what that buyer has leased,
//! and to nothing else. Where a buyer has work at two sellers, its relay is the one between theirs.

#[cfg(test)]
mod cases;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chandler_protocol::way::{Grant, Permit};
use chandler_protocol::{AssignmentId, HostId, PartyId};

use super::lease::{Lease, Side};
use super::tenancy::Tenancy;
use crate::fleet::HostState;
use crate::model::Model;
use crate::partner::{Partner, PartnerState};
use crate::way;

/// Where a packet goes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hop {
    /// To the host's own line: this controller is its home.
    Here,
    /// To the relay of this partner.
    Partner(PartyId),
}

/// To whom a host of this controller may send through the relay, and where such packets go next. More than one place
/// only where several buyers name one host under one key.
pub fn sends(model: &Model, host: HostId) -> BTreeMap<HostId, BTreeSet<Hop>> {
    let mut found: BTreeMap<HostId, BTreeSet<Hop>> = BTreeMap::new();
    if !is_own(model, host) {
        return found;
    }
    let mut keys = BTreeMap::new();
    for grant in way::grants(model, host) {
        keys.insert(grant.peer, grant.key);
        if let Some(next) = hop(model, grant.peer).filter(|_| grant.relay) {
            found.entry(grant.peer).or_default().insert(next);
        }
    }
    for tenancy in model.tenancies_of(host) {
        let buyer = tenancy.buyer;
        for grant in relayed(model, tenancy) {
            // As its agent is told: whoever named the host first has said which key is its.
            if *keys.entry(grant.peer).or_insert(grant.key) != grant.key {
                continue;
            }
            let next = if is_own(model, grant.peer) {
                // Both are leased by this buyer: it said so of each.
                let back = model.tenancies.get(&(grant.peer, buyer));
                back.is_some_and(|t| relayed(model, t).any(|g| g.peer == host)).then_some(Hop::Here)
            } else {
                active(model, buyer).filter(|p| p.may_buy).map(|_| Hop::Partner(buyer))
            };
            if let Some(next) = next {
                found.entry(grant.peer).or_default().insert(next);
            }
        }
    }
    found
}

/// Whom a host may hear through a partner's relay. `to` is a host of this controller, or, where this controller buys from
/// both, of another partner.
pub fn heard(model: &Model, partner: PartyId, to: HostId) -> BTreeSet<HostId> {
    let mut found = BTreeSet::new();
    let Some(known) = active(model, partner) else { return found };
    let is_there = model.hosts.get(&to).is_some_and(|h| h.state != HostState::Revoked);
    if !is_there || model.home_of(to) == Some(partner) {
        return found;
    }
    if known.may_sell {
        // A seller speaks for its own hosts only.
        let grants = way::grants(model, to).into_iter().filter(|g| g.relay);
        found.extend(grants.map(|g| g.peer).filter(|peer| model.home_of(*peer) == Some(partner)));
    }
    if known.may_buy
        && is_own(model, to)
        && let Some(tenancy) = model.tenancies.get(&(to, partner))
    {
        let foreign = |peer: &HostId| !is_own(model, *peer);
        found.extend(relayed(model, tenancy).map(|g| g.peer).filter(foreign));
    }
    found
}

/// Where packets to a host go next; `None` when there is no such host, or its home is nobody to talk to now.
pub fn hop(model: &Model, to: HostId) -> Option<Hop> {
    model.hosts.get(&to)?;
    match model.home_of(to) {
        None => Some(Hop::Here),
        Some(home) => active(model, home).filter(|p| p.may_sell).map(|_| Hop::Partner(home)),
    }
}

/// The partners to whom this controller keeps a trunk: those at whom it has leased something. They are known to listen;
/// a buyer may not be.
pub fn trunks(model: &Model) -> BTreeSet<PartyId> {
    let sells = |p: &&Partner| p.state == PartnerState::Active && p.may_sell && p.address.is_some();
    let sellers: BTreeSet<_> = model.partners.values().map(AsRef::as_ref).filter(sells).map(|p| p.party).collect();
    if sellers.is_empty() {
        return sellers;
    }
    let bought = model.leases.values().filter(|l| l.side == Side::Bought && l.is_open());
    bought.map(|l| l.partner).filter(|p| sellers.contains(p)).collect()
}

fn active(model: &Model, partner: PartyId) -> Option<&Partner> {
    model.partners.get(&partner).map(AsRef::as_ref).filter(|p| p.state == PartnerState::Active)
}

/// Whether this controller is the host's home.
fn is_own(model: &Model, host: HostId) -> bool {
    model.hosts.contains_key(&host) && model.home_of(host).is_none()
}

/// What a buyer wants relayed, as far as it still leases what it is for.
fn relayed<'m>(model: &'m Model, tenancy: &'m Tenancy) -> impl Iterator<Item = &'m Grant> {
    let own = move |l: &&Arc<Lease>| l.side == Side::Sold && l.partner == tenancy.buyer && l.is_open();
    let leased: BTreeSet<AssignmentId> = model.leases_of_host(tenancy.host).filter(own).map(|l| l.id).collect();
    tenancy.orders.ways.grants.iter().filter(move |grant| {
        let stands = |permit: &Permit| match permit {
            Permit::Port(id) | Permit::State { assignment: id, .. } => leased.contains(id),
        };
        // Without permits it is for what the software there reaches: anything that is leased.
        let is_for_some = if grant.permits.is_empty() { !leased.is_empty() } else { grant.permits.iter().any(stands) };
        grant.relay && is_for_some
    })
}
