//! What to do next, as a pure function of what is wanted, what is so, and the time.

use std::collections::{BTreeMap, BTreeSet};

use chandler_protocol::state::{Assignment, DesiredState, Exit, Failure, Own, Receive, Target};
use chandler_protocol::workload::{WorkloadKind, WorkloadSpec};
use chandler_protocol::{AssignmentId, Micros};
use serde::{Deserialize, Serialize};

use crate::custody::{Custody, May};

/// Most assignments of one agent.
pub const ASSIGNMENTS_MAX: usize = 4_096;

/// Everything that was ordered and accepted, as it is kept on disk.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// The generation of the newest desired state that was accepted.
    pub generation: u64,
    /// By id. Those that the newest desired state does not name stay as they were.
    pub assignments: BTreeMap<AssignmentId, Known>,
}

/// One accepted assignment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// As ordered.
    pub assignment: Assignment,
    /// Whether the newest desired state names it.
    pub named: bool,
}

/// An order that was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stale {
    /// Which.
    pub assignment: AssignmentId,
    /// The epoch that was ordered.
    pub ordered: u64,
    /// The epoch that had been seen already.
    pub seen: u64,
}

/// What a desired state makes of what was accepted before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merged {
    /// What is accepted now.
    pub next: Accepted,
    /// Orders with an old epoch.
    pub stale: Vec<Stale>,
    /// Orders for which there is no room beside [`ASSIGNMENTS_MAX`] others.
    pub refused: Vec<AssignmentId>,
}

/// What a desired state makes of what was accepted before: `None` when it is not newer.
///
/// `is_wiped` tells which assignments are gone for good; those are forgotten once they are no longer named.
pub fn merge(accepted: &Accepted, desired: &DesiredState, is_wiped: impl Fn(AssignmentId) -> bool) -> Option<Merged> {
    if desired.generation <= accepted.generation && accepted.generation > 0 {
        return None;
    }
    let mut next = Accepted { generation: desired.generation, assignments: accepted.assignments.clone() };
    let (mut stale, mut refused) = (Vec::new(), Vec::new());
    let named: BTreeSet<AssignmentId> = desired.assignments.iter().map(|order| order.id).collect();
    next.assignments.retain(|id, known| {
        known.named = false;
        named.contains(id) || !is_wiped(*id)
    });
    for order in &desired.assignments {
        let is_full = next.assignments.len() >= ASSIGNMENTS_MAX;
        match next.assignments.get_mut(&order.id) {
            Some(known) if order.epoch < known.assignment.epoch => {
                known.named = true;
                stale.push(Stale { assignment: order.id, ordered: order.epoch, seen: known.assignment.epoch });
            }
            Some(known) => *known = Known { assignment: order.clone(), named: true },
            None if is_full => refused.push(order.id),
            None => {
                next.assignments.insert(order.id, Known { assignment: order.clone(), named: true });
            }
        }
    }
    Some(Merged { next, stale, refused })
}

/// What is so with one assignment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Local {
    /// What runs, if anything: how it was started.
    pub running: Option<WorkloadSpec>,
    /// Whether every file it needs is here.
    pub ready: bool,
    /// How it ended (a task, under the ordered epoch).
    pub ended: Option<Exit>,
    /// Whether its results are collected.
    pub collected: bool,
    /// Whether its files are gone.
    pub wiped: bool,
    /// Given up until it is ordered anew.
    pub given_up: Option<Failure>,
    /// The next try is not before this, by the boot clock.
    pub retry_at: Option<Micros>,
    /// What may be done with its state.
    pub custody: Custody,
    /// Whatever runs under a lease is dead by then, by the boot clock.
    pub guarded: Option<Micros>,
    /// A service that it uses has no address here yet.
    pub lacks_front: bool,
    /// The owner of this computer gives no room for it now.
    pub withheld: bool,
    /// The order is from the disk: no controller has been heard since this agent began. The disk may be an old image, and
    /// the state have long been this copy's own: nothing is written over it, or deleted, because of that.
    pub remembered: bool,
}

