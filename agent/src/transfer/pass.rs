//! One look at a tree: what is there, and what of it changed.
//!
//! While the software runs, a file is read again when its stamp (inode, size, times, permissions) differs. That misses a
//! store to mapped memory whose page was dirty already: it changes no stamp. So the final look, when nothing writes any
//! more, reads every file again but those that are *proven*: read after the file system was synced, unchanged while they
//! were read, last changed a good while before that sync began, on a file system where every later store must change the
//! stamp, and mapped by nobody for writing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use chandler_protocol::Digest;
use rustix::fs::FileType;

use super::error::TreeError;
use super::hash::{Job, Measured, measure};
use super::inside::{Inside, split};
use super::item::{Item, Meta, Path, What};
use super::meta::{owner, target, xattrs};
use super::tree::{Node, Tree};
use super::walk::{Listing, Stamp, walk};
use super::{LIST_MAX, Limits};

/// What a look goes by.
#[derive(Debug)]
pub(super) struct Look<'a> {
    pub(super) inside: &'a Inside,
    pub(super) limits: &'a Limits,
    /// Of the quick hashes.
    pub(super) seed: u64,
    /// Somebody wants it to end.
    pub(super) stop: &'a AtomicBool,
    /// Nothing writes any more, and what is found is what is given up.
    pub(super) is_final: bool,
    /// A file that was last changed before this moment and is read now is proven. `None`: nothing is.
    pub(super) proof: Option<(i64, u32)>,
    /// Look at these paths only.
    pub(super) hints: Option<&'a BTreeSet<Vec<u8>>>,
}

/// Most entries that are read before they are taken over.
const TOGETHER: usize = 4_096;
/// How often the final look is repeated when a file changes under it.
const TRIES: u32 = 3;

impl Tree {
    /// Looks, and takes over what it finds.
    ///
    /// # Errors
    /// Something is not taken along, cannot be read, or still changes at the end.
    pub(super) fn look(&mut self, look: &Look<'_>) -> Result<(), TreeError> {
        let mut tries = 0;
        loop {
            let unstable = self.look_once(look)?;
            match unstable {
                Some(path) if look.is_final && tries + 1 == TRIES => {
                    return Err(TreeError::Changing { path: super::error::shown(&path) });
                }
                Some(_) if look.is_final => tries += 1,
                _ => return Ok(()),
            }
        }
    }

    /// Gives a file that changed while it was read.
    fn look_once(&mut self, look: &Look<'_>) -> Result<Option<Path>, TreeError> {
        let (listing, gone) = match look.hints.filter(|_| !look.is_final) {
            Some(hints) => match self.hinted(look, hints)? {
                Some(found) => found,
                None => self.listed(look)?,
            },
            None => self.listed(look)?,
        };
        let first_names = first_names(&listing);
        let mut wanted: Vec<(Path, Stamp)> = Vec::new();
        for (path, stamp) in &listing.found {
            if self.is_to_be_read(look, path, stamp, &first_names) {
                wanted.push((Arc::clone(path), *stamp));
            }
        }
        let generation = self.generation + 1;
        let mut seen = Seen::default();
        for some in wanted.chunks(TOGETHER) {
            self.read(look, some, &first_names, generation, &mut seen)?;
        }
        if !gone.is_empty() {
            self.generation = generation;
        }
        for path in gone {
            self.remove(&path, generation);
        }
        if let Some(path) = self.mend(&seen.fresh, generation) {
            self.generation = generation;
            seen.unstable = Some(path);
        }
        if self.weight > LIST_MAX {
            return Err(TreeError::refused(b"", "the names and attributes of the state are too long together"));
        }
        if self.data > look.limits.data {
            return Err(TreeError::refused(b"", format!("the state is larger than {} bytes", look.limits.data)));
        }
        Ok(seen.unstable)
    }

    /// Reads some entries and takes them over: also when a later one cannot be read, or the look is broken off.
    fn read(
        &mut self,
        look: &Look<'_>,
        wanted: &[(Path, Stamp)],
        first_names: &BTreeMap<u64, Path>,
        generation: u64,
        seen: &mut Seen,
    ) -> Result<(), TreeError> {
        let is_first_name =
            |path: &Path, stamp: &Stamp| first_names.get(&stamp.inode).is_none_or(|first| first == path);
        let files = wanted.iter().filter(|(p, s)| s.kind() == FileType::RegularFile && is_first_name(p, s));
        let jobs: Vec<Job> =
            files.map(|(p, s)| Job { path: Arc::clone(p), size: s.size, before: self.measured(p) }).collect();
        let measured = measure(look.inside, &jobs, look.seed, look.stop)?;
        let mut measured: BTreeMap<Path, Option<Measured>> = jobs.into_iter().map(|j| j.path).zip(measured).collect();
        for (path, stamp) in wanted {
            let file = match measured.remove(path) {
                Some(None) => {
                    // It went away meanwhile. The next look tells.
                    seen.unstable = Some(Arc::clone(path));
                    continue;
                }
                other => other.flatten(),
            };
            let Some(node) = self.node(look, path, *stamp, file, first_names)? else {
                seen.unstable = Some(Arc::clone(path));
                continue;
            };
            if node.item.content().is_some() && !node.is_stable(*stamp) {
                seen.unstable = Some(Arc::clone(path));
            }
            if self.put(path, node.into_node(look), generation) {
                self.generation = generation;
            }
            seen.fresh.push(Arc::clone(path));
        }
        Ok(())
    }

    /// Everything, and what is no more.
    fn listed(&mut self, look: &Look<'_>) -> Result<(Listing, Vec<Path>), TreeError> {
        let listing = walk(look.inside, b"", look.limits, look.stop)?;
        self.skipped = listing.skipped;
        let gone = self.nodes.keys().filter(|p| !listing.found.contains_key(*p)).cloned().collect();
        Ok((listing, gone))
    }

