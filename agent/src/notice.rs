//! Notices: software that asked to be told before it is moved is told, once for each attempt, and its answer kept.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use chandler_protocol::way::{Notice, Told};
use chandler_protocol::{AssignmentId, Micros, MoveId};
use tokio::sync::{Notify, Semaphore};
use tokio::task::AbortHandle;

use crate::driver::Driver;
use crate::sync::lock;

/// Most notices that are heeded.
pub const NOTICES_MAX: usize = 4_096;
/// Workloads that are told at once.
const AT_ONCE: usize = 16;
/// The longest an answer may take.
const WITHIN_MAX: Micros = Micros::from_secs(3_600);

/// One that is being told, or was.
#[derive(Debug)]
struct Entry {
    key: (MoveId, u64),
    /// Whether it is at a good point, once it is known.
    ready: Option<bool>,
    task: AbortHandle,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Tells workloads of their moves.
pub struct Notices {
    driver: Arc<dyn Driver>,
    entries: Arc<Mutex<BTreeMap<AssignmentId, Entry>>>,
    at_once: Arc<Semaphore>,
    /// Told when an answer is there.
    changed: Arc<Notify>,
}

impl std::fmt::Debug for Notices {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Notices").field("entries", &self.entries).finish_non_exhaustive()
    }
}

impl Notices {
    /// Nobody is told anything yet; `changed` is told when an answer is there.
    pub fn new(driver: Arc<dyn Driver>, changed: Arc<Notify>) -> Self {
        Self { driver, entries: Arc::default(), at_once: Arc::new(Semaphore::new(AT_ONCE)), changed }
    }

    /// These are all the notices now. Each is told once for its attempt; one that is not named any more is forgotten, and
    /// ended if it is still being told. Must be called within a runtime.
    pub fn update(&self, notices: &[Notice]) {
        let mut entries = lock(&self.entries);
        let key = |n: &Notice| (n.r#move, n.attempt);
        let wanted: BTreeMap<AssignmentId, &Notice> =
            notices.iter().take(NOTICES_MAX).map(|n| (n.assignment, n)).collect();
        entries.retain(|id, entry| wanted.get(id).is_some_and(|n| key(n) == entry.key));
        for (id, notice) in wanted {
            entries.entry(id).or_insert_with(|| Entry { key: key(notice), ready: None, task: self.tell(notice) });
        }
    }

    fn tell(&self, notice: &Notice) -> AbortHandle {
        let (driver, at_once, notice) = (self.driver.clone(), self.at_once.clone(), notice.clone());
        let (entries, changed) = (Arc::downgrade(&self.entries), self.changed.clone());
        let telling = async move {
            let Ok(_permit) = at_once.acquire().await else { return };
            let within = Micros(notice.within.0.clamp(0, WITHIN_MAX.0));
            let told = driver.tell(notice.assignment, &notice.tell, within);
            let ready = tokio::time::timeout(within.to_std(), told).await.unwrap_or(false);
            let Some(entries) = entries.upgrade() else { return };
            if let Some(entry) = lock(&entries).get_mut(&notice.assignment)
                && entry.key == (notice.r#move, notice.attempt)
            {
                entry.ready = Some(ready);
                changed.notify_one();
            }
        };
        tokio::spawn(telling).abort_handle()
    }

    /// Those that were told, in order of assignment.
    pub fn told(&self) -> Vec<Told> {
        let entries = lock(&self.entries);
        let told = entries.iter().filter_map(|(id, e)| Some((*id, e.key.1, e.ready?)));
        told.map(|(assignment, attempt, ready)| Told { assignment, attempt, ready }).collect()
    }
}
