//! Receipts, as the buyer takes them: each is compared with what the buyer knows itself; what both know is paid and
//! charged on, the rest is held.

#[cfg(test)]
mod cases;

use std::sync::Arc;

use chandler_protocol::{Micros, PartyId, Timestamp};

use super::chain::Chain;
use super::contest;
use super::lease::{Lease, Side};
use super::term;
use super::watch::Watch;
use crate::draft::Draft;
use crate::event::Noun;
use crate::finance::dispute::{self, Dispute, DisputeId, Hold};
use crate::finance::receipt::{ChainError, Head, LeasedUse, Parties, RECEIPTS_MAX, Receipt, verify};
use crate::finance::settlement::{OwnView, Tolerance, Verdict, compare};
use crate::finance::{Charge, Meter, UsageRow, rate_next};
use crate::model::{Change, Model};
use crate::service::{Assignment, ClosedAssignment, Tariff};

/// Most disputes with one seller that wait for a decision. Who contests more than this takes no receipts any more: a
/// seller cannot fill the books with what nobody believes.
const DISPUTES_MAX: u64 = 1_000;

/// Why no receipt was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Untaken {
    /// They do not continue the chain.
    #[error("{0}")]
    Chain(ChainError),
    /// More at once than anybody sends.
    #[error("{0} receipts at once: at most {RECEIPTS_MAX}")]
    Many(usize),
    /// Too much is contested already.
    #[error(
        "{DISPUTES_MAX} receipts of this partner are contested already: decide these first (chandler dispute list)"
    )]
    Contested,
}

/// Takes the receipts behind those that are known. Gives the end of the chain now.
///
/// `signed` is the number of the last receipt that this controller signed already, as the seller has shown: 0 where it
/// remembers that itself. A controller that was restored from a backup agreed to them once, or contested them then: what
/// of them it cannot check any more it offers to pay, and the seller knows what was contested.
///
/// # Errors
/// See [`Untaken`]; nothing of them is taken.
pub fn receive(
    draft: &mut Draft<'_>,
    partner: PartyId,
    parties: Parties,
    receipts: &[Receipt],
    signed: u64,
) -> Result<Head, Untaken> {
    if receipts.len() > RECEIPTS_MAX {
        return Err(Untaken::Many(receipts.len()));
    }
    let known = draft.model.chains.get(&(partner, Side::Bought)).map(|c| c.as_ref().clone());
    let chain = known.unwrap_or_else(|| Chain::new(partner, Side::Bought, parties));
    let head = verify(&chain.parties, chain.head, receipts).map_err(Untaken::Chain)?;
    if chain.sums.open >= DISPUTES_MAX && !receipts.is_empty() {
        return Err(Untaken::Contested);
    }
    if head.number > chain.head.number {
        let sums = receipts.iter().fold(chain.sums, |sums, r| sums.with(r.used.amount));
        draft.put(Chain { head, sums, ..chain });
    }
    for receipt in receipts {
        take(draft, partner, receipt, receipt.number <= signed);
    }
    Ok(head)
}

fn take(draft: &mut Draft<'_>, partner: PartyId, receipt: &Receipt, is_signed: bool) {
    let used = &receipt.used;
    accept(draft, partner, used);
    let own = own_view(draft, partner, used);
    let verdict = compare(used, &own, &Tolerance::default(), draft.now);
    draft.put(Change::Receipt(partner, Side::Bought, Arc::new(receipt.clone())));
    if !is_foreign(verdict) {
        draft.put(Meter { host: used.host, acknowledged: used.sequence });
        if let Some(row) = row(draft, partner, used, verdict) {
            draft.put(Change::Usage(row));
        }
    }
    // A receipt of nothing needs no dispute, whatever is wrong with it.
    if let Verdict::Contested { contested, reason, .. } = verdict
        && contested.0 > 0
    {
        let id = DisputeId { partner, ours: false, receipt: receipt.number };
        let hold = Hold { side: dispute::Side::Buyer, partner, contested };
        contest::open(draft, Dispute::open(id, used.lease, hold, reason, draft.now));
        if is_signed {
            contest::concede(draft, id);
        }
    }
}

/// What was announced holds from the first receipt on that says so, for use that began in its time.
fn accept(draft: &mut Draft<'_>, partner: PartyId, used: &LeasedUse) {
    let Some(lease) = lease_of(&draft.model, partner, used) else { return };
    let began = Timestamp(used.at.0.saturating_sub(used.running.0.max(0)));
    let Some(next) = term::accepted(&lease, used.rates, began) else { return };
    if let Some(assignment) = draft.model.assignments.get(&lease.id).cloned() {
        let state = assignment.state.as_str();
        let reason = format!("the rates that were announced hold now: {}, instead of {}", next.rates, lease.rates);
        draft.event((Noun::Assignment, lease.id.to_string(), &lease.label), state, state, reason);
        draft.put(Assignment { rates: next.rates, ..assignment.as_ref().clone() });
    }
    draft.put(next);
}

