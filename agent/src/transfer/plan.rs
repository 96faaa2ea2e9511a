//! What has to be done so that what is here becomes what shall be: names at once, and a list of bytes to fetch.

use std::io;
use std::sync::Arc;

use chandler_protocol::transfer::{BLOCK, Content};
use rustix::fs::{FallocateFlags, Mode};

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
    pub(super) fn take_meta(&self, local: &mut Local, path: &Path, item: &Item) -> Result<(), ReceiveError> {
        let Some(here) = local.here.get_mut(path) else { return Ok(()) };
        let is_same = here.meta == item.meta;
        (here.id, here.inode, here.meta) = (item.id, item.inode, item.meta.clone());
        if !is_same {
            local.unset.insert(Arc::clone(path));
            local.dirtied(path);
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
