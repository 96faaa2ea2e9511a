//! The process driver: a program started directly, under a small supervisor that outlives the agent.
//!
//! A task starts in `{work}`; a service in `{state}` if it keeps state, else in `{work}`.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use chandler_protocol::command::LogStream;
use chandler_protocol::state::Exit;
use chandler_protocol::text::{is_inner_path, is_name};
use chandler_protocol::workload::{Probe, Software, WorkloadKind, WorkloadSpec};
use chandler_protocol::world::Clock;
use chandler_protocol::{AssignmentId, Micros};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;

use super::substitute::Words;
use super::{
    Adopted, Collected, Driver, Ended, Found, Launch, Layout, LogPart, Measure, Ports, Signal, StartError, Started,
    Workspace, check, files, ports,
};
use crate::fronts::Fronts;
use crate::platform::{Limiter, ProcessHandle, kill_marked, signal_group, tree_usage};
use crate::shim::record::{self, ExitRecord, ExpiredRecord, LeaseRecord, MARK, Order, Report, RunRecord};
use crate::shim::{self};
use crate::sync::lock;

/// How long a supervisor may take to say whether the program runs.
const START_TIMEOUT: Duration = Duration::from_secs(10);
/// Microseconds in a second.
const SECOND: i64 = 1_000_000;
/// How long a supervisor that holds the lock may take to write down what it runs.
const RECORD_TIMEOUT: Duration = Duration::from_secs(2);
/// Longest line a supervisor may say.
const REPORT_MAX: u64 = 8 << 10;
/// After so many looks for what is left of a run it is said that something cannot be ended, and looked for more slowly.
const SWEEPS: u32 = 200;
const SWEEP_PAUSE: Duration = Duration::from_millis(10);
const SWEEP_PAUSE_LONG: Duration = Duration::from_secs(1);
/// The variable that tells a program how many seconds it has until it is moved.
const MOVE_IN: &str = shim::MOVE_IN;
/// What is inherited from the agent's environment.
const INHERITED: [&str; 3] = ["PATH", "LANG", "TZ"];

/// Starts programs directly.
pub struct ProcessDriver {
    layout: Layout,
    shim: Vec<OsString>,
    limiter: Limiter,
    clock: Arc<dyn Clock>,
    fronts: Fronts,
    boot_id: [u8; 16],
    instances: Mutex<BTreeMap<AssignmentId, Instance>>,
}

impl std::fmt::Debug for ProcessDriver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProcessDriver").field("layout", &self.layout).finish_non_exhaustive()
    }
}

/// An assignment that was started or adopted here.
#[derive(Debug)]
struct Instance {
    run: Option<RunRecord>,
    epoch: u64,
    ports: Ports,
    /// The supervisor, when this agent started it: it must be waited for.
    child: Option<Child>,
}

impl ProcessDriver {
    /// A driver for the data directory of `layout`; `shim` starts this program again as a supervisor.
    ///
    /// # Errors
    /// The directory for assignments cannot be made.
    pub fn new(layout: Layout, shim: Vec<OsString>, limiter: Limiter, clock: Arc<dyn Clock>) -> io::Result<Self> {
        crate::disk::private_dir(&layout.assignments())?;
        let boot_id = crate::platform::boot_id();
        let (fronts, instances) = (Fronts::default(), Mutex::new(BTreeMap::new()));
        Ok(Self { layout, shim, limiter, clock, fronts, boot_id, instances })
    }

    /// Where the services that programs use are found.
    #[must_use]
    pub fn with_fronts(self, fronts: Fronts) -> Self {
        Self { fronts, ..self }
    }

    /// Makes directories, chooses ports, replaces words: everything but starting.
    fn prepare(&self, launch: &Launch) -> Result<(Order, String), StartError> {
        let (id, spec) = (launch.assignment, &launch.spec);
        validate(spec)?;
        let (work, state) = (self.layout.work(id), self.state_dir(id, spec));
        if launch.fresh && work.exists() {
            files::remove_tree(&work).map_err(|e| on_disk(&work, &e))?;
        }
        for dir in [&work, &state, &self.layout.log(id), &self.layout.run(id)] {
            fs::create_dir_all(dir).map_err(|e| on_disk(dir, &e))?;
        }
        let taken: BTreeSet<u16> = lock(&self.instances)
            .iter()
            .filter(|(other, _)| **other != id)
            .flat_map(|(_, i)| i.ports.iter().map(|(_, n)| *n))
            .collect();
        let ports = ports::choose(&spec.ports, &launch.ports, &taken).map_err(StartError::Temporary)?;
        let directory = if spec.kind == WorkloadKind::Service && spec.state.is_some() { &state } else { &work };
        let directory = text(directory)?;
        let command = self.command(launch, &ports)?;
        let environment = self.environment(launch, &ports)?;
        let (groups, note) = self
            .limiter
            .create(id, &spec.limits)
            .map_err(|e| StartError::Temporary(format!("its limits cannot be set: {e}")))?;
        let groups = groups.iter().map(|g| text(g)).collect::<Result<_, _>>()?;
        let log = text(&self.layout.log(id))?;
        Ok((Order { launch: launch.clone(), ports, command, environment, directory, log, groups }, note))
    }

