//! Takes in what an agent says: checks it, and turns it into changes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chandler_engine::draft::Draft;
use chandler_engine::event::Noun;
use chandler_engine::finance::{Meter, UsageRow, rate_next};
use chandler_engine::fleet::Host;
use chandler_engine::model::Change;
use chandler_engine::service::{Assignment, ClosedAssignment, Tariff};
use chandler_engine::{assurance, fulfilment};
use chandler_protocol::inventory::{HostInventory, PACKAGES_MAX};
use chandler_protocol::message::{AgentMessage, ControllerMessage};
use chandler_protocol::state::{ObservedAssignment, ObservedState};
use chandler_protocol::telemetry::{Readings, Sample, decode};
use chandler_protocol::text::{NAME_MAX, TEXT_MAX, clean};
use chandler_protocol::usage::UsageRecord;
use chandler_protocol::{HostId, Micros, Timestamp};
use tokio::sync::{Notify, mpsc};

use super::listener::Shared;
use super::session::LinkError;
use crate::store::Refused;

/// Telemetry samples that are kept as bases of later deltas. An agent uses the last one we acknowledged.
const BASES: usize = 4;
/// Assignments that one agent may report.
const ASSIGNMENTS_MAX: usize = 4_096;
/// Entries of each list in an inventory that are kept.
const LIST_MAX: usize = 256;
/// How much an agent's clock may run ahead of ours over the life of an assignment.
const CLOCKS_DIFFER: Micros = Micros::from_secs(60);
/// How long ago a stretch may have ended.
const AGE_MAX: Micros = Micros::from_secs(366 * 86_400);
/// How long to wait before telling a busy store again.
const STORE_PAUSE: Duration = Duration::from_secs(1);

/// The reading half of one control connection.
pub(super) struct Intake {
    host: HostId,
    connection: quinn::Connection,
    shared: Arc<Shared>,
    answers: mpsc::Sender<ControllerMessage>,
    reported: Arc<Reported>,
    bases: BTreeMap<u64, Readings>,
    usage_began: bool,
}

/// The generation of the desired state that the agent says it has stored: the reading half tells the writing half.
#[derive(Debug, Default)]
pub(super) struct Reported {
    generation: AtomicU64,
    changed: Notify,
}

impl Reported {
    fn report(&self, generation: u64) {
        self.generation.store(generation, Ordering::Relaxed);
        self.changed.notify_one();
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Relaxed)
    }

    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }
}

impl Intake {
    pub(super) fn new(
        host: HostId,
        connection: quinn::Connection,
        shared: Arc<Shared>,
        answers: mpsc::Sender<ControllerMessage>,
    ) -> Self {
        let reported = Arc::default();
        Self { host, connection, shared, answers, reported, bases: BTreeMap::new(), usage_began: false }
    }

    /// What the agent says it has stored.
    pub(super) fn reported(&self) -> Arc<Reported> {
        self.reported.clone()
    }

    /// Takes in one message.
    pub(super) async fn take(&mut self, message: AgentMessage) -> Result<(), LinkError> {
        match message {
            AgentMessage::Hello(_) => return Err(LinkError::Protocol("a second hello")),
            AgentMessage::Inventory(inventory) => self.inventory(inventory).await,
            AgentMessage::Observed(observed) => self.observed(observed).await?,
            AgentMessage::Telemetry(samples) => self.telemetry(&samples).await?,
            AgentMessage::Usage(records) => self.usage(records).await?,
            AgentMessage::CommandResult(result) => self.shared.sessions.result(self.host, result),
            AgentMessage::Renew(csr) => self.renew(csr).await?,
            AgentMessage::Alive | AgentMessage::Ways(_) | AgentMessage::Lease(_) => {}
        }
        self.alive().await;
        Ok(())
    }

    async fn answer(&self, message: ControllerMessage) -> Result<(), LinkError> {
        self.answers.send(message).await.map_err(|_| LinkError::Protocol("the writing half is gone"))
    }

    /// It was heard from: the pulse, which is not kept on disk, and its state if that was another.
    async fn alive(&self) {
        let (host, rtt) = (self.host, Micros::from_std(self.connection.rtt()));
        let _ = self
            .shared
            .writer
            .transact("link", move |draft| {
                let mut pulse = draft.model.pulse(host);
                (pulse.seen_at, pulse.connected, pulse.rtt) = (draft.now, true, Some(rtt));
                draft.model.pulses.insert(host, pulse);
                assurance::heard(draft, host);
                Ok::<_, ()>(())
            })
            .await;
    }

    async fn inventory(&self, inventory: HostInventory) {
        let (host, inventory) = (self.host, bounded(inventory));
        self.kept("inventory", move |draft| {
            let Some(known) = draft.model.hosts.get(&host).cloned() else { return };
            if known.inventory.as_ref() != Some(&inventory) {
                draft.put(Host { inventory: Some(inventory.clone()), ..known.as_ref().clone() });
            }
        })
        .await;
    }

