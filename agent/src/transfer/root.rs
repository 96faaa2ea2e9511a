//! The root of a tree of hashes: names, kinds, permissions, attributes and content, and nothing that a host may keep
//! otherwise (times, owners, inodes, holes).

use std::collections::BTreeMap;

use chandler_protocol::Digest;
use chandler_protocol::transfer::Content;

use super::item::{Item, Path, What};

/// What each hash begins with, so that none is ever taken for another.
const ENTRY: &[u8] = b"chandler state entry 1\0";
const CONTENT: &[u8] = b"chandler state content 1\0";
const TREE: &[u8] = b"chandler state tree 1\0";

/// The hash of one thing.
pub(super) fn of_item(path: &[u8], item: &Item) -> Digest {
    let mut hasher = blake3::Hasher::new();
    hasher.update(ENTRY);
    field(&mut hasher, path);
    hasher.update(&item.meta.mode.to_le_bytes());
    number(&mut hasher, item.meta.xattrs.len());
    for xattr in &item.meta.xattrs {
        field(&mut hasher, &xattr.name);
        field(&mut hasher, &xattr.value);
    }
    match &item.what {
        What::Directory => hasher.update(b"d"),
        What::File(content) => hasher.update(b"f").update(&of_content(content).0),
        What::Symlink(target) => {
            hasher.update(b"s");
            field(&mut hasher, target)
        }
        What::HardLink(to) => {
            hasher.update(b"h");
            field(&mut hasher, to)
        }
    };
    Digest(*hasher.finalize().as_bytes())
}

/// The hash of what a file holds. Blocks of zeros and holes are the same.
fn of_content(content: &Content) -> Digest {
    let mut hasher = blake3::Hasher::new();
    hasher.update(CONTENT).update(&content.size.to_le_bytes());
    for (block, digest) in content.blocks() {
        hasher.update(&block.to_le_bytes()).update(&digest.0);
    }
    Digest(*hasher.finalize().as_bytes())
}

/// The root over the hashes of all things, in order of path.
pub(super) fn of_tree<'a>(digests: impl Iterator<Item = &'a Digest>) -> Digest {
    let mut hasher = blake3::Hasher::new();
    hasher.update(TREE);
    for digest in digests {
        hasher.update(&digest.0);
    }
    Digest(*hasher.finalize().as_bytes())
}

/// The root of things that are kept without their hashes.
pub(super) fn of_items(items: &BTreeMap<Path, Item>) -> Digest {
    let digests: Vec<Digest> = items.iter().map(|(path, item)| of_item(path, item)).collect();
    of_tree(digests.iter())
}

fn field<'a>(hasher: &'a mut blake3::Hasher, bytes: &[u8]) -> &'a mut blake3::Hasher {
    number(hasher, bytes.len());
    hasher.update(bytes)
}

fn number(hasher: &mut blake3::Hasher, n: usize) {
    hasher.update(&(n as u64).to_le_bytes());
}
