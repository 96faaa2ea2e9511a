//! Room for what waits, over all doors of this agent. Whoever would bring in more when there is none waits itself, and
//! the sender feels it.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Waker;

use crate::sync::lock;

/// Most bytes that wait at all doors together.
pub(crate) const BYTES_MAX: u64 = 256 << 20;

/// What is taken, and who waits for room.
#[derive(Debug, Default)]
pub(crate) struct Room {
    bytes: AtomicU64,
    full: AtomicBool,
    ids: AtomicU64,
    waiting: Mutex<BTreeMap<u64, Waker>>,
}

impl Room {
    /// A name to wait under.
    pub(crate) fn id(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether there is none left for anybody.
    pub(crate) fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    /// Takes room, also beyond the limit: it is only asked for what is here already.
    pub(crate) fn take(&self, bytes: u64) {
        if self.bytes.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes) >= BYTES_MAX {
            self.full.store(true, Ordering::Relaxed);
        }
    }

    /// Gives room back. Only well below the limit does anybody come in again, so that they do not come one by one.
    pub(crate) fn give(&self, bytes: u64) {
        let left = self.bytes.fetch_sub(bytes, Ordering::Relaxed).saturating_sub(bytes);
        if left < BYTES_MAX / 8 * 7 && self.full.swap(false, Ordering::Relaxed) {
            self.wake_all();
        }
    }

    /// Wakes `waker` when there may be room.
    pub(crate) fn wait(&self, id: u64, waker: &Waker) {
        lock(&self.waiting).insert(id, waker.clone());
    }

    /// Does not wait any more.
    pub(crate) fn forget(&self, id: u64) {
        lock(&self.waiting).remove(&id);
    }

    /// There may be room for one.
    pub(crate) fn wake(&self, id: u64) {
        let waker = lock(&self.waiting).remove(&id);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// There may be room for all.
    pub(crate) fn wake_all(&self) {
        let all = std::mem::take(&mut *lock(&self.waiting));
        all.into_values().for_each(Waker::wake);
    }
}