    async fn observed(&self, observed: ObservedState) -> Result<(), LinkError> {
        if observed.assignments.len() > ASSIGNMENTS_MAX {
            return Err(LinkError::Protocol("too many assignments reported"));
        }
        let host = self.host;
        self.reported.report(observed.generation);
        let assignments: Vec<_> = observed.assignments.into_iter().map(bounded_assignment).collect();
        self.kept("observed state", move |draft| {
            // Seen first: a service on a host that was silent a moment ago is judged by what is so now.
            assurance::heard(draft, host);
            for service in fulfilment::observe(draft, host, &assignments) {
                fulfilment::advance(draft, service);
            }
        })
        .await;
        Ok(())
    }

    async fn telemetry(&mut self, samples: &[Sample]) -> Result<(), LinkError> {
        let mut newest = None;
        for sample in samples {
            // A base that is gone makes the agent begin anew at the next acknowledgement; the sample is lost, not the link.
            if let Ok(readings) = decode(sample, |base| self.bases.get(&base).copied()) {
                self.bases.insert(sample.sequence, readings);
                newest = Some((sample.sequence, readings));
            }
        }
        while self.bases.len() > BASES {
            self.bases.pop_first();
        }
        let Some((sequence, readings)) = newest else { return Ok(()) };
        let host = self.host;
        let _ = self
            .shared
            .writer
            .transact("link", move |draft| {
                let mut pulse = draft.model.pulse(host);
                pulse.readings = Some(readings);
                draft.model.pulses.insert(host, pulse);
                Ok::<_, ()>(())
            })
            .await;
        self.answer(ControllerMessage::TelemetryAcknowledged(sequence)).await
    }

    async fn usage(&mut self, records: Vec<UsageRecord>) -> Result<(), LinkError> {
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

    async fn renew(&self, csr: Vec<u8>) -> Result<(), LinkError> {
        let now = self.shared.writer.clock().now();
        let model = self.shared.writer.snapshot();
        let key = model.hosts.get(&self.host).map(|h| h.key_fingerprint);
        match self.shared.authority.issue_agent(self.host, &csr, now) {
            Ok(issued) if Some(issued.key_fingerprint) == key => {
                self.answer(ControllerMessage::Renewed(issued.certificate)).await
            }
            Ok(_) => Err(LinkError::Protocol("renewal with another key: join anew instead")),
            Err(error) => {
                tracing::warn!(host = %self.host, %error, "a renewal was refused");
                Err(LinkError::Protocol("renewal request is malformed"))
            }
        }
    }

    /// Keeps what was said. While the store takes no writes, this waits: what an agent says is not lost, the agent
    /// feels the back-pressure.
    async fn kept(&self, what: &'static str, work: impl Fn(&mut Draft<'_>) + Send + Sync + 'static) {
        let work = Arc::new(work);
        loop {
            let again = work.clone();
            let result = self
                .shared
                .writer
                .transact(&self.host.to_string(), move |draft| {
                    again(draft);
                    Ok::<_, ()>(())
                })
                .await;
            match result {
                Err(Refused::Store(error)) if self.connection.close_reason().is_none() => {
                    tracing::warn!(host = %self.host, what, %error, "waiting for the store");
                    tokio::time::sleep(STORE_PAUSE).await;
                }
                _ => return,
            }
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
    if let Some(row) = usage_row(draft, host, record) {
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

/// An inventory with every text cleaned and every list bounded.
fn bounded(mut i: HostInventory) -> HostInventory {
    for text in [&mut i.host_name, &mut i.os, &mut i.architecture] {
        *text = clean(text, NAME_MAX);
    }
    for text in [&mut i.os_version, &mut i.kernel, &mut i.cpu.model] {
        *text = clean(text, TEXT_MAX);
    }
    i.disks.truncate(LIST_MAX);
    i.networks.truncate(LIST_MAX);
    i.gpus.truncate(LIST_MAX);
    i.sensors.truncate(LIST_MAX);
    i.drivers.truncate(LIST_MAX);
    i.software.truncate(PACKAGES_MAX);
    for disk in &mut i.disks {
        disk.mount = clean(&disk.mount, TEXT_MAX);
        disk.file_system = clean(&disk.file_system, NAME_MAX);
    }
    for network in &mut i.networks {
        network.name = clean(&network.name, NAME_MAX);
        network.mac = clean(&network.mac, NAME_MAX);
    }
    for gpu in &mut i.gpus {
        gpu.model = clean(&gpu.model, TEXT_MAX);
    }
    for text in &mut i.sensors {
        *text = clean(text, NAME_MAX);
    }
    for driver in &mut i.drivers {
        driver.note = clean(&driver.note, TEXT_MAX);
    }
    for software in &mut i.software {
        software.name = clean(&software.name, NAME_MAX * 2);
        software.version = clean(&software.version, NAME_MAX * 2);
        software.programs.truncate(LIST_MAX * 4);
        for program in &mut software.programs {
            *program = clean(program, TEXT_MAX);
        }
    }
    i
}

fn bounded_assignment(mut a: ObservedAssignment) -> ObservedAssignment {
    a.message = clean(&a.message, TEXT_MAX);
    a.ports.truncate(LIST_MAX);
    for (name, _) in &mut a.ports {
        *name = clean(name, NAME_MAX);
    }
    a.outputs.truncate(LIST_MAX);
    for output in &mut a.outputs {
        output.path = clean(&output.path, TEXT_MAX);
    }
    a
}
