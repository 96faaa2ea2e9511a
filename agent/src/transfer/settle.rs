//! The end of a round: names of links, permissions and times, comparing what was written, and writing it out.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use chandler_protocol::Digest;
use chandler_protocol::transfer::BLOCK;
use rustix::fs::{AtFlags, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags};
use tokio::sync::watch;

use super::content::{Blocks, UNKNOWN, written};
use super::error::ReceiveError;
use super::hash::{Job, fill, is_zero, measure};
use super::inside::{Inside, is_regular};
use super::item::{Item, Meta, Path, What};
use super::local::{Ground, State};
use super::meta::read_xattrs;
use crate::sync::lock;

/// Up to so many entries are written out one by one; more are written out with their whole file system. Measured: 256
/// small files take 130 ms one by one and 15 ms together.
const SYNC_ONE_BY_ONE: usize = 16;
/// Blocks that one thread compares at once.
const COMPARE: usize = 256;

impl Ground {
    /// Ends a round. What is not as it shall be stays dirty. Comparing is put off when the state is being sealed
    /// meanwhile, unless this is the last round.
    pub(super) fn finish(&self, sealing: &watch::Receiver<bool>, is_last: bool) -> Result<(), ReceiveError> {
        {
            let mut guard = lock(&self.state);
            let State { want, local } = &mut *guard;
            local.settle(want);
        }
        self.measure_rebuilt()?;
        self.link()?;
        self.set_metas()?;
        self.compare(&|| !is_last && *sealing.borrow())?;
        let mut guard = lock(&self.state);
        let State { want, local } = &mut *guard;
        let is_done = |path: &Path| match (want.items.get(path), local.here.get(path)) {
            (None, None) => true,
            (Some(item), Some(here)) => item.what == here.what,
            _ => false,
        };
        let done: Vec<Path> = want.dirty.iter().filter(|p| is_done(p)).cloned().collect();
        for path in done {
            want.dirty.remove(&path);
        }
        Ok(())
    }

    /// Finds out what files hold that were put together anew.
    pub(super) fn measure_rebuilt(&self) -> Result<(), ReceiveError> {
        let rebuilt = std::mem::take(&mut lock(&self.state).local.rebuilt);
        let size = |p: &Path| lock(&self.state).local.content(p).map_or(0, |c| c.size);
        let jobs: Vec<Job> = rebuilt.into_iter().map(|path| Job { size: size(&path), path, before: None }).collect();
        let measured = measure(&self.inside, &jobs, 0, &AtomicBool::new(false))?;
        let mut guard = lock(&self.state);
        let State { want, local } = &mut *guard;
        for (job, measured) in jobs.into_iter().zip(measured) {
            let Some(measured) = measured else { continue };
            let wanted = want.items.get(&job.path).and_then(Item::content).filter(|w| **w == measured.content);
            local.set_content(&job.path, Arc::clone(wanted.unwrap_or(&measured.content)));
        }
        Ok(())
    }

    /// Sets what is said about entries, the innermost first.
    fn set_metas(&self) -> Result<(), ReceiveError> {
        let mut guard = lock(&self.state);
        let State { want, local } = &mut *guard;
        let unset: Vec<Path> = local.unset.iter().rev().cloned().collect();
        for path in unset {
            let wanted = want.items.get(&path);
            if wanted.is_some_and(|w| matches!(w.what, What::HardLink(_))) {
                // It is said of the file's first name.
                local.unset.remove(&path);
                continue;
            }
            let Some(item) = wanted.filter(|w| local.here.get(&path).is_some_and(|h| is_same_kind(&h.what, &w.what)))
            else {
                continue;
            };
            self.set_meta(&path, item).map_err(|e| self.failed(&path, &e))?;
            if let Some(here) = local.here.get_mut(&path) {
                here.meta = item.meta.clone();
            }
            local.unset.remove(&path);
        }
        Ok(())
    }

