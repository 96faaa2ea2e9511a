//! What a source tells about its tree, a page at a time, so that no list is ever whole on the wire or twice in memory.

use std::ops::Bound;
use std::sync::Arc;

use chandler_protocol::transfer::{BLOCKS_PER_FRAME, Content, Entry, Kind, Say};

use super::item::{Path, What};
use super::tree::Tree;

/// Most bytes of entries in one page, about.
const PAGE: usize = 384 << 10;
/// Most paths in one page that went away.
const GONE: usize = 64;

/// Some of what is told.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) say: Say,
    /// The blocks of its last entry, when they are too many for it.
    pub(super) blocks: Option<Arc<Content>>,
    /// What follows begins after this path; `None`: nothing follows.
    pub(super) next: Option<Path>,
}

/// The next page of the entries that changed since a generation, after a path.
pub(super) fn page(tree: &Tree, since: Option<u64>, after: Option<&Path>) -> Page {
    let from = after.map_or(Bound::Unbounded, Bound::Excluded);
    let mut entries = Vec::new();
    let mut bytes = 0;
    for (path, node) in tree.nodes.range::<Path, _>((from, Bound::Unbounded)) {
        if since.is_some_and(|g| node.changed <= g) {
            continue;
        }
        let mut entry = node.item.entry(path);
        let mut blocks = None;
        if let What::File(content) = &node.item.what {
            if content.digests.len() > BLOCKS_PER_FRAME {
                blocks = Some(Arc::clone(content));
            } else {
                entry.kind = Kind::File(Content::clone(content));
            }
        }
        bytes += weight(&entry);
        entries.push(entry);
        if blocks.is_some() || bytes > PAGE {
            return Page { say: Say::Entries(entries), blocks, next: Some(Arc::clone(path)) };
        }
    }
    Page { say: Say::Entries(entries), blocks: None, next: None }
}

/// What went away since a generation, in messages that fit.
pub(super) fn gone(tree: &Tree, since: u64) -> Vec<Say> {
    let paths: Vec<Vec<u8>> = tree.gone.iter().filter(|(g, _)| *g > since).map(|(_, p)| p.to_vec()).collect();
    paths.chunks(GONE).map(|some| Say::Gone(some.to_vec())).collect()
}

/// The blocks of a large file, in messages that fit.
pub(super) fn more(content: &Content) -> impl Iterator<Item = Say> {
    let mut blocks = content.blocks().peekable();
    std::iter::from_fn(move || {
        blocks.peek()?;
        let mut some = Content::default();
        for (block, digest) in blocks.by_ref().take(BLOCKS_PER_FRAME) {
            some.push(block, *digest);
        }
        Some(Say::More { runs: some.runs, digests: some.digests })
    })
}

/// About how many bytes an entry takes on the wire.
fn weight(entry: &Entry) -> usize {
    let xattrs: usize = entry.xattrs.iter().map(|x| x.name.len() + x.value.len() + 8).sum();
    let kind = match &entry.kind {
        Kind::File(content) => content.digests.len() * 32 + content.runs.len() * 10,
        Kind::Symlink { target } => target.len(),
        Kind::HardLink { to } => to.len(),
        Kind::Directory => 0,
    };
    entry.path.len() + xattrs + kind + 64
}
