//! What a sold lease earned: usage of a guest, as its home meters it.

#[cfg(test)]
mod cases;

use std::sync::Arc;

use chandler_protocol::usage::UsageRecord;
use chandler_protocol::{HostId, Micros, PartyId, Timestamp};

use super::chain::Chain;
use super::lease::{Lease, Side};
use super::restore::waits;
use crate::draft::Draft;
use crate::finance::receipt::{Head, LeasedUse, Parties, append};
use crate::finance::{UsageRow, rate_next};
use crate::model::{Change, Model};

/// How much an agent's clock may run ahead of ours over the life of a lease.
const CLOCKS_DIFFER: Micros = Micros::from_secs(60);
/// How long ago a stretch may have ended.
const AGE_MAX: Micros = Micros::from_secs(366 * 86_400);

/// The row of a record about something that was sold on this host: the buyer owes what the site's owner earns. `None`
/// when it is about nothing of the kind, or cannot be true.
///
/// While its buyer has not said yet how long the chain is, the record is kept, and its row entered later.
pub fn rate_sold(draft: &mut Draft<'_>, host: HostId, record: &UsageRecord) -> Option<UsageRow> {
    let lease = draft.model.leases.get(&record.assignment)?;
    if lease.side != Side::Sold || lease.host != host || waits(draft, record.assignment, host, record) {
        return None;
    }
    rate_now(draft, host, record)
}

/// The row of a record about something that was sold on this host, and its receipt.
pub(super) fn rate_now(draft: &mut Draft<'_>, host: HostId, record: &UsageRecord) -> Option<UsageRow> {
    let lease = draft.model.leases.get(&record.assignment).filter(|l| l.side == Side::Sold && l.host == host)?;
    let site = draft.model.sites.get(&lease.site)?.clone();
    let running = believable(record, lease, draft.now)?;
    let age = record.age.map_or(0, |a| a.0.clamp(0, AGE_MAX.0));
    let at = Timestamp(draft.now.0.saturating_sub(age));
    // A stretch that began before a higher rate did is the buyer's at the lower one.
    let lease = lease.at_rates_of(Timestamp(at.0.saturating_sub(running.0)));
    let tariff = lease.tariff(record.epoch);
    let charge = rate_next(tariff.metered, running, tariff.reserved, tariff.rates, &tariff.price);
    let used = LeasedUse {
        lease: lease.id,
        host,
        sequence: record.sequence,
        epoch: record.epoch,
        before: lease.metered,
        running,
        cpu: Micros(record.cpu.0.max(0)),
        at,
        reserved: tariff.reserved,
        rates: tariff.rates,
        amount: charge.cost,
    };
    receipt(draft, lease.partner, used)?;
    let metered = Micros(lease.metered.0.saturating_add(running.0));
    draft.put(Lease { metered, ..lease.metered_under(record.epoch) });
    Some(UsageRow {
        host,
        sequence: record.sequence,
        assignment: lease.id,
        service: lease.service,
        service_name: lease.label.clone(),
        customer: lease.partner,
        site: site.id,
        owner: site.owner,
        at,
        running,
        cpu: Micros(record.cpu.0.max(0)),
        reserved: tariff.reserved,
        rates: tariff.rates,
        price: tariff.price,
        charge,
    })
}

/// The next link of the chain with this buyer. Without one nothing is billed: the two ledgers must stay equal.
fn receipt(draft: &mut Draft<'_>, buyer: PartyId, used: LeasedUse) -> Option<()> {
    let chain = chain_with(&draft.model, buyer)?;
    let link = append(&chain.parties, chain.head, used).ok()?;
    let head = Head { number: link.number, hash: link.hash };
    let sums = chain.sums.with(link.used.amount);
    draft.put(Change::Receipt(buyer, Side::Sold, Arc::new(link)));
    draft.put(Chain { head, sums, ..chain });
    Some(())
}

/// The chain with a buyer: an empty one, before the first.
pub fn chain_with(model: &Model, buyer: PartyId) -> Option<Chain> {
    if let Some(chain) = model.chains.get(&(buyer, Side::Sold)) {
        return Some(chain.as_ref().clone());
    }
    let seller = model.market.get(&())?.domain.clone();
    let buyer_domain = model.partners.get(&buyer)?.trust_domain.clone();
    Some(Chain::new(buyer, Side::Sold, Parties { seller, buyer: buyer_domain }))
}

/// Nothing ran for longer than its lease has lasted.
fn believable(record: &UsageRecord, lease: &Lease, now: Timestamp) -> Option<Micros> {
    let end = lease.closed.as_ref().map_or(now, |c| c.at);
    let lasted = end.since(lease.made_at).0.saturating_add(CLOCKS_DIFFER.0);
    let left = lasted.saturating_sub(lease.metered.0);
    let running = record.running.0.min(left);
    (running > 0).then_some(Micros(running))
}
