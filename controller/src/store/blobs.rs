//! Blobs: artifacts, inputs and results by the hash of their content, in chunks that are kept once.
//!
//! A blob is known by its manifest, which is written last: half a blob is no blob.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use chandler_protocol::Digest;
use chandler_protocol::artifact::{CHUNK, CHUNKS_MAX, Manifest};

/// Compression of chunks: fast, since they are compressed once and sent often.
const LEVEL: i32 = 3;

/// Where bytes are kept under a name. Two keepers: a directory, and memory for the simulation.
pub trait Shelf: Send + Sync {
    /// The bytes under this name.
    ///
    /// # Errors
    /// They cannot be read; `NotFound` when there are none.
    fn get(&self, name: &str) -> io::Result<Vec<u8>>;
    /// Keeps bytes under this name, whole or not at all; when this returns they survive a power cut.
    ///
    /// # Errors
    /// They cannot be kept.
    fn put(&self, name: &str, bytes: &[u8]) -> io::Result<()>;
    /// Whether there is something under this name.
    fn has(&self, name: &str) -> bool;
}

/// A shelf in a directory.
#[derive(Debug)]
pub struct DirectoryShelf(PathBuf);

impl DirectoryShelf {
    /// Uses this directory, making it when it is not there.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn open(path: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(path)?;
        Ok(Self(path.to_owned()))
    }
}

impl Shelf for DirectoryShelf {
    fn get(&self, name: &str) -> io::Result<Vec<u8>> {
        std::fs::read(self.0.join(name))
    }

    fn put(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let path = self.0.join(name);
        let parent = path.parent().unwrap_or(&self.0).to_owned();
        std::fs::create_dir_all(&parent)?;
        // A name of its own for each writer: two may keep the same content at once.
        let mut random = [0_u8; 8];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        let partial = parent.join(format!(".{}", data_encoding::HEXLOWER.encode(&random)));
        let written = std::fs::File::create(&partial).and_then(|mut f| {
            f.write_all(bytes)?;
            f.sync_data()
        });
        let kept = written
            .and_then(|()| std::fs::rename(&partial, &path))
            .and_then(|()| std::fs::File::open(&parent)?.sync_all());
        kept.inspect_err(|_| {
            let _ = std::fs::remove_file(&partial);
        })
    }

    fn has(&self, name: &str) -> bool {
        self.0.join(name).exists()
    }
}

/// A shelf in memory.
#[derive(Debug, Default)]
pub struct MemoryShelf(Mutex<BTreeMap<String, Vec<u8>>>);

impl Shelf for MemoryShelf {
    fn get(&self, name: &str) -> io::Result<Vec<u8>> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(name).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn put(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), bytes.to_owned());
        Ok(())
    }

    fn has(&self, name: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains_key(name)
    }
}

/// Blobs on a shelf.
pub struct Blobs(Box<dyn Shelf>);

impl std::fmt::Debug for Blobs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Blobs")
    }
}

/// Why content was not kept.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// The disk does not take it.
    #[error("the content cannot be kept: {0}")]
    Io(#[from] io::Error),
    /// It is not what was announced.
    #[error("the content has the digest {found}, not the announced {announced}: it was damaged on the way")]
    Mismatch {
        /// What it is.
        found: Digest,
        /// What was announced.
        announced: Digest,
    },
    /// It is too large.
    #[error("the content is larger than {} GiB", (CHUNK * CHUNKS_MAX) >> 30)]
    TooLarge,
}

impl Blobs {
    /// Blobs on this shelf.
    pub fn new(shelf: Box<dyn Shelf>) -> Self {
        Self(shelf)
    }

    /// The chunks of a blob, or `None` when it is not here.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn manifest(&self, digest: Digest) -> io::Result<Option<Manifest>> {
        match self.0.get(&manifest_name(digest)) {
            Ok(bytes) => postcard::from_bytes(&bytes).map(Some).map_err(io::Error::other),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Whether a blob is here.
    pub fn has(&self, digest: Digest) -> bool {
        self.0.has(&manifest_name(digest))
    }

    /// A chunk as it is kept: compressed with zstd.
    ///
    /// # Errors
    /// It is not here or cannot be read.
    pub fn chunk(&self, digest: Digest) -> io::Result<Vec<u8>> {
        self.0.get(&chunk_name(digest))
    }

    /// Whether a chunk is here, undamaged.
    fn has_chunk(&self, digest: Digest, plain: &[u8]) -> bool {
        let Ok(packed) = self.chunk(digest) else { return false };
        zstd::bulk::decompress(&packed, plain.len()).is_ok_and(|found| found == plain)
    }

    /// The whole content of a blob, checked, or `None` when it is not here.
    ///
    /// # Errors
    /// It cannot be read or is damaged.
    pub fn read(&self, digest: Digest) -> io::Result<Option<Vec<u8>>> {
        let Some(manifest) = self.manifest(digest)? else { return Ok(None) };
        let mut content = Vec::new();
        for (index, chunk) in manifest.chunks.iter().enumerate() {
            let mut plain = Vec::new();
            let limit = manifest.chunk_length(index) as u64;
            zstd::Decoder::new(self.chunk(*chunk)?.as_slice())?.take(limit + 1).read_to_end(&mut plain)?;
            content.extend(plain);
        }
        if *blake3::hash(&content).as_bytes() != digest.0 {
            return Err(io::Error::other(format!("blob {digest} is damaged on the controller's disk")));
        }
        Ok(Some(content))
    }

    /// Takes in content piece by piece.
    pub fn receive(&self, announced: Digest) -> Receiver<'_> {
        Receiver {
            blobs: self,
            announced,
            hash: blake3::Hasher::new(),
            pending: Vec::new(),
            chunks: Vec::new(),
            length: 0,
        }
    }