    fn state_dir(&self, id: AssignmentId, spec: &WorkloadSpec) -> PathBuf {
        let state = self.layout.state(id);
        spec.state.as_ref().map_or(state.clone(), |s| state.join(&s.path))
    }

    fn command(&self, launch: &Launch, ports: &Ports) -> Result<Vec<String>, StartError> {
        self.resolve(&launch.spec.command, launch, ports)
    }

    /// `command` with words replaced and a program inside the artifact found.
    fn resolve(&self, command: &[String], launch: &Launch, ports: &Ports) -> Result<Vec<String>, StartError> {
        let (id, spec) = (launch.assignment, &launch.spec);
        let (state, work) = (text(&self.state_dir(id, spec))?, text(&self.layout.work(id))?);
        let words = Words { ports, state: &state, work: &work, fronts: &self.fronts };
        let mut command = words.replace_all(command).map_err(StartError::Unsupported)?;
        let program = command.first_mut().ok_or_else(|| StartError::Unsupported("the command is empty".into()))?;
        if let (Some(inner), Software::Artifact { digest, .. }) = (program.strip_prefix("./"), &spec.software) {
            if !is_inner_path(inner) {
                return Err(StartError::Unsupported(format!("{program} is not inside the artifact")));
            }
            *program = text(&self.layout.artifact(*digest).join(inner))?;
        }
        Ok(command)
    }

