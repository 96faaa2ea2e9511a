//! The words on a state stream: how one copy's state directory reaches another host, block by block.
//!
//! The receiver asks, the source answers; frames of at most [`FRAME_MAX`] bytes, and raw bytes behind a [`Batch`]. A
//! receiver may open several streams at once: on one it looks, on one it waits for the seal, on the others it fetches.
//! Everything here is hostile until checked: [`path_fault`], [`link_fault`] and [`Content::is_sound`] say what is not
//! taken, and both ends ask them.

use serde::{Deserialize, Serialize};

use crate::{Bytes, Digest, Micros};

/// Largest frame, either way.
pub const FRAME_MAX: usize = 1 << 20;
/// Bytes in each block but the last of a file.
pub const BLOCK: usize = 64 << 10;
/// Bytes in each part of a block: what is compared when a block is there in an older form.
pub const PART: usize = 4 << 10;
/// Most bytes in one [`Range`].
pub const RANGE_MAX: usize = 256 << 10;
/// Most ranges in one [`Ask::Fetch`].
pub const RANGES_MAX: usize = 64;
/// Most bytes that one [`Ask::Fetch`] asks for, and so most raw bytes behind a [`Batch`].
pub const BATCH_MAX: usize = 4 << 20;
/// Longest path, in bytes.
pub const PATH_MAX: usize = 4_096;
/// Longest name in a path, in bytes.
pub const NAME_MAX: usize = 255;
/// Most names in a path.
pub const DEPTH_MAX: usize = 64;
/// Most extended attributes of one entry, and most bytes of their names and values together.
pub const XATTRS_MAX: usize = 64;
/// Most bytes of names and values of the extended attributes of one entry.
pub const XATTR_BYTES_MAX: usize = 64 << 10;
/// Largest file, in bytes, holes included: 64 TiB.
pub const FILE_MAX: u64 = 1 << 46;
/// Most blocks that one entry or one [`Say::More`] carries.
pub const BLOCKS_PER_FRAME: usize = 8_192;
/// Most cuts in one [`Say::Cuts`].
pub const CUTS_PER_FRAME: usize = 8_192;

/// What a receiver asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ask {
    /// What is there now. Answered by [`Say::Looking`], then [`Say::Gone`], [`Say::Entries`] and [`Say::More`] as often
    /// as needed, then [`Say::Looked`]. While the state is being sealed the answer waits for that.
    Look {
        /// What the receiver knows already; only what changed since is told.
        known: Option<Known>,
    },
    /// Bytes as they are now. Answered by one [`Say::Batch`] and its raw bytes.
    Fetch {
        /// Which, at most [`RANGES_MAX`] of together at most [`BATCH_MAX`] bytes.
        ranges: Vec<Range>,
    },
    /// Where a file may be cut by its content. Answered by [`Say::Cuts`] until the last.
    Cuts {
        /// Which file.
        file: u64,
    },
    /// Answered by [`Say::Sealing`] once the state is being given up, or was: it may take for ever.
    Await,
}

/// What a receiver knows of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// Which source: each one that is opened has another number.
    pub tree: u64,
    /// How it was.
    pub generation: u64,
}

/// Some bytes of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// The file, as its [`Entry::id`].
    pub file: u64,
    /// From where.
    pub offset: u64,
    /// How many; at most [`RANGE_MAX`].
    pub length: u32,
    /// XXH3 (64 bits, seed 0) of each [`PART`] of what the receiver has there; only parts that differ are sent then.
    /// Empty: it has nothing there.
    pub parts: Vec<u64>,
}

/// What a source answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Say {
    /// The beginning of a look. Also sent again every few seconds while it takes.
    Looking {
        /// Which source.
        tree: u64,
        /// Only what changed since what the receiver knows follows; otherwise everything does.
        is_change: bool,
    },
    /// Paths that are no more. Before any entry.
    Gone(Vec<Vec<u8>>),
    /// Entries, in order of path.
    Entries(Vec<Entry>),
    /// More blocks of the last entry that was sent.
    More {
        /// Which blocks.
        runs: Vec<Run>,
        /// Their hashes.
        digests: Vec<Digest>,
    },
    /// The end of a look.
    Looked(Looked),
    /// Some bytes: this head, then `length` raw bytes.
    Batch(Batch),
    /// Where a file may be cut by its content, in order.
    Cuts {
        /// Some of them.
        cuts: Vec<Cut>,
        /// There are no more.
        is_last: bool,
    },
    /// The state is being given up, or was.
    Sealing,
    /// The source says no; the stream ends.
    Refused {
        /// Why.
        why: Refusal,
        /// A sentence's end for people, with the path if there is one.
        message: String,
    },
}

/// Why a source says no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// The state is being handed over in another attempt.
    Attempt,
    /// Something in the tree is not taken along.
    Tree,
    /// The source cannot read its own tree.
    Io,
    /// The question makes no sense.
    Asked,
}

