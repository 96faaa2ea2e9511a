//! The depot on disk. A file being fetched is one sparse file; its intact chunks are known by their hashes alone,
//! so a crash at any moment costs no more than the chunk it hit.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use chandler_protocol::artifact::{CHUNK, Manifest};
use chandler_protocol::{Bytes, Digest};

use super::unpack::{self, UnpackError};
use super::{Depot, DepotError, Kind};
use crate::driver::Layout;
use crate::platform::{free_space, sync_tree};
use crate::sync::lock;

/// Space that is left free for everything else.
const MARGIN: u64 = 64 << 20;
/// How long something that nobody needs is kept: it may be ordered again.
const UNNEEDED_FOR: Duration = Duration::from_secs(3_600);
/// Ending of files that are being fetched.
const PART: &str = "part";

/// Fetched files under the data directory.
#[derive(Debug)]
pub struct FileDepot {
    layout: Layout,
    /// Since when what is here has not been needed.
    unneeded: Mutex<BTreeMap<PathBuf, std::time::Instant>>,
}

impl FileDepot {
    /// Opens the depot and throws away what a crash left half unpacked.
    ///
    /// # Errors
    /// Its directories cannot be made.
    pub fn open(layout: &Layout) -> io::Result<Self> {
        for dir in [layout.artifacts(), layout.blobs()] {
            crate::disk::private_dir(&dir)?;
        }
        for entry in fs::read_dir(layout.artifacts())?.flatten() {
            if entry.file_name().to_string_lossy().starts_with('.') {
                fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(Self { layout: layout.clone(), unneeded: Mutex::new(BTreeMap::new()) })
    }

    fn part(&self, digest: Digest) -> PathBuf {
        self.layout.blob(digest).with_extension(PART)
    }
}

#[async_trait]
impl Depot for FileDepot {
    fn ready(&self, digest: Digest, kind: Kind) -> bool {
        match kind {
            Kind::Archive => self.layout.artifact(digest).is_dir(),
            Kind::File => self.layout.blob(digest).is_file(),
        }
    }

    fn room(&self, length: u64, kind: Kind) -> Result<(), DepotError> {
        let copies = if kind == Kind::Archive { 2 } else { 1 };
        let need = length.saturating_mul(copies).saturating_add(MARGIN);
        let path = self.layout.blobs();
        match free_space(&path) {
            Ok(free) if free.0 >= need => Ok(()),
            Ok(_) => Err(DepotError::NoSpace { path: self.layout.root().display().to_string(), need: Bytes(need) }),
            Err(e) => Err(failed(&path, 0, &e)),
        }
    }

    async fn chunks(&self, manifest: &Manifest) -> Result<Vec<bool>, DepotError> {
        let (part, manifest) = (self.part(manifest.digest), manifest.clone());
        blocking(move || Ok(intact_chunks(&part, &manifest))).await
    }

    async fn put(&self, manifest: &Manifest, index: usize, bytes: Vec<u8>) -> Result<(), DepotError> {
        let (part, length) = (self.part(manifest.digest), manifest.length);
        blocking(move || {
            let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&part);
            file.and_then(|f| f.write_all_at(&bytes, (index * CHUNK) as u64)).map_err(|e| failed(&part, length, &e))
        })
        .await
    }

    async fn finish(&self, manifest: &Manifest, kind: Kind) -> Result<(), DepotError> {
        let (part, layout) = (self.part(manifest.digest), self.layout.clone());
        let (digest, length) = (manifest.digest, manifest.length);
        blocking(move || {
            let result = finish(&layout, &part, digest, length, kind);
            if matches!(result, Err(DepotError::Refused(_))) {
                // What is here is useless; the next try starts from nothing.
                let _ = fs::remove_file(&part);
            }
            result
        })
        .await
    }

    async fn keep(&self, needed: &BTreeSet<Digest>) {
        let mut old = Vec::new();
        let mut unneeded = lock(&self.unneeded);
        for dir in [self.layout.artifacts(), self.layout.blobs()] {
            for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
                let path = entry.path();
                let digest = path.file_stem().and_then(|n| n.to_str()?.parse().ok());
                if digest.is_none_or(|d| needed.contains(&d)) {
                    unneeded.remove(&path);
                } else if unneeded.entry(path.clone()).or_insert_with(std::time::Instant::now).elapsed() > UNNEEDED_FOR
                {
                    unneeded.remove(&path);
                    old.push(path);
                }
            }
        }
        drop(unneeded);
        for path in old {
            let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            if let Err(error) = removed {
                tracing::warn!(path = %path.display(), %error, "a file that nobody needs stays");
            }
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, DepotError> + Send + 'static,
) -> Result<T, DepotError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|e| Err(DepotError::Io(e.to_string())))
}

fn intact_chunks(part: &Path, manifest: &Manifest) -> Vec<bool> {
    let mut intact = vec![false; manifest.chunks.len()];
    let Ok(file) = File::open(part) else { return intact };
    let mut block = vec![0; CHUNK];
    for (index, (intact, digest)) in intact.iter_mut().zip(&manifest.chunks).enumerate() {
        let block = &mut block[..manifest.chunk_length(index)];
        *intact =
            file.read_exact_at(block, (index * CHUNK) as u64).is_ok() && blake3::hash(block).as_bytes() == &digest.0;
    }
    intact
}

