//! What is here, and what has yet to be done about it. Only the receiver writes there.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::{fmt, io};

use chandler_protocol::Digest;
use chandler_protocol::transfer::Content;
use rustix::fs::{AtFlags, FlockOperation};
use tokio::sync::Semaphore;

use super::Limits;
use super::content::{Blocks, UNKNOWN, written};
use super::error::ReceiveError;
use super::inside::{Inside, split};
use super::intake::Want;
use super::item::{Item, Path, What};
use super::pass::Look;
use super::tree::{Numbers, Tree, beneath};
use super::{journal, root};

/// The directory that a state is received into. Locked for as long as anything of it is under way: what was dropped may
/// still be writing.
pub(super) struct Ground {
    pub(super) dir: PathBuf,
    pub(super) journal: PathBuf,
    pub(super) inside: Inside,
    pub(super) limits: Limits,
    pub(super) state: Mutex<State>,
    /// Work on blocking threads, which goes on when the receiver is dropped: each holds one permit.
    pub(super) busy: Arc<Semaphore>,
}

/// What shall be here, and what is.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) want: Want,
    pub(super) local: Local,
}

/// What is here.
#[derive(Debug, Default)]
pub(super) struct Local {
    pub(super) here: BTreeMap<Path, Item>,
    /// Blocks written since `here` was last brought up to date.
    pub(super) over: BTreeMap<Path, Blocks>,
    /// Blocks written and not compared since.
    pub(super) unread: BTreeMap<Path, Blocks>,
    /// Files that were put together anew, and not measured since.
    pub(super) rebuilt: BTreeSet<Path>,
    /// Files that are other files than before: what linked to them has to be linked again.
    pub(super) renewed: BTreeSet<Path>,
    /// Entries whose permissions, times, attributes or owner may be wrong.
    pub(super) unset: BTreeSet<Path>,
    /// Entries that may not be on the disk yet, and how many changes there were when each was last changed. The empty
    /// path is the directory itself.
    pub(super) unsynced: BTreeMap<Path, u64>,
    /// Counts changes.
    pub(super) changes: u64,
    /// Bytes written that may not be on the disk yet, about.
    pub(super) unsynced_bytes: u64,
}

/// Most pieces of work on blocking threads at one time.
pub(super) const BUSY_MAX: u32 = 64;

impl fmt::Debug for Ground {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ground").field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl Ground {
    /// Looks at what is here already. `None`: somebody else still writes here.
    pub(super) fn open(dir: PathBuf, journal: PathBuf, limits: Limits) -> Result<Option<Self>, ReceiveError> {
        let failed = |e: &io::Error| ReceiveError::io(&dir, b"", e);
        std::fs::create_dir_all(&dir).map_err(|e| failed(&e))?;
        let inside = Inside::open(&dir).map_err(|e| failed(&e))?;
        match rustix::fs::flock(inside.root(), FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
            locked => locked.map_err(|e| failed(&e.into()))?,
        }
        let mut tree = Tree::new(Numbers::default());
        journal::recall(&journal, &mut tree);
        // What is here already counts for no limit: it may be what a larger state left.
        let unlimited = Limits { entries: u64::MAX, file: u64::MAX, data: u64::MAX, watch_from: u64::MAX };
        let stop = AtomicBool::new(false);
        let (inside_ref, limits_ref) = (&inside, &unlimited);
        tree.look(&Look {
            inside: inside_ref,
            limits: limits_ref,
            seed: 0,
            stop: &stop,
            is_final: true,
            proof: None,
            hints: None,
        })?;
        let mut local = Local::default();
        for (path, node) in tree.nodes {
            // Numbers of another file system would say nothing about the source's.
            let item = Item { id: 0, inode: 0, ..node.item };
            local.unset.insert(Arc::clone(&path));
            local.here.insert(path, item);
        }
        let mut state = State { want: Want::default(), local };
        // Until the source has told what shall be here, everything may be too much.
        state.want.dirty = state.local.here.keys().cloned().collect();
        let busy = Arc::new(Semaphore::new(BUSY_MAX as usize));
        Ok(Some(Self { dir, journal, inside, limits, state: Mutex::new(state), busy }))
    }

