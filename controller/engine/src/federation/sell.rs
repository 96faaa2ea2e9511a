//! Selling: a demand is cleared, the winner's capacity reserved, and a lease goes through its life.

use chandler_protocol::state::Phase;
use chandler_protocol::{AssignmentId, Digest, Micros, SiteId, Timestamp};
use serde::{Deserialize, Serialize};

use super::catalogue::{book, leaving, offer_of};
use super::lease::{Closed, Lease, LeaseState, Party, Side};
use super::repute::{self, sold};
use super::restore::asked_again;
use super::size;
use super::stock;
use super::tenancy::Tenancy;
use super::term;
use super::watch::Watch;
use super::word::{Demand, Orders};
use crate::draft::Draft;
use crate::event::Noun;
use crate::market::book::Book;
use crate::market::clearing::{Call, Clearing, Rule, clear};
use crate::market::demand::{Demand as Cleared, Qualified};
use crate::model::{Change, Model};
use crate::partner::{Partner, PartnerState};

/// How long a reservation is held for its buyer.
const RESERVED_FOR: Micros = Micros::from_secs(60);
/// How long an active lease may be without any word of its buyer.
const UNTOUCHED: Micros = Micros::from_secs(7 * 86_400);

/// This controller's market: how it clears, and where its chain of records ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Market {
    /// This controller's trust domain towards partners.
    pub domain: String,
    /// The rule.
    pub rule: Rule,
    /// Published: ties are broken by it.
    pub seed: Digest,
    /// Hash of the last record.
    pub head: Digest,
    /// How many records there are.
    pub cleared: u64,
}

/// Why nothing was sold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unsold {
    /// A field of the demand is wrong: which, and what to write.
    Demand(&'static str, String),
    /// The same id was used for another demand.
    Other,
    /// The lease of this id is over.
    Over(String),
    /// No lot fits, and why, in one sentence.
    NothingFits(String),
    /// There is no lease of this id that could become larger or smaller.
    Unknown,
    /// Its market was never set up.
    NoMarket,
}

/// Clears a demand and reserves what it won. The same demand again gives the same lease; one that names an epoch is about
/// the size of a lease. Says whether it is new.
///
/// # Errors
/// See [`Unsold`].
pub fn reserve(
    draft: &mut Draft<'_>,
    buyer: &Partner,
    id: AssignmentId,
    demand: &Demand,
) -> Result<(Lease, bool), Unsold> {
    if demand.epoch > 0 {
        return size::resize(draft, buyer, id, demand).map(|lease| (lease, false));
    }
    let fingerprint = fingerprint(demand);
    if let Some(known) = draft.model.leases.get(&id).cloned() {
        let is_theirs = known.side == Side::Sold && known.partner == buyer.party;
        if let Some(lease) = asked_again(&known, demand, fingerprint).filter(|_| is_theirs) {
            draft.put(lease.clone());
            return Ok((lease, false));
        }
        return match known {
            l if !is_theirs || l.demand != fingerprint => Err(Unsold::Other),
            l if !l.is_open() => Err(Unsold::Over(l.reason.clone())),
            l => Ok((l.as_ref().clone(), false)),
        };
    }
    let record = cleared(draft, buyer, id, demand)?;
    let explained = record.explain();
    let award = record.winner;
    draft.put(Change::Clearing(std::sync::Arc::new(record)));
    let Some(award) = award else { return Err(Unsold::NothingFits(explained)) };
    let site = draft.model.hosts.get(&award.host).map(|h| h.site).ok_or(Unsold::NoMarket)?;
    let lease = Lease {
        id,
        side: Side::Sold,
        partner: buyer.party,
        host: award.host,
        site,
        service: demand.service,
        label: chandler_protocol::text::clean(&demand.label, chandler_protocol::text::NAME_MAX),
        capacity: demand.wanted,
        rates: award.scaled_rates(demand.wanted),
        demand: fingerprint,
        state: LeaseState::Reserved,
        since: draft.now,
        made_at: draft.now,
        ends_at: Some(draft.now.after(RESERVED_FOR)),
        touched_at: draft.now,
        reason: explained,
        closed: None,
        idle: false,
        metered: Micros::ZERO,
        watch: Watch { term: repute::begun(draft, award.host), ..Watch::default() },
    };
    told(draft, &lease, "", &format!("sold to {}: {}", buyer.name, lease.reason));
    draft.put(lease.clone());
    Ok((lease, true))
}

