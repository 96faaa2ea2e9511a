//! What has to be done so that what is here becomes what shall be: names at once, and a list of bytes to fetch.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use chandler_protocol::transfer::{BLOCK, Content};
use rustix::fs::{AtFlags, FallocateFlags, Mode};

use super::content::{Differs, differing, resized};
use super::error::ReceiveError;
use super::intake::Want;
use super::item::{Item, Path, What};
use super::local::{Ground, Local, State, parent_exists};
use crate::sync::lock;

/// Below this size a file that was replaced is fetched block by block.
const REBUILD_MIN: u64 = 256 << 10;

/// Bytes to be fetched.
#[derive(Debug, Clone)]
pub(super) struct Need {
    pub(super) path: Path,
    /// The file's number in the source.
    pub(super) file: u64,
    pub(super) offset: u64,
    pub(super) length: u32,
    /// The block they are, unless the file is put together anew.
    pub(super) block: Option<u32>,
    /// What is there may be nearly the same.
    pub(super) is_there: bool,
}

/// What is left to do after the names.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) needs: Vec<Need>,
    /// Files that were replaced as a whole, and their numbers: to be put together from what the old one holds.
    pub(super) rebuilds: Vec<(Path, u64)>,
    /// Bytes that differ.
    pub(super) total: u64,
}

impl Ground {
    /// Makes, moves and removes names, and lists the bytes that are missing. `whole`: no block is patched.
    pub(super) fn plan(&self, whole: bool) -> Result<Plan, ReceiveError> {
        self.measure_rebuilt()?;
        let mut guard = lock(&self.state);
        let State { want, local } = &mut *guard;
        // What an earlier run wrote that did not come to its end.
        local.settle(want);
        let mut plan = Plan::default();
        let dirty: Vec<Path> = want.dirty.iter().cloned().collect();
        self.make_directories(want, local, &dirty)?;
        self.move_files(want, local, &dirty)?;
        for path in &dirty {
            let Some(item) = want.items.get(path) else { continue };
            match &item.what {
                What::Directory => self.make_directory(local, path, item)?,
                What::Symlink(target) => self.make_symlink(local, path, item, target)?,
                What::File(content) => self.make_file(local, path, item, content, &mut plan)?,
                What::HardLink(_) => {
                    if local.content(path).is_some() || local.here.get(path).is_some_and(|h| h.what != item.what) {
                        self.remove(local, path)?;
                    }
                }
            }
        }
        // What is not wanted any more goes last to first, so that directories are empty.
        for path in dirty.iter().rev().filter(|p| !want.items.contains_key(*p)) {
            self.remove(local, path)?;
        }
        if whole {
            for need in &mut plan.needs {
                need.is_there = false;
            }
        }
        self.check_room(&plan)?;
        Ok(plan)
    }

    /// Directories first, so that files can be moved into them.
    fn make_directories(&self, want: &Want, local: &mut Local, dirty: &[Path]) -> Result<(), ReceiveError> {
        for path in dirty.iter().filter(|p| !local.here.contains_key(*p)).cloned().collect::<Vec<_>>() {
            let Some(item) = want.items.get(&path).filter(|i| i.what == What::Directory) else { continue };
            if parent_exists(local, &path) {
                self.make_directory(local, &path, item)?;
            }
        }
        Ok(())
    }

    fn make_directory(&self, local: &mut Local, path: &Path, item: &Item) -> Result<(), ReceiveError> {
        if local.here.get(path).is_some_and(|h| h.what == What::Directory) {
            return self.take_meta(local, path, item);
        }
        self.remove(local, path)?;
        let made = self.inside.within(path, |dir, name| rustix::fs::mkdirat(dir, name, Mode::from_raw_mode(0o700)));
        made.map_err(|e| self.failed(path, &e))?;
        local.put(path, item.clone());
        Ok(())
    }

    fn make_symlink(&self, local: &mut Local, path: &Path, item: &Item, target: &[u8]) -> Result<(), ReceiveError> {
        if local.here.get(path).is_some_and(|h| h.what == item.what) {
            return self.take_meta(local, path, item);
        }
        self.remove(local, path)?;
        let made = self.inside.within(path, |dir, name| rustix::fs::symlinkat(target, dir, name));
        made.map_err(|e| self.failed(path, &e))?;
        local.put(path, item.clone());
        Ok(())
    }

