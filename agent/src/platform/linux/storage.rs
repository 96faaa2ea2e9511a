//! Free space, and making a tree of files survive power loss.

use std::fs::File;
use std::io;
use std::path::Path;

use chandler_protocol::Bytes;

/// Space that this user may still fill on the file system of `path`.
pub(crate) fn free_space(path: &Path) -> io::Result<Bytes> {
    let stat = rustix::fs::statvfs(path)?;
    Ok(Bytes(stat.f_bavail.saturating_mul(stat.f_frsize)))
}

/// Writes everything under `dir` through to the disk: one call for the whole file system is much cheaper than one
/// for each of many files.
pub(crate) fn sync_tree(dir: &Path) -> io::Result<()> {
    Ok(rustix::fs::syncfs(File::open(dir)?)?)
}
