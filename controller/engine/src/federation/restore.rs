//! A seller that was restored from an older backup: the receipts that it lost come back from their buyer, and nothing new
//! is appended to a chain before its buyer has said how long it is.
//!
//! What comes back was made and signed here, so that it is entered as it stands: nothing of it is weighed again.

#[cfg(test)]
mod cases;

use std::collections::BTreeSet;
use std::sync::Arc;

use chandler_protocol::text::{NAME_MAX, TEXT_MAX, clean};
use chandler_protocol::usage::UsageRecord;
use chandler_protocol::{AssignmentId, HostId, MicroMoney, Micros, PartyId, ServiceId, Timestamp};
use serde::{Deserialize, Serialize};

use super::buy::lost;
use super::chain::Chain;
use super::lease::{Closed, Lease, LeaseState, Party, Side};
use super::meter::{chain_with, rate_now};
use super::repute;
use super::term::Term;
use super::watch::Watch;
use super::word::{Demand, Qualified};
use crate::draft::Draft;
use crate::event::Noun;
use crate::finance::receipt::{ChainError, Head, LeasedUse, RECEIPTS_MAX, Receipt, verify};
use crate::finance::{Meter, UsageRow, rate_next};
use crate::market::clearing::Hourly;
use crate::model::{Change, Model};
use crate::partner::PartnerState;
use crate::site::Site;

/// How long a lease that came back is held for its buyer to ask for it again.
const HELD_FOR: Micros = Micros::from_secs(600);
/// How long a buyer asks again for what its seller has forgotten and does not give.
const ASKED_FOR: Micros = Micros::from_secs(60);
/// Most records that wait for one buyer. One more, and the chain is taken as it is: a buyer that is away must not keep
/// its seller from counting.
const WAITING_MAX: usize = RECEIPTS_MAX;
/// The demand of a lease of which only its receipts came back.
const UNKNOWN: [u8; 32] = [0; 32];

/// A record that waits until its buyer has said how long the chain is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Waiting {
    /// Whose.
    pub host: HostId,
    /// As it came.
    pub record: UsageRecord,
    /// When it came.
    pub came: Timestamp,
}

/// Why receipts were not taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unrestored {
    /// They do not continue the chain. Where new receipts were made since, both chains go on from the same link: people
    /// have to look at it.
    #[error("{0}")]
    Chain(ChainError),
    /// They do not end where the signature is.
    #[error("they do not end at the link that is signed")]
    End,
    /// More at once than anybody sends.
    #[error("{0} receipts at once: at most {RECEIPTS_MAX}")]
    Many(usize),
    /// Nothing was ever sold here.
    #[error("nothing is sold here")]
    NoMarket,
}

/// Takes back receipts that follow the end of the chain and themselves end at `end`, which this controller has signed:
/// that was checked. Gives the end of the chain now.
///
/// A lease that the backup does not know is held for its buyer, which has to ask for it again.
///
/// # Errors
/// See [`Unrestored`]; nothing of them is taken.
pub fn restored(draft: &mut Draft<'_>, buyer: PartyId, receipts: &[Receipt], end: Head) -> Result<Head, Unrestored> {
    if receipts.len() > RECEIPTS_MAX {
        return Err(Unrestored::Many(receipts.len()));
    }
    let chain = chain_with(&draft.model, buyer).ok_or(Unrestored::NoMarket)?;
    let head = verify(&chain.parties, chain.head, receipts).map_err(Unrestored::Chain)?;
    if head != end {
        return Err(Unrestored::End);
    }
    if receipts.is_empty() {
        return Ok(head);
    }
    let sums = receipts.iter().fold(chain.sums, |sums, r| sums.with(r.used.amount));
    let back: BTreeSet<_> = receipts.iter().map(|r| (r.used.host, r.used.sequence)).collect();
    // What was entered and not acknowledged in time was sent again.
    let waiting = chain.waiting.iter().filter(|w| !back.contains(&(w.host, w.record.sequence))).cloned().collect();
    draft.put(Chain { head, sums, waiting, ..chain });
    let mut unknown = 0_usize;
    for receipt in receipts {
        draft.put(Change::Receipt(buyer, Side::Sold, Arc::new(receipt.clone())));
        match site_of(draft, receipt.used.host) {
            Some(site) => enter(draft, buyer, &site, &receipt.used),
            None => unknown += 1,
        }
    }
    say(draft, buyer, receipts.len(), unknown);
    Ok(head)
}