    fn make_file(
        &self,
        local: &mut Local,
        path: &Path,
        item: &Item,
        content: &Arc<Content>,
        plan: &mut Plan,
    ) -> Result<(), ReceiveError> {
        let failed = |e: io::Error| self.failed(path, &e);
        let Some(have) = local.content(path).cloned() else {
            self.remove(local, path)?;
            let file = self.inside.create(path).map_err(failed)?;
            file.set_len(content.size).map_err(failed)?;
            let empty = Content { size: content.size, ..Content::default() };
            let differs = differing(content, &empty);
            local.put(path, Item { what: What::File(Arc::new(empty)), ..item.clone() });
            plan.add(path, item, content, differs);
            return Ok(());
        };
        let was_inode = local.here.get(path).map_or(0, |h| h.inode);
        self.take_meta(local, path, item)?;
        if have == *content {
            local.set_content(path, Arc::clone(content));
            return Ok(());
        }
        let differs = differing(content, &have);
        let was_replaced = was_inode != item.inode || have.size != content.size;
        if was_replaced && content.size.min(have.size) >= REBUILD_MIN && differs.len() * 2 >= content.digests.len() {
            plan.total += content.data();
            plan.rebuilds.push((Arc::clone(path), item.id));
            return Ok(());
        }
        let file = self.inside.writer(path).map_err(failed)?;
        local.writing(path, std::iter::empty());
        let mut have = have;
        if have.size != content.size {
            // Whatever happens next, what is kept about the file is true.
            have = Arc::new(resized(&have, content.size));
            file.set_len(content.size).map_err(failed)?;
            local.set_content(path, Arc::clone(&have));
        }
        let (zeros, differs): (Vec<Differs>, Vec<Differs>) =
            differing(content, &have).into_iter().partition(|d| d.is_zero);
        local.writing(path, zeros.iter().map(|z| z.block));
        for zero in zeros {
            clear(&file, zero.block, content.length(zero.block)).map_err(failed)?;
            local.wrote(path, zero.block, None, 0);
        }
        plan.add(path, item, content, differs);
        Ok(())
    }

    /// What is said about an entry that stays what it is.
    fn take_meta(&self, local: &mut Local, path: &Path, item: &Item) -> Result<(), ReceiveError> {
        let Some(here) = local.here.get_mut(path) else { return Ok(()) };
        let is_same = here.meta == item.meta;
        (here.id, here.inode, here.meta) = (item.id, item.inode, item.meta.clone());
        if !is_same {
            local.unset.insert(Arc::clone(path));
            local.dirtied(path);
        }
        Ok(())
    }

    /// Files that were renamed at the source are renamed here: their bytes are here already.
    fn move_files(&self, want: &Want, local: &mut Local, dirty: &[Path]) -> Result<(), ReceiveError> {
        let inode = |items: &BTreeMap<Path, Item>, p: &Path| {
            items.get(p).filter(|i| i.content().is_some()).map_or(0, |i| i.inode)
        };
        let leaving =
            dirty.iter().filter(|p| inode(&local.here, p) != 0 && inode(want_items(want), p) != inode(&local.here, p));
        let from: BTreeMap<u64, Path> = leaving.map(|p| (inode(&local.here, p), Arc::clone(p))).collect();
        let mut moves: BTreeMap<Path, Path> = BTreeMap::new();
        for to in dirty {
            let wanted = inode(&want.items, to);
            if let Some(from) = from.get(&wanted).filter(|f| wanted != 0 && *f != to) {
                moves.insert(Arc::clone(from), Arc::clone(to));
            }
        }
        // A file makes room before another takes its name; rings of names are fetched instead.
        while let Some((from, to)) =
            moves.iter().find(|(_, to)| !moves.contains_key(*to)).map(|(f, t)| (f.clone(), t.clone()))
        {
            moves.remove(&from);
            // Making room for another may have removed it, with the directory it was in.
            if parent_exists(local, &to) && local.content(&from).is_some() {
                self.move_file(local, &from, &to)?;
            }
        }
        Ok(())
    }

