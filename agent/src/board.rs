//! What was found of each assignment, in one place, for whoever reports it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use chandler_protocol::AssignmentId;
use chandler_protocol::state::{Health, ObservedAssignment, Phase};
use chandler_protocol::text::{TEXT_MAX, clean};
use tokio::sync::Notify;

use crate::sync::lock;

/// The present state of every assignment.
#[derive(Debug)]
pub struct Board {
    inner: Mutex<Inner>,
    wake: Vec<Arc<Notify>>,
}

#[derive(Debug, Default)]
struct Inner {
    observed: BTreeMap<AssignmentId, ObservedAssignment>,
    /// Grows with each change that is worth reporting at once.
    version: u64,
    /// Health changed since it was last reported: worth the next regular report.
    health_changed: bool,
}

/// An assignment of which nothing is known yet.
fn blank(id: AssignmentId) -> ObservedAssignment {
    ObservedAssignment {
        id,
        epoch: 0,
        phase: Phase::Pending,
        ports: Vec::new(),
        starts: 0,
        failures: 0,
        message: String::new(),
        health: Health::default(),
        outputs: Vec::new(),
    }
}

impl Board {
    /// An empty board; each of `wake` is told about changes.
    pub fn new(wake: Vec<Arc<Notify>>) -> Self {
        Self { inner: Mutex::new(Inner { version: 1, ..Inner::default() }), wake }
    }

    /// Changes what is known of one assignment.
    pub fn update(&self, id: AssignmentId, change: impl FnOnce(&mut ObservedAssignment)) {
        let mut inner = lock(&self.inner);
        let before = inner.observed.entry(id).or_insert_with(|| blank(id));
        let mut after = before.clone();
        change(&mut after);
        after.message = clean(&after.message, TEXT_MAX);
        if *before == after {
            return;
        }
        let only_health = ObservedAssignment { health: before.health, ..after.clone() } == *before;
        *before = after;
        if only_health {
            inner.health_changed = true;
        } else {
            inner.version += 1;
            drop(inner);
            self.tell();
        }
    }

    /// An assignment is gone for good.
    pub fn remove(&self, id: AssignmentId) {
        let mut inner = lock(&self.inner);
        if inner.observed.remove(&id).is_some() {
            inner.version += 1;
            self.tell();
        }
    }

    /// Something else that belongs into the report changed, such as the generation.
    pub fn touch(&self) {
        lock(&self.inner).version += 1;
        self.tell();
    }

    /// The regular moment to report health, if it changed.
    pub fn report_health(&self) {
        let mut inner = lock(&self.inner);
        if std::mem::take(&mut inner.health_changed) {
            inner.version += 1;
            drop(inner);
            self.tell();
        }
    }

    fn tell(&self) {
        self.wake.iter().for_each(|w| w.notify_one());
    }

    /// Grows with each change.
    pub fn version(&self) -> u64 {
        lock(&self.inner).version
    }

    /// One assignment.
    pub fn get(&self, id: AssignmentId) -> Option<ObservedAssignment> {
        lock(&self.inner).observed.get(&id).cloned()
    }

    /// All of it, in order of id, and its version.
    pub fn snapshot(&self) -> (u64, Vec<ObservedAssignment>) {
        let inner = lock(&self.inner);
        (inner.version, inner.observed.values().cloned().collect())
    }
}