    fn environment(&self, launch: &Launch, ports: &Ports) -> Result<Vec<(String, String)>, StartError> {
        let (id, spec) = (launch.assignment, &launch.spec);
        let (state, work) = (text(&self.state_dir(id, spec))?, text(&self.layout.work(id))?);
        let words = Words { ports, state: &state, work: &work, fronts: &self.fronts };
        let mut environment: BTreeMap<String, String> = BTreeMap::new();
        for name in INHERITED {
            if let Ok(value) = std::env::var(name) {
                environment.insert(name.to_owned(), value);
            }
        }
        for (name, number) in ports {
            environment.insert(port_variable(name), number.to_string());
        }
        for (name, value) in &spec.environment {
            if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
                return Err(StartError::Unsupported(format!("{name:?} cannot be set in an environment")));
            }
            environment.insert(name.clone(), words.replace(value).map_err(StartError::Unsupported)?);
        }
        environment.insert(MARK.to_owned(), text(&self.layout.run(id))?);
        Ok(environment.into_iter().collect())
    }

    async fn place_inputs(&self, launch: &Launch) -> Result<(), StartError> {
        if launch.spec.inputs.is_empty() {
            return Ok(());
        }
        let (layout, work) = (self.layout.clone(), self.layout.work(launch.assignment));
        let (inputs, at) = (launch.spec.inputs.clone(), work.clone());
        let placed = tokio::task::spawn_blocking(move || files::place_inputs(&layout, &work, &inputs)).await;
        placed.map_err(|e| StartError::Temporary(e.to_string()))?.map_err(|e| on_disk(&at, &e))
    }

    /// Starts the supervisor and waits for its word.
    async fn spawn(&self, run: &Path) -> Result<Child, StartError> {
        let temporary = |e: io::Error| StartError::Temporary(format!("its supervisor cannot be started: {e}"));
        let (program, arguments) =
            self.shim.split_first().ok_or_else(|| StartError::Unsupported("no supervisor is known".into()))?;
        let mut child = Command::new(program)
            .args(arguments)
            .arg(run)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(temporary)?;
        let Some(output) = child.stdout.take() else { return Err(temporary(io::ErrorKind::BrokenPipe.into())) };
        let said = async {
            let receiver = pipe::Receiver::from_owned_fd(OwnedFd::from(output))?;
            let mut line = String::new();
            let mut receiver = receiver.take(REPORT_MAX);
            // The supervisor keeps its end open, so the end of the line is what is waited for.
            while !line.ends_with('\n') {
                let mut bytes = [0; 512];
                match receiver.read(&mut bytes).await? {
                    0 => break,
                    n => line.push_str(&String::from_utf8_lossy(&bytes[..n])),
                }
            }
            Ok::<_, io::Error>(line)
        };
        let said = tokio::time::timeout(START_TIMEOUT, said).await;
        let report = said.ok().and_then(Result::ok).and_then(|line| Report::from_line(&line));
        if report == Some(Report::Running) {
            return Ok(child);
        }
        // It says why and ends by itself; one that says nothing is ended, and its program with it.
        if report.is_none() {
            let _ = child.kill();
        }
        let _ = child.wait();
        match report {
            Some(Report::Failed(why)) => Err(StartError::Failed(why)),
            Some(Report::Again(why)) => Err(StartError::Temporary(why)),
            _ => Err(StartError::Temporary("its supervisor did not say that the program runs".into())),
        }
    }

    /// The order of the present or last run.
    fn order(&self, id: AssignmentId) -> Option<Order> {
        record::read(&self.layout.run(id).join(record::ORDER))
    }

    fn exit_record(&self, id: AssignmentId) -> Option<ExitRecord> {
        record::read::<ExitRecord>(&self.layout.run(id).join(record::EXIT)).filter(|e| e.boot_id == self.boot_id)
    }

    fn end_of(&self, id: AssignmentId, epoch: u64, started: Option<RunRecord>) -> Ended {
        let now = self.clock.boot();
        let expired: Option<ExpiredRecord> = record::read(&self.layout.run(id).join(record::EXPIRED));
        let is_expired = |at: Micros| expired.is_some_and(|e| e.boot_id == self.boot_id && e.started == at);
        match self.exit_record(id) {
            Some(e) => {
                let expired = is_expired(e.started);
                Ended { exit: e.exit, epoch, started: e.started, at: e.ended, cpu: e.cpu, expired }
            }
            None => {
                let at = started.map_or(now, |s| s.started);
                Ended { exit: Exit::Unknown, epoch, started: at, at: now, cpu: None, expired: is_expired(at) }
            }
        }
    }

    /// Ends whatever is left of a run whose supervisor has ended: what a supervisor that died or gave up left running,
    /// and what health checks, which are not below it, left behind. It does not give up: what may still write is not over.
    async fn sweep(&self, id: AssignmentId, run: Option<&RunRecord>) {
        if let Some(run) = run.filter(|r| r.boot_id == self.boot_id) {
            signal_group(run.program, Signal::Kill);
        }
        let mark = format!("{MARK}={}", self.layout.run(id).display());
        for sweep in 1_u32.. {
            let found = self.limiter.kill(id) + kill_marked(&mark).await;
            match (found, sweep) {
                (0, _) => return,
                (_, 1) => tracing::warn!(%id, found, "what was left of a run is ended"),
                (_, SWEEPS) => tracing::error!(%id, "something of a run that has ended goes on and cannot be ended"),
                _ => {}
            }
            tokio::time::sleep(if sweep < SWEEPS { SWEEP_PAUSE } else { SWEEP_PAUSE_LONG }).await;
        }
    }

    /// When the guard of an assignment ends it.
    fn guarded(&self, id: AssignmentId) -> Option<Micros> {
        let record: LeaseRecord = record::read(&self.layout.run(id).join(record::LEASE))?;
        record.until.filter(|_| record.boot_id == self.boot_id)
    }

    /// Asks a program or an address of a run that goes on; `moving`: the seconds until it is moved.
    async fn ask(&self, id: AssignmentId, probe: &Probe, moving: Option<i64>) -> bool {
        let (run, ports) = lock(&self.instances).get(&id).map(|i| (i.run, i.ports.clone())).unwrap_or_default();
        let number = |name: &String| ports.iter().find(|(n, _)| n == name).map(|(_, number)| *number);
        match probe {
            Probe::Tcp { port } => match number(port) {
                Some(number) => check::tcp(number).await,
                None => false,
            },
            Probe::Http { port, path } => match number(port) {
                Some(number) => check::http(number, &with_seconds(path, moving)).await,
                None => false,
            },
            Probe::Exec { command } => {
                // Nothing is begun any more once a run has ended: it would escape the search for survivors.
                if !run.is_some_and(|r| r.shim.is_alive()) {
                    return false;
                }
                let Some(mut program) = self.probe(id, command, &ports) else { return false };
                if let Some(seconds) = moving {
                    program.env(MOVE_IN, seconds.to_string());
                }
                check::exec(&mut program).await
            }
        }
    }

    /// A program that asks whether a run is well, in the control groups of the run.
    fn probe(&self, id: AssignmentId, command: &[String], ports: &Ports) -> Option<Command> {
        let order = self.order(id)?;
        let command = self.resolve(command, &order.launch, ports).ok()?;
        let mut program = Command::new(&command[0]);
        program.args(&command[1..]).env_clear().envs(order.environment).current_dir(order.directory);
        if order.groups.is_empty() {
            return Some(program);
        }
        // Entering a group before the program begins takes a program of ours; it carries the mark from the start.
        let run = self.layout.run(id);
        let (ours, arguments) = self.shim.split_first()?;
        let mut program = Command::new(ours);
        program.args(arguments).arg(&run).args(command).env_clear().env(MARK, &run).current_dir("/");
        Some(program)
    }

    /// The record of a supervisor that lives; one that was just started may not have written it yet.
    async fn live_record(&self, dir: &Path) -> Option<RunRecord> {
        let deadline = tokio::time::Instant::now() + RECORD_TIMEOUT;
        while record::is_locked(dir) {
            let found = record::read::<RunRecord>(&dir.join(record::RUN));
            if let Some(run) = found.filter(|r| r.boot_id == self.boot_id && r.shim.is_alive()) {
                return Some(run);
            }
            if tokio::time::Instant::now() >= deadline {
                return None;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        None
    }
}

#[async_trait]
impl Driver for ProcessDriver {
    async fn start(&self, launch: &Launch) -> Result<Started, StartError> {
        let id = launch.assignment;
        let run = self.layout.run(id);
        if record::is_locked(&run) {
            return Err(StartError::Temporary("its previous run has not ended yet".into()));
        }
        let (order, note) = self.prepare(launch)?;
        self.place_inputs(launch).await?;
        for name in [record::RUN, record::EXIT, record::EXPIRED] {
            match fs::remove_file(run.join(name)) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(on_disk(&run, &e)),
                _ => {}
            }
        }
        record::write(&run.join(record::ORDER), &order).map_err(|e| on_disk(&run, &e))?;
        let instance = Instance { run: None, epoch: launch.epoch, ports: order.ports.clone(), child: None };
        lock(&self.instances).insert(id, instance);
        let child = match self.spawn(&run).await {
            Ok(child) => child,
            Err(error) => {
                lock(&self.instances).remove(&id);
                self.sweep(id, record::read(&run.join(record::RUN)).as_ref()).await;
                self.limiter.remove(id);
                return Err(error);
            }
        };
        let record: Option<RunRecord> = record::read(&run.join(record::RUN));
        if let Some(instance) = lock(&self.instances).get_mut(&id) {
            instance.run = record;
            instance.child = Some(child);
        }
        let at = record.map_or_else(|| self.clock.boot(), |r| r.started);
        Ok(Started { ports: order.ports, at, note })
    }

    async fn adopt(&self, id: AssignmentId) -> Found {
        let run = self.layout.run(id);
        let Some(order) = self.order(id) else { return Found::Nothing };
        if let Some(live) = self.live_record(&run).await {
            let (epoch, ports) = (order.launch.epoch, order.ports.clone());
            let instance = Instance { run: Some(live), epoch, ports: ports.clone(), child: None };
            lock(&self.instances).insert(id, instance);
            let (launch, guarded) = (order.launch, self.guarded(id));
            return Found::Running(Box::new(Adopted { launch, ports, at: live.started, guarded }));
        }
        let last = record::read::<RunRecord>(&run.join(record::RUN)).filter(|r| r.boot_id == self.boot_id);
        let ended = self.exit_record(id);
        self.sweep(id, last.as_ref()).await;
        self.limiter.remove(id);
        match (ended, last) {
            (None, None) => Found::Nothing,
            (_, last) => Found::Ended(self.end_of(id, order.launch.epoch, last)),
        }
    }

    async fn wait(&self, id: AssignmentId) -> Ended {
        let (run, epoch) = lock(&self.instances).get(&id).map_or((None, 0), |instance| (instance.run, instance.epoch));
        if let Some(run) = run
            && let Some(handle) = ProcessHandle::of_id(run.shim)
        {
            handle.ended().await;
        }
        self.sweep(id, run.as_ref()).await;
        if let Some(mut instance) = lock(&self.instances).remove(&id)
            && let Some(child) = &mut instance.child
        {
            // It has ended, so this does not block; it only takes the entry out of the process table.
            let _ = child.wait();
        }
        self.limiter.remove(id);
        self.end_of(id, epoch, run)
    }

    fn signal(&self, id: AssignmentId, signal: Signal) {
        let run = lock(&self.instances).get(&id).and_then(|i| i.run);
        if let Some(run) = run {
            signal_group(run.program, signal);
        }
    }

    fn guard(&self, id: AssignmentId, until: Option<Micros>) -> io::Result<()> {
        let run = self.layout.run(id);
        // Nothing that was never guarded needs a file that says so.
        if until.is_none() && !run.join(record::LEASE).exists() {
            return Ok(());
        }
        fs::create_dir_all(&run)?;
        record::write(&run.join(record::LEASE), &LeaseRecord { boot_id: self.boot_id, until })?;
        // It looks by itself when its deadline passes; an earlier one it must be told.
        shim::tell_to_look(&run);
        Ok(())
    }

    async fn check(&self, id: AssignmentId, probe: &Probe) -> bool {
        self.ask(id, probe, None).await
    }

    async fn tell(&self, id: AssignmentId, probe: &Probe, within: Micros) -> bool {
        let seconds = within.0.saturating_add(SECOND - 1) / SECOND;
        self.ask(id, probe, Some(seconds.max(0))).await
    }

    fn measure(&self, id: AssignmentId) -> Option<Measure> {
        let run = lock(&self.instances).get(&id)?.run?;
        let tree = tree_usage(run.shim.pid).filter(|_| run.shim.is_alive())?;
        Some(Measure { cpu: self.limiter.cpu(id).unwrap_or(tree.cpu), memory: tree.memory })
    }
}

