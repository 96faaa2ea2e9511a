//! The state directory of a copy that owns its state: measured while it runs, and once more when it has ended.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use std::{fmt, io};

use chandler_protocol::Digest;
use rustix::time::{ClockId, clock_gettime};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

use super::error::{ServeError, TreeError};
use super::hint::Hints;
use super::inside::Inside;
use super::pass::Look;
use super::tree::{Numbers, Tree};
use super::{Limits, serve};
use crate::sync::lock;

/// File systems on which a store to a page that was written out must change the file's stamp.
const STAMPS_STORES: [i64; 3] = [0xEF53, 0x5846_5342, 0x9123_683E];
/// A stamp this much older than a sync cannot hide a change in the same tick of the clock that stamps are taken from.
const TICK_NANOS: i64 = 20_000_000;
/// Between two looks through everything when there are hints.
const WHOLE_EVERY: Duration = Duration::from_secs(10);
/// Between the end of one sync in the background and the beginning of the next, at least.
const SYNC_GAP: Duration = Duration::from_millis(200);

/// Says whether a process of the software has part of the state mapped for writing.
pub type IsMapped = Box<dyn Fn() -> bool + Send + Sync>;

/// A state directory that others receive from.
pub struct Source {
    pub(super) shared: Arc<Shared>,
    /// One seal at a time.
    sealing: tokio::sync::Mutex<()>,
}

/// What a source is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// The software may be running.
    Running,
    /// The software has ended and its state is measured.
    Sealing { attempt: u64, turn: u64 },
    /// The state was given up.
    Sealed { attempt: u64, root: Digest },
}

pub(super) struct Shared {
    dir: PathBuf,
    pub(super) number: u64,
    limits: Limits,
    pub(super) state: watch::Sender<State>,
    /// Locked on blocking threads, and for moments elsewhere.
    pub(super) tree: Mutex<Tree>,
    pub(super) numbers: Numbers,
    /// Ends the look that goes on.
    stop: AtomicBool,
    turns: AtomicU64,
    is_mapped: Option<IsMapped>,
    synced: Mutex<Synced>,
    hints: Mutex<Option<Hints>>,
    last_whole: Mutex<Option<Instant>>,
}

/// When the file system was last written out.
#[derive(Debug, Default)]
struct Synced {
    /// When the last sync that has ended began, by the clock of stamps.
    began: Option<(i64, u32)>,
    is_running: bool,
    /// When the next one may begin.
    after: Option<Instant>,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("dir", &self.shared.dir).finish_non_exhaustive()
    }
}

impl Source {
    /// A source over a directory. `number` is drawn by chance: what a receiver remembers of one source is never taken
    /// for another's.
    pub fn new(dir: PathBuf, number: u64) -> Arc<Self> {
        Self::with(dir, number, Limits::default(), None)
    }

    /// Like [`Self::new`]; `is_mapped` tells whether the software maps state for writing. Without it every store is
    /// trusted to be seen once the file system was synced, which is so on ext4, XFS and Btrfs.
    pub fn with(dir: PathBuf, number: u64, limits: Limits, is_mapped: Option<IsMapped>) -> Arc<Self> {
        let numbers = Numbers::default();
        let tree = Mutex::new(Tree::new(Arc::clone(&numbers)));
        let (state, stop, turns) = (watch::Sender::new(State::Running), AtomicBool::new(false), AtomicU64::new(0));
        let (synced, hints, last_whole) = (Mutex::default(), Mutex::default(), Mutex::default());
        let shared =
            Shared { dir, number, limits, state, tree, numbers, stop, turns, is_mapped, synced, hints, last_whole };
        Arc::new(Self { shared: Arc::new(shared), sealing: tokio::sync::Mutex::new(()) })
    }

    /// Answers one stream of a receiver until it ends. `attempt` is the one the stream was opened for.
    ///
    /// # Errors
    /// See [`ServeError`]. The receiver was told, where it could be.
    pub async fn serve<S>(&self, stream: S, attempt: u64) -> Result<(), ServeError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        serve::serve(&self.shared, stream, attempt).await
    }

    /// The software has ended: measures its state once more, writes it out and gives the root. Receivers learn at once
    /// when it begins. Asked again for the same attempt, it gives the same answer.
    ///
    /// # Errors
    /// See [`TreeError`]; the source is then as if this had not been called.
    pub async fn seal(&self, attempt: u64) -> Result<Digest, TreeError> {
        let _one = self.sealing.lock().await;
        if let State::Sealed { attempt: of, root } = *self.shared.state.borrow()
            && of == attempt
        {
            return Ok(root);
        }
        let turn = self.shared.turns.fetch_add(1, Ordering::SeqCst) + 1;
        let during = State::Sealing { attempt, turn };
        self.shared.state.send_replace(during);
        self.shared.stop.store(true, Ordering::SeqCst);
        let measured = {
            let shared = Arc::clone(&self.shared);
            tokio::task::spawn_blocking(move || shared.measure_finally(during))
        };
        let written = {
            let shared = Arc::clone(&self.shared);
            tokio::task::spawn_blocking(move || shared.sync())
        };
        let root = measured.await.unwrap_or(Err(TreeError::Superseded))?;
        let written = written.await.unwrap_or_else(|e| Err(io::Error::other(e)));
        written.map_err(|e| TreeError::io(b"", e))?;
        Ok(root)
    }

    /// The software may run again.
    pub fn unseal(&self) {
        self.shared.turns.fetch_add(1, Ordering::SeqCst);
        self.shared.state.send_replace(State::Running);
        self.shared.stop.store(true, Ordering::SeqCst);
    }

    /// Forgets all hints at what changed, as if the operating system had lost some.
    #[cfg(test)]
    pub(super) fn lose_hints(&self) {
        if let Some(hints) = &*lock(&self.shared.hints) {
            hints.lose();
        }
    }
}

