//! Receipts, as the buyer takes them: each is compared with what the buyer knows itself; what both know is paid and
//! charged on, the rest is held.

use std::sync::Arc;

use chandler_protocol::{Micros, PartyId};

use super::chain::Chain;
use super::lease::{Lease, Side};
use crate::draft::Draft;
use crate::event::Noun;
use crate::finance::dispute::{self, Dispute, DisputeId, Hold};
use crate::finance::receipt::{ChainError, Head, LeasedUse, Parties, Receipt, verify};
use crate::finance::settlement::{OwnView, Tolerance, Verdict, compare};
use crate::finance::{Meter, UsageRow, rate_next};
use crate::model::Change;
use crate::service::{Assignment, ClosedAssignment, Tariff};

/// Takes the receipts behind those that are known. Gives the end of the chain now.
///
/// # Errors
/// They do not continue the chain; nothing of them is taken.
pub fn receive(
    draft: &mut Draft<'_>,
    partner: PartyId,
    parties: Parties,
    receipts: &[Receipt],
) -> Result<Head, ChainError> {
    let key = (partner, Side::Bought);
    let known = draft.model.chains.get(&key).map(|c| c.as_ref().clone());
    let chain = known.unwrap_or_else(|| Chain::new(partner, Side::Bought, parties));
    let head = verify(&chain.parties, chain.head, receipts)?;
    for receipt in receipts {
        take(draft, partner, receipt);
    }
    if head.number > chain.head.number {
        draft.put(Chain { head, ..chain });
    }
    Ok(head)
}

fn take(draft: &mut Draft<'_>, partner: PartyId, receipt: &Receipt) {
    let used = &receipt.used;
    let own = own_view(draft, partner, used);
    let verdict = compare(used, &own, &Tolerance::default(), draft.now);
    draft.put(Change::Receipt(partner, Side::Bought, Arc::new(receipt.clone())));
    if !is_foreign(verdict) {
        draft.put(Meter { host: used.host, acknowledged: used.sequence });
        if let Some(row) = row(draft, partner, used, verdict) {
            draft.put(Change::Usage(row));
        }
    }
    if let Verdict::Contested { contested, reason, .. } = verdict {
        let id = DisputeId { partner, ours: false, receipt: receipt.number };
        let hold = Hold { side: dispute::Side::Buyer, partner, contested };
        let name = used.lease.to_string();
        let text = format!("receipt {}: {contested} contested: {}", receipt.number, reason.sentence());
        draft.event((Noun::Dispute, format!("{partner}/{}", receipt.number), &name), "", "open", text);
        draft.put(Dispute::open(id, used.lease, hold, reason, draft.now));
    }
}

/// Whether a receipt is about nothing of this controller's: it counts for nothing but the dispute.
const fn is_foreign(verdict: Verdict) -> bool {
    use crate::finance::settlement::Reason::{Duplicate, Epoch, OtherHost, Time, UnknownLease};
    matches!(verdict, Verdict::Contested { reason: Duplicate | Epoch | OtherHost | Time | UnknownLease, .. })
}

/// What this controller knows of a lease, to compare with.
fn own_view(draft: &Draft<'_>, partner: PartyId, used: &LeasedUse) -> OwnView {
    let model = &draft.model;
    let lease = model.leases.get(&used.lease).filter(|l| l.side == Side::Bought && l.partner == partner);
    let assignment = model.assignments.get(&used.lease);
    let closed = model.closed_assignments.get(&used.lease);
    let metered_total = assignment.map(|a| a.metered_total).or_else(|| closed.map(|c| c.metered_total));
    OwnView {
        knows_lease: lease.is_some(),
        host: lease.map_or(used.host, |l| l.host),
        sequence: model.usage_acknowledged(used.host),
        epoch_oldest: 0,
        epoch_newest: assignment.map_or(used.epoch, |a| a.epoch),
        since: lease.map_or(draft.now, |l| l.made_at),
        until: lease.and_then(|l| l.closed.as_ref()).map(|c| c.at),
        metered: lease.map_or(Micros::ZERO, |l| l.metered),
        metered_total: metered_total.unwrap_or_default(),
        observed: None,
        reserved: lease.map(|l| l.capacity).unwrap_or_default(),
        rates: lease.map(|l| l.rates).unwrap_or_default(),
    }
}

/// The row of what is believed: the partner is paid what is agreed, the customer charged for the time that is believed.
fn row(draft: &mut Draft<'_>, partner: PartyId, used: &LeasedUse, verdict: Verdict) -> Option<UsageRow> {
    let lease = draft.model.leases.get(&used.lease).filter(|l| l.side == Side::Bought && l.partner == partner)?.clone();
    draft.put(Lease { metered: Micros(lease.metered.0.saturating_add(used.running.0)), ..lease.as_ref().clone() });
    let running = verdict.running();
    if running.0 <= 0 && verdict.agreed().0 <= 0 {
        return None;
    }
    let open = draft.model.assignments.get(&used.lease).cloned();
    let closed = match &open {
        Some(a) => a.closed(draft.now),
        None => draft.model.closed_assignments.get(&used.lease)?.as_ref().clone(),
    };
    let service = draft.model.services.get(&closed.service)?.clone();
    let site = draft.model.sites.get(&lease.site)?.clone();
    let tariff = Tariff {
        epoch: used.epoch,
        reserved: lease.capacity,
        rates: lease.rates,
        price: closed.price.clone(),
        metered: closed.metered,
    };
    let charge = rate_next(tariff.metered, running, tariff.reserved, tariff.rates, &tariff.price);
    // The partner is paid to the micro-unit what was agreed with it.
    let charge = crate::finance::Charge { cost: verdict.agreed(), ..charge };
    let metered = Micros(closed.metered.0.saturating_add(running.0));
    let metered_total = Micros(closed.metered_total.0.saturating_add(running.0));
    match open {
        Some(a) => draft.put(Assignment { metered, metered_total, ..a.as_ref().clone() }),
        None => draft.put(ClosedAssignment { metered, metered_total, ..closed }),
    }
    Some(UsageRow {
        host: used.host,
        sequence: used.sequence,
        assignment: used.lease,
        service: service.id,
        service_name: service.name.clone(),
        customer: service.customer,
        site: site.id,
        owner: site.owner,
        at: used.at,
        running,
        cpu: Micros(used.cpu.0.max(0)),
        reserved: tariff.reserved,
        rates: tariff.rates,
        price: tariff.price,
        charge,
    })
}