/// The site of a host of this controller.
fn site_of(draft: &Draft<'_>, host: HostId) -> Option<Arc<Site>> {
    let site = draft.model.hosts.get(&host).map(|h| h.site)?;
    draft.model.sites.get(&site).filter(|s| s.home.is_none()).cloned()
}

fn say(draft: &mut Draft<'_>, buyer: PartyId, came: usize, unknown: usize) {
    let name = draft.model.partners.get(&buyer).map_or_else(|| buyer.to_string(), |p| p.name.clone());
    let mut why = format!("{came} receipts came back from {name}: this controller was restored from an older backup");
    if unknown > 0 {
        why.push_str(&format!(
            "; {unknown} of them are about machines that it does not know any more, and are not in the ledger"
        ));
    }
    draft.event((Noun::Partner, buyer.to_string(), &name), "", "receiptsRestored", why);
}

/// What one receipt said when it was made: its lease, its row, and that the host's record is stored.
fn enter(draft: &mut Draft<'_>, buyer: PartyId, site: &Site, used: &LeasedUse) {
    let known = draft.model.leases.get(&used.lease).filter(|l| l.side == Side::Sold && l.partner == buyer).cloned();
    let lease = match known {
        Some(lease) => lease.as_ref().clone(),
        None => held(draft, buyer, site, used),
    };
    let tariff = lease.tariff(used.epoch);
    let charge = rate_next(used.before, used.running, used.reserved, used.rates, &tariff.price);
    let row = UsageRow {
        host: used.host,
        sequence: used.sequence,
        assignment: used.lease,
        service: lease.service,
        service_name: lease.label.clone(),
        customer: buyer,
        site: site.id,
        owner: site.owner,
        at: used.at,
        running: used.running,
        cpu: used.cpu,
        reserved: used.reserved,
        rates: used.rates,
        price: tariff.price,
        charge,
    };
    draft.put(Change::Usage(row));
    let acknowledged = draft.model.usage_acknowledged(used.host).max(used.sequence);
    draft.put(Meter { host: used.host, acknowledged });
    draft.put(metered(&lease, used));
}

/// A lease as it was after this use.
fn metered(lease: &Lease, used: &LeasedUse) -> Lease {
    let metered = Micros(used.before.0.saturating_add(used.running.0)).max(lease.metered);
    // Its size is known by what was paid for it.
    let was = lease.capacity_at(used.epoch) == used.reserved;
    let lease = &if was { lease.clone() } else { lease.resized(used.reserved, used.epoch, lease.watch.size.turn) }
        .metered_under(used.epoch);
    // It lasted at least as long as it ran: else nothing more of it would be believed.
    let began = Timestamp(used.at.0.saturating_sub(metered.0));
    let term = &lease.watch.term;
    // It is paid at what was announced, which the backup may not know of or not as what holds.
    let next = term.next.filter(|next| next.rates != used.rates);
    let watch = Watch { term: Term { next, ..term.clone() }, ..lease.watch.clone() };
    Lease { metered, rates: used.rates, made_at: lease.made_at.min(began), watch, ..lease.clone() }
}

/// A lease that the backup does not know: a reservation, until its buyer asks for it again or lets it go.
fn held(draft: &Draft<'_>, buyer: PartyId, site: &Site, used: &LeasedUse) -> Lease {
    Lease {
        id: used.lease,
        side: Side::Sold,
        partner: buyer,
        host: used.host,
        site: site.id,
        service: ServiceId::from_random([0; 10]),
        label: String::new(),
        capacity: used.reserved,
        rates: used.rates,
        demand: UNKNOWN,
        state: LeaseState::Reserved,
        since: draft.now,
        made_at: draft.now,
        ends_at: Some(draft.now.after(HELD_FOR)),
        touched_at: draft.now,
        reason: "its receipts came back after this controller was restored".to_owned(),
        closed: None,
        idle: false,
        metered: Micros::ZERO,
        watch: Watch::default(),
    }
}

/// A lease that came back by its receipts, asked for again where it is: the same goes on. `None`: it is no such lease, or
/// something else is asked for.
pub(super) fn asked_again(lease: &Lease, demand: &Demand, fingerprint: [u8; 32]) -> Option<Lease> {
    let is_here = demand.candidates.iter().any(|c| c.host == lease.host);
    let is_it = lease.demand == UNKNOWN && lease.is_open() && is_here && lease.capacity.holds(demand.wanted);
    let label = clean(&demand.label, NAME_MAX);
    is_it.then(|| Lease { service: demand.service, label, demand: fingerprint, ..lease.clone() })
}