impl Shared {
    /// The state directory.
    pub(super) fn open(&self) -> Result<Inside, TreeError> {
        Inside::open(&self.dir).map_err(|e| TreeError::io(self.dir.as_os_str().as_encoded_bytes(), e))
    }

    /// Looks while the software runs. [`TreeError::Superseded`] when it is being sealed meanwhile.
    pub(super) fn look(&self) -> Result<(), TreeError> {
        let inside = self.open()?;
        if lock(&self.synced).began.is_none() {
            self.sync().map_err(|e| TreeError::io(b"", e))?;
        }
        let proof = self.proof(&inside);
        let mut tree = lock(&self.tree);
        if *self.state.borrow() != State::Running {
            return Err(TreeError::Superseded);
        }
        self.stop.store(false, Ordering::SeqCst);
        let hints = self.hints(&tree);
        let looked = tree.look(&Look {
            inside: &inside,
            limits: &self.limits,
            seed: self.number,
            stop: &self.stop,
            is_final: false,
            proof,
            hints: hints.as_ref(),
        });
        if looked.is_err()
            && let Some(hints) = &*lock(&self.hints)
        {
            hints.lose();
        }
        looked
    }

    fn measure_finally(&self, during: State) -> Result<Digest, TreeError> {
        let mut tree = lock(&self.tree);
        let State::Sealing { attempt, .. } = during else { return Err(TreeError::Superseded) };
        self.stop.store(*self.state.borrow() != during, Ordering::SeqCst);
        let looked = self.open().and_then(|inside| {
            let look = Look {
                inside: &inside,
                limits: &self.limits,
                seed: self.number,
                stop: &self.stop,
                is_final: true,
                proof: self.proof(&inside),
                hints: None,
            };
            tree.look(&look)
        });
        let root = tree.root();
        let next = if looked.is_ok() { State::Sealed { attempt, root } } else { State::Running };
        let is_ours = self.state.send_if_modified(|state| {
            let is_ours = *state == during;
            if is_ours {
                *state = next;
            }
            is_ours
        });
        looked?;
        if is_ours { Ok(root) } else { Err(TreeError::Superseded) }
    }

    /// The moment before which a stamp proves that nothing changed since it.
    fn proof(&self, inside: &Inside) -> Option<(i64, u32)> {
        let kind = rustix::fs::fstatfs(inside.root()).ok()?.f_type;
        let is_kept = STAMPS_STORES.iter().any(|known| i128::from(*known) == i128::from(kind));
        if !is_kept || self.is_mapped.as_ref().is_some_and(|is_mapped| is_mapped()) {
            return None;
        }
        let (secs, nanos) = lock(&self.synced).began?;
        let nanos = i64::from(nanos) - TICK_NANOS;
        let (secs, nanos) = if nanos < 0 { (secs - 1, nanos + 1_000_000_000) } else { (secs, nanos) };
        Some((secs, u32::try_from(nanos).unwrap_or(0)))
    }

    /// Writes out the file system and notes when that began.
    fn sync(&self) -> io::Result<()> {
        let inside = Inside::open(&self.dir)?;
        let now = clock_gettime(ClockId::RealtimeCoarse);
        rustix::fs::syncfs(inside.root())?;
        let began = (now.tv_sec, u32::try_from(now.tv_nsec).unwrap_or(0));
        let mut synced = lock(&self.synced);
        synced.began = synced.began.max(Some(began));
        Ok(())
    }

    /// Begins to write out the file system, so that little is left when the state is sealed. Half of the time at most.
    pub(super) fn sync_in_background(self: &Arc<Self>) {
        {
            let mut synced = lock(&self.synced);
            if synced.is_running || synced.after.is_some_and(|after| after > Instant::now()) {
                return;
            }
            synced.is_running = true;
        }
        let shared = Arc::clone(self);
        tokio::task::spawn_blocking(move || {
            let began = Instant::now();
            if let Err(error) = shared.sync() {
                tracing::warn!(%error, "the file system of a state that is being copied cannot be written out");
            }
            let mut synced = lock(&shared.synced);
            synced.is_running = false;
            synced.after = Some(Instant::now() + began.elapsed().max(SYNC_GAP));
        });
    }

    /// What to look at. `None`: at everything.
    fn hints(&self, tree: &Tree) -> Option<std::collections::BTreeSet<Vec<u8>>> {
        let mut hints = lock(&self.hints);
        if hints.is_none() && tree.generation > 0 && tree.nodes.len() as u64 >= self.limits.watch_from {
            *hints = Some(Hints::new(&self.dir));
        }
        let mut last = lock(&self.last_whole);
        let taken = hints.as_ref().and_then(Hints::take);
        if taken.is_none() || last.is_none_or(|at| at.elapsed() > WHOLE_EVERY) {
            *last = Some(Instant::now());
            return None;
        }
        taken
    }
}
