//! A directory and nothing outside it: each path is resolved by the kernel beneath it, through no link and no mount.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, Stat};

/// How every path is resolved.
const BENEATH: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_XDEV);
/// Neither a terminal nor a FIFO that was put there between two looks holds us up.
const QUIET: OFlags = OFlags::CLOEXEC.union(OFlags::NOFOLLOW).union(OFlags::NOCTTY).union(OFlags::NONBLOCK);
/// How often a path is resolved again when something was renamed meanwhile.
const TRIES: usize = 16;

/// A directory that is worked in.
#[derive(Debug)]
pub(super) struct Inside {
    root: OwnedFd,
}

impl Inside {
    /// Opens the directory itself. A symbolic link in its place is refused.
    pub(super) fn open(dir: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        Ok(Self { root: rustix::fs::open(dir, flags, Mode::empty())? })
    }

    /// The directory itself.
    pub(super) const fn root(&self) -> &OwnedFd {
        &self.root
    }

    fn resolve(&self, path: &[u8], flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
        // An empty path is the root itself.
        let path = if path.is_empty() { b"." } else { path };
        // A place without rights to it knows fewer flags.
        let quiet = if flags.contains(OFlags::PATH) { OFlags::CLOEXEC | OFlags::NOFOLLOW } else { QUIET };
        let mut tries = 0;
        loop {
            match rustix::fs::openat2(&self.root, path, flags | quiet, mode, BENEATH) {
                Err(rustix::io::Errno::AGAIN) if tries < TRIES => tries += 1,
                other => return Ok(other?),
            }
        }
    }

    /// A directory.
    pub(super) fn directory(&self, path: &[u8]) -> io::Result<OwnedFd> {
        self.resolve(path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())
    }

    /// The directory that a path is in, and the name it has there.
    pub(super) fn parent<'a>(&self, path: &'a [u8]) -> io::Result<(OwnedFd, &'a [u8])> {
        let (dir, name) = split(path);
        Ok((self.resolve(dir, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?, name))
    }

    /// A file, to be read. Anything else is an error.
    pub(super) fn reader(&self, path: &[u8]) -> io::Result<File> {
        regular(self.resolve(path, OFlags::RDONLY | OFlags::NOATIME, Mode::empty()).or_else(
            |e| match e.raw_os_error() {
                // Only the owner may leave the time of reading as it is.
                Some(code) if code == rustix::io::Errno::PERM.raw_os_error() => {
                    self.resolve(path, OFlags::RDONLY, Mode::empty())
                }
                _ => Err(e),
            },
        )?)
    }

    /// A file, to be written and read. One without the permission gets it.
    pub(super) fn writer(&self, path: &[u8]) -> io::Result<File> {
        let flags = OFlags::RDWR;
        match self.resolve(path, flags, Mode::empty()) {
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
                let (dir, name) = self.parent(path)?;
                if !is_regular(&rustix::fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW)?) {
                    return Err(e);
                }
                rustix::fs::chmodat(&dir, name, Mode::from_raw_mode(0o600), AtFlags::empty())?;
                regular(self.resolve(path, flags, Mode::empty())?)
            }
            other => regular(other?),
        }
    }

    /// A new file. Whatever stood there is an error.
    pub(super) fn create(&self, path: &[u8]) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
        let mode = Mode::from_raw_mode(0o600);
        match self.resolve(path, flags, mode) {
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
                self.unlock(split(path).0)?;
                regular(self.resolve(path, flags, mode)?)
            }
            other => regular(other?),
        }
    }

    /// Does something in the directory of a path; a directory that forbids it is opened up first.
    pub(super) fn within<T>(
        &self,
        path: &[u8],
        act: impl Fn(&OwnedFd, &[u8]) -> rustix::io::Result<T>,
    ) -> io::Result<T> {
        let (dir, name) = self.parent(path)?;
        match act(&dir, name) {
            Err(rustix::io::Errno::ACCESS) => {
                self.unlock(split(path).0)?;
                Ok(act(&dir, name)?)
            }
            other => Ok(other?),
        }
    }

    /// Lets the owner work in a directory.
    fn unlock(&self, dir: &[u8]) -> io::Result<()> {
        let fd = self.directory(dir)?;
        Ok(rustix::fs::fchmod(&fd, Mode::from_raw_mode(0o700))?)
    }

    /// What stands at a path, itself and not where it points.
    pub(super) fn stat(&self, path: &[u8]) -> io::Result<Stat> {
        let (dir, name) = self.parent(path)?;
        Ok(rustix::fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW)?)
    }
}

/// The directory and the name of a path.
pub(super) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|b| *b == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (b"", path),
    }
}

/// Whether it is a plain file.
pub(super) fn is_regular(stat: &Stat) -> bool {
    rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::RegularFile
}

fn regular(fd: OwnedFd) -> io::Result<File> {
    if is_regular(&rustix::fs::fstat(&fd)?) { Ok(fd.into()) } else { Err(io::Error::other("it is not a file")) }
}
