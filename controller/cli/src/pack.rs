//! Packs software as a tar archive that is the same bytes each time: entries sorted, no times, no owners.

use std::fs::{File, Metadata};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use chandler_protocol::artifact::{CHUNK, CHUNKS_MAX};
use chandler_protocol::{Bytes, Digest, text};
use tar::{Builder, EntryType, Header};
use tempfile::NamedTempFile;

/// Largest content the controller takes.
pub const CONTENT_MAX: u64 = (CHUNK * CHUNKS_MAX) as u64;
/// Most files, directories and links in one archive.
pub const ENTRIES_MAX: usize = 100_000;

/// Why something cannot be packed.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// It cannot be read or written.
    #[error("{path}: {cause}")]
    Io {
        /// What.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// It may not be part of software.
    #[error("{path} cannot be packed: {why}")]
    Refused {
        /// What.
        path: PathBuf,
        /// Why, and what to do.
        why: String,
    },
}

/// A packed archive in a temporary file, which goes when this goes.
#[derive(Debug)]
pub struct Packed {
    file: NamedTempFile,
    /// BLAKE3 of the archive.
    pub digest: Digest,
    /// Its length in bytes.
    pub length: u64,
    /// Files, directories and links in it.
    pub entries: usize,
}

impl Packed {
    /// Where the archive is.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// The archive itself.
    ///
    /// # Errors
    /// It cannot be read back.
    pub fn bytes(&self) -> io::Result<Vec<u8>> {
        std::fs::read(self.path())
    }
}

/// Packs a directory, or a single file as the only entry with mode 0755.
///
/// # Errors
/// Something in it is neither a file, a directory nor a link that stays inside; or it is too large or unreadable.
pub fn pack(path: &Path) -> Result<Packed, PackError> {
    let unreadable = |cause| PackError::Io { path: path.to_path_buf(), cause };
    let metadata = std::fs::metadata(path).map_err(unreadable)?;
    let file = NamedTempFile::new().map_err(unreadable)?;
    let sink = Sink { file: BufWriter::new(file), hasher: blake3::Hasher::new(), length: 0 };
    let root = std::fs::canonicalize(path).map_err(unreadable)?;
    let mut packer = Packer { archive: Builder::new(sink), root, entries: 0 };
    if metadata.is_dir() {
        packer.directory(path, "")?;
        if packer.entries == 0 {
            return Err(refused(path, "there is nothing in it"));
        }
    } else if metadata.is_file() {
        let name = path.file_name().and_then(|n| n.to_str()).ok_or_else(|| refused(path, "its name is not UTF-8"))?;
        packer.file(path, name, &metadata, 0o755)?;
    } else {
        return Err(refused(path, "it is neither a file nor a directory"));
    }
    let entries = packer.entries;
    let sink = packer.archive.into_inner().map_err(unreadable)?;
    let file = sink.file.into_inner().map_err(|e| unreadable(e.into_error()))?;
    Ok(Packed { file, digest: Digest(*sink.hasher.finalize().as_bytes()), length: sink.length, entries })
}

fn refused(path: &Path, why: impl Into<String>) -> PackError {
    PackError::Refused { path: path.to_path_buf(), why: why.into() }
}

/// Hashes and counts what it writes.
struct Sink {
    file: BufWriter<NamedTempFile>,
    hasher: blake3::Hasher,
    length: u64,
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.file.write(bytes)?;
        self.hasher.update(&bytes[..n]);
        self.length += n as u64;
        if self.length > CONTENT_MAX {
            return Err(io::Error::other(format!("the archive is larger than {}", Bytes(CONTENT_MAX))));
        }
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

struct Packer {
    archive: Builder<Sink>,
    /// The real path of what is packed: links may not lead out of it.
    root: PathBuf,
    entries: usize,
}

impl Packer {
    /// Packs what is in a directory; `inside` is its path in the archive. Depth is bounded by the length of paths.
    fn directory(&mut self, path: &Path, inside: &str) -> Result<(), PackError> {
        let unreadable = |cause| PackError::Io { path: path.to_path_buf(), cause };
        let mut names = Vec::new();
        for entry in std::fs::read_dir(path).map_err(unreadable)? {
            let name = entry.map_err(unreadable)?.file_name();
            names.push(name.into_string().map_err(|n| refused(&path.join(n), "its name is not UTF-8"))?);
        }
        names.sort();
        for name in names {
            let from = path.join(&name);
            let to = if inside.is_empty() { name } else { format!("{inside}/{name}") };
            self.entry(&from, &to)?;
        }
        Ok(())
    }