#[async_trait]
impl Workspace for ProcessDriver {
    async fn collect(&self, id: AssignmentId, outputs: &[String]) -> Collected {
        let (work, log, outputs) = (self.layout.work(id), self.layout.log(id), outputs.to_vec());
        tokio::task::spawn_blocking(move || files::collect(&work, &log, &outputs)).await.unwrap_or_default()
    }

    async fn read_output(&self, id: AssignmentId, path: &str, offset: u64, limit: usize) -> io::Result<Vec<u8>> {
        files::read(&self.layout.work(id), &self.layout.log(id), path, offset, limit)
    }

    async fn read_log(
        &self,
        id: AssignmentId,
        stream: LogStream,
        offset: Option<u64>,
        limit: usize,
    ) -> io::Result<LogPart> {
        let name = match stream {
            LogStream::Stdout => shim::log::STDOUT,
            LogStream::Stderr => shim::log::STDERR,
        };
        shim::log::read(&self.layout.log(id), name, offset, limit)
    }

    async fn wipe(&self, id: AssignmentId) -> io::Result<()> {
        let dir = self.layout.assignment(id);
        let wiped = tokio::task::spawn_blocking(move || files::remove_tree(&dir)).await;
        match wiped.map_err(io::Error::other)? {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        }
    }
}

