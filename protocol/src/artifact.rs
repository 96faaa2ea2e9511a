//! The bulk connection: files by the hash of their content, in chunks, resumable; and results on their way back.

use serde::{Deserialize, Serialize};

use crate::{AssignmentId, Digest};

/// ALPN of the bulk connection.
pub const ALPN: &[u8] = b"chandler-bulk/1";
/// Bytes in each chunk but the last.
pub const CHUNK: usize = 256 << 10;
/// Most chunks in one blob: 16 GiB.
pub const CHUNKS_MAX: usize = 65_536;

/// One stream of the bulk connection carries one request and its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum BulkRequest {
    /// The list of chunks of a blob.
    Manifest {
        /// The blob.
        digest: Digest,
    },
    /// Some chunks, answered by one [`BulkResponse::Chunk`] each, in this order.
    Chunks {
        /// The blob they are of.
        digest: Digest,
        /// Their hashes; at most 64 at a time.
        chunks: Vec<Digest>,
    },
    /// A result of a task: this head, then `length` raw bytes.
    PutOutput {
        /// Whose.
        assignment: AssignmentId,
        /// The epoch it ran under.
        epoch: u64,
        /// Path inside the working directory.
        path: String,
        /// BLAKE3 of the content.
        digest: Digest,
        /// Its length in bytes.
        length: u64,
    },
}

/// Most chunks one [`BulkRequest::Chunks`] may ask for.
pub const CHUNKS_PER_REQUEST: usize = 64;

/// Answers on the bulk connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum BulkResponse {
    /// The chunks of a blob in order.
    Manifest(Manifest),
    /// One chunk.
    Chunk {
        /// BLAKE3 of the plain bytes.
        digest: Digest,
        /// Length of the plain bytes.
        length: u32,
        /// The bytes, compressed with zstd.
        zstd: Vec<u8>,
    },
    /// The result is stored.
    Stored,
    /// Not given.
    Refused {
        /// A stable code such as `E0401`.
        code: String,
        /// One sentence.
        message: String,
    },
}

/// The chunks of a blob in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// BLAKE3 of the whole blob.
    pub digest: Digest,
    /// Its length in bytes.
    pub length: u64,
    /// BLAKE3 of each chunk.
    pub chunks: Vec<Digest>,
}

impl Manifest {
    /// Whether the number of chunks fits the length and both are within limits.
    pub fn is_sound(&self) -> bool {
        let Ok(length) = usize::try_from(self.length) else { return false };
        self.chunks.len() <= CHUNKS_MAX && self.chunks.len() == length.div_ceil(CHUNK)
    }

    /// Length of chunk number `index`.
    pub fn chunk_length(&self, index: usize) -> usize {
        let start = index.saturating_mul(CHUNK);
        usize::try_from(self.length).unwrap_or(0).saturating_sub(start).min(CHUNK)
    }
}
