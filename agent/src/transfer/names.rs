//! Names that move: files that were renamed, and files that have several names.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rustix::fs::AtFlags;

use super::error::ReceiveError;
use super::intake::Want;
use super::item::{Item, Path, What};
use super::local::{Ground, Local, State, parent_exists};
use crate::sync::lock;

impl Ground {
    /// Files that were renamed at the source are renamed here: their bytes are here already.
    pub(super) fn move_files(&self, want: &Want, local: &mut Local, dirty: &[Path]) -> Result<(), ReceiveError> {
        let inode = |items: &BTreeMap<Path, Item>, p: &Path| {
            items.get(p).filter(|i| i.content().is_some()).map_or(0, |i| i.inode)
        };
        let is_leaving = |p: &&Path| inode(&local.here, p) != 0 && inode(&want.items, p) != inode(&local.here, p);
        let leaving = dirty.iter().filter(is_leaving);
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
        // Nor is it there any more if it was beneath what made room.
        let Some(item) = local.here.get(from).cloned() else { return Ok(()) };
        let (dir, name) = self.inside.parent(to).map_err(|e| self.failed(to, &e))?;
        let moved = self.inside.within(from, |old, old_name| rustix::fs::renameat(old, old_name, &dir, name));
        moved.map_err(|e| self.failed(from, &e))?;
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
    pub(super) fn link(&self) -> Result<(), ReceiveError> {
        let mut guard = lock(&self.state);
        let State { want, local } = &mut *guard;
        for (path, to) in &want.links {
            let Some(item) = want.items.get(path) else { continue };
            let is_there = local.here.get(path).is_some_and(|h| h.what == item.what) && !local.renewed.contains(to);
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
        let (items, here) = (&want.items, &local.here);
        local.renewed.retain(|path| items.contains_key(path) && !here.contains_key(path));
        Ok(())
    }
}