/// The end of a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Looked {
    /// How the source is now.
    pub generation: u64,
    /// Entries in all.
    pub entries: u64,
    /// Bytes in all, without holes.
    pub size: Bytes,
    /// How long it took to find out.
    pub took: Micros,
    /// Sockets, FIFOs and devices that were left out.
    pub skipped: u32,
    /// The root of the tree of hashes, once the state was given up: nothing changes any more.
    pub sealed: Option<Digest>,
}

/// One thing in a state directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its number in this source; a range names it.
    pub id: u64,
    /// Where it is, relative, names separated by `/`.
    pub path: Vec<u8>,
    /// Permissions: the lower nine bits, and the sticky one.
    pub mode: u16,
    /// User and group, where they are not those of the state directory itself.
    pub owner: Option<(u32, u32)>,
    /// When it was last changed: seconds since 1970 and nanoseconds. Not part of any hash.
    pub mtime: (i64, u32),
    /// Another number means that the file was replaced, not changed in place. Not part of any hash.
    pub inode: u64,
    /// Extended attributes whose name starts with `user.`, in order of name.
    pub xattrs: Vec<Xattr>,
    /// What it is.
    pub kind: Kind,
}

/// An extended attribute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Xattr {
    /// Its name, with `user.`.
    pub name: Vec<u8>,
    /// Its value.
    pub value: Vec<u8>,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A file.
    File(Content),
    /// A symbolic link, which nobody follows.
    Symlink {
        /// Where it points.
        target: Vec<u8>,
    },
    /// Another name of a file.
    HardLink {
        /// The file's first name.
        to: Vec<u8>,
    },
}

/// What a file holds: the hash of each block that is not all zeros.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// Its length in bytes.
    pub size: u64,
    /// Which blocks are not all zeros, in order; no two runs touch.
    pub runs: Vec<Run>,
    /// BLAKE3 of each of them, in order.
    pub digests: Vec<Digest>,
}

/// Blocks that follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The number of the first.
    pub first: u32,
    /// How many; at least one.
    pub count: u32,
}

/// A piece of a file between two cuts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cut {
    /// Its length in bytes; at most [`RANGE_MAX`].
    pub length: u32,
    /// BLAKE3 of it.
    pub digest: Digest,
}

/// The head of some bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// One for each range, in their order.
    pub pieces: Vec<Piece>,
    /// The raw bytes are compressed with zstd, all pieces together.
    pub is_packed: bool,
    /// How many raw bytes follow.
    pub length: u32,
}

/// What became of one range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Piece {
    /// Its bytes follow; fewer than asked for at the end of the file.
    Whole {
        /// How many.
        length: u32,
    },
    /// Only the parts that differ follow.
    Parts {
        /// How many bytes the range holds, those that do not follow included.
        length: u32,
        /// Which parts follow: the lowest bit is the first.
        changed: u64,
    },
    /// The file is no more.
    Missing,
}

impl Content {
    /// Adds a block. Blocks are added in order.
    pub fn push(&mut self, block: u32, digest: Digest) {
        match self.runs.last_mut() {
            Some(run) if run.first.checked_add(run.count) == Some(block) => run.count += 1,
            _ => self.runs.push(Run { first: block, count: 1 }),
        }
        self.digests.push(digest);
    }

    /// Blocks that are not all zeros, in order.
    pub fn blocks(&self) -> impl Iterator<Item = (u32, &Digest)> {
        self.runs.iter().flat_map(|r| r.first..r.first.saturating_add(r.count)).zip(&self.digests)
    }

    /// How many blocks the file has, those that are all zeros included.
    pub const fn count(&self) -> u64 {
        self.size.div_ceil(BLOCK as u64)
    }

    /// Bytes in a block: fewer in the last.
    pub fn length(&self, block: u32) -> usize {
        let start = u64::from(block) * BLOCK as u64;
        usize::try_from(self.size.saturating_sub(start)).unwrap_or(BLOCK).min(BLOCK)
    }

    /// Bytes in all blocks that are not all zeros.
    pub fn data(&self) -> u64 {
        let last = u32::try_from(self.count().saturating_sub(1)).unwrap_or(u32::MAX);
        let whole = self.digests.len() as u64 * BLOCK as u64;
        let has_last = self.runs.last().is_some_and(|r| r.first.saturating_add(r.count - 1) == last);
        if has_last { whole - (BLOCK - self.length(last)) as u64 } else { whole }
    }

    /// Whether the blocks are within the size, in order, and as many as there are hashes.
    pub fn is_sound(&self) -> bool {
        let mut next = 0_u64;
        let mut total = 0_u64;
        for run in &self.runs {
            if run.count == 0 || u64::from(run.first) < next {
                return false;
            }
            // A run that begins where the one before ended should have been one with it.
            next = u64::from(run.first) + u64::from(run.count) + 1;
            total += u64::from(run.count);
        }
        self.size <= FILE_MAX && next <= self.count() + 1 && total == self.digests.len() as u64
    }
}