fn finish(layout: &Layout, part: &Path, digest: Digest, length: u64, kind: Kind) -> Result<(), DepotError> {
    let on_disk = |e: io::Error| failed(part, length, &e);
    if length == 0 {
        // No chunk was put, so there is no file yet.
        File::create(part).map_err(on_disk)?;
    }
    let mut file = File::open(part).map_err(on_disk)?;
    // Nobody else writes here; what is hashed through this handle is what is unpacked through it.
    let found = hash(&mut file, length).map_err(on_disk)?;
    if found != digest {
        return Err(DepotError::Refused("its content is not what its digest promises".into()));
    }
    match kind {
        Kind::File => {
            file.sync_data().map_err(on_disk)?;
            fs::rename(part, layout.blob(digest)).map_err(on_disk)?;
        }
        Kind::Archive => {
            let to = layout.artifact(digest);
            let temp = layout.artifacts().join(format!(".{digest}"));
            let _ = fs::remove_dir_all(&temp);
            let unpacked = unpack::unpack(&file, length, &temp).and_then(|()| {
                sync_tree(&temp).map_err(UnpackError::Io)?;
                fs::rename(&temp, &to).map_err(UnpackError::Io)
            });
            if let Err(error) = unpacked {
                let _ = fs::remove_dir_all(&temp);
                return Err(match error {
                    UnpackError::Io(e) => failed(&to, length, &e),
                    UnpackError::Refused(why) => DepotError::Refused(format!("the archive is refused: {why}")),
                });
            }
            let _ = fs::remove_file(part);
        }
    }
    for dir in [layout.artifacts(), layout.blobs()] {
        File::open(dir).and_then(|d| d.sync_data()).map_err(on_disk)?;
    }
    Ok(())
}

/// BLAKE3 of the first `length` bytes.
fn hash(file: &mut File, length: u64) -> io::Result<Digest> {
    let mut hasher = blake3::Hasher::new();
    let mut limited = file.take(length);
    let mut block = vec![0; CHUNK];
    loop {
        match limited.read(&mut block)? {
            0 => return Ok(Digest(*hasher.finalize().as_bytes())),
            n => hasher.update(&block[..n]),
        };
    }
}

fn failed(path: &Path, need: u64, error: &io::Error) -> DepotError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            DepotError::NoSpace { path: path.display().to_string(), need: Bytes(need) }
        }
        _ => DepotError::Io(format!("{}: {error}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(bytes: &[u8]) -> Manifest {
        let digest = |b: &[u8]| Digest(*blake3::hash(b).as_bytes());
        let chunks = bytes.chunks(CHUNK).map(digest).collect();
        Manifest { digest: digest(bytes), length: bytes.len() as u64, chunks }
    }

    #[tokio::test]
    async fn a_broken_fetch_resumes_and_a_damaged_chunk_is_fetched_again() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        let depot = FileDepot::open(&layout).unwrap();
        let bytes: Vec<u8> = (0..CHUNK * 2 + 9).map(|i| u8::try_from(i % 251).unwrap()).collect();
        let manifest = manifest(&bytes);
        assert_eq!(depot.chunks(&manifest).await.unwrap(), [false; 3]);
        depot.put(&manifest, 2, bytes[2 * CHUNK..].to_vec()).await.unwrap();
        depot.put(&manifest, 0, bytes[..CHUNK].to_vec()).await.unwrap();
        assert_eq!(depot.chunks(&manifest).await.unwrap(), [true, false, true]);
        assert!(matches!(depot.finish(&manifest, Kind::File).await, Err(DepotError::Refused(_))));
        for (index, chunk) in bytes.chunks(CHUNK).enumerate() {
            depot.put(&manifest, index, chunk.to_vec()).await.unwrap();
        }
        depot.finish(&manifest, Kind::File).await.unwrap();
        assert!(depot.ready(manifest.digest, Kind::File));
        assert_eq!(fs::read(layout.blob(manifest.digest)).unwrap(), bytes);
    }

    #[tokio::test]
    async fn an_empty_file_and_room() {
        let dir = tempfile::tempdir().unwrap();
        let depot = FileDepot::open(&Layout::new(dir.path())).unwrap();
        let empty = manifest(b"");
        depot.finish(&empty, Kind::File).await.unwrap();
        assert!(depot.ready(empty.digest, Kind::File));
        assert_eq!(depot.room(1, Kind::File), Ok(()));
        let full = depot.room(1 << 60, Kind::File).unwrap_err();
        let expect = format!("no space on {}, need 1024 PiB", dir.path().display());
        assert!(full.to_string().starts_with(&expect[..expect.len() - 8]), "{full}");
        depot.keep(&BTreeSet::new()).await;
        assert!(depot.ready(empty.digest, Kind::File), "nothing is deleted within the hour");
    }
}
