//! What a source knows of its tree: every entry, when it last changed, and what proves that it has not since.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::{Arc, Mutex};

use chandler_protocol::Digest;

use super::hash::Measured;
use super::inside::split;
use super::item::{Item, Path, What};
use super::root;
use super::walk::Stamp;
use crate::sync::lock;

/// Most paths that went away and are remembered. A receiver that looks less often is told everything again.
const GONE_MAX: usize = 100_000;

/// The path of each entry by its number: for those who fetch while somebody else looks.
pub(super) type Numbers = Arc<Mutex<BTreeMap<u64, Path>>>;

/// One entry as it was last found.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) item: Item,
    /// Its hash.
    pub(super) digest: Digest,
    /// The generation in which it became so.
    pub(super) changed: u64,
    pub(super) stamp: Stamp,
    /// XXH3 of each block.
    pub(super) quick: Arc<[u128]>,
    /// As long as its stamp is the same, so is its content.
    pub(super) is_proven: bool,
}

/// A tree as it was last found.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) nodes: BTreeMap<Path, Node>,
    /// Grows with every look that found a change.
    pub(super) generation: u64,
    /// What went away, and in which generation.
    pub(super) gone: Vec<(u64, Path)>,
    /// Of generations before this one, what went away is not known any more.
    pub(super) remembers: u64,
    /// Bytes of all files, without holes.
    pub(super) data: u64,
    /// Bytes of all names, link targets and attributes.
    pub(super) weight: u64,
    pub(super) skipped: u32,
    /// Entries that are other names of files.
    links: BTreeSet<Path>,
    numbers: Numbers,
    next: u64,
}

impl Tree {
    /// Nothing is known yet.
    pub(super) fn new(numbers: Numbers) -> Self {
        let (nodes, gone, links) = (BTreeMap::new(), Vec::new(), BTreeSet::new());
        Self { nodes, generation: 0, gone, remembers: 0, data: 0, weight: 0, skipped: 0, links, numbers, next: 1 }
    }

    /// How a file was when it was last measured.
    pub(super) fn measured(&self, path: &[u8]) -> Option<Measured> {
        let node = self.nodes.get(path)?;
        let content = Arc::clone(node.item.content()?);
        Some(Measured { content, quick: Arc::clone(&node.quick), stamp: node.stamp, is_stable: false })
    }

    /// Takes an entry as it was found. Its number stays if the path had one; `generation` is when it changed, if it did.
    pub(super) fn put(&mut self, path: &Path, mut node: Node, generation: u64) -> bool {
        let old = self.nodes.get(path);
        node.item.id = old.map_or(self.next, |o| o.item.id);
        node.digest = root::of_item(path, &node.item);
        let is_same = old.is_some_and(|o| o.item == node.item);
        node.changed = if is_same { old.map_or(generation, |o| o.changed) } else { generation };
        let before = old.and_then(|o| o.item.content()).map_or(0, |c| c.data());
        let after = node.item.content().map_or(0, |c| c.data());
        self.data = self.data.saturating_sub(before).saturating_add(after);
        let (was, is) = (old.map_or(0, |o| o.item.weight(path)), node.item.weight(path));
        self.weight = self.weight.saturating_sub(was).saturating_add(is);
        if old.is_none() {
            lock(&self.numbers).insert(self.next, Arc::clone(path));
            self.next += 1;
        }
        if matches!(node.item.what, What::HardLink(_)) {
            self.links.insert(Arc::clone(path));
        } else {
            self.links.remove(path);
        }
        self.nodes.insert(Arc::clone(path), node);
        !is_same
    }

    /// Forgets an entry that is no more.
    pub(super) fn remove(&mut self, path: &Path, generation: u64) {
        let Some(node) = self.nodes.remove(path) else { return };
        self.data = self.data.saturating_sub(node.item.content().map_or(0, |c| c.data()));
        self.weight = self.weight.saturating_sub(node.item.weight(path));
        lock(&self.numbers).remove(&node.item.id);
        self.links.remove(path);
        self.gone.push((generation, Arc::clone(path)));
        if self.gone.len() > GONE_MAX {
            let half = self.gone.drain(..GONE_MAX / 2).map(|(g, _)| g).max();
            self.remembers = self.remembers.max(half.unwrap_or(0));
        }
    }

    /// Whether what changed since a generation can be told.
    pub(super) fn can_tell_since(&self, generation: u64) -> bool {
        generation >= self.remembers && generation <= self.generation
    }

    /// The paths of everything beneath a directory.
    pub(super) fn beneath(&self, dir: &[u8]) -> Vec<Path> {
        beneath(&self.nodes, dir)
    }

    /// The root of the tree of hashes.
    pub(super) fn root(&self) -> Digest {
        root::of_tree(self.nodes.values().map(|n| &n.digest))
    }

    /// Takes out what does not hang together, because it changed between two glances of one look: the next one finds it
    /// again. `fresh` are the paths that were put, in order. Gives one of those taken out.
    pub(super) fn mend(&mut self, fresh: &[Path], generation: u64) -> Option<Path> {
        let mut taken = None;
        for path in fresh {
            let dir = split(path).0;
            if !dir.is_empty() && self.nodes.get(dir).is_none_or(|n| n.item.what != What::Directory) {
                self.remove(path, generation);
                taken = Some(Arc::clone(path));
            }
        }
        let is_lost = |path: &Path| match self.nodes.get(path).map(|n| &n.item.what) {
            Some(What::HardLink(to)) => self.nodes.get(to).is_none_or(|n| n.item.content().is_none()),
            _ => true,
        };
        let lost: Vec<Path> = self.links.iter().filter(|p| is_lost(p)).cloned().collect();
        for path in lost {
            self.remove(&path, generation);
            taken = Some(path);
        }
        taken
    }

    /// Whether it is a file that had several names.
    pub(super) fn has_links(&self, path: &[u8]) -> bool {
        let node = self.nodes.get(path);
        node.is_some_and(|n| n.stamp.links > 1 && matches!(n.item.what, What::File(_) | What::HardLink(_)))
    }
}

/// The paths in a map that are beneath a directory, in order.
pub(super) fn beneath<T>(map: &BTreeMap<Path, T>, dir: &[u8]) -> Vec<Path> {
    if dir.is_empty() {
        return map.keys().cloned().collect();
    }
    let from: Path = [dir, b"/"].concat().into();
    // '0' follows '/'.
    let to: Path = [dir, b"0"].concat().into();
    map.range::<Path, _>((Bound::Included(&from), Bound::Excluded(&to))).map(|(path, _)| Arc::clone(path)).collect()
}
