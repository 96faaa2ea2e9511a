//! What tests and the demo share: a network with faults, child processes, patience, and an application
//! that keeps state and is worth moving. Depends on no other crate of this project, so that the
//! `chandler` command can use it too.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

pub mod process;
pub mod proxy;
pub mod wait;
pub mod wire;

/// The application `notes` as an executable for the platform this was built for; see `notes/main.rs`.
pub const NOTES: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/notes"));

/// Puts [`NOTES`] into `directory`, which is created where needed, as the executable `notes`.
///
/// # Errors
/// It cannot be written.
pub fn write_notes(directory: &Path) -> io::Result<PathBuf> {
    std::fs::create_dir_all(directory)?;
    let path = directory.join("notes");
    // Written beside and renamed: a program that runs already cannot be written to.
    let beside = directory.join("notes.new");
    std::fs::write(&beside, NOTES)?;
    std::fs::set_permissions(&beside, std::fs::Permissions::from_mode(0o755))?;
    std::fs::rename(&beside, &path)?;
    Ok(path)
}
