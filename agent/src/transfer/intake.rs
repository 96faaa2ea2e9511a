//! What the source says is there, checked as it arrives: it may be hostile.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chandler_protocol::Digest;
use chandler_protocol::transfer::{
    Content, Entry, Kind, Known, Looked, Run, Say, XATTR_BYTES_MAX, XATTRS_MAX, Xattr, link_fault, path_fault,
};
use twox_hash::XxHash3_64;

use super::error::ReceiveError;
use super::inside::split;
use super::item::{Item, Path, What};
use super::tree::beneath;
use super::walk::fold;
use super::{LIST_MAX, Limits};

/// The tree as the source last told it.
#[derive(Debug, Default)]
pub(super) struct Want {
    pub(super) items: BTreeMap<Path, Item>,
    /// Paths at which something may differ from what is here.
    pub(super) dirty: BTreeSet<Path>,
    /// Other names of files, and the first name of each.
    pub(super) links: BTreeMap<Path, Path>,
    /// What is known of which source.
    pub(super) known: Option<Known>,
    /// Hashes of all paths without regard to case: no two may be the same.
    folded: BTreeSet<u64>,
    /// Bytes of all files, without holes.
    data: u64,
    /// Bytes of all names, link targets and attributes.
    weight: u64,
}

/// One answer to a look, while it arrives.
#[derive(Debug, Default)]
pub(super) struct Intake {
    tree: Option<(u64, bool)>,
    has_begun: bool,
    /// The last entry: more of its blocks may follow.
    open: Option<Entry>,
    fresh: Vec<Path>,
}

impl Intake {
    /// Takes one message. Gives the end of the answer.
    pub(super) fn take(&mut self, want: &mut Want, limits: &Limits, say: Say) -> Result<Option<Looked>, ReceiveError> {
        match say {
            Say::Looking { tree, is_change } if !self.has_begun => self.tree = Some((tree, is_change)),
            Say::Gone(paths) => {
                self.begin(want)?;
                for path in paths {
                    want.remove(&path);
                }
            }
            Say::Entries(entries) => {
                self.begin(want)?;
                for entry in entries {
                    self.close(want, limits)?;
                    self.open = Some(entry);
                }
            }
            Say::More { runs, digests } => {
                let Some(Entry { kind: Kind::File(content), path, .. }) = &mut self.open else {
                    return Err(lie("sends blocks of no file"));
                };
                more(content, &runs, &digests).map_err(|why| ReceiveError::refused(path, why))?;
            }
            Say::Looked(looked) => {
                self.begin(want)?;
                self.close(want, limits)?;
                want.check(&self.fresh)?;
                if looked.entries != want.items.len() as u64 {
                    return Err(lie("tells another number of entries than it sends"));
                }
                let tree = self.tree.map_or(0, |(tree, _)| tree);
                want.known = Some(Known { tree, generation: looked.generation });
                return Ok(Some(looked));
            }
            _ => return Err(lie("answers what was not asked")),
        }
        Ok(None)
    }

    /// The first of what is told.
    fn begin(&mut self, want: &mut Want) -> Result<(), ReceiveError> {
        let Some((tree, is_change)) = self.tree else { return Err(lie("answers before it says who it is")) };
        if std::mem::replace(&mut self.has_begun, true) {
            return Ok(());
        }
        // Until the whole answer is here, what was known is not to be built on.
        let known = want.known.take();
        if !is_change {
            want.clear();
        } else if known.is_none_or(|k| k.tree != tree) {
            return Err(lie("tells changes of what nobody knows"));
        }
        Ok(())
    }

    fn close(&mut self, want: &mut Want, limits: &Limits) -> Result<(), ReceiveError> {
        let Some(entry) = self.open.take() else { return Ok(()) };
        fault(&entry, limits).map_or(Ok(()), |why| Err(ReceiveError::refused(&entry.path, why)))?;
        self.fresh.push(want.put(entry, limits)?);
        Ok(())
    }
}

impl Want {
    /// Forgets what was told; all of it may differ from what is here.
    fn clear(&mut self) {
        self.dirty.extend(std::mem::take(&mut self.items).into_keys());
        self.links.clear();
        self.folded.clear();
        self.data = 0;
        self.weight = 0;
    }

