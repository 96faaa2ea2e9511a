//! A simulated computer: its disk, its fetched files, and the software on it, all in memory. It goes on when the agent
//! on it is killed, and forgets what runs when it is switched off.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use chandler_agent::artifact::{Depot, DepotError, Kind};
use chandler_agent::disk::{Disk, DiskError, Loaded};
use chandler_agent::driver::{
    Adopted, Collected, Driver, Ended, Found, Launch, LogPart, Measure, Signal, StartError, Started, Workspace,
};
use chandler_agent::world::Probe;
use chandler_protocol::artifact::Manifest;
use chandler_protocol::command::LogStream;
use chandler_protocol::inventory::{self, HostInventory, Offered};
use chandler_protocol::state::Exit;
use chandler_protocol::telemetry::Readings;
use chandler_protocol::workload::{self, DriverKind};
use chandler_protocol::world::Clock as _;
use chandler_protocol::{AssignmentId, Bytes, Digest, Micros, MilliCpu};
use tokio::sync::Notify;

use crate::air::SimulatedClock;

/// How long simulated software takes from its start to its first answer.
const WARM_UP: Micros = Micros::from_millis(35);

/// How long to wait at once where nothing is due.
const LONG: Micros = Micros::from_secs(3_600);

/// Ports that simulated software is given, from here on.
const FIRST_PORT: u16 = 40_000;

/// One run of simulated software.
#[derive(Debug)]
struct Running {
    launch: Launch,
    at: Micros,
    ports: Vec<(String, u16)>,
    ended: Option<Ended>,
    is_over: Arc<Notify>,
    /// Nothing runs behind this moment.
    guarded: Option<Micros>,
}

impl Running {
    /// How it ended by now. A guard needs no agent: what it ends has ended whether or not anybody looked.
    fn ended_by(&mut self, now: Micros) -> Option<Ended> {
        if let (None, Some(at)) = (self.ended, self.guarded.filter(|at| *at <= now)) {
            self.end(at, 9, true);
        }
        self.ended
    }

    fn end(&mut self, at: Micros, signal: i32, expired: bool) {
        let (epoch, started) = (self.launch.epoch, self.at);
        let cpu = Some(used(started, at));
        self.ended = Some(Ended { exit: Exit::Signal(signal), epoch, started, at, cpu, expired });
        self.is_over.notify_one();
    }
}

#[derive(Debug, Default)]
struct Inside {
    records: BTreeMap<String, Vec<u8>>,
    chunks: BTreeMap<Digest, BTreeMap<usize, Vec<u8>>>,
    files: BTreeMap<Digest, Vec<u8>>,
    running: BTreeMap<AssignmentId, Running>,
    guards: BTreeMap<AssignmentId, Micros>,
    states: BTreeMap<AssignmentId, Vec<u8>>,
    /// The attempt that each sealed state was sealed in.
    sealed: BTreeMap<AssignmentId, u64>,
    starts: Vec<(Micros, AssignmentId)>,
}

/// A simulated computer.
#[derive(Debug)]
pub(crate) struct Machine {
    name: String,
    number: u8,
    inside: Mutex<Inside>,
}

impl Machine {
    /// A new computer with nothing on it.
    pub(crate) fn new(name: &str, number: u8) -> Self {
        Self { name: name.to_owned(), number, inside: Mutex::default() }
    }

    /// Every start of software so far, with its time.
    pub(crate) fn starts(&self) -> Vec<(Micros, AssignmentId)> {
        self.inside().starts.clone()
    }

    /// How many pieces of software run.
    pub(crate) fn running(&self) -> usize {
        let now = SimulatedClock::default().boot();
        self.inside().running.values_mut().filter_map(|r| r.ended_by(now).is_none().then_some(())).count()
    }

    /// What the software of an assignment has written.
    pub(crate) fn state(&self, assignment: AssignmentId) -> Vec<u8> {
        self.inside().states.get(&assignment).cloned().unwrap_or_default()
    }

    pub(crate) fn set_state(&self, assignment: AssignmentId, bytes: Vec<u8>) {
        self.inside().states.insert(assignment, bytes);
    }

    pub(crate) fn is_sealed(&self, assignment: AssignmentId, attempt: u64) -> bool {
        self.inside().sealed.get(&assignment) == Some(&attempt)
    }

