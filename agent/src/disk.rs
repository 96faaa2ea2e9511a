//! Small records that must survive: one key, one value, replaced whole, checksummed, the previous one kept.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Largest record. The usage journal at its bound is about 6 MiB.
pub const RECORD_MAX: usize = 64 << 20;
/// What each file starts with: the name of the format, then BLAKE3 of the rest.
const MAGIC: &[u8; 4] = b"CHD1";

/// Why a record could not be kept or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DiskError {
    /// The file system refused.
    #[error("{path}: {why}")]
    Io {
        /// The file.
        path: String,
        /// What the operating system said.
        why: String,
    },
    /// Both generations fail their checksum.
    #[error("the record {0:?} is damaged and so is its previous generation")]
    Damaged(String),
    /// The bytes are whole but are not of the expected type, as after a downgrade.
    #[error("the record {0:?} was written by another version of the agent")]
    Foreign(String),
}

/// A record as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The newest generation was damaged or missing; this is the one before.
    pub previous: bool,
}

/// Keeps small records. A write returns only when the record would survive power loss.
pub trait Disk: Send + Sync {
    /// The record, or `None` when it was never written. Damage is an error, never "none".
    ///
    /// # Errors
    /// It cannot be read, or both generations are damaged.
    fn read(&self, key: &str) -> Result<Option<Loaded>, DiskError>;
    /// Replaces the record: after a crash it is the old or the new one.
    ///
    /// # Errors
    /// It is not kept.
    fn write(&self, key: &str, bytes: &[u8]) -> Result<(), DiskError>;
    /// Forgets the record.
    ///
    /// # Errors
    /// It is still there.
    fn remove(&self, key: &str) -> Result<(), DiskError>;
    /// Keys that start with `prefix`, in order.
    ///
    /// # Errors
    /// The directory cannot be read.
    fn keys(&self, prefix: &str) -> Result<Vec<String>, DiskError>;
}

/// The record under `key` as a value.
///
/// # Errors
/// See [`DiskError`].
pub fn load<T: DeserializeOwned>(disk: &dyn Disk, key: &str) -> Result<Option<T>, DiskError> {
    let Some(loaded) = disk.read(key)? else { return Ok(None) };
    if loaded.previous {
        tracing::warn!(key, "the newest generation of a record is damaged; the previous one is used");
    }
    postcard::from_bytes(&loaded.bytes).map(Some).map_err(|_| DiskError::Foreign(key.to_owned()))
}

/// Keeps `value` under `key`.
///
/// # Errors
/// See [`DiskError`].
pub fn save<T: Serialize>(disk: &dyn Disk, key: &str, value: &T) -> Result<(), DiskError> {
    let bytes = postcard::to_allocvec(value).map_err(|_| DiskError::Foreign(key.to_owned()))?;
    disk.write(key, &bytes)
}

/// Records as files in one directory, mode 0600.
#[derive(Debug)]
pub struct FileDisk {
    dir: PathBuf,
}

impl FileDisk {
    /// Opens or makes the directory. A symbolic link in its place is refused.
    ///
    /// # Errors
    /// It cannot be used.
    pub fn open(dir: &Path) -> Result<Self, DiskError> {
        private_dir(dir).map_err(|e| failed(dir, &e))?;
        Ok(Self { dir: dir.to_owned() })
    }

    fn path(&self, key: &str) -> PathBuf {
        self.dir.join(key)
    }

    fn write_new(&self, key: &str, bytes: &[u8]) -> io::Result<()> {
        let (path, temp) = (self.path(key), self.path(&format!(".{key}.new")));
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temp)?;
        file.write_all(MAGIC)?;
        file.write_all(blake3::hash(bytes).as_bytes())?;
        file.write_all(bytes)?;
        file.sync_data()?;
        drop(file);
        keep_previous(&path, &self.path(&format!(".{key}.prev")))?;
        fs::rename(&temp, &path)?;
        File::open(&self.dir)?.sync_data()
    }
}

impl Disk for FileDisk {
    fn read(&self, key: &str) -> Result<Option<Loaded>, DiskError> {
        let (path, prev) = (self.path(key), self.path(&format!(".{key}.prev")));
        let newest = read_whole(&path).map_err(|e| failed(&path, &e))?;
        if let Found::Whole(bytes) = newest {
            return Ok(Some(Loaded { bytes, previous: false }));
        }
        match read_whole(&prev).map_err(|e| failed(&prev, &e))? {
            Found::Whole(bytes) => Ok(Some(Loaded { bytes, previous: true })),
            Found::Missing if matches!(newest, Found::Missing) => Ok(None),
            Found::Missing | Found::Damaged => Err(DiskError::Damaged(key.to_owned())),
        }
    }

    fn write(&self, key: &str, bytes: &[u8]) -> Result<(), DiskError> {
        self.write_new(key, bytes).map_err(|e| failed(&self.path(key), &e))
    }

