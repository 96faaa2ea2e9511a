//! Unpacking an archive that may be hostile: files, directories and links that stay inside, and nothing else.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::Path;

use chandler_protocol::artifact::{CHUNK, CHUNKS_MAX};
use chandler_protocol::text::is_inner_path;
use tar::EntryType;

/// Most entries of one archive.
const ENTRIES_MAX: usize = 100_000;
/// Most bytes unpacked from one archive.
const TOTAL_MAX: u64 = (CHUNK * CHUNKS_MAX) as u64;
/// Deepest path.
const DEPTH_MAX: usize = 64;

/// Why an archive was not unpacked.
#[derive(Debug, thiserror::Error)]
pub(super) enum UnpackError {
    /// It is hostile or broken; the text is a sentence's end.
    #[error("{0}")]
    Refused(String),
    /// The file system refused.
    #[error(transparent)]
    Io(io::Error),
}

/// What stands at a path that was unpacked already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Directory,
    Other,
}

/// Unpacks the tar archive in `file` into `to`, which does not exist yet. Tar does not compress, so what comes out
/// is never more than what went in.
pub(super) fn unpack(file: &File, length: u64, to: &Path) -> Result<(), UnpackError> {
    let mut file = file;
    file.seek(SeekFrom::Start(0)).map_err(UnpackError::Io)?;
    fs::create_dir(to).map_err(UnpackError::Io)?;
    let mut archive = tar::Archive::new(file.take(length));
    let mut seen = Seen { root: to, paths: BTreeMap::new() };
    let mut total = 0_u64;
    for (number, entry) in archive.entries().map_err(broken)?.enumerate() {
        let mut entry = entry.map_err(broken)?;
        if number >= ENTRIES_MAX {
            return refused(format!("it has more than {ENTRIES_MAX} entries"));
        }
        let path = String::from_utf8(entry.path_bytes().into_owned())
            .map_err(|_| UnpackError::Refused("a name is not UTF-8".into()))?;
        total = total.saturating_add(entry.size());
        if total > length.min(TOTAL_MAX) {
            return refused("its entries are longer than the archive");
        }
        match entry.header().entry_type() {
            EntryType::Directory => seen.directory(&path)?,
            EntryType::Regular | EntryType::Continuous => {
                let mode = entry.header().mode().map_err(broken)?;
                let size = entry.size();
                seen.file(&path, mode, size, &mut entry)?;
            }
            EntryType::Symlink => {
                let target = entry.link_name_bytes().unwrap_or_default().into_owned();
                seen.link(&path, &target)?;
            }
            // Says nothing about files.
            EntryType::XGlobalHeader => {}
            other => return refused(format!("{path:?} is of the kind {other:?}, not a file or directory")),
        }
    }
    Ok(())
}

struct Seen<'a> {
    root: &'a Path,
    /// By lower case, so that no two names differ only in it: on some computers they would be one file.
    paths: BTreeMap<String, (String, Kind)>,
}

impl Seen<'_> {
    /// The path in its plain form, after making sure that it and all above it are fresh or real directories.
    fn claim(&mut self, path: &str, kind: Kind) -> Result<Option<String>, UnpackError> {
        let plain = path.strip_prefix("./").unwrap_or(path).trim_end_matches('/');
        if plain.is_empty() || plain == "." {
            return if kind == Kind::Directory { Ok(None) } else { refused("a file has no name") };
        }
        if path.starts_with('/') || !is_inner_path(plain) || plain.split('/').any(|p| p == ".") {
            return refused(format!("{path:?} is not a path inside it"));
        }
        if plain.split('/').count() > DEPTH_MAX || plain.chars().any(char::is_control) {
            return refused(format!("{path:?} is too deep or holds control characters"));
        }
        for end in plain.match_indices('/').map(|(i, _)| i).chain([plain.len()]) {
            let (part, is_last) = (&plain[..end], end == plain.len());
            let wanted = if is_last { kind } else { Kind::Directory };
            let key = part.to_lowercase();
            match self.paths.get(&key) {
                None => {
                    if wanted == Kind::Directory {
                        fs::create_dir(self.root.join(part)).map_err(UnpackError::Io)?;
                    }
                    self.paths.insert(key, (part.to_owned(), wanted));
                }
                Some((other, _)) if other != part => {
                    return refused(format!("{other:?} and {part:?} differ only in case"));
                }
                Some((_, Kind::Directory)) if wanted == Kind::Directory => {}
                Some(_) if is_last => return refused(format!("{part:?} stands in it twice")),
                Some(_) => return refused(format!("{plain:?} is below {part:?}, which is not a directory")),
            }
        }
        Ok(Some(plain.to_owned()))
    }

    fn directory(&mut self, path: &str) -> Result<(), UnpackError> {
        self.claim(path, Kind::Directory).map(drop)
    }

    fn file(&mut self, path: &str, mode: u32, size: u64, content: &mut impl Read) -> Result<(), UnpackError> {
        let Some(plain) = self.claim(path, Kind::Other)? else { return Ok(()) };
        // Nothing of the archive's mode counts but whether it is a program: no setuid, no writing by others.
        let mode = if mode & 0o111 != 0 { 0o555 } else { 0o444 };
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(self.root.join(&plain))
            .map_err(UnpackError::Io)?;
        let written = io::copy(content, &mut file).map_err(UnpackError::Io)?;
        if written != size {
            return refused(format!("{plain:?} is shorter than it says"));
        }
        Ok(())
    }

    /// A link's target may climb only at its beginning, and never above the root: its own directory is a real one,
    /// so climbing from there goes where it seems to go.
    fn link(&mut self, path: &str, target: &[u8]) -> Result<(), UnpackError> {
        let Some(plain) = self.claim(path, Kind::Other)? else { return Ok(()) };
        let target = std::str::from_utf8(target).unwrap_or_default();
        let parts: Vec<&str> = target.split('/').collect();
        let climbs = parts.iter().take_while(|p| **p == "..").count();
        let depth = plain.matches('/').count();
        let is_plain = parts[climbs..].iter().all(|p| !p.is_empty() && *p != "..");
        if target.is_empty() || climbs > depth || !is_plain || target.chars().any(char::is_control) {
            return refused(format!("the link {plain:?} points outside"));
        }
        symlink(target, self.root.join(&plain)).map_err(UnpackError::Io)
    }
}

fn broken(error: io::Error) -> UnpackError {
    UnpackError::Refused(format!("it is broken: {error}"))
}

fn refused<T>(why: impl Into<String>) -> Result<T, UnpackError> {
    Err(UnpackError::Refused(why.into()))
}

#[cfg(test)]
#[path = "unpack_tests.rs"]
mod tests;