    /// A state is sealed in an attempt, or not any more.
    pub(crate) fn seal(&self, assignment: AssignmentId, attempt: Option<u64>) {
        let mut inside = self.inside();
        match attempt {
            Some(attempt) => inside.sealed.insert(assignment, attempt),
            None => inside.sealed.remove(&assignment),
        };
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Disk for Machine {
    fn read(&self, key: &str) -> Result<Option<Loaded>, DiskError> {
        Ok(self.inside().records.get(key).map(|bytes| Loaded { bytes: bytes.clone(), previous: false }))
    }

    fn write(&self, key: &str, bytes: &[u8]) -> Result<(), DiskError> {
        self.inside().records.insert(key.to_owned(), bytes.to_owned());
        Ok(())
    }

    fn remove(&self, key: &str) -> Result<(), DiskError> {
        self.inside().records.remove(key);
        Ok(())
    }

    fn keys(&self, prefix: &str) -> Result<Vec<String>, DiskError> {
        Ok(self.inside().records.keys().filter(|k| k.starts_with(prefix)).cloned().collect())
    }
}

#[async_trait]
impl Depot for Machine {
    fn ready(&self, digest: Digest, _: Kind) -> bool {
        self.inside().files.contains_key(&digest)
    }

    fn room(&self, _: u64, _: Kind) -> Result<(), DepotError> {
        Ok(())
    }

    async fn chunks(&self, manifest: &Manifest) -> Result<Vec<bool>, DepotError> {
        let inside = self.inside();
        let here = inside.chunks.get(&manifest.digest);
        Ok((0..manifest.chunks.len()).map(|i| here.is_some_and(|h| h.contains_key(&i))).collect())
    }

    async fn put(&self, manifest: &Manifest, index: usize, bytes: Vec<u8>) -> Result<(), DepotError> {
        self.inside().chunks.entry(manifest.digest).or_default().insert(index, bytes);
        Ok(())
    }

    async fn finish(&self, manifest: &Manifest, _: Kind) -> Result<(), DepotError> {
        let mut inside = self.inside();
        let chunks = inside.chunks.remove(&manifest.digest).unwrap_or_default();
        let whole: Vec<u8> = chunks.into_values().flatten().collect();
        if *blake3::hash(&whole).as_bytes() != manifest.digest.0 {
            return Err(DepotError::Refused("what was fetched is not what was promised".to_owned()));
        }
        inside.files.insert(manifest.digest, whole);
        Ok(())
    }

    async fn keep(&self, needed: &BTreeSet<Digest>) {
        self.inside().files.retain(|digest, _| needed.contains(digest));
    }
}

#[async_trait]
impl Driver for Machine {
    async fn start(&self, launch: &Launch) -> Result<Started, StartError> {
        let at = SimulatedClock::default().boot();
        let mut inside = self.inside();
        let runs_already = inside.running.get_mut(&launch.assignment).is_some_and(|r| r.ended_by(at).is_none());
        assert!(!runs_already, "{} is started while it runs", launch.assignment);
        let mut next = FIRST_PORT + u16::try_from(inside.starts.len()).unwrap_or(0) * 8;
        let ports: Vec<_> = launch
            .spec
            .ports
            .iter()
            .map(|port| {
                next += 1;
                let kept = launch.ports.iter().find(|(name, _)| *name == port.name);
                (port.name.clone(), kept.map_or(next, |(_, number)| *number))
            })
            .collect();
        inside.starts.push((at, launch.assignment));
        let guarded = inside.guards.get(&launch.assignment).copied();
        let run =
            Running { launch: launch.clone(), at, ports: ports.clone(), ended: None, is_over: Arc::default(), guarded };
        inside.running.insert(launch.assignment, run);
        Ok(Started { ports, at, note: String::new() })
    }

    async fn adopt(&self, assignment: AssignmentId) -> Found {
        let now = SimulatedClock::default().boot();
        let mut inside = self.inside();
        let Some(run) = inside.running.get_mut(&assignment) else { return Found::Nothing };
        match run.ended_by(now) {
            Some(ended) => Found::Ended(ended),
            None => Found::Running(Box::new(Adopted {
                launch: run.launch.clone(),
                ports: run.ports.clone(),
                at: run.at,
                guarded: run.guarded,
            })),
        }
    }

    async fn wait(&self, assignment: AssignmentId) -> Ended {
        loop {
            let now = SimulatedClock::default().boot();
            let (is_over, guarded) = match self.inside().running.get_mut(&assignment) {
                Some(run) => match run.ended_by(now) {
                    Some(ended) => return ended,
                    None => (run.is_over.clone(), run.guarded),
                },
                None => (Arc::default(), None),
            };
            let left = guarded.map_or(LONG, |at| Micros(at.0 - now.0));
            // Ended, or its guard is due: whichever is first.
            let _ = tokio::time::timeout(left.to_std(), is_over.notified()).await;
        }
    }

    fn signal(&self, assignment: AssignmentId, signal: Signal) {
        let now = SimulatedClock::default().boot();
        let mut inside = self.inside();
        let Some(run) = inside.running.get_mut(&assignment) else { return };
        if run.ended_by(now).is_none() {
            run.end(now, if signal == Signal::Kill { 9 } else { 15 }, false);
        }
    }

    fn guard(&self, assignment: AssignmentId, until: Option<Micros>) -> io::Result<()> {
        let now = SimulatedClock::default().boot();
        let mut inside = self.inside();
        match until {
            Some(until) => inside.guards.insert(assignment, until),
            None => inside.guards.remove(&assignment),
        };
        // What was due before it was told otherwise is over all the same.
        if let Some(run) = inside.running.get_mut(&assignment).filter(|r| r.ended.is_none()) {
            run.ended_by(now);
            run.guarded = until;
        }
        Ok(())
    }

    async fn check(&self, assignment: AssignmentId, _: &workload::Probe) -> bool {
        let now = SimulatedClock::default().boot();
        let mut inside = self.inside();
        let run = inside.running.get_mut(&assignment);
        run.is_some_and(|r| r.ended_by(now).is_none() && now.0 - r.at.0 >= WARM_UP.0)
    }

    fn measure(&self, assignment: AssignmentId) -> Option<Measure> {
        let now = SimulatedClock::default().boot();
        let mut inside = self.inside();
        let run = inside.running.get_mut(&assignment)?;
        run.ended_by(now).is_none().then(|| Measure { cpu: used(run.at, now), memory: Bytes(32 << 20) })
    }
}

/// Simulated software uses a tenth of a core.
fn used(from: Micros, to: Micros) -> Micros {
    Micros((to.0 - from.0) / 10)
}

#[async_trait]
impl Workspace for Machine {
    async fn collect(&self, _: AssignmentId, _: &[String]) -> Collected {
        Collected::default()
    }

    async fn read_output(&self, _: AssignmentId, _: &str, _: u64, _: usize) -> io::Result<Vec<u8>> {
        Ok(Vec::new())
    }

    async fn read_log(&self, _: AssignmentId, _: LogStream, _: Option<u64>, _: usize) -> io::Result<LogPart> {
        Ok(LogPart::default())
    }

    async fn wipe(&self, assignment: AssignmentId) -> io::Result<()> {
        let mut inside = self.inside();
        inside.running.remove(&assignment);
        inside.states.remove(&assignment);
        Ok(())
    }
}

#[async_trait]
impl Probe for Machine {
    fn boot_id(&self) -> [u8; 16] {
        [self.number; 16]
    }

    fn readings(&self) -> Readings {
        Readings {
            cpu_permille: 20,
            memory_used_mib: 700,
            temperature_c: -1,
            battery_percent: -1,
            ..Readings::default()
        }
    }

    async fn inventory(&self) -> HostInventory {
        HostInventory {
            host_name: self.name.clone(),
            cpu: inventory::Cpu { model: "simulated".to_owned(), cores: 4, mhz: 2_000 },
            memory: Bytes(8 << 30),
            os: std::env::consts::OS.to_owned(),
            architecture: std::env::consts::ARCH.to_owned(),
            boot_id: self.boot_id(),
            drivers: vec![inventory::Driver {
                kind: DriverKind::Process,
                limits_cpu: true,
                limits_memory: true,
                limits_pids: true,
                note: String::new(),
            }],
            offered: Offered { cpu: MilliCpu(4_000), memory: Bytes(8 << 30), disk: Bytes(64 << 30) },
            ..HostInventory::default()
        }
    }
}