    /// Only what was hinted at, and what of it is no more. `None`: one has to look at everything.
    fn hinted(&self, look: &Look<'_>, hints: &BTreeSet<Vec<u8>>) -> Result<Option<(Listing, Vec<Path>)>, TreeError> {
        let mut listing = Listing::default();
        let mut gone = Vec::new();
        let parents = hints.iter().map(|h| split(h).0.to_vec()).filter(|p| !p.is_empty());
        let paths: BTreeSet<Vec<u8>> = hints.iter().cloned().chain(parents).collect();
        for path in &paths {
            let Ok(stat) = look.inside.stat(path) else {
                if self.has_links(path) || self.beneath(path).iter().any(|p| self.has_links(p)) {
                    return Ok(None);
                }
                gone.extend(self.nodes.get_key_value(path.as_slice()).map(|(p, _)| Arc::clone(p)));
                gone.extend(self.beneath(path));
                continue;
            };
            let stamp = Stamp::of(&stat);
            // Other names of it would have to be looked at too.
            if self.has_links(path) || (stamp.kind() == FileType::RegularFile && stamp.links > 1) {
                return Ok(None);
            }
            if !matches!(stamp.kind(), FileType::RegularFile | FileType::Directory | FileType::Symlink) {
                return Ok(None);
            }
            let is_new = !self.nodes.contains_key(path.as_slice());
            if stamp.kind() != FileType::Directory {
                gone.extend(self.beneath(path));
            }
            listing.found.insert(path.as_slice().into(), stamp);
            // What is in a directory that appeared may have appeared before anybody watched it.
            if is_new && stamp.kind() == FileType::Directory {
                listing.found.extend(walk(look.inside, path, look.limits, look.stop)?.found);
            }
        }
        if (self.nodes.len() + listing.found.len()) as u64 > look.limits.entries {
            return Ok(None);
        }
        gone.sort();
        gone.dedup();
        Ok(Some((listing, gone)))
    }

    fn is_to_be_read(&self, look: &Look<'_>, path: &Path, stamp: &Stamp, first: &BTreeMap<u64, Path>) -> bool {
        let Some(node) = self.nodes.get(path) else { return true };
        let should_link = first.get(&stamp.inode).filter(|f| *f != path);
        let is_link = match &node.item.what {
            What::HardLink(to) => Some(to),
            _ => None,
        };
        if node.stamp != *stamp || should_link != is_link {
            return true;
        }
        if stamp.kind() != FileType::RegularFile || is_link.is_some() || node.is_proven {
            return false;
        }
        look.is_final || look.proof.is_some_and(|proof| stamp.ctime < proof)
    }

    fn node(
        &self,
        look: &Look<'_>,
        path: &Path,
        stamp: Stamp,
        file: Option<Measured>,
        first: &BTreeMap<u64, Path>,
    ) -> Result<Option<Fresh>, TreeError> {
        let what = match (stamp.kind(), &file) {
            (FileType::Directory, _) => What::Directory,
            (FileType::Symlink, _) => match target(look.inside, path)? {
                Some(target) => What::Symlink(target.into()),
                None => return Ok(None),
            },
            (_, Some(file)) => What::File(Arc::clone(&file.content)),
            (_, None) => match first.get(&stamp.inode) {
                Some(name) => What::HardLink(Arc::clone(name)),
                None => return Ok(None),
            },
        };
        let is_same = self.nodes.get(path).filter(|n| n.stamp == stamp);
        let xattrs = match (&what, is_same) {
            (What::File(_) | What::Directory, Some(node)) => node.item.meta.xattrs.clone(),
            (What::File(_) | What::Directory, None) => xattrs(look.inside, path, stamp.kind())?,
            _ => Vec::new(),
        };
        // Permissions of a link mean nothing; what runs as somebody else is not taken along.
        let mode = if stamp.kind() == FileType::Symlink { 0o777 } else { stamp.mode & 0o1777 };
        let meta = Meta { mode: mode as u16, owner: owner(look.inside, &stamp), mtime: stamp.mtime, xattrs };
        let item = Item { id: 0, inode: stamp.inode, meta, what };
        Ok(Some(Fresh { item, stamp, file }))
    }
}

/// What one look came across.
#[derive(Default)]
struct Seen {
    /// A file that changed while it was read.
    unstable: Option<Path>,
    /// What was taken over, in order.
    fresh: Vec<Path>,
}

/// An entry that was just looked at.
struct Fresh {
    item: Item,
    stamp: Stamp,
    file: Option<Measured>,
}

impl Fresh {
    fn is_stable(&self, listed: Stamp) -> bool {
        self.file.as_ref().is_some_and(|f| f.is_stable && f.stamp == listed)
    }

    fn into_node(self, look: &Look<'_>) -> Node {
        let is_proven = self.is_stable(self.stamp) && look.proof.is_some_and(|proof| self.stamp.ctime < proof);
        let quick = self.file.map_or_else(|| Arc::from([]), |f| f.quick);
        let digest = Digest([0; 32]);
        Node { item: self.item, digest, changed: 0, stamp: self.stamp, quick, is_proven }
    }
}

/// The first name of each file that has several here.
fn first_names(listing: &Listing) -> BTreeMap<u64, Path> {
    let mut names = BTreeMap::new();
    for (path, stamp) in &listing.found {
        if stamp.links > 1 && stamp.kind() == FileType::RegularFile {
            names.entry(stamp.inode).or_insert_with(|| Arc::clone(path));
        }
    }
    names
}
