//! The owner first: when and how much of this computer the fleet may use. The rules are this computer's own, in its own
//! files; they win over whatever a controller says, and hold without one.
//!
//! [`judge`] decides, [`keep`] looks and tells; here is what was decided, for those who start and stop software.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};

use chandler_protocol::inventory::HostInventory;
use chandler_protocol::state::Target;
use chandler_protocol::{AssignmentId, Micros};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::reconcile::Accepted;

mod judge;
pub(crate) mod keep;
pub mod pause;
pub mod rules;

pub use judge::{Activity, Power, Verdict, judge};

/// Where the owner's word is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnerFiles {
    /// The rules; there need be none.
    pub rules: PathBuf,
    /// There while the computer is paused, or will be.
    pub pause: PathBuf,
}

impl OwnerFiles {
    /// Both in the data directory; the rules elsewhere when that is said.
    pub fn new(data_dir: &std::path::Path, rules: Option<PathBuf>) -> Self {
        Self { rules: rules.unwrap_or_else(|| data_dir.join("owner.toml")), pause: data_dir.join("pause.json") }
    }
}

/// How things stand with the owner, now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Stand {
    pub(crate) verdict: Verdict,
    /// What is wrong with the rules, if anything: the last good ones hold.
    pub(crate) problem: Option<String>,
    /// How long software may take to stop before it is killed.
    pub(crate) grace: Micros,
    /// The pause that is heeded, by when it was said.
    pub(crate) pause: Option<i64>,
    /// What has no room under the cap.
    held: BTreeSet<AssignmentId>,
    /// When the verdict last changed, by the boot clock.
    since: Micros,
}

impl Stand {
    fn withholds(&self, id: AssignmentId) -> bool {
        !self.verdict.may_run() || self.held.contains(&id)
    }
}

/// What the owner allows, shared by those who decide it and those who heed it.
#[derive(Debug)]
pub(crate) struct Owner {
    stand: watch::Sender<Stand>,
    /// How long the last one took to yield; negative: none had to yet.
    yielded: AtomicI64,
}

impl Owner {
    /// Everything is allowed until something else is decided.
    pub(crate) fn new() -> Self {
        Self { stand: watch::Sender::default(), yielded: AtomicI64::new(-1) }
    }

    /// What was decided last, and what is decided from now on.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Stand> {
        self.stand.subscribe()
    }

    /// Whether this assignment's software must not run now.
    pub(crate) fn withholds(&self, id: AssignmentId) -> bool {
        self.stand.borrow().withholds(id)
    }

    /// Why not, as a whole sentence for those who ordered it.
    pub(crate) fn why(&self) -> String {
        let stand = self.stand.borrow();
        if stand.verdict.why.is_empty() {
            "its owner gives no room for it".to_owned()
        } else {
            stand.verdict.why.clone()
        }
    }

    /// Waits until its software must not run, and then as long as it may take to stop.
    pub(crate) async fn is_over(&self, id: AssignmentId) {
        let mut stand = self.stand.subscribe();
        let Ok(grace) = stand.wait_for(|s| s.withholds(id)).await.map(|s| s.grace) else {
            return std::future::pending().await;
        };
        tokio::time::sleep(grace.to_std()).await;
    }

    /// Something else was decided. Whether that changes anything.
    pub(crate) fn decide(&self, new: Stand, ordered: &Accepted, now: Micros) -> bool {
        let held = held(&new.verdict, ordered);
        if !new.verdict.may_run() && self.stand.borrow().verdict != new.verdict {
            self.yielded.store(-1, Ordering::Relaxed);
        }
        self.stand.send_if_modified(|stand| {
            let since = if stand.verdict == new.verdict { stand.since } else { now };
            let next = Stand { held, since, ..new };
            let is_news = *stand != next;
            *stand = next;
            is_news
        })
    }

    /// Other software was ordered: what has room under the cap is found anew. Whether that changes anything.
    pub(crate) fn settle(&self, ordered: &Accepted) -> bool {
        let held = held(&self.stand.borrow().verdict, ordered);
        self.stand.send_if_modified(|stand| {
            let is_news = stand.held != held;
            stand.held = held;
            is_news
        })
    }

    /// Software has just ended for the owner's sake.
    pub(crate) fn note_yield(&self, now: Micros) {
        let took = now.0.saturating_sub(self.stand.borrow().since.0);
        self.yielded.store(took, Ordering::Relaxed);
    }

    /// Takes from what is offered what the owner does not give now.
    pub(crate) fn cap(&self, host: &mut HostInventory) {
        let cap = self.stand.borrow().verdict.offered;
        host.offered.cpu = host.offered.cpu.min(cap.cpu);
        host.offered.memory = host.offered.memory.min(cap.memory);
    }

    /// For `status`.
    pub(crate) fn status(&self) -> OwnerStatus {
        let stand = self.stand.borrow();
        let most = |cap: rules::Cap| CapStatus { cpu_milli: cap.cpu.0, memory_bytes: cap.memory.0 };
        OwnerStatus {
            may_run: stand.verdict.may_run(),
            offered: Some(stand.verdict.offered).filter(|c| *c != rules::Cap::ALL).map(most),
            allowed: Some(stand.verdict.allowed).filter(|c| *c != rules::Cap::ALL).map(most),
            why: stand.verdict.why.clone(),
            until_micros: stand.verdict.until.map(|at| at.0),
            pause_micros: stand.pause,
            problem: stand.problem.clone(),
            yielded_micros: Some(self.yielded.load(Ordering::Relaxed)).filter(|took| *took >= 0),
        }
    }
}

/// A cap as `status` shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CapStatus {
    /// Processor time, in thousandths of a core.
    pub cpu_milli: u32,
    /// Memory.
    pub memory_bytes: u64,
}

/// What `chandler-agent status` shows of the owner's rules.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OwnerStatus {
    /// Whether any of the fleet's software may run here now.
    pub may_run: bool,
    /// The most that is offered for new work; no cap when absent.
    pub offered: Option<CapStatus>,
    /// The most that may be used now; no cap when absent.
    pub allowed: Option<CapStatus>,
    /// Why it is not all that is offered; empty when it is.
    pub why: String,
    /// When that changes by the passing of time alone: microseconds since 1970.
    pub until_micros: Option<i64>,
    /// The pause that is heeded, by when it was said.
    pub pause_micros: Option<i64>,
    /// What is wrong with the rules, if anything.
    pub problem: Option<String>,
    /// How long the last software took to make way.
    pub yielded_micros: Option<i64>,
}

/// Which of the ordered software has no room under a cap, by its limits: what was ordered first stays.
fn held(verdict: &Verdict, ordered: &Accepted) -> BTreeSet<AssignmentId> {
    let mut left = verdict.allowed;
    let mut held = BTreeSet::new();
    if left == rules::Cap::ALL {
        return held;
    }
    for (id, known) in &ordered.assignments {
        let runs = matches!(known.assignment.target, Target::Running | Target::Own(_) | Target::Receive(_));
        let limits = known.assignment.spec.limits;
        let (cpu, memory) = (limits.cpu.unwrap_or_default(), limits.memory.unwrap_or_default());
        if !runs {
            continue;
        }
        if cpu > left.cpu || memory > left.memory {
            held.insert(*id);
        } else {
            (left.cpu.0, left.memory.0) = (left.cpu.0 - cpu.0, left.memory.0 - memory.0);
        }
    }
    held
}
