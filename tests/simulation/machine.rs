//! A simulated computer: its disk, its fetched files, and the software on it, all in memory. It goes on when the agent
//! on it is killed or frozen, and forgets what runs when it is switched off.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chandler_agent::driver::{Ended, Launch, Signal};
use chandler_protocol::state::Exit;
use chandler_protocol::{AssignmentId, Digest, Micros};
use tokio::sync::{Notify, watch};

use crate::air::now;

mod disk;
mod driver;
mod probe;

/// How long simulated software takes from its start to its first answer.
const WARM_UP: Micros = Micros::from_millis(35);
/// How long it takes to stop when it is asked to. It serves until then.
const STOP: Micros = Micros::from_millis(60);

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
    /// It was asked to stop, and has by then.
    stops: Option<Micros>,
}

impl Running {
    /// How it ended by now. A guard needs no agent: what it ends has ended whether or not anybody looked.
    fn ended_by(&mut self, now: Micros) -> Option<Ended> {
        if self.ended.is_none()
            && let Some(at) = self.ends_at().filter(|at| *at <= now)
        {
            let is_asked = self.stops == Some(at);
            // What is started too late is ended as soon as it is there.
            self.end(at.max(self.at), if is_asked { 15 } else { 9 }, !is_asked);
        }
        self.ended
    }

    /// When it will have ended, as far as that is known.
    fn ends_at(&self) -> Option<Micros> {
        self.guarded.into_iter().chain(self.stops).min()
    }

    fn end(&mut self, at: Micros, signal: i32, expired: bool) {
        let (epoch, started) = (self.launch.epoch, self.at);
        let cpu = Some(used(started, at));
        self.ended = Some(Ended { exit: Exit::Signal(signal), epoch, started, at, cpu, expired });
        self.is_over.notify_one();
    }
}

/// From when to when software of an assignment ran; `None`: it still does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span {
    pub(crate) from: Micros,
    pub(crate) to: Option<Micros>,
    pub(crate) assignment: AssignmentId,
}

/// A state that was deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wiped {
    pub(crate) at: Micros,
    pub(crate) assignment: AssignmentId,
    pub(crate) state: Vec<u8>,
}

/// What a frozen agent does once it goes on.
#[derive(Debug, Clone, Copy)]
enum Act {
    Signal(AssignmentId, Signal),
    Guard(AssignmentId, Option<Micros>),
}

#[derive(Debug, Default)]
struct Inside {
    records: BTreeMap<String, Vec<u8>>,
    chunks: BTreeMap<Digest, BTreeMap<usize, Vec<u8>>>,
    files: BTreeMap<Digest, Vec<u8>>,
    running: BTreeMap<AssignmentId, Running>,
    guards: BTreeMap<AssignmentId, Micros>,
    states: BTreeMap<AssignmentId, Vec<u8>>,
    starts: Vec<(Micros, AssignmentId)>,
    past: Vec<Span>,
    wiped: Vec<Wiped>,
    boots: u8,
    put_off: Vec<Act>,
    /// What the agent did that it must never do.
    wrongs: Vec<String>,
    /// Software here never answers, whatever it does otherwise.
    is_sick: bool,
}

impl Inside {
    /// A run is not looked at any more; that it was stays known.
    fn forget_run(&mut self, assignment: AssignmentId) {
        if let Some(mut run) = self.running.remove(&assignment) {
            let to = Some(run.ended_by(now()).map_or_else(now, |e| e.at));
            self.past.push(Span { from: run.at, to, assignment });
        }
    }

    fn act(&mut self, act: Act, now: Micros) {
        match act {
            Act::Signal(assignment, signal) => {
                let Some(run) = self.running.get_mut(&assignment) else { return };
                if run.ended_by(now).is_none() {
                    match signal {
                        Signal::Kill => run.end(now, 9, false),
                        Signal::Stop(_) => run.stops = run.stops.or(Some(Micros(now.0 + STOP.0))),
                    }
                    // Whoever waits for its end learns when that is.
                    run.is_over.notify_one();
                }
            }
            Act::Guard(assignment, until) => {
                match until {
                    Some(until) => self.guards.insert(assignment, until),
                    None => self.guards.remove(&assignment),
                };
                // What was due before it was told otherwise is over all the same.
                if let Some(run) = self.running.get_mut(&assignment).filter(|r| r.ended.is_none()) {
                    run.ended_by(now);
                    run.guarded = until;
                }
            }
        }
    }
}

/// A simulated computer.
#[derive(Debug)]
pub(crate) struct Machine {
    name: String,
    number: u8,
    inside: Mutex<Inside>,
    frozen: watch::Sender<bool>,
}

