//! Fetched files, content-addressed: kept in the depot, fetched over the bulk connection, never used unverified.

use std::collections::BTreeSet;

use async_trait::async_trait;
use chandler_protocol::artifact::Manifest;
use chandler_protocol::{Bytes, Digest};

mod depot;
pub mod fetch;
mod unpack;

pub use depot::FileDepot;

/// What a fetched file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// An archive that is unpacked, then thrown away.
    Archive,
    /// A file that is kept as it is.
    File,
}

/// Why the depot did not take something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DepotError {
    /// No room.
    #[error("no space on {path}, need {need}")]
    NoSpace {
        /// Where.
        path: String,
        /// How much is missing in all.
        need: Bytes,
    },
    /// What was fetched is not what was promised.
    #[error("{0}")]
    Refused(String),
    /// The file system refused.
    #[error("{0}")]
    Io(String),
}

/// Keeps fetched files.
#[async_trait]
pub trait Depot: Send + Sync {
    /// Whether it is there, whole and verified (and unpacked, for an archive).
    fn ready(&self, digest: Digest, kind: Kind) -> bool;
    /// Whether there is room for a file of this length, and for what is unpacked from it.
    ///
    /// # Errors
    /// [`DepotError::NoSpace`].
    fn room(&self, length: u64, kind: Kind) -> Result<(), DepotError>;
    /// Which chunks an earlier, broken-off fetch left here intact.
    async fn chunks(&self, manifest: &Manifest) -> Result<Vec<bool>, DepotError>;
    /// Takes one verified chunk.
    async fn put(&self, manifest: &Manifest, index: usize, bytes: Vec<u8>) -> Result<(), DepotError>;
    /// All chunks are here: verifies the whole, unpacks an archive, and makes it appear at once.
    async fn finish(&self, manifest: &Manifest, kind: Kind) -> Result<(), DepotError>;
    /// Deletes everything that nobody has needed for a while.
    async fn keep(&self, needed: &BTreeSet<Digest>);
}