    fn remove(&self, key: &str) -> Result<(), DiskError> {
        // The previous generation goes first: a crash between must not bring the old record back.
        for name in [format!(".{key}.prev"), key.to_owned()] {
            let path = self.path(&name);
            match fs::remove_file(&path) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(failed(&path, &e)),
                _ => {}
            }
        }
        Ok(())
    }

    fn keys(&self, prefix: &str) -> Result<Vec<String>, DiskError> {
        let mut keys = Vec::new();
        for entry in fs::read_dir(&self.dir).map_err(|e| failed(&self.dir, &e))? {
            let name = entry.map_err(|e| failed(&self.dir, &e))?.file_name();
            let Some(name) = name.to_str() else { continue };
            // A record whose newest generation vanished still has its previous one.
            let key = name.strip_prefix('.').and_then(|n| n.strip_suffix(".prev")).unwrap_or(name);
            if key.starts_with(prefix) && !key.starts_with('.') {
                keys.push(key.to_owned());
            }
        }
        keys.sort();
        keys.dedup();
        Ok(keys)
    }
}

enum Found {
    Missing,
    Damaged,
    Whole(Vec<u8>),
}

fn read_whole(path: &Path) -> io::Result<Found> {
    let file = match File::open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Found::Missing),
        other => other?,
    };
    let mut bytes = Vec::new();
    file.take((RECORD_MAX + 36) as u64).read_to_end(&mut bytes)?;
    let Some(rest) = bytes.strip_prefix(MAGIC) else { return Ok(Found::Damaged) };
    let Some((sum, body)) = rest.split_first_chunk::<32>() else { return Ok(Found::Damaged) };
    if blake3::hash(body) == blake3::Hash::from_bytes(*sum) {
        Ok(Found::Whole(body.to_vec()))
    } else {
        Ok(Found::Damaged)
    }
}

/// Makes `path` also reachable as `prev`, so that no moment exists without either. A damaged record is not worth
/// keeping: it would push out the good one before it.
fn keep_previous(path: &Path, prev: &Path) -> io::Result<()> {
    if !matches!(read_whole(path)?, Found::Whole(_)) {
        return Ok(());
    }
    match fs::remove_file(prev) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    // Some file systems have no hard links; there the record is moved, and a crash now leaves only the previous one.
    fs::hard_link(path, prev).or_else(|_| fs::rename(path, prev))
}

fn failed(path: &Path, error: &io::Error) -> DiskError {
    DiskError::Io { path: path.display().to_string(), why: error.to_string() }
}

/// Makes `dir` with mode 0700 and checks that it is a real directory and nobody else can write to it.
///
/// # Errors
/// It is a symbolic link, not a directory, or cannot be made.
pub fn private_dir(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    match fs::symlink_metadata(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        }
        Err(e) => return Err(e),
        Ok(meta) if meta.file_type().is_symlink() => {
            return Err(io::Error::other("it is a symbolic link, which another user could turn elsewhere"));
        }
        Ok(meta) if !meta.is_dir() => return Err(io::Error::other("it is not a directory")),
        Ok(meta) if meta.permissions().mode() & 0o077 != 0 => {
            fs::set_permissions(dir, fs::Permissions::from_mode(0o700))?;
        }
        Ok(_) => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn damage(path: &Path, how: &str) {
        let mut bytes = fs::read(path).unwrap();
        match how {
            "truncated" => bytes.truncate(bytes.len() / 2),
            "flipped" => *bytes.last_mut().unwrap() ^= 1,
            "zeroed" => bytes.fill(0),
            "emptied" => bytes.clear(),
            _ => unreachable!(),
        }
        fs::write(path, bytes).unwrap();
    }

    #[test]
    fn a_damaged_record_falls_back_to_the_previous_one_and_says_so() {
        for how in ["truncated", "flipped", "zeroed", "emptied"] {
            let dir = tempfile::tempdir().unwrap();
            let disk = FileDisk::open(&dir.path().join("r")).unwrap();
            assert_eq!(disk.read("k"), Ok(None));
            disk.write("k", b"one").unwrap();
            disk.write("k", b"two").unwrap();
            assert_eq!(disk.read("k"), Ok(Some(Loaded { bytes: b"two".to_vec(), previous: false })));
            damage(&disk.path("k"), how);
            assert_eq!(disk.read("k"), Ok(Some(Loaded { bytes: b"one".to_vec(), previous: true })), "{how}");
            // Writing again must not push the last good generation out with the damaged one.
            disk.write("k", b"three").unwrap();
            damage(&disk.path("k"), how);
            assert_eq!(disk.read("k").unwrap().unwrap().bytes, b"one", "{how}");
            damage(&disk.path(".k.prev"), how);
            assert_eq!(disk.read("k"), Err(DiskError::Damaged("k".into())), "{how}: never silently empty");
        }
    }

    #[test]
    fn keys_are_listed_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let disk = FileDisk::open(&dir.path().join("r")).unwrap();
        for key in ["x.b", "x.a", "y"] {
            disk.write(key, b"1").unwrap();
            disk.write(key, b"2").unwrap();
        }
        assert_eq!(disk.keys("x.").unwrap(), ["x.a", "x.b"]);
        disk.remove("x.a").unwrap();
        assert_eq!(disk.keys("x.").unwrap(), ["x.b"]);
        assert_eq!(disk.read("x.a"), Ok(None));
    }

    #[test]
    fn a_symbolic_link_is_refused_and_others_are_locked_out() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/tmp", dir.path().join("link")).unwrap();
        assert!(private_dir(&dir.path().join("link")).unwrap_err().to_string().contains("symbolic link"));
        let open = dir.path().join("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
        private_dir(&open).unwrap();
        assert_eq!(fs::metadata(&open).unwrap().permissions().mode() & 0o777, 0o700);
    }
}
