//! One assignment's life on this computer: asks the planner what is next and does it, for ever.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use chandler_protocol::state::{Assignment, Exit, Failure, Health, ObservedAssignment, OutputFile, Phase, Target};
use chandler_protocol::workload::{Software, WorkloadKind, WorkloadSpec};
use chandler_protocol::{AssignmentId, Micros};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::agent::Shared;
use crate::artifact::Kind;
use crate::artifact::fetch::Wanted;
use crate::disk;
use crate::driver::{Ended, Found, Launch, Ports};
use crate::health::{Look, Tracker};
use crate::reconcile::{self, Local, Step};
use crate::sync::lock;

mod act;
mod hand_over;
mod own;
mod owner;
mod watch_run;

/// Under which name records are kept.
const RECORD: &str = "assignment.";
/// How long a supervisor that panicked stays down before it is started again.
const AGAIN: Duration = Duration::from_secs(1);

/// What must survive the agent about one assignment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    /// The epoch that was last acted upon.
    epoch: u64,
    /// Ports it keeps.
    ports: Ports,
    /// How often it was started.
    starts: u32,
    /// When the last run began, by the clock of its boot.
    started: Micros,
    /// How often it ended by itself in a row.
    failures: u32,
    /// How a task ended under this epoch.
    ended: Option<Exit>,
    /// Its results, once they are collected.
    outputs: Option<Vec<OutputFile>>,
    /// What a person should know about the results.
    note: String,
    /// Its files are gone.
    wiped: bool,
}

/// Supervises one assignment until nobody orders it any more; a panic costs a second, not the assignment.
pub(crate) async fn keep(shared: Arc<Shared>, id: AssignmentId, orders: watch::Receiver<Assignment>) {
    loop {
        let mut alone = tokio::task::JoinSet::new();
        alone.spawn(supervise(shared.clone(), id, orders.clone()));
        match alone.join_next().await {
            Some(Err(error)) if error.is_panic() => {
                tracing::error!(%id, %error, "the supervision of an assignment failed; it is taken up again");
                tokio::time::sleep(AGAIN).await;
            }
            _ => return,
        }
    }
}

async fn supervise(shared: Arc<Shared>, id: AssignmentId, orders: watch::Receiver<Assignment>) {
    let mut supervisor = Supervisor::load(shared, id, orders).await;
    while supervisor.step().await.is_some() {}
}

struct Supervisor {
    shared: Arc<Shared>,
    id: AssignmentId,
    orders: watch::Receiver<Assignment>,
    /// The newest order.
    wanted: Assignment,
    record: Record,
    local: Local,
    /// The run that goes on, if any.
    run: Option<Run>,
    /// It was asked to end: nobody is to connect any more.
    is_ending: bool,
    /// A run that ended and is not accounted for yet.
    unaccounted: Option<Ended>,
    /// The epoch that the last run was accounted under.
    ended_epoch: u64,
    /// What concerns its state.
    keeping: own::Keeping,
    /// Tries of the present step that failed in a row.
    tries: u32,
    /// The last try failed only because no controller is connected.
    is_offline: bool,
}

/// A run that goes on.
struct Run {
    epoch: u64,
    /// The epoch it was started under.
    since: u64,
    started: Micros,
    tracker: Tracker,
    /// What a person should know about it.
    note: String,
}

/// Nobody orders this assignment any more.
struct Gone;

impl Supervisor {
    /// Takes up what an earlier agent left: what runs is adopted, never restarted.
    async fn load(shared: Arc<Shared>, id: AssignmentId, mut orders: watch::Receiver<Assignment>) -> Self {
        let record = match disk::load::<Record>(shared.world.disk.as_ref(), &format!("{RECORD}{id}")) {
            Ok(record) => record.unwrap_or_default(),
            Err(error) => {
                tracing::error!(%id, %error, "what was kept of an assignment cannot be read; it is found out anew");
                Record::default()
            }
        };
        let wanted = orders.borrow_and_update().clone();
        let local =
            Local { ended: record.ended, collected: record.outputs.is_some(), wiped: record.wiped, ..Local::default() };
        let mut supervisor = Self {
            shared,
            id,
            orders,
            wanted,
            record,
            local,
            run: None,
            is_ending: false,
            unaccounted: None,
            ended_epoch: 0,
            keeping: own::Keeping::default(),
            tries: 0,
            is_offline: false,
        };
        supervisor.load_custody();
        supervisor.adopt().await;
        supervisor
    }