    fn move_file(&self, local: &mut Local, from: &Path, to: &Path) -> Result<(), ReceiveError> {
        let links: BTreeSet<Path> = local
            .here
            .iter()
            .filter(|(_, i)| i.what == What::HardLink(Arc::clone(from)))
            .map(|(p, _)| p.clone())
            .collect();
        // Another name of the same file would make the kernel do nothing.
        self.remove(local, to)?;
        let (dir, name) = self.inside.parent(to).map_err(|e| self.failed(to, &e))?;
        let moved = self.inside.within(from, |old, old_name| rustix::fs::renameat(old, old_name, &dir, name));
        moved.map_err(|e| self.failed(from, &e))?;
        let Some(item) = local.here.get(from).cloned() else { return Ok(()) };
        let over = local.over.remove(from);
        let unread = local.unread.remove(from);
        local.forget(from);
        local.put(to, item);
        local.over.extend(over.map(|o| (Arc::clone(to), o)));
        local.unread.extend(unread.map(|u| (Arc::clone(to), u)));
        for link in links {
            if let Some(item) = local.here.get_mut(&link) {
                item.what = What::HardLink(Arc::clone(to));
            }
        }
        Ok(())
    }

    /// Gives files their other names. After all bytes are there.
    pub(super) fn link(&self, renewed: &BTreeSet<Path>) -> Result<(), ReceiveError> {
        let mut guard = lock(&self.state);
        let State { want, local } = &mut *guard;
        for (path, to) in &want.links {
            let Some(item) = want.items.get(path) else { continue };
            let is_there = local.here.get(path).is_some_and(|h| h.what == item.what) && !renewed.contains(to);
            if is_there {
                self.take_meta(local, path, item)?;
                continue;
            }
            if local.content(to).is_none() {
                continue;
            }
            self.remove(local, path)?;
            let (dir, name) = self.inside.parent(to).map_err(|e| self.failed(to, &e))?;
            let linked = self
                .inside
                .within(path, |new, new_name| rustix::fs::linkat(&dir, name, new, new_name, AtFlags::empty()));
            linked.map_err(|e| self.failed(path, &e))?;
            local.put(path, item.clone());
        }
        Ok(())
    }

    /// Whether what is to be fetched fits, before anything of it is.
    fn check_room(&self, plan: &Plan) -> Result<(), ReceiveError> {
        let new: u64 = plan.needs.iter().filter(|n| !n.is_there).map(|n| u64::from(n.length)).sum();
        let Ok(stat) = rustix::fs::fstatvfs(self.inside.root()) else { return Ok(()) };
        // Blocks that hold zeros so far are there already on some file systems: only what surely does not fit is refused.
        if new > stat.f_bavail.saturating_mul(stat.f_frsize) && new > BLOCK as u64 {
            return Err(ReceiveError::DiskFull { path: self.dir.display().to_string() });
        }
        Ok(())
    }
}

fn want_items(want: &Want) -> &BTreeMap<Path, Item> {
    &want.items
}

impl Plan {
    fn add(&mut self, path: &Path, item: &Item, content: &Content, differs: Vec<Differs>) {
        for Differs { block, is_there, .. } in differs {
            let length = content.length(block);
            self.total += length as u64;
            self.needs.push(Need {
                path: Arc::clone(path),
                file: item.id,
                offset: u64::from(block) * BLOCK as u64,
                length: u32::try_from(length).unwrap_or(0),
                block: Some(block),
                is_there,
            });
        }
    }
}

/// Makes a block all zeros, as a hole where that can be.
fn clear(file: &std::fs::File, block: u32, length: usize) -> io::Result<()> {
    let at = u64::from(block) * BLOCK as u64;
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    match rustix::fs::fallocate(file, flags, at, length as u64) {
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {
            std::os::unix::fs::FileExt::write_all_at(file, &vec![0; length], at)
        }
        other => Ok(other?),
    }
}