    fn entry(&mut self, from: &Path, to: &str) -> Result<(), PackError> {
        let metadata =
            std::fs::symlink_metadata(from).map_err(|cause| PackError::Io { path: from.to_path_buf(), cause })?;
        let kind = metadata.file_type();
        if kind.is_symlink() {
            self.link(from, to)
        } else if kind.is_dir() {
            let mut header = self.header(from, to, EntryType::Directory, 0, 0o755)?;
            self.append(from, |archive| archive.append_data(&mut header, format!("{to}/"), io::empty()))?;
            self.directory(from, to)
        } else if kind.is_file() {
            let mode = if metadata.permissions().mode() & 0o111 == 0 { 0o644 } else { 0o755 };
            self.file(from, to, &metadata, mode)
        } else {
            Err(refused(from, "it is neither a file, a directory nor a link"))
        }
    }

    fn file(&mut self, from: &Path, to: &str, metadata: &Metadata, mode: u32) -> Result<(), PackError> {
        let size = metadata.len();
        let mut header = self.header(from, to, EntryType::Regular, size, mode)?;
        let file = File::open(from).map_err(|cause| PackError::Io { path: from.to_path_buf(), cause })?;
        // A file that grows meanwhile is cut at the size its header tells; one that shrinks is an error.
        let mut content = Exactly { from: BufReader::new(file), left: size };
        self.append(from, |archive| archive.append_data(&mut header, to, &mut content))
    }

    fn link(&mut self, from: &Path, to: &str) -> Result<(), PackError> {
        let unreadable = |cause| PackError::Io { path: from.to_path_buf(), cause };
        let target = std::fs::read_link(from).map_err(unreadable)?;
        let shown = target.display().to_string();
        if !stays_inside(to, &target) {
            return Err(refused(from, format!("the link to {shown} leads out of what is packed")));
        }
        // Links through other links can lead out although their text does not.
        match std::fs::canonicalize(from) {
            Ok(real) if real.starts_with(&self.root) => {}
            Ok(_) => return Err(refused(from, format!("the link to {shown} leads out of what is packed"))),
            Err(e) => return Err(refused(from, format!("the link to {shown} leads nowhere ({e})"))),
        }
        let mut header = self.header(from, to, EntryType::Symlink, 0, 0o777)?;
        self.append(from, |archive| archive.append_link(&mut header, to, &target))
    }

    fn header(&self, from: &Path, to: &str, kind: EntryType, size: u64, mode: u32) -> Result<Header, PackError> {
        if !text::is_inner_path(to) || text::clean(to, usize::MAX) != to {
            return Err(refused(from, "its name is too long or holds characters that no file here may have"));
        }
        if self.entries == ENTRIES_MAX {
            return Err(refused(from, format!("there are more than {ENTRIES_MAX} files and directories")));
        }
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_mode(mode);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        Ok(header)
    }