    async fn adopt(&mut self) {
        let now = self.now();
        match self.shared.world.driver.adopt(self.id).await {
            Found::Running(found) => {
                let before = lock(&self.shared.journal).begin(self.id, found.launch.epoch, found.at);
                let (since, spec) = (found.launch.epoch, found.launch.spec);
                self.adopt_lease(found.guarded);
                let check = spec.health.clone();
                self.use_artifact(Some(&spec));
                if self.record.started != found.at {
                    // Started, and the agent ended before it could write that down.
                    self.record.starts = self.record.starts.saturating_add(1);
                    self.record.started = found.at;
                    self.record.epoch = found.launch.epoch;
                    self.record.ended = None;
                    self.record.outputs = None;
                }
                self.record.ports = found.ports;
                (self.local.ended, self.local.collected) = (None, false);
                let tracker = Tracker::new(check, found.at, before, now);
                self.run =
                    Some(Run { epoch: self.record.epoch, since, started: found.at, tracker, note: String::new() });
                self.local.running = Some(spec);
                self.shared.board.update(self.id, |o| o.health = before);
            }
            Found::Ended(ended) => self.take_up_end(&ended),
            // The machine was off, or it never ran: the planner starts it when it shall run.
            Found::Nothing => {}
        }
        self.show_record();
    }

    /// It ended while no agent looked.
    fn take_up_end(&mut self, ended: &Ended) {
        self.keeping.is_expired = ended.expired;
        lock(&self.shared.journal).close(self.id, ended.epoch, ended.started, ended.at, ended.cpu);
        self.shared.save_journal();
        let is_present = ended.epoch == self.wanted.epoch
            || (self.record.epoch == self.wanted.epoch && self.record.started == ended.started);
        // A task that ended nobody knows how has not completed: it runs again.
        let is_result = self.wanted.spec.kind == WorkloadKind::Task && ended.exit != Exit::Unknown;
        if is_result && is_present && self.record.ended.is_none() {
            self.record.epoch = self.wanted.epoch;
            self.record.ended = Some(ended.exit);
            self.local.ended = Some(ended.exit);
            self.save();
        }
    }

    /// Does the next thing. `None` when there will be none.
    async fn step(&mut self) -> Option<()> {
        self.take_order();
        self.local.withheld = self.shared.owner.withholds(self.id);
        self.local.remembered = !self.shared.heard.load(Ordering::Relaxed);
        self.take_lease();
        self.local.ready = self.missing().is_empty();
        self.local.lacks_front = self.shared.world.fronts.missing(&self.wanted.spec).is_some();
        let step = reconcile::plan(&self.wanted, &self.local, self.now());
        tracing::debug!(id = %self.id, ?step, "next");
        let done = match step {
            Step::Rest => self.rest().await,
            Step::Wait(at) => self.wait(at).await,
            Step::Fetch => self.fetch().await,
            Step::Start => self.start().await,
            Step::Watch(until) => self.watch(until).await,
            Step::Ask => self.ask().await,
            Step::Front => self.await_front().await,
            Step::Stop => self.stop().await,
            Step::Yield => self.make_way().await,
            Step::Withhold => self.await_owner().await,
            Step::Kill => self.kill().await,
            Step::Seal(attempt) => self.seal(attempt).await,
            Step::Receive(order) => self.receive(order).await,
            Step::Collect => self.collect().await,
            Step::Wipe => self.wipe().await,
        };
        if done.is_err() {
            self.leave();
            return None;
        }
        Some(())
    }

    /// Looks at the newest order. A new epoch, or being wanted again, wipes the slate of earlier failures.
    fn take_order(&mut self) {
        let order = self.orders.borrow_and_update().clone();
        let is_new_epoch = order.epoch != self.record.epoch;
        let runs = |target| matches!(target, Target::Running | Target::Own(_));
        let is_wanted_again = runs(order.target) && !runs(self.wanted.target);
        if is_new_epoch || is_wanted_again {
            (self.local.given_up, self.local.retry_at) = (None, None);
            (self.tries, self.record.failures, self.is_offline) = (0, 0, false);
        }
        if order.target != self.wanted.target {
            self.local.retry_at = None;
        }
        self.take_custody(&order);
        if is_new_epoch {
            (self.record.epoch, self.record.ended, self.record.outputs) = (order.epoch, None, None);
            (self.local.ended, self.local.collected) = (None, false);
            self.record.note.clear();
            self.follow_epoch(order.epoch);
        }
        if let Some(run) = &mut self.run {
            let now = self.shared.world.clock.boot();
            run.tracker.set_check(order.spec.health.as_ref(), now);
        }
        self.wanted = order;
        self.show(|_| {});
    }