/// Whether what came over the wire may become paths and variables.
fn validate(spec: &WorkloadSpec) -> Result<(), StartError> {
    let refuse = |what: String| Err(StartError::Unsupported(what));
    if let Some(bad) = spec.ports.iter().find(|p| !is_name(&p.name)) {
        return refuse(format!("{:?} cannot name a port", bad.name));
    }
    if let Some(state) = spec.state.as_ref().filter(|s| !is_inner_path(&s.path)) {
        return refuse(format!("{:?} cannot name a state directory", state.path));
    }
    if let Some(bad) = spec.inputs.iter().find(|i| !is_inner_path(&i.path)) {
        return refuse(format!("{:?} is not a path inside the working directory", bad.path));
    }
    if spec.command.iter().any(|c| c.contains('\0')) {
        return refuse("the command holds a zero byte".into());
    }
    if let Software::Installed { path, .. } = &spec.software
        && !is_executable(Path::new(path))
    {
        return refuse(format!("{path} is not a program on this computer"));
    }
    Ok(())
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.is_absolute() && fs::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

/// `PORT_` and the name in upper case, with what a variable's name may not hold replaced.
fn port_variable(name: &str) -> String {
    let name: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect();
    format!("PORT_{name}")
}

/// The path of a URL with `in=SECONDS` added to its query.
fn with_seconds(path: &str, seconds: Option<i64>) -> String {
    match seconds {
        None => path.to_owned(),
        Some(seconds) => format!("{path}{}in={seconds}", if path.contains('?') { '&' } else { '?' }),
    }
}

fn text(path: &Path) -> Result<String, StartError> {
    path.to_str()
        .map(str::to_owned)
        .ok_or_else(|| StartError::Unsupported("the data directory's path is not UTF-8".into()))
}

fn on_disk(path: &Path, error: &io::Error) -> StartError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            StartError::DiskFull(format!("no space on {}", path.display()))
        }
        _ => StartError::Temporary(format!("{}: {error}", path.display())),
    }
}