    fn set_meta(&self, path: &[u8], item: &Item) -> io::Result<()> {
        let Meta { mode, owner, mtime, .. } = &item.meta;
        let (secs, nanos) = *mtime;
        let times = Timestamps {
            last_access: Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT },
            last_modification: Timespec { tv_sec: secs, tv_nsec: i64::from(nanos) },
        };
        let owner = self.owner(*owner)?;
        if let What::Symlink(_) = item.what {
            return self.inside.within(path, |dir, name| {
                if let Some((user, group)) = owner {
                    rustix::fs::chownat(dir, name, Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW)?;
                }
                rustix::fs::utimensat(dir, name, &times, AtFlags::SYMLINK_NOFOLLOW)
            });
        }
        let fd = open_any(&self.inside, path, &item.what)?;
        if let Some((user, group)) = owner {
            rustix::fs::fchown(&fd, Some(user), Some(group))?;
        }
        set_xattrs(&fd, item)?;
        rustix::fs::fchmod(&fd, Mode::from_raw_mode(u32::from(mode & 0o1777)))?;
        Ok(rustix::fs::futimens(&fd, &times)?)
    }

    /// To whom an entry belongs: only root can say so, and what belongs to nobody in particular belongs to the owner of
    /// the directory.
    fn owner(&self, owner: Option<(u32, u32)>) -> io::Result<Option<(Uid, Gid)>> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        let (user, group) = match owner {
            Some(owner) => owner,
            None => {
                let top = rustix::fs::fstat(self.inside.root())?;
                (top.st_uid, top.st_gid)
            }
        };
        Ok(Some((Uid::from_raw(user), Gid::from_raw(group))))
    }

    /// Reads what was written and compares it; what differs is fetched again.
    fn compare(&self, is_put_off: &(dyn Fn() -> bool + Sync)) -> Result<(), ReceiveError> {
        let unread = std::mem::take(&mut lock(&self.state).local.unread);
        let mut stretches: Vec<(Path, Stretch)> = Vec::new();
        for (path, blocks) in unread {
            let blocks: Stretch = blocks.into_iter().filter(|b| b.1 != Some(UNKNOWN)).collect();
            stretches.extend(blocks.chunks(COMPARE).map(|some| (Arc::clone(&path), some.to_vec())));
        }
        let next = AtomicUsize::new(0);
        let wrong: Mutex<Vec<(Path, Blocks)>> = Mutex::default();
        let failed: Mutex<Option<ReceiveError>> = Mutex::default();
        let work = || {
            while !is_put_off() && lock(&failed).is_none() {
                let Some((path, blocks)) = stretches.get(next.fetch_add(1, Ordering::Relaxed)) else { return };
                match differ(&self.inside, path, blocks) {
                    Ok(differ) if differ.is_empty() => {}
                    Ok(differ) => lock(&wrong).push((Arc::clone(path), differ)),
                    Err(e) => *lock(&failed) = Some(self.failed(path, &e)),
                }
            }
        };
        if stretches.len() > 1 {
            std::thread::scope(|scope| {
                scope.spawn(work);
                work();
            });
        } else {
            work();
        }
        let mut guard = lock(&self.state);
        let State { want, local } = &mut *guard;
        for (path, blocks) in stretches.iter().skip(next.load(Ordering::Relaxed)) {
            local.unread.entry(Arc::clone(path)).or_default().extend(blocks.iter().copied());
        }
        for (path, blocks) in std::mem::take(&mut *lock(&wrong)) {
            tracing::warn!(path = %super::error::shown(&path), blocks = blocks.len(), "received state reads back otherwise");
            if let Some(content) = local.content(&path) {
                let content = Arc::new(written(content, &blocks));
                local.set_content(&path, content);
            }
            want.dirty.insert(path);
        }
        lock(&failed).take().map_or(Ok(()), Err)
    }

    /// Writes out what is not on the disk yet. Gives how many bytes that were, about, and how long it took.
    pub(super) fn sync(&self) -> Result<(u64, Duration), ReceiveError> {
        let (unsynced, upto, bytes) = {
            let state = lock(&self.state);
            let few = state.local.unsynced.len() <= SYNC_ONE_BY_ONE;
            let paths: Vec<(Path, Option<What>)> = match few {
                true => state
                    .local
                    .unsynced
                    .keys()
                    .map(|p| (p.clone(), state.local.here.get(p).map(|h| h.what.clone())))
                    .collect(),
                false => Vec::new(),
            };
            (few.then_some(paths), state.local.changes, state.local.unsynced_bytes)
        };
        let began = Instant::now();
        match unsynced {
            Some(paths) => {
                for (path, what) in paths {
                    self.sync_one(&path, what, upto)?;
                }
            }
            None => rustix::fs::syncfs(self.inside.root()).map_err(|e| self.failed(b"", &e.into()))?,
        }
        let mut state = lock(&self.state);
        state.local.unsynced.retain(|_, changed| *changed > upto);
        state.local.unsynced_bytes = state.local.unsynced_bytes.saturating_sub(bytes);
        Ok((bytes, began.elapsed()))
    }
}