/// What is wrong with a path in a state tree, if anything: a sentence's end.
pub fn path_fault(path: &[u8]) -> Option<&'static str> {
    if path.is_empty() || path.len() > PATH_MAX {
        return Some("has no name, or one longer than 4,096 bytes");
    }
    if path.contains(&0) {
        return Some("holds a NUL");
    }
    let mut depth = 0;
    for name in path.split(|b| *b == b'/') {
        depth += 1;
        match name {
            b"" | b"." | b".." => return Some("is not a plain path inside the state directory"),
            _ if name.len() > NAME_MAX => return Some("holds a name longer than 255 bytes"),
            _ => {}
        }
    }
    (depth > DEPTH_MAX).then_some("is more than 64 directories deep")
}

/// What is wrong with where a symbolic link at `path` points, if anything: a sentence's end.
///
/// It may climb only at its beginning and never above the state directory: its own directory is a real one, so climbing
/// from there goes where it seems to go.
pub fn link_fault(path: &[u8], target: &[u8]) -> Option<&'static str> {
    if target.is_empty() || target.len() >= PATH_MAX || target.contains(&0) {
        return Some("is a symbolic link to nothing that can be");
    }
    if target[0] == b'/' {
        return Some("is a symbolic link out of the state directory");
    }
    let depth = path.iter().filter(|b| **b == b'/').count();
    let names = || target.split(|b| *b == b'/').filter(|n| !n.is_empty() && *n != b".");
    let climbs = names().take_while(|n| *n == b"..").count();
    (climbs > depth || names().skip(climbs).any(|n| n == b".."))
        .then_some("is a symbolic link out of the state directory")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(size: u64, runs: &[(u32, u32)], digests: usize) -> Content {
        let runs = runs.iter().map(|(first, count)| Run { first: *first, count: *count }).collect();
        Content { size, runs, digests: vec![Digest([1; 32]); digests] }
    }

    #[test]
    fn only_blocks_within_the_file_are_sound() {
        let block = BLOCK as u64;
        assert!(content(0, &[], 0).is_sound());
        assert!(content(block, &[(0, 1)], 1).is_sound());
        assert!(content(block + 1, &[(0, 2)], 2).is_sound());
        assert!(content(1 << 40, &[(0, 1), (9, 2)], 3).is_sound());
        for bad in [
            content(block, &[(1, 1)], 1),
            content(block, &[(0, 2)], 2),
            content(block, &[(0, 1)], 2),
            content(1 << 40, &[(5, 1), (3, 1)], 2),
            content(1 << 40, &[(5, 1), (5, 1)], 2),
            content(1 << 40, &[(5, 1), (6, 1)], 2),
            content(1 << 40, &[(0, 0)], 0),
            content(u64::MAX, &[], 0),
            content(1 << 40, &[(u32::MAX, u32::MAX)], 1),
        ] {
            assert!(!bad.is_sound(), "{:?} {:?}", bad.size, bad.runs);
        }
    }

    #[test]
    fn blocks_come_back_as_they_were_pushed() {
        let mut made = Content { size: 10 * BLOCK as u64 - 5, ..Content::default() };
        let blocks: Vec<(u32, Digest)> = [0, 1, 4, 8, 9].iter().map(|b| (*b, Digest([*b as u8; 32]))).collect();
        for (block, digest) in &blocks {
            made.push(*block, *digest);
        }
        assert!(made.is_sound());
        assert_eq!(made.runs.len(), 3);
        assert_eq!(made.blocks().map(|(b, d)| (b, *d)).collect::<Vec<_>>(), blocks);
        assert_eq!(made.data(), 5 * BLOCK as u64 - 5);
        assert_eq!(made.length(9), BLOCK - 5);
    }

    #[test]
    fn paths_and_links_stay_inside() {
        for good in ["a", "a/b.c", "...", "a b", "\u{e4}"] {
            assert_eq!(path_fault(good.as_bytes()), None, "{good}");
        }
        let deep = "a/".repeat(64) + "a";
        for bad in ["", "/a", "a/", "a//b", "..", "a/..", "./a", "a\0", &"x".repeat(256), &deep] {
            assert!(path_fault(bad.as_bytes()).is_some(), "{bad:?} was taken");
        }
        for (path, target) in [("a", "b"), ("d/a", "../b"), ("d/e/a", "../../x/y"), ("a", "./b/c"), ("a", "b/")] {
            assert_eq!(link_fault(path.as_bytes(), target.as_bytes()), None, "{path} -> {target}");
        }
        for (path, target) in [
            ("a", ".."),
            ("a", "/etc"),
            ("d/a", "../../b"),
            ("d/a", "x/../../.."),
            ("a", ""),
            ("a", "./.."),
            ("a", "b\0"),
        ] {
            assert!(link_fault(path.as_bytes(), target.as_bytes()).is_some(), "{path} -> {target} was taken");
        }
    }
}