impl Machine {
    /// A new computer with nothing on it.
    pub(crate) fn new(name: &str, number: u8) -> Self {
        Self { name: name.to_owned(), number, inside: Mutex::default(), frozen: watch::Sender::new(false) }
    }

    /// Every start of software so far, with its time.
    pub(crate) fn starts(&self) -> Vec<(Micros, AssignmentId)> {
        self.inside().starts.clone()
    }

    /// How many pieces of software run.
    pub(crate) fn running(&self, now: Micros) -> usize {
        self.spans(now).iter().filter(|s| s.to.is_none()).count()
    }

    /// What the agent did that it must never do. An agent survives its own panics, so that these are told here.
    pub(crate) fn wrongs(&self) -> Vec<String> {
        self.inside().wrongs.clone()
    }

    /// Every run of software so far, as it is `now`.
    pub(crate) fn spans(&self, now: Micros) -> Vec<Span> {
        let mut inside = self.inside();
        let mut spans = inside.past.clone();
        spans.extend(inside.running.iter_mut().map(|(id, run)| Span {
            from: run.at,
            to: run.ended_by(now).map(|e| e.at),
            assignment: *id,
        }));
        spans
    }

    /// A user writes to software that runs. Whether it was told that this is kept.
    pub(crate) fn write(&self, assignment: AssignmentId, entry: [u8; 8], now: Micros) -> bool {
        let mut inside = self.inside();
        let serves = |r: &mut Running| r.ended_by(now).is_none() && now.0 - r.at.0 >= WARM_UP.0;
        let is_served = inside.running.get_mut(&assignment).is_some_and(serves);
        if is_served {
            inside.states.entry(assignment).or_default().extend(entry);
        }
        is_served
    }

    /// What the software of an assignment has written.
    pub(crate) fn state(&self, assignment: AssignmentId) -> Vec<u8> {
        self.inside().states.get(&assignment).cloned().unwrap_or_default()
    }

    pub(crate) fn set_state(&self, assignment: AssignmentId, bytes: Vec<u8>) {
        self.inside().states.insert(assignment, bytes);
    }

    /// Every state that was deleted.
    pub(crate) fn wiped(&self) -> Vec<Wiped> {
        self.inside().wiped.clone()
    }

    /// Nothing may run on a state that is `done` with as a whole.
    pub(crate) fn must_have_ended(&self, assignment: AssignmentId, done: &str) {
        let mut inside = self.inside();
        if inside.running.get_mut(&assignment).is_some_and(|r| r.ended_by(now()).is_none()) {
            inside.wrongs.push(format!("the state of {assignment} is {done} while it runs"));
        }
    }

    /// Software here does not say that it is well, or does again.
    pub(crate) fn set_sick(&self, is_sick: bool) {
        self.inside().is_sick = is_sick;
    }

    /// The agent is killed: what it was about to do it does not.
    pub(crate) fn kill_agent(&self) {
        self.inside().put_off.clear();
        self.frozen.send_replace(false);
    }

    /// The power is cut `at` this moment: nothing runs any more, and no guard is there.
    pub(crate) fn switch_off(&self, at: Micros) {
        self.kill_agent();
        let mut inside = self.inside();
        inside.boots += 1;
        inside.guards.clear();
        for (assignment, mut run) in std::mem::take(&mut inside.running) {
            let to = Some(run.ended_by(at).map_or(at, |e| e.at));
            inside.past.push(Span { from: run.at, to, assignment });
        }
    }

    /// The agent is stopped as by SIGSTOP: it starts and ends nothing. Its packets are held by whoever calls this.
    pub(crate) fn freeze(&self) {
        self.frozen.send_replace(true);
    }

    /// It goes on; what it was about to do happens `now`.
    pub(crate) fn thaw(&self, now: Micros) {
        self.frozen.send_replace(false);
        let mut inside = self.inside();
        for act in std::mem::take(&mut inside.put_off) {
            inside.act(act, now);
        }
    }

    /// Waits for as long as the agent is frozen.
    async fn thawed(&self) {
        // The sender is part of this computer: it is there.
        let _ = self.frozen.subscribe().wait_for(|frozen| !frozen).await;
    }

    fn do_unfrozen(&self, act: Act) {
        if *self.frozen.borrow() {
            self.inside().put_off.push(act);
        } else {
            self.inside().act(act, now());
        }
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Simulated software uses a tenth of a core.
fn used(from: Micros, to: Micros) -> Micros {
    Micros((to.0 - from.0) / 10)
}