impl Ground {
    fn sync_one(&self, path: &Path, what: Option<What>, upto: u64) -> Result<(), ReceiveError> {
        let opened = match what {
            _ if path.is_empty() => self.inside.directory(b""),
            // Its directory carries it.
            None | Some(What::Symlink(_) | What::HardLink(_)) => return Ok(()),
            Some(what) => open_any(&self.inside, path, &what),
        };
        match opened {
            Ok(fd) => rustix::fs::fsync(&fd).map_err(|e| self.failed(path, &e.into())),
            // Another round has put something else there: that is written out in its turn.
            Err(_) if lock(&self.state).local.unsynced.get(path).is_none_or(|changed| *changed > upto) => Ok(()),
            Err(e) => Err(self.failed(path, &e)),
        }
    }
}

/// Blocks that one thread compares at once.
type Stretch = Vec<(u32, Option<Digest>)>;

/// The blocks that are not as they were written, as unknown.
fn differ(inside: &Inside, path: &[u8], blocks: &[(u32, Option<Digest>)]) -> io::Result<Blocks> {
    let file = match inside.reader(path) {
        // Removed in the same round.
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Blocks::new()),
        other => other?,
    };
    let mut buffer = vec![0; BLOCK];
    let mut wrong = Blocks::new();
    for (block, digest) in blocks {
        let got = fill(&file, &mut buffer, u64::from(*block) * BLOCK as u64)?;
        let bytes = &buffer[..got];
        let is_same = match digest {
            None => is_zero(bytes),
            Some(digest) => blake3::hash(bytes).as_bytes() == &digest.0,
        };
        // A file that was cut off since holds fewer blocks.
        if !is_same && got > 0 {
            wrong.insert(*block, Some(UNKNOWN));
        }
    }
    Ok(wrong)
}

/// Opens a file or directory that may forbid it.
fn open_any(inside: &Inside, path: &[u8], what: &What) -> io::Result<OwnedFd> {
    let open = || match what {
        What::Directory => inside.directory(path),
        _ => inside.reader(path).map(Into::into),
    };
    match open() {
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
            if is_regular(&inside.stat(path)?) {
                return inside.writer(path).map(Into::into);
            }
            inside.within(path, |dir, name| {
                rustix::fs::chmodat(dir, name, Mode::from_raw_mode(0o700), AtFlags::empty())
            })?;
            open()
        }
        other => other,
    }
}

fn set_xattrs(fd: &OwnedFd, item: &Item) -> io::Result<()> {
    let wanted = &item.meta.xattrs;
    let there = read_xattrs(fd)?;
    if there == *wanted {
        return Ok(());
    }
    let mode = if item.what == What::Directory { 0o700 } else { 0o600 };
    rustix::fs::fchmod(fd, Mode::from_raw_mode(mode))?;
    for old in there.iter().filter(|x| !wanted.iter().any(|w| w.name == x.name)) {
        rustix::fs::fremovexattr(fd, old.name.as_slice())?;
    }
    for xattr in wanted {
        rustix::fs::fsetxattr(fd, xattr.name.as_slice(), &xattr.value, XattrFlags::empty())?;
    }
    Ok(())
}

fn is_same_kind(a: &What, b: &What) -> bool {
    matches!(
        (a, b),
        (What::Directory, What::Directory) | (What::File(_), What::File(_)) | (What::Symlink(_), What::Symlink(_))
    )
}
