//! Files of the data directory: private, and whole or not there.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// Makes the data directory, for its owner alone. A link in its place is refused.
///
/// # Errors
/// It cannot be made or is a link.
pub(crate) fn private_directory(path: &Path) -> io::Result<()> {
    if path.is_symlink() {
        return Err(io::Error::other("the data directory is a symbolic link; give the directory itself"));
    }
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Writes a file that only its owner may read, so that it is there whole after a power cut.
///
/// # Errors
/// It cannot be written.
pub(crate) fn write_secret(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let partial = path.with_extension("partial");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&partial, path)?;
    if let Some(parent) = path.parent() {
        File::open(parent)?.sync_all()?;
    }
    Ok(())
}