/// The record of the clearing of a demand.
fn cleared(draft: &mut Draft<'_>, buyer: &Partner, id: AssignmentId, demand: &Demand) -> Result<Clearing, Unsold> {
    let market = draft.model.market.get(&()).cloned().ok_or(Unsold::NoMarket)?;
    let wanted = sound(buyer, id, demand)?;
    let lots = book(&draft.model, demand.candidates.iter().map(|c| c.host), demand.wanted, draft.now);
    let call = Call { rule: market.rule, seed: market.seed, at: draft.now, previous: market.head };
    let record = clear(&call, &wanted, &Book::open(lots)).map_err(|e| Unsold::Demand(e.field, e.what))?;
    draft.put(Market { head: record.hash, cleared: market.cleared + 1, ..market.as_ref().clone() });
    Ok(record)
}

/// A demand in the words of the market, if it can be cleared.
pub(super) fn sound(buyer: &Partner, id: AssignmentId, demand: &Demand) -> Result<Cleared, Unsold> {
    let wanted = Cleared {
        id,
        buyer: buyer.party,
        wanted: demand.wanted,
        cap: demand.cap,
        candidates: demand.candidates.iter().map(|c| Qualified { host: c.host, extra: c.extra }).collect(),
        countries: Vec::new(),
        availability_min: None,
        not_owners: Vec::new(),
        same: Vec::new(),
    };
    wanted.check().map_err(|e| Unsold::Demand(e.field, e.what))?;
    Ok(wanted)
}

/// What tells one demand from another: the same id must mean the same thing.
fn fingerprint(demand: &Demand) -> [u8; 32] {
    let mut hash = blake3::Hasher::new_derive_key("chandler 2026 demand of a partner");
    hash.update(demand.service.as_bytes());
    hash.update(&u64::from(demand.wanted.cpu.0).to_be_bytes());
    hash.update(&demand.wanted.memory.0.to_be_bytes());
    hash.update(&demand.cap.0.to_be_bytes());
    if demand.wanted.gpus > 0 {
        hash.update(&u64::from(demand.wanted.gpus).to_be_bytes());
    }
    for candidate in &demand.candidates {
        hash.update(candidate.host.as_bytes());
        hash.update(&candidate.extra.0.to_be_bytes());
    }
    *hash.finalize().as_bytes()
}

fn told(draft: &mut Draft<'_>, lease: &Lease, from: &str, reason: &str) {
    draft.event((Noun::Lease, lease.id.to_string(), &lease.label), from, lease.state.as_str(), reason);
}

/// Ends a sold lease. Its host stops what still runs under it, and keeps its state until its buyer has it wiped.
pub fn close(draft: &mut Draft<'_>, id: AssignmentId, by: Party, reason: &str) {
    let Some(lease) = draft.model.leases.get(&id).filter(|l| l.side == Side::Sold).cloned() else { return };
    let Some(next) = lease.to(LeaseState::Closed, draft.now, reason) else { return };
    let closed = Some(Closed { at: draft.now, by, reason: reason.to_owned() });
    let next = Lease { closed, ..next };
    told(draft, &next, lease.state.as_str(), reason);
    draft.put(next);
    sold(draft, &lease, by);
    if by == Party::Buyer {
        forget(draft, &lease);
    }
}

