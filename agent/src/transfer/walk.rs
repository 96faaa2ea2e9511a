//! Looking at every name in a state directory.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use chandler_protocol::transfer::path_fault;
use rustix::fs::{AtFlags, Dir, FileType, Stat};
use serde::{Deserialize, Serialize};

use super::Limits;
use super::error::{TreeError, shown};
use super::inside::Inside;
use super::item::Path;

/// All that tells without reading whether a thing is as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stamp {
    pub(super) inode: u64,
    pub(super) mode: u32,
    pub(super) size: u64,
    /// Units of 512 bytes that are really there.
    pub(super) blocks: u64,
    pub(super) links: u64,
    pub(super) user: u32,
    pub(super) group: u32,
    pub(super) mtime: (i64, u32),
    pub(super) ctime: (i64, u32),
}

/// What a walk found.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// Directories, files and symbolic links, in order.
    pub(super) found: BTreeMap<Path, Stamp>,
    /// Sockets, FIFOs and devices that were left out.
    pub(super) skipped: u32,
}

impl Stamp {
    /// What `stat` said.
    #[expect(clippy::unnecessary_cast, reason = "the widths of these fields differ between processors")]
    pub(super) fn of(stat: &Stat) -> Self {
        let nanos = |n: u64| u32::try_from(n).unwrap_or(0);
        Self {
            inode: stat.st_ino as u64,
            mode: stat.st_mode as u32,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            blocks: u64::try_from(stat.st_blocks).unwrap_or(0),
            links: stat.st_nlink as u64,
            user: stat.st_uid,
            group: stat.st_gid,
            mtime: (stat.st_mtime as i64, nanos(stat.st_mtime_nsec as u64)),
            ctime: (stat.st_ctime as i64, nanos(stat.st_ctime_nsec as u64)),
        }
    }

    /// What kind of thing it is.
    pub(super) fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.mode)
    }
}

/// Looks at everything beneath the directory, or only beneath `from`.
///
/// A directory that goes away meanwhile is left out: the next look finds out.
///
/// # Errors
/// Something in it is not taken along, or cannot be looked at.
pub(super) fn walk(inside: &Inside, from: &[u8], limits: &Limits, stop: &AtomicBool) -> Result<Listing, TreeError> {
    let mut listing = Listing::default();
    let mut open = vec![from.to_vec()];
    while let Some(dir) = open.pop() {
        if stop.load(Ordering::Relaxed) {
            return Err(TreeError::Superseded);
        }
        match directory(inside, &dir, &mut listing, limits) {
            Ok(below) => open.extend(below),
            Err(Stop::Io(e)) if e.kind() == io::ErrorKind::NotFound && !dir.is_empty() => {}
            Err(Stop::Io(e)) => return Err(TreeError::io(&dir, e)),
            Err(Stop::Tree(e)) => return Err(e),
        }
    }
    Ok(listing)
}

enum Stop {
    Io(io::Error),
    Tree(TreeError),
}

impl<E: Into<io::Error>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Io(error.into())
    }
}

/// One directory; gives the directories in it.
fn directory(inside: &Inside, dir: &[u8], listing: &mut Listing, limits: &Limits) -> Result<Vec<Vec<u8>>, Stop> {
    let fd = inside.directory(dir)?;
    let mut below = Vec::new();
    let mut folded = BTreeSet::new();
    for entry in Dir::read_from(&fd)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if matches!(name, b"." | b"..") {
            continue;
        }
        let stat = match rustix::fs::statat(&fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(rustix::io::Errno::NOENT) => continue,
            other => other?,
        };
        let path = join(dir, name);
        let stamp = Stamp::of(&stat);
        match stamp.kind() {
            FileType::Directory => below.push(path.clone()),
            FileType::RegularFile | FileType::Symlink => {}
            _ => {
                listing.skipped = listing.skipped.saturating_add(1);
                continue;
            }
        }
        check(&path, &stamp, limits).map_err(Stop::Tree)?;
        if !folded.insert(fold(name)) {
            let why = "differs from another name beside it only in upper and lower case";
            return Err(Stop::Tree(TreeError::refused(&path, why)));
        }
        listing.found.insert(path.into(), stamp);
        if listing.found.len() as u64 > limits.entries {
            let why = format!("is one too many: a state may have {} entries", limits.entries);
            return Err(Stop::Tree(TreeError::refused(&join(dir, name), why)));
        }
    }
    Ok(below)
}

fn check(path: &[u8], stamp: &Stamp, limits: &Limits) -> Result<(), TreeError> {
    if let Some(fault) = path_fault(path) {
        return Err(TreeError::Refused { path: shown(path), why: fault.into() });
    }
    if stamp.kind() == FileType::RegularFile && stamp.size > limits.file {
        return Err(TreeError::refused(path, format!("is larger than the {} bytes that a file may have", limits.file)));
    }
    Ok(())
}

/// A name in a directory as a path.
pub(super) fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    if dir.is_empty() { name.to_vec() } else { [dir, b"/", name].concat() }
}

/// A name as a file system that ignores case sees it.
pub(super) fn fold(name: &[u8]) -> Vec<u8> {
    match std::str::from_utf8(name) {
        Ok(text) if !text.is_ascii() => text.to_lowercase().into_bytes(),
        _ => name.to_ascii_lowercase(),
    }
}