    /// What the file system said.
    pub(super) fn failed(&self, path: &[u8], error: &io::Error) -> ReceiveError {
        ReceiveError::io(&self.dir, path, error)
    }

    /// Removes whatever is at a path, and all below it.
    pub(super) fn remove(&self, local: &mut Local, path: &Path) -> Result<(), ReceiveError> {
        for below in beneath(&local.here, path).iter().rev().chain([path]) {
            let Some(item) = local.here.get(below) else { continue };
            let flags = if item.what == What::Directory { AtFlags::REMOVEDIR } else { AtFlags::empty() };
            match self.inside.within(below, |dir, name| rustix::fs::unlinkat(dir, name, flags)) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(self.failed(below, &e)),
                _ => local.forget(below),
            }
        }
        Ok(())
    }
}

impl Local {
    /// An entry appeared or was replaced.
    pub(super) fn put(&mut self, path: &Path, item: Item) {
        self.changed_in(path);
        self.unset.insert(Arc::clone(path));
        self.dirtied(path);
        if item.content().is_some() {
            self.renewed.insert(Arc::clone(path));
        }
        self.here.insert(Arc::clone(path), item);
    }

    /// An entry is no more.
    pub(super) fn forget(&mut self, path: &Path) {
        self.here.remove(path);
        self.over.remove(path);
        self.unread.remove(path);
        self.rebuilt.remove(path);
        self.unset.remove(path);
        self.unsynced.remove(path);
        self.changed_in(path);
    }

    /// An entry was changed: it is not on the disk yet.
    pub(super) fn dirtied(&mut self, path: &Path) {
        self.changes += 1;
        self.unsynced.insert(Arc::clone(path), self.changes);
    }

    /// The directory of an entry was changed.
    pub(super) fn changed_in(&mut self, path: &[u8]) {
        let dir: Path = split(path).0.into();
        self.dirtied(&dir);
        if !dir.is_empty() {
            self.unset.insert(dir);
        }
    }

    /// What a file here holds, as far as `here` is up to date.
    pub(super) fn content(&self, path: &[u8]) -> Option<&Arc<Content>> {
        self.here.get(path).and_then(Item::content)
    }

    /// Takes another content for a file.
    pub(super) fn set_content(&mut self, path: &[u8], content: Arc<Content>) {
        if let Some(item) = self.here.get_mut(path) {
            item.what = What::File(content);
        }
    }

    /// Blocks are about to be written: what they hold is unknown until [`Self::wrote`].
    pub(super) fn writing(&mut self, path: &Path, blocks: impl Iterator<Item = u32>) {
        let over = self.over.entry(Arc::clone(path)).or_default();
        over.extend(blocks.map(|block| (block, Some(UNKNOWN))));
        self.unset.insert(Arc::clone(path));
        self.dirtied(path);
    }

    /// A block was written.
    pub(super) fn wrote(&mut self, path: &Path, block: u32, digest: Option<Digest>, length: usize) {
        self.over.entry(Arc::clone(path)).or_default().insert(block, digest);
        self.unsynced_bytes = self.unsynced_bytes.saturating_add(length as u64);
    }

    /// Brings `here` up to date with what was written.
    pub(super) fn settle(&mut self, want: &Want) {
        for (path, blocks) in std::mem::take(&mut self.over) {
            let Some(content) = self.content(&path) else { continue };
            let now = written(content, &blocks);
            let wanted = want.items.get(&path).and_then(Item::content).filter(|w| ***w == now);
            let now = wanted.map_or_else(|| Arc::new(now), Arc::clone);
            self.set_content(&path, now);
            match self.unread.entry(path) {
                Entry::Vacant(entry) => {
                    entry.insert(blocks);
                }
                Entry::Occupied(mut entry) => entry.get_mut().extend(blocks),
            }
        }
    }

    /// The root of the tree of hashes of what is here.
    pub(super) fn root(&self) -> Digest {
        root::of_items(&self.here)
    }
}

/// Whether the directory that a path is in stands here.
pub(super) fn parent_exists(local: &Local, path: &[u8]) -> bool {
    let dir = split(path).0;
    dir.is_empty() || local.here.get(dir).is_some_and(|i| i.what == What::Directory)
}