    fn put(&mut self, entry: Entry, limits: &Limits) -> Result<Path, ReceiveError> {
        let (path, item) = Item::from_entry(entry);
        self.forget(&path);
        if !self.folded.insert(folded(&path)) {
            let why = "differs from another path only in upper and lower case, or is there twice";
            return Err(ReceiveError::refused(&path, why));
        }
        if let What::HardLink(to) = &item.what {
            self.links.insert(Arc::clone(&path), Arc::clone(to));
        }
        self.data = self.data.saturating_add(item.content().map_or(0, |c| c.data()));
        self.weight = self.weight.saturating_add(item.weight(&path));
        self.items.insert(Arc::clone(&path), item);
        self.dirty.insert(Arc::clone(&path));
        if self.items.len() as u64 > limits.entries {
            let why = format!("is one too many: a state may have {} entries", limits.entries);
            return Err(ReceiveError::refused(&path, why));
        }
        if self.weight > LIST_MAX {
            return Err(ReceiveError::refused(b"", "the names and attributes of the state are too long together"));
        }
        if self.data > limits.data {
            return Err(ReceiveError::refused(b"", format!("the state is larger than {} bytes", limits.data)));
        }
        Ok(path)
    }

    fn remove(&mut self, path: &[u8]) {
        if let Some(path) = self.forget(path) {
            self.dirty.insert(path);
        }
    }

    fn forget(&mut self, path: &[u8]) -> Option<Path> {
        let (path, item) = self.items.remove_entry(path)?;
        self.links.remove(&path);
        self.folded.remove(&folded(&path));
        self.data = self.data.saturating_sub(item.content().map_or(0, |c| c.data()));
        self.weight = self.weight.saturating_sub(item.weight(&path));
        Some(path)
    }

    /// Whether the tree hangs together: everything is in a directory, and every other name is one of a file.
    fn check(&self, fresh: &[Path]) -> Result<(), ReceiveError> {
        let is_directory = |path: &[u8]| self.items.get(path).is_some_and(|i| i.what == What::Directory);
        for path in fresh {
            let dir = split(path).0;
            if !dir.is_empty() && !is_directory(dir) {
                return Err(ReceiveError::refused(path, "is in no directory"));
            }
        }
        // What was a directory may have lost that, with something still in it.
        for path in self.dirty.iter().filter(|p| !is_directory(p)) {
            if let Some(lost) = beneath(&self.items, path).first() {
                return Err(ReceiveError::refused(lost, "is in no directory"));
            }
        }
        for (path, to) in &self.links {
            if self.items.get(to).is_none_or(|i| i.content().is_none()) {
                return Err(ReceiveError::refused(path, "is another name of nothing that is there"));
            }
        }
        Ok(())
    }
}

/// What is wrong with an entry, if anything: a sentence's end.
fn fault(entry: &Entry, limits: &Limits) -> Option<String> {
    if let Some(fault) = path_fault(&entry.path) {
        return Some(fault.into());
    }
    if entry.mode > 0o1777 || entry.mtime.1 >= 1_000_000_000 {
        return Some("has permissions or times that are not taken along".into());
    }
    if xattrs_fault(&entry.xattrs) {
        return Some("has extended attributes that are not taken along".into());
    }
    match &entry.kind {
        Kind::File(content) if !content.is_sound() => Some("has blocks that cannot be".into()),
        Kind::File(content) if content.size > limits.file => {
            Some(format!("is larger than the {} bytes that a file may have", limits.file))
        }
        Kind::Symlink { target } => link_fault(&entry.path, target).map(Into::into),
        Kind::HardLink { to } => path_fault(to).map(Into::into),
        _ => None,
    }
}

fn xattrs_fault(xattrs: &[Xattr]) -> bool {
    let bytes: usize = xattrs.iter().map(|x| x.name.len() + x.value.len()).sum();
    let is_name = |n: &[u8]| n.starts_with(b"user.") && n.len() > 5 && n.len() <= 255 && !n.contains(&0);
    xattrs.len() > XATTRS_MAX
        || bytes > XATTR_BYTES_MAX
        || !xattrs.iter().all(|x| is_name(&x.name))
        || !xattrs.is_sorted_by(|a, b| a.name < b.name)
}

/// Adds blocks to a file that has too many for one message.
fn more(content: &mut Content, runs: &[Run], digests: &[Digest]) -> Result<(), &'static str> {
    let blocks: u64 = runs.iter().map(|r| u64::from(r.count)).sum();
    if blocks != digests.len() as u64 || content.digests.len() as u64 + blocks > content.count() {
        return Err("has blocks that cannot be");
    }
    let numbers = runs.iter().flat_map(|r| r.first..r.first.saturating_add(r.count));
    for (block, digest) in numbers.zip(digests) {
        content.push(block, *digest);
    }
    Ok(())
}

/// A path as a file system that ignores case sees it, as a hash.
fn folded(path: &[u8]) -> u64 {
    XxHash3_64::oneshot(&fold(path))
}

/// The source does not keep to the rules.
pub(super) fn lie(why: &str) -> ReceiveError {
    ReceiveError::refused(b"", format!("the source {why}"))
}