/// Whether a receipt is about nothing of this controller's: it counts for nothing but the dispute.
const fn is_foreign(verdict: Verdict) -> bool {
    use crate::finance::settlement::Reason::{Duplicate, Epoch, OtherHost, Time, UnknownLease};
    matches!(verdict, Verdict::Contested { reason: Duplicate | Epoch | OtherHost | Time | UnknownLease, .. })
}

fn lease_of(model: &Model, partner: PartyId, used: &LeasedUse) -> Option<Arc<Lease>> {
    model.leases.get(&used.lease).filter(|l| l.side == Side::Bought && l.partner == partner).cloned()
}

/// What this controller knows of a lease, to compare with. A lease has one set of terms at a time.
fn own_view(draft: &Draft<'_>, partner: PartyId, used: &LeasedUse) -> OwnView {
    let model = &draft.model;
    let Some(lease) = lease_of(model, partner, used) else { return unknown(draft, used) };
    let assignment = model.assignments.get(&used.lease);
    let end = lease.closed.as_ref().map_or(draft.now, |c| c.at.min(draft.now));
    OwnView {
        knows_lease: true,
        host: lease.host,
        sequence: model.usage_acknowledged(used.host),
        epoch_oldest: lease.watch.epoch,
        // What is gone was told no epoch since; which was its last is not kept.
        epoch_newest: assignment.map_or(used.epoch, |a| a.epoch),
        since: lease.made_at,
        until: lease.closed.as_ref().map(|c| c.at),
        metered: lease.metered,
        metered_total: lease.watch.believed,
        observed: Some(lease.watch.longest(end.since(lease.made_at))),
        reserved: lease.capacity_at(used.epoch),
        rates: lease.rates,
    }
}

fn unknown(draft: &Draft<'_>, used: &LeasedUse) -> OwnView {
    OwnView {
        knows_lease: false,
        host: used.host,
        sequence: 0,
        epoch_oldest: 0,
        epoch_newest: 0,
        since: draft.now,
        until: None,
        metered: Micros::ZERO,
        metered_total: Micros::ZERO,
        observed: None,
        reserved: Default::default(),
        rates: Default::default(),
    }
}

/// The row of what is believed: the partner is paid what is agreed, the customer charged for the time that is believed.
fn row(draft: &mut Draft<'_>, partner: PartyId, used: &LeasedUse, verdict: Verdict) -> Option<UsageRow> {
    let lease = lease_of(&draft.model, partner, used)?;
    let running = verdict.running();
    let believed = Micros(lease.watch.believed.0.saturating_add(running.0));
    let metered = Micros(lease.metered.0.saturating_add(used.running.0));
    let next = lease.metered_under(used.epoch);
    draft.put(Lease { metered, watch: Watch { believed, ..next.watch.clone() }, ..next });
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
    let tariff = charged(draft, &lease, used, running, open.as_deref(), closed);
    let charge = rate_next(tariff.metered, running, tariff.reserved, tariff.rates, &tariff.price);
    // The partner is paid to the micro-unit what was agreed with it.
    let charge = Charge { cost: verdict.agreed(), ..charge };
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

/// What the customer is charged by; what was metered under it goes on. What ran before it was configured anew is
/// charged by what held then.
fn charged(
    draft: &mut Draft<'_>,
    lease: &Lease,
    used: &LeasedUse,
    running: Micros,
    open: Option<&Assignment>,
    closed: ClosedAssignment,
) -> Tariff {
    let earlier = open.and_then(|a| a.previous.clone()).filter(|t| used.epoch <= t.epoch);
    let is_earlier = earlier.is_some();
    let (price, before) = earlier.map_or((closed.price.clone(), closed.metered), |t| (t.price, t.metered));
    let tariff = Tariff {
        epoch: used.epoch,
        reserved: lease.capacity_at(used.epoch),
        rates: lease.rates,
        price,
        metered: before,
    };
    let metered = Micros(before.0.saturating_add(running.0));
    let metered_total = Micros(closed.metered_total.0.saturating_add(running.0));
    match open {
        Some(a) if is_earlier => {
            let previous = a.previous.clone().map(|t| Tariff { metered, ..t });
            draft.put(Assignment { previous, metered_total, ..a.clone() });
        }
        Some(a) => draft.put(Assignment { metered, metered_total, ..a.clone() }),
        None => draft.put(ClosedAssignment { metered, metered_total, ..closed }),
    }
    tariff
}
