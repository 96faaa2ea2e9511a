//! Takes in what an agent says: checks it, and turns it into changes.

mod lease;
mod usage;
mod ways;

pub(crate) use ways::enter_ways;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use chandler_engine::draft::Draft;
use chandler_engine::fleet::Host;
use chandler_engine::{assurance, federation, fulfilment};
use chandler_protocol::handshake::VERSION_MOVES;
use chandler_protocol::inventory::{HostInventory, PACKAGES_MAX};
use chandler_protocol::message::{AgentMessage, ControllerMessage};
use chandler_protocol::state::{ObservedAssignment, ObservedState};
use chandler_protocol::telemetry::{Readings, Sample, decode};
use chandler_protocol::text::{NAME_MAX, TEXT_MAX, clean};
use chandler_protocol::{HostId, Micros, ServiceId};
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

/// What was said, as work for the writer. Done again when the store did not take it.
type Work = Arc<dyn Fn(&mut Draft<'_>) + Send + Sync>;

/// The reading half of one control connection.
pub(super) struct Intake {
    host: HostId,
    version: u16,
    connection: quinn::Connection,
    shared: Arc<Shared>,
    answers: mpsc::Sender<ControllerMessage>,
    reported: Arc<Reported>,
    bases: BTreeMap<u64, Readings>,
    usage_began: bool,
    /// Doors that this agent said it keeps; `None` until it has said so on this connection.
    doors: Option<BTreeSet<ServiceId>>,
    /// What the store has not taken yet, the newest of each kind: each is whole, so that nothing older is missed.
    unkept: BTreeMap<&'static str, Work>,
}

/// What the reading half tells the writing half.
#[derive(Debug, Default)]
pub(super) struct Reported {
    state: AtomicU64,
    ways: AtomicU64,
    observed: AtomicBool,
    changed: Notify,
}

impl Reported {
    /// The generation of the desired state that the agent says it has stored.
    pub(super) fn state(&self) -> u64 {
        self.state.load(Ordering::Relaxed)
    }

    /// The generation of the ways that the agent says it acts on.
    pub(super) fn ways(&self) -> u64 {
        self.ways.load(Ordering::Relaxed)
    }

    /// Whether what runs on the host has been taken in since it connected.
    pub(super) fn is_observed(&self) -> bool {
        self.observed.load(Ordering::Relaxed)
    }

    /// Something of this has changed.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }
}

impl Intake {
    pub(super) fn new(
        host: HostId,
        version: u16,
        connection: quinn::Connection,
        shared: Arc<Shared>,
        answers: mpsc::Sender<ControllerMessage>,
    ) -> Self {
        Self {
            host,
            version,
            connection,
            shared,
            answers,
            reported: Arc::default(),
            bases: BTreeMap::new(),
            usage_began: false,
            doors: None,
            unkept: BTreeMap::new(),
        }
    }

    /// What the writing half is told.
    pub(super) fn reported(&self) -> Arc<Reported> {
        self.reported.clone()
    }

    /// Takes in one message.
    pub(super) async fn take(&mut self, message: AgentMessage) -> Result<(), LinkError> {
        let is_later = matches!(message, AgentMessage::Ways(_) | AgentMessage::Lease(_));
        if is_later && self.version < VERSION_MOVES {
            return Err(LinkError::Protocol("a message of a later version than was agreed"));
        }
        self.keep_rest().await;
        match message {
            AgentMessage::Hello(_) => return Err(LinkError::Protocol("a second hello")),
            AgentMessage::Inventory(inventory) => self.inventory(inventory).await,
            AgentMessage::Observed(observed) => self.observed(observed).await?,
            AgentMessage::Telemetry(samples) => self.telemetry(&samples).await?,
            AgentMessage::Usage(records) => self.usage(records).await?,
            AgentMessage::CommandResult(result) => self.shared.sessions.result(self.host, result),
            AgentMessage::Renew(csr) => self.renew(csr).await?,
            AgentMessage::Ways(ways) => self.ways(ways).await?,
            AgentMessage::Lease(request) => self.lease(request).await?,
            AgentMessage::Alive => {}
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

    async fn inventory(&mut self, inventory: HostInventory) {
        let (host, inventory) = (self.host, bounded(inventory));
        self.kept("inventory", move |draft| {
            let Some(known) = draft.model.hosts.get(&host).cloned() else { return };
            if known.inventory.as_ref() != Some(&inventory) {
                draft.put(Host { inventory: Some(inventory.clone()), ..known.as_ref().clone() });
            }
        })
        .await;
    }

    async fn observed(&mut self, observed: ObservedState) -> Result<(), LinkError> {
        if observed.assignments.len() > ASSIGNMENTS_MAX {
            return Err(LinkError::Protocol("too many assignments reported"));
        }
        let host = self.host;
        self.reported.state.store(observed.generation, Ordering::Relaxed);
        let assignments: Vec<_> = observed.assignments.into_iter().map(bounded_observed).collect();
        self.kept("observed state", move |draft| {
            // Seen first: a service on a host that was silent a moment ago is judged by what is so now.
            assurance::heard(draft, host);
            for service in fulfilment::observe(draft, host, &assignments) {
                fulfilment::advance(draft, service);
            }
            federation::guests(draft, host, &assignments);
            fulfilment::strays(draft, host, &assignments);
        })
        .await;
        // Only now: what it shall run may depend on what it says it runs.
        self.reported.observed.store(true, Ordering::Relaxed);
        self.reported.changed.notify_one();
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

    /// Keeps what was said. What the store does not take now is kept with a later message: the reading goes on, because
    /// leases that are held can be renewed all the same.
    async fn kept(&mut self, what: &'static str, work: impl Fn(&mut Draft<'_>) + Send + Sync + 'static) {
        self.unkept.remove(what);
        self.keep(what, Arc::new(work)).await;
    }

    async fn keep_rest(&mut self) {
        for (what, work) in std::mem::take(&mut self.unkept) {
            self.keep(what, work).await;
        }
    }

    async fn keep(&mut self, what: &'static str, work: Work) {
        let again = work.clone();
        let by = self.host.to_string();
        let result = self.shared.writer.transact(&by, move |draft| {
            again(draft);
            Ok::<_, ()>(())
        });
        if let Err(Refused::Store(error)) = result.await {
            tracing::warn!(host = %self.host, what, %error, "waiting for the store");
            self.unkept.insert(what, work);
        }
    }
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

/// What was observed of an assignment, with every text cleaned and every list bounded.
pub(crate) fn bounded_observed(mut a: ObservedAssignment) -> ObservedAssignment {
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