    fn append(
        &mut self,
        from: &Path,
        write: impl FnOnce(&mut Builder<Sink>) -> io::Result<()>,
    ) -> Result<(), PackError> {
        self.entries += 1;
        write(&mut self.archive).map_err(|cause| PackError::Io { path: from.to_path_buf(), cause })
    }
}

/// Whether a relative link at `link` names a place inside, going by its text.
fn stays_inside(link: &str, target: &Path) -> bool {
    let mut depth = link.split('/').count() - 1;
    target.components().all(|part| match part {
        Component::Normal(_) => {
            depth += 1;
            true
        }
        Component::CurDir => true,
        Component::ParentDir => {
            let inside = depth > 0;
            depth = depth.saturating_sub(1);
            inside
        }
        Component::RootDir | Component::Prefix(_) => false,
    }) && target.to_str().is_some_and(|t| !t.is_empty() && text::clean(t, usize::MAX) == t)
}

/// As many bytes as were announced, or an error.
struct Exactly<R> {
    from: R,
    left: u64,
}

impl<R: Read> Read for Exactly<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let want = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if want == 0 {
            return Ok(0);
        }
        let n = self.from.read(&mut buffer[..want])?;
        if n == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it became shorter while it was packed"));
        }
        self.left -= n as u64;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn tree(order: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("bin")).unwrap();
        for name in order {
            std::fs::write(dir.path().join(name), name).unwrap();
        }
        std::fs::set_permissions(dir.path().join("bin/run"), PermissionsExt::from_mode(0o700)).unwrap();
        symlink("bin/run", dir.path().join("run")).unwrap();
        symlink("../data.txt", dir.path().join("bin/data")).unwrap();
        dir
    }

    /// Path, mode and link target of each entry; mtime and owners must be zero.
    fn listing(packed: &Packed) -> Vec<(String, u32, Option<String>)> {
        let mut archive = tar::Archive::new(File::open(packed.path()).unwrap());
        let entries = archive.entries().unwrap().map(|entry| {
            let entry = entry.unwrap();
            let header = entry.header();
            assert_eq!((header.mtime().unwrap(), header.uid().unwrap(), header.gid().unwrap()), (0, 0, 0));
            let link = entry.link_name().unwrap().map(|l| l.display().to_string());
            (entry.path().unwrap().display().to_string(), header.mode().unwrap(), link)
        });
        entries.collect()
    }

    #[test]
    fn the_same_files_are_the_same_bytes() {
        let (one, two) = (tree(&["data.txt", "bin/run", "a"]), tree(&["a", "bin/run", "data.txt"]));
        let (first, second) = (pack(one.path()).unwrap(), pack(two.path()).unwrap());
        assert_eq!(first.digest, second.digest);
        assert_eq!(first.bytes().unwrap(), second.bytes().unwrap());
        assert_eq!(first.digest.0, *blake3::hash(&first.bytes().unwrap()).as_bytes());
        assert_eq!(first.length, first.bytes().unwrap().len() as u64);
        let entry = |path: &str, mode, link: Option<&str>| (path.to_owned(), mode, link.map(str::to_owned));
        assert_eq!(
            listing(&first),
            [
                entry("a", 0o644, None),
                entry("bin/", 0o755, None),
                entry("bin/data", 0o777, Some("../data.txt")),
                entry("bin/run", 0o755, None),
                entry("data.txt", 0o644, None),
                entry("run", 0o777, Some("bin/run")),
            ]
        );
        std::fs::write(two.path().join("a"), "other").unwrap();
        assert_ne!(pack(two.path()).unwrap().digest, first.digest);
    }

    #[test]
    fn a_single_file_becomes_the_only_entry() {
        let dir = tree(&["data.txt", "bin/run"]);
        let packed = pack(&dir.path().join("data.txt")).unwrap();
        assert_eq!(listing(&packed), [("data.txt".to_owned(), 0o755, None)]);
        assert_eq!(packed.entries, 1);
    }

    #[test]
    fn long_paths_survive() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("d".repeat(120)).join("e".repeat(120));
        std::fs::create_dir_all(&deep).unwrap();
        std::fs::write(deep.join("f"), "x").unwrap();
        assert!(listing(&pack(dir.path()).unwrap()).iter().any(|(path, ..)| path.ends_with("e/f")));
    }

    /// Packs a tree to which `add` has added something evil, and expects its name in the error.
    fn refuses(name: &str, add: impl Fn(&Path)) {
        let dir = tree(&["data.txt", "bin/run"]);
        add(dir.path());
        let error = pack(dir.path()).map(|p| listing(&p)).unwrap_err().to_string();
        assert!(error.contains(name), "{error}");
    }

    #[test]
    fn what_is_no_software_is_refused_by_name() {
        refuses("absolute", |dir| symlink("/etc/passwd", dir.join("absolute")).unwrap());
        refuses("climbs", |dir| symlink("../../outside", dir.join("bin/climbs")).unwrap());
        refuses("dangling", |dir| symlink("gone", dir.join("dangling")).unwrap());
        refuses("loop", |dir| symlink("loop", dir.join("loop")).unwrap());
        refuses("socket", |dir| drop(std::os::unix::net::UnixListener::bind(dir.join("socket")).unwrap()));
        refuses("back\\slash", |dir| std::fs::write(dir.join("back\\slash"), "").unwrap());
        refuses("new\nline", |dir| std::fs::write(dir.join("new\nline"), "").unwrap());
        // Each link's text stays inside, but one through the other leads out.
        refuses("through", |dir| {
            std::fs::create_dir_all(dir.join("x/y")).unwrap();
            symlink("../..", dir.join("x/y/up")).unwrap();
            symlink("x/y/up/../data.txt", dir.join("through")).unwrap();
        });
        let empty = tempfile::tempdir().unwrap();
        assert!(pack(empty.path()).unwrap_err().to_string().contains("nothing in it"));
        assert!(pack(&empty.path().join("gone")).is_err());
    }
}