impl Local {
    /// What runs under a lease may go on, for now.
    fn is_guarded(&self, now: Micros) -> bool {
        self.guarded.is_some_and(|until| until > now)
    }
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// All is as it should be; wait for orders.
    Rest,
    /// Try again then.
    Wait(Micros),
    /// Fetch its files.
    Fetch,
    /// Start it.
    Start,
    /// It runs; look after it, and come back at that time if one is named.
    Watch(Option<Micros>),
    /// Wait for a lease.
    Ask,
    /// Wait for the address of a service that it uses.
    Front,
    /// Stop it.
    Stop,
    /// It makes way for the owner: stop it quickly, and be ready to start it again.
    Yield,
    /// Wait until the owner gives room for it.
    Withhold,
    /// Its lease is over: end it at once.
    Kill,
    /// It has ended: write its state out and measure it, in this attempt.
    Seal(u64),
    /// Receive its state.
    Receive(Receive),
    /// Collect a task's results.
    Collect,
    /// Delete its files.
    Wipe,
}

/// The next step for one assignment.
pub fn plan(wanted: &Assignment, local: &Local, now: Micros) -> Step {
    let later = local.retry_at.filter(|at| *at > now);
    let or_wait = |step: Step| later.map_or(step, Step::Wait);
    let is_running = local.running.is_some();
    match wanted.target {
        Target::Stopped | Target::Wiped | Target::Seal { .. } | Target::Receive(_) if is_running => Step::Stop,
        Target::Stopped => Step::Rest,
        Target::Wiped if local.wiped => Step::Rest,
        Target::Wiped | Target::Receive(_) if local.remembered => Step::Rest,
        Target::Wiped => or_wait(Step::Wipe),
        Target::Seal { attempt } if local.custody.sealed(attempt).is_some() => Step::Rest,
        Target::Seal { attempt } => or_wait(Step::Seal(attempt)),
        Target::Receive(order) if local.custody.received.is_some_and(|r| r.attempt == order.attempt) => Step::Rest,
        Target::Receive(_) if local.withheld => Step::Withhold,
        // Its software first: once its state is here it has to start at once.
        Target::Receive(order) => or_wait(if local.ready { Step::Receive(order) } else { Step::Fetch }),
        Target::Running => run(wanted, local, None, now),
        Target::Own(own) => run(wanted, local, Some(&own), now),
    }
}

/// The next step for one that shall run; `own`: as the owner of its state.
fn run(wanted: &Assignment, local: &Local, own: Option<&Own>, now: Micros) -> Step {
    let later = local.retry_at.filter(|at| *at > now);
    let or_wait = |step: Step| later.map_or(step, Step::Wait);
    let is_leased = own.is_some_and(|o| o.leased);
    let may = own.map_or(May::Run, |o| local.custody.may(o, now));
    let is_lost = matches!(may, May::Never | May::NotReceived);
    match &local.running {
        Some(_) if is_lost => Step::Stop,
        Some(_) if local.withheld => Step::Yield,
        Some(_) if is_leased && !local.is_guarded(now) => Step::Kill,
        Some(running) if is_same_launch(running, &wanted.spec) => Step::Watch(None),
        // Replaced only once the new files are here: until then the old one goes on.
        Some(_) if local.ready => Step::Stop,
        Some(_) => later.map_or(Step::Fetch, |at| Step::Watch(Some(at))),
        None => match (wanted.spec.kind, local.ended) {
            (WorkloadKind::Task, Some(_)) if local.collected => Step::Rest,
            (WorkloadKind::Task, Some(_)) => or_wait(Step::Collect),
            _ if is_lost || local.given_up.is_some() => Step::Rest,
            _ if local.withheld => Step::Withhold,
            _ if !local.ready => or_wait(Step::Fetch),
            _ if later.is_some() => or_wait(Step::Start),
            _ if local.lacks_front => Step::Front,
            _ if is_leased && !(may == May::Run && local.is_guarded(now)) => Step::Ask,
            _ => Step::Start,
        },
    }
}

/// Whether a program started by `a` is what `b` asks for. How it is watched, restarted and stopped, and what is
/// collected afterwards, may change while it runs.
pub fn is_same_launch(a: &WorkloadSpec, b: &WorkloadSpec) -> bool {
    a.kind == b.kind
        && a.driver == b.driver
        && a.software == b.software
        && a.command == b.command
        && a.environment == b.environment
        && a.limits == b.limits
        && a.ports == b.ports
        && a.state == b.state
        && a.inputs == b.inputs
}

#[cfg(test)]
#[path = "reconcile_tests.rs"]
mod tests;
