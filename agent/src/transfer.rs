//! State that travels: a copy's state directory reaches another host while its software runs.
//!
//! A [`Source`] stands over the directory of the copy that owns the state and answers a [`Receiver`] on another host.
//! The receiver asks in rounds: what is there, by name and by the hash of each 64 KiB block; then it fetches the blocks
//! it lacks. Each round is shorter than the one before, until the source is sealed and one last round brings exactly what
//! was measured. What changed is found by looking, not by being told: see [`pass`](self) for what counts as proof.
//!
//! Memory: measured, 1.5 KB for each small file on each host at the most, when all of them are new; for larger ones
//! 50 bytes for each block of 64 KiB, 0.8 MB for each GiB, on top. Nothing is ever kept whole but the list: files are read and written in blocks.

mod content;
mod error;
mod fetch;
mod hash;
mod hint;
mod inside;
mod intake;
mod item;
mod journal;
mod local;
mod meta;
mod names;
mod pace;
mod pack;
mod pages;
mod pass;
mod plan;
mod rebuild;
mod receiver;
mod root;
mod round;
mod serve;
mod settle;
mod source;
mod tree;
mod walk;
mod wire;

pub use error::{ReceiveError, ServeError, TreeError};
pub use receiver::Receiver;
pub use source::{IsMapped, Source};

/// What a state may be at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Entries of the tree.
    pub entries: u64,
    /// Bytes of one file, holes included.
    pub file: u64,
    /// Bytes of all files together, without holes.
    pub data: u64,
    /// From how many entries on a source watches for changes. Below it, looking at everything is cheaper.
    pub watch_from: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { entries: 1_000_000, file: 16 << 40, data: 1 << 40, watch_from: 4_096 }
    }
}

/// Most bytes of all names, link targets and extended attributes of a state together: what both ends keep in memory.
const LIST_MAX: u64 = 512 << 20;

#[cfg(test)]
mod tests;
