//! A disk that is too small: a file system of its own in memory. Mounting needs root.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};

/// A small disk of its own, gone with this value.
pub(crate) struct Disk(PathBuf);

impl Disk {
    /// One of this size, such as `4m`, at an empty place.
    pub(crate) fn mount(at: &Path, size: &str) -> Result<Self> {
        std::fs::create_dir_all(at)?;
        run("mount", &["-t", "tmpfs", "-o", &format!("size={size},mode=0700"), "tmpfs"], at)?;
        Ok(Self(at.to_owned()))
    }

    /// Makes it large enough for everything.
    pub(crate) fn grow(&self) -> Result<()> {
        run("mount", &["-o", "remount,size=256m"], &self.0)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = run("umount", &["-l"], &self.0);
    }
}

fn run(program: &str, arguments: &[&str], path: &Path) -> Result<()> {
    let ended = Command::new(program).args(arguments).arg(path).output()?;
    ensure!(
        ended.status.success(),
        "{program} {}: {} (this test mounts a disk)",
        path.display(),
        String::from_utf8_lossy(&ended.stderr)
    );
    Ok(())
}