/// What its buyer has done with is not told any more, once its agent has wiped it: a buyer that has forgotten it has not
/// had it stopped.
fn forget(draft: &mut Draft<'_>, lease: &Lease) {
    let Some(tenancy) = draft.model.tenancies.get(&(lease.host, lease.partner)).cloned() else { return };
    let is_wiped = draft.model.guests.get(&lease.id).is_some_and(|seen| seen.phase == Phase::Wiped);
    let (ended, assignments): (Vec<_>, Vec<_>) =
        tenancy.orders.assignments.iter().cloned().partition(|a| a.id == lease.id);
    let left = tenancy.left.iter().cloned().chain(ended).filter(|a| a.id != lease.id || !is_wiped).collect();
    let orders = Orders { assignments, ..tenancy.orders.clone() };
    draft.put(Tenancy { orders, left, ..tenancy.as_ref().clone() });
}

/// Looks after all sold leases: what nobody uses ends, what has to leave is told in time, and goes when its time is over.
/// Then the offers' states follow from what is left of them. Gives when the next of all is due.
pub fn sweep(draft: &mut Draft<'_>) -> Option<Timestamp> {
    let open: Vec<_> = draft.model.leases.values().filter(|l| l.side == Side::Sold && l.is_open()).cloned().collect();
    let mut next = None;
    for lease in open {
        sweep_one(draft, &lease);
        let after = draft.model.leases.get(&lease.id).filter(|l| l.is_open()).and_then(|l| l.ends_at);
        next = [next, after].into_iter().flatten().min();
    }
    [next, stock::sweep(draft)].into_iter().flatten().min()
}

fn sweep_one(draft: &mut Draft<'_>, lease: &Lease) {
    let is_over = lease.ends_at.is_some_and(|at| at <= draft.now);
    match lease.state {
        LeaseState::Reserved if is_over => {
            return close(draft, lease.id, Party::Time, "reserved, and nothing was assigned in time");
        }
        LeaseState::Reclaiming if is_over => return close(draft, lease.id, Party::Owner, &lease.reason.clone()),
        LeaseState::Active if draft.now.since(lease.touched_at) > UNTOUCHED => {
            return close(draft, lease.id, Party::Time, "its buyer has not had a word about it for 7 days");
        }
        _ => {}
    }
    repute::each_month(draft, lease);
    let Some(lease) = draft.model.leases.get(&lease.id).cloned() else { return };
    term::announce(draft, &lease);
    let Some(lease) = draft.model.leases.get(&lease.id).cloned() else { return };
    // As agreed, also when the offer is gone. What was sold before this was pinned goes by the offer as it is or was.
    let notice = match lease.watch.term.notice {
        Micros::ZERO => notice_of(&draft.model, lease.site),
        agreed => agreed,
    };
    match (has_to_go(draft, &lease), lease.state) {
        (Some(why), LeaseState::Active | LeaseState::Reserved) => {
            let Some(next) = lease.to(LeaseState::Reclaiming, draft.now, &why) else { return };
            let next = Lease { ends_at: Some(draft.now.after(notice)), ..next };
            told(draft, &next, lease.state.as_str(), &why);
            draft.put(next);
        }
        (None, LeaseState::Reclaiming) => {
            let Some(next) = lease.to(LeaseState::Active, draft.now, "it may stay after all") else { return };
            told(draft, &next, lease.state.as_str(), "it may stay after all");
            draft.put(next);
        }
        _ => {}
    }
}

/// How long before a host is taken back its buyers are told, where their lease does not say so: as its site's newest offer
/// says, also when that is over. Who withdraws an offer has promised the notice all the same.
fn notice_of(model: &Model, site: SiteId) -> Micros {
    let of_site = model.offers.values().filter(|p| p.offer.site == site);
    of_site.max_by_key(|p| p.offer.posted_at).map_or(Micros::ZERO, |p| p.offer.reclaim_notice)
}

/// Why a lease has to end, in one sentence.
fn has_to_go(draft: &Draft<'_>, lease: &Lease) -> Option<String> {
    let partner = draft.model.partners.get(&lease.partner);
    if partner.is_none_or(|p| p.state == PartnerState::Ended) {
        return Some("its buyer is no partner any more".to_owned());
    }
    let host = draft.model.hosts.get(&lease.host)?;
    match offer_of(&draft.model, lease.host) {
        Some((_, posted)) => leaving(&draft.model, host, &posted.offer, draft.now),
        None => Some("it is not offered any more".to_owned()),
    }
}
