//! What an agent's work used: believed as far as it can be true, rated, and entered once.

use chandler_engine::draft::Draft;
use chandler_engine::event::Noun;
use chandler_engine::federation;
use chandler_engine::finance::{Meter, UsageRow, rate_next};
use chandler_engine::model::Change;
use chandler_engine::service::{Assignment, ClosedAssignment, Tariff};
use chandler_protocol::message::ControllerMessage;
use chandler_protocol::usage::UsageRecord;
use chandler_protocol::{HostId, Micros, Timestamp};

use super::Intake;
use crate::link::session::LinkError;

/// How much an agent's clock may run ahead of ours over the life of an assignment.
const CLOCKS_DIFFER: Micros = Micros::from_secs(60);
/// How long ago a stretch may have ended.
const AGE_MAX: Micros = Micros::from_secs(366 * 86_400);

impl Intake {
    pub(super) async fn usage(&mut self, records: Vec<UsageRecord>) -> Result<(), LinkError> {
        let host = self.host;
        let is_first = !std::mem::replace(&mut self.usage_began, true);
        let acknowledged = self
            .shared
            .writer
            .transact(&host.to_string(), move |draft| {
                if is_first {
                    skip_gap(draft, host, &records);
                }
                let rows = records.iter().filter_map(|r| enter_usage(draft, host, r)).max();
                Ok::<_, ()>(rows.unwrap_or_else(|| draft.model.usage_acknowledged(host)))
            })
            .await;
        match acknowledged {
            Ok(sequence) => self.answer(ControllerMessage::UsageAcknowledged(sequence)).await,
            // Not acknowledged: the agent keeps the records, and sends them again on its next connection.
            Err(_) => Err(LinkError::Protocol("usage could not be stored")),
        }
    }
}

/// An agent begins behind what it was told is stored. One that begins later has sent the rest to a store that was lost
/// since (an older copy was restored): the gap is said, not filled.
fn skip_gap(draft: &mut Draft<'_>, host: HostId, records: &[UsageRecord]) {
    let stored = draft.model.usage_acknowledged(host);
    let Some(first) = records.first().filter(|r| r.sequence > stored.saturating_add(1)) else { return };
    let name = draft.model.host_name(host);
    let reason = format!("usage records {} to {} are gone", stored + 1, first.sequence - 1);
    draft.event((Noun::Host, host.to_string(), &name), "", "usageGap", reason);
    draft.put(Meter { host, acknowledged: first.sequence - 1 });
}

/// One usage record, rated and entered; gives its sequence. One that was entered before, or is not about this host's
/// own work, is passed over (and acknowledged, so that it is not sent for ever).
fn enter_usage(draft: &mut Draft<'_>, host: HostId, record: &UsageRecord) -> Option<u64> {
    if record.sequence != draft.model.usage_acknowledged(host) + 1 {
        return None;
    }
    draft.put(Meter { host, acknowledged: record.sequence });
    if let Some(row) = usage_row(draft, host, record).or_else(|| federation::rate_sold(draft, host, record)) {
        draft.put(Change::Usage(row));
    }
    Some(record.sequence)
}

/// The row of a record that is sound and about this host's own work; what was metered so far goes on.
fn usage_row(draft: &mut Draft<'_>, host: HostId, record: &UsageRecord) -> Option<UsageRow> {
    let open = draft.model.assignments.get(&record.assignment).filter(|a| a.host == host).cloned();
    let closed = match &open {
        Some(assignment) => assignment.closed(draft.now),
        // Its agent may have wiped it before it said what it had used.
        None => draft.model.closed_assignments.get(&record.assignment).filter(|a| a.host == host)?.as_ref().clone(),
    };
    let running = believable(record, &closed, draft.now, open.is_some())?;
    let service = draft.model.services.get(&closed.service)?.clone();
    let site = draft.model.sites.get(&closed.site)?.clone();
    let age = record.age.map_or(0, |a| a.0.clamp(0, AGE_MAX.0));
    // What ran before it was configured anew is rated by what held then.
    let earlier = open.as_ref().and_then(|a| a.previous.clone()).filter(|t| record.epoch <= t.epoch);
    let is_earlier = earlier.is_some();
    let tariff = earlier.unwrap_or_else(|| Tariff {
        epoch: record.epoch,
        reserved: closed.reserved,
        rates: closed.rates,
        price: closed.price.clone(),
        metered: closed.metered,
    });
    let charge = rate_next(tariff.metered, running, tariff.reserved, tariff.rates, &tariff.price);
    let metered = Micros(tariff.metered.0.saturating_add(running.0));
    let metered_total = Micros(closed.metered_total.0.saturating_add(running.0));
    match open {
        Some(a) if is_earlier => {
            let previous = Some(Tariff { metered, ..tariff.clone() });
            draft.put(Assignment { previous, metered_total, ..a.as_ref().clone() });
        }
        Some(a) => draft.put(Assignment { metered, metered_total, ..a.as_ref().clone() }),
        None => draft.put(ClosedAssignment { metered, metered_total, ..closed.clone() }),
    }
    Some(UsageRow {
        host,
        sequence: record.sequence,
        assignment: closed.id,
        service: service.id,
        service_name: service.name.clone(),
        customer: service.customer,
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

/// The running time of a record as far as it can be true: nothing ran for longer than it has existed. A site's owner is
/// paid by these records, so that they are not believed beyond that.
fn believable(record: &UsageRecord, of: &ClosedAssignment, now: Timestamp, is_open: bool) -> Option<Micros> {
    let end = if is_open { now } else { of.at };
    let existed = end.since(of.since).0.saturating_add(CLOCKS_DIFFER.0);
    let left = existed.saturating_sub(of.metered_total.0);
    let running = record.running.0.min(left);
    if running < record.running.0 {
        tracing::warn!(host = %of.host, assignment = %of.id, "usage beyond the assignment's life is not believed");
    }
    (running > 0).then_some(Micros(running))
}