/// The leases of a partner that it does not name any more in what was asked for at `asked`, with what to ask for again:
/// the same, where it is. In order of id. Also of what is to go: without a lease its home could not be told to end it.
pub fn forgotten(
    model: &Model,
    partner: PartyId,
    named: &BTreeSet<AssignmentId>,
    asked: Timestamp,
) -> Vec<(AssignmentId, Demand)> {
    let mine = model.leases.values().filter(|l| l.side == Side::Bought && l.partner == partner && l.is_open());
    let gone = mine.filter(|l| l.made_at < asked && !named.contains(&l.id));
    let again = gone.filter(|l| model.assignments.contains_key(&l.id)).map(|l| {
        let demand = Demand {
            service: l.service,
            label: l.label.clone(),
            wanted: l.capacity,
            cap: Hourly::new(l.capacity).cost(l.rates),
            candidates: vec![Qualified { host: l.host, extra: MicroMoney(0) }],
            epoch: 0,
            turn: 0,
        };
        (l.id, demand)
    });
    again.collect()
}

/// Its seller has forgotten a lease and does not give it again, for the reason `why`. Its hosts have to come back first:
/// only what it was asked for in vain for a minute, since `missed`, is over here too. Says whether it is.
pub fn not_given_again(draft: &mut Draft<'_>, id: AssignmentId, missed: Timestamp, why: &str) -> bool {
    let known = draft.model.leases.get(&id).filter(|l| l.side == Side::Bought && l.is_open()).cloned();
    let Some(lease) = known.filter(|_| draft.now.since(missed) >= ASKED_FOR) else { return false };
    let reason = format!("its seller does not know it any more, and does not give it again: {}", clean(why, TEXT_MAX));
    let what = (Noun::Lease, id.to_string(), lease.label.as_str());
    draft.event(what, lease.state.as_str(), LeaseState::Closed.as_str(), reason.clone());
    let closed = Some(Closed { at: draft.now, by: Party::Seller, reason: reason.clone() });
    draft.put(Lease {
        state: LeaseState::Closed,
        since: draft.now,
        closed,
        reason: reason.clone(),
        ..lease.as_ref().clone()
    });
    repute::taken(draft, &lease, Party::Seller);
    lost(draft, id, &reason);
    true
}

/// Keeps a record until its buyer has said how long the chain is; says whether it is kept.
pub(super) fn waits(draft: &mut Draft<'_>, lease: AssignmentId, host: HostId, record: &UsageRecord) -> bool {
    let Some(buyer) = draft.model.leases.get(&lease).map(|l| l.partner) else { return false };
    let is_partner = draft.model.partners.get(&buyer).is_some_and(|p| p.state == PartnerState::Active);
    let Some(chain) = chain_with(&draft.model, buyer).filter(|c| is_partner && !c.heard) else { return false };
    if chain.waiting.len() >= WAITING_MAX {
        go_on(draft, buyer);
        return false;
    }
    let mut waiting = chain.waiting.clone();
    waiting.push(Waiting { host, record: record.clone(), came: draft.now });
    draft.put(Chain { waiting, ..chain });
    true
}

/// The buyer has so many receipts. One that has no more than are here waits for nothing: the chain goes on.
pub fn said(draft: &mut Draft<'_>, buyer: PartyId, has: u64) {
    let chain = draft.model.chains.get(&(buyer, Side::Sold));
    if chain.is_some_and(|c| !c.heard && has <= c.head.number) {
        go_on(draft, buyer);
    }
}

/// Enters what waited.
fn go_on(draft: &mut Draft<'_>, buyer: PartyId) {
    let Some(chain) = draft.model.chains.get(&(buyer, Side::Sold)).cloned() else { return };
    draft.put(Chain { heard: true, waiting: Vec::new(), ..chain.as_ref().clone() });
    for waiting in &chain.waiting {
        let waited = draft.now.since(waiting.came).0.max(0);
        let age = waiting.record.age.map_or(0, |a| a.0.max(0)).saturating_add(waited);
        let record = UsageRecord { age: Some(Micros(age)), ..waiting.record.clone() };
        if let Some(row) = rate_now(draft, waiting.host, &record) {
            draft.put(Change::Usage(row));
        }
    }
}
