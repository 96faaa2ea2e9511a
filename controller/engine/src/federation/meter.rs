//! What a sold lease earned: usage of a guest, as its home meters it.

use chandler_protocol::usage::UsageRecord;
use chandler_protocol::{HostId, Micros, Timestamp};

use super::lease::{Lease, Side};
use crate::draft::Draft;
use crate::finance::{UsageRow, rate_next};

/// How much an agent's clock may run ahead of ours over the life of a lease.
const CLOCKS_DIFFER: Micros = Micros::from_secs(60);
/// How long ago a stretch may have ended.
const AGE_MAX: Micros = Micros::from_secs(366 * 86_400);

/// The row of a record about something that was sold on this host: the buyer owes what the site's owner earns. `None`
/// when it is about nothing of the kind, or cannot be true.
pub fn rate_sold(draft: &mut Draft<'_>, host: HostId, record: &UsageRecord) -> Option<UsageRow> {
    let lease = draft.model.leases.get(&record.assignment)?.clone();
    if lease.side != Side::Sold || lease.host != host {
        return None;
    }
    let site = draft.model.sites.get(&lease.site)?.clone();
    let running = believable(record, &lease, draft.now)?;
    let tariff = lease.tariff(record.epoch);
    let charge = rate_next(tariff.metered, running, tariff.reserved, tariff.rates, &tariff.price);
    draft.put(Lease { metered: Micros(lease.metered.0.saturating_add(running.0)), ..lease.as_ref().clone() });
    let age = record.age.map_or(0, |a| a.0.clamp(0, AGE_MAX.0));
    Some(UsageRow {
        host,
        sequence: record.sequence,
        assignment: lease.id,
        service: lease.service,
        service_name: lease.label.clone(),
        customer: lease.partner,
        site: site.id,
        owner: site.owner,
        at: Timestamp(draft.now.0.saturating_sub(age)),
        running,
        cpu: Micros(record.cpu.0.max(0)),
        reserved: tariff.reserved,
        rates: tariff.rates,
        price: tariff.price,
        charge,
    })
}

/// Nothing ran for longer than its lease has lasted.
fn believable(record: &UsageRecord, lease: &Lease, now: Timestamp) -> Option<Micros> {
    let end = lease.closed.as_ref().map_or(now, |c| c.at);
    let lasted = end.since(lease.made_at).0.saturating_add(CLOCKS_DIFFER.0);
    let left = lasted.saturating_sub(lease.metered.0);
    let running = record.running.0.min(left);
    (running > 0).then_some(Micros(running))
}