    /// What runs goes on under another epoch; its usage so far belongs to the old one.
    fn follow_epoch(&mut self, epoch: u64) {
        let Some(run) = self.run.as_mut().filter(|r| r.epoch != epoch) else { return };
        run.epoch = epoch;
        let cpu = self.shared.world.driver.measure(self.id).map(|m| m.cpu);
        let now = self.now();
        lock(&self.shared.journal).change_epoch(self.id, epoch, now, cpu);
        self.shared.save_journal();
        self.save();
    }

    fn now(&self) -> Micros {
        self.shared.world.clock.boot()
    }

    /// Files that the ordered software needs and that are not here.
    fn missing(&self) -> Vec<Wanted> {
        let spec = &self.wanted.spec;
        let mut files: Vec<Wanted> = Vec::new();
        if let Software::Artifact { digest, length, .. } = &spec.software {
            files.push(Wanted { digest: *digest, length: length.0, kind: Kind::Archive });
        }
        files.extend(spec.inputs.iter().map(|i| Wanted { digest: i.digest, length: i.length.0, kind: Kind::File }));
        files.retain(|f| !self.shared.world.depot.ready(f.digest, f.kind));
        files
    }

    fn launch(&self) -> Launch {
        Launch {
            assignment: self.id,
            epoch: self.wanted.epoch,
            spec: self.wanted.spec.clone(),
            ports: self.record.ports.clone(),
            fresh: self.wanted.spec.kind == WorkloadKind::Task,
        }
    }

    fn use_artifact(&self, spec: Option<&WorkloadSpec>) {
        let digest = spec.and_then(|s| match s.software {
            Software::Artifact { digest, .. } => Some(digest),
            Software::Installed { .. } => None,
        });
        self.shared.set_in_use(self.id, digest);
    }

    /// Writes the record down. A disk that is full costs what it would tell the next agent, nothing else.
    fn save(&self) {
        let key = format!("{RECORD}{}", self.id);
        if let Err(error) = disk::save(self.shared.world.disk.as_ref(), &key, &self.record) {
            tracing::error!(id = %self.id, %error, "what happened to an assignment is not written down");
        }
    }

    /// Changes what is reported.
    fn show(&self, change: impl FnOnce(&mut ObservedAssignment)) {
        // Who may connect changes before anybody hears why.
        self.stand();
        let (record, epoch) = (&self.record, self.wanted.epoch);
        self.shared.board.update(self.id, |o| {
            o.epoch = epoch;
            o.starts = record.starts;
            o.failures = record.failures;
            if o.ports != record.ports {
                o.ports.clone_from(&record.ports);
            }
            change(o);
        });
    }

    fn show_phase(&self, phase: Phase, message: &str) {
        self.show(|o| {
            o.phase = phase;
            message.clone_into(&mut o.message);
        });
    }

    fn show_record(&self) {
        self.show(|o| o.outputs = self.record.outputs.clone().unwrap_or_default());
    }

    /// Shows how a run looks from outside.
    fn show_run(&mut self) {
        let now = self.now();
        let Some(run) = &mut self.run else { return };
        let phase = match run.tracker.look() {
            Look::Starting => Phase::Starting,
            Look::Healthy => Phase::Running,
            Look::Unhealthy => Phase::Unhealthy,
        };
        let (health, note): (Health, String) = (run.tracker.health(now), run.note.clone());
        self.show(|o| {
            (o.phase, o.health) = (phase, health);
            o.message = note;
        });
    }

    /// The assignment is gone for good: nothing of it is kept.
    fn leave(&self) {
        let key = format!("{RECORD}{}", self.id);
        if let Err(error) = self.shared.world.disk.remove(&key) {
            tracing::warn!(id = %self.id, %error, "the record of a wiped assignment stays");
        }
        self.leave_custody();
        self.shared.board.remove(self.id);
    }

    /// The try failed; how long until the next one. Doubles from `first` to `longest`.
    fn put_off(&mut self, first: Micros, longest: Micros) {
        let doublings = self.tries.min(20);
        self.tries = self.tries.saturating_add(1);
        let wait = first.0.saturating_mul(1 << doublings).min(longest.0);
        self.local.retry_at = Some(Micros(self.now().0.saturating_add(wait)));
    }

    fn give_up(&mut self, failure: Failure, message: &str) {
        self.local.given_up = Some(failure);
        self.show_phase(Phase::Failed(failure), message);
    }
}