    /// Keeps content whole.
    ///
    /// # Errors
    /// See [`BlobError`].
    pub fn keep(&self, content: &[u8]) -> Result<Manifest, BlobError> {
        let mut receiver = self.receive(Digest(*blake3::hash(content).as_bytes()));
        receiver.push(content)?;
        receiver.finish()
    }
}

/// Content on its way in.
pub struct Receiver<'a> {
    blobs: &'a Blobs,
    announced: Digest,
    hash: blake3::Hasher,
    pending: Vec<u8>,
    chunks: Vec<Digest>,
    length: u64,
}

impl std::fmt::Debug for Receiver<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Receiver")
            .field("announced", &self.announced)
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

impl Receiver<'_> {
    /// The next bytes.
    ///
    /// # Errors
    /// See [`BlobError`].
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<(), BlobError> {
        self.hash.update(bytes);
        self.length += bytes.len() as u64;
        while !bytes.is_empty() {
            let take = (CHUNK - self.pending.len()).min(bytes.len());
            self.pending.extend_from_slice(&bytes[..take]);
            bytes = &bytes[take..];
            if self.pending.len() == CHUNK {
                self.flush()?;
            }
        }
        Ok(())
    }

    /// All bytes were given: the blob is kept when it is what was announced.
    ///
    /// # Errors
    /// See [`BlobError`].
    pub fn finish(mut self) -> Result<Manifest, BlobError> {
        if !self.pending.is_empty() {
            self.flush()?;
        }
        let found = Digest(*self.hash.finalize().as_bytes());
        if found != self.announced {
            return Err(BlobError::Mismatch { found, announced: self.announced });
        }
        let manifest = Manifest { digest: found, length: self.length, chunks: self.chunks };
        let bytes = postcard::to_allocvec(&manifest).map_err(io::Error::other)?;
        self.blobs.0.put(&manifest_name(found), &bytes)?;
        Ok(manifest)
    }

    fn flush(&mut self) -> Result<(), BlobError> {
        if self.chunks.len() >= CHUNKS_MAX {
            return Err(BlobError::TooLarge);
        }
        let digest = Digest(*blake3::hash(&self.pending).as_bytes());
        // What is there counts only when it is whole: a damaged chunk is mended by whoever brings its content again.
        if !self.blobs.has_chunk(digest, &self.pending) {
            let packed = zstd::encode_all(self.pending.as_slice(), LEVEL)?;
            self.blobs.0.put(&chunk_name(digest), &packed)?;
        }
        self.chunks.push(digest);
        self.pending.clear();
        Ok(())
    }
}

fn manifest_name(digest: Digest) -> String {
    format!("manifests/{digest}")
}

/// Chunks are spread over 256 directories.
fn chunk_name(digest: Digest) -> String {
    let text = digest.to_string();
    format!("chunks/{}/{text}", &text[..2])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_comes_back_whole_and_damage_is_found() {
        let blobs = Blobs::new(Box::new(MemoryShelf::default()));
        let content: Vec<u8> = (0..CHUNK * 2 + 17).map(|i| (i / 7) as u8).collect();
        let manifest = blobs.keep(&content).unwrap();
        assert_eq!(manifest.chunks.len(), 3);
        assert!(manifest.is_sound());
        assert_eq!(blobs.read(manifest.digest).unwrap().unwrap(), content);

        for (index, damage) in [&b"junk"[..], b"", &zstd::encode_all(&b"other"[..], LEVEL).unwrap()].iter().enumerate()
        {
            blobs.0.put(&chunk_name(manifest.chunks[index]), damage).unwrap();
            assert!(blobs.read(manifest.digest).is_err(), "damage {index} is not noticed");
            blobs.keep(&content).unwrap();
            assert_eq!(blobs.read(manifest.digest).unwrap().unwrap(), content, "damage {index} is not mended");
        }

        let mut receiver = blobs.receive(manifest.digest);
        receiver.push(&content[1..]).unwrap();
        assert!(matches!(receiver.finish(), Err(BlobError::Mismatch { .. })));
        assert!(blobs.keep(b"").unwrap().chunks.is_empty());
    }
}
