//! What files hold, compared and written over.

use std::collections::BTreeMap;

use chandler_protocol::Digest;
use chandler_protocol::transfer::{BLOCK, Content};

/// Stands for a block of which nobody knows what it holds: it is never the hash of anything that is wanted.
pub(super) const UNKNOWN: Digest = Digest([0; 32]);

/// Blocks by number. `None`: all zeros.
pub(super) type Blocks = BTreeMap<u32, Option<Digest>>;

/// A block that is not as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Differs {
    pub(super) block: u32,
    /// All zeros.
    pub(super) is_zero: bool,
    /// Something is there already that may be nearly the same.
    pub(super) is_there: bool,
}

/// The blocks of `have` that are not as in `want`. Both have the same size.
pub(super) fn differing(want: &Content, have: &Content) -> Vec<Differs> {
    let mut out = Vec::new();
    let mut wanted = want.blocks().peekable();
    let mut had = have.blocks().peekable();
    loop {
        match (wanted.peek().copied(), had.peek().copied()) {
            (None, None) => return out,
            (Some((block, _)), had_next) if had_next.is_none_or(|(h, _)| block < h) => {
                out.push(Differs { block, is_zero: false, is_there: false });
                wanted.next();
            }
            (wanted_next, Some((block, _))) if wanted_next.is_none_or(|(w, _)| block < w) => {
                out.push(Differs { block, is_zero: true, is_there: true });
                had.next();
            }
            (Some((block, w)), Some((_, h))) => {
                if w != h {
                    out.push(Differs { block, is_zero: false, is_there: *h != UNKNOWN });
                }
                wanted.next();
                had.next();
            }
            // The arms above leave nothing here.
            _ => return out,
        }
    }
}

/// What a file holds after some of its blocks were written.
pub(super) fn written(base: &Content, over: &Blocks) -> Content {
    let count = base.count();
    let mut out = Content { size: base.size, ..Content::default() };
    let mut over = over.iter().peekable();
    let mut put = |block: u32, digest: Digest| {
        if u64::from(block) < count {
            out.push(block, digest);
        }
    };
    for (block, digest) in base.blocks() {
        let mut is_over = false;
        while let Some((b, d)) = over.next_if(|(b, _)| **b <= block) {
            is_over |= *b == block;
            if let Some(digest) = d {
                put(*b, *digest);
            }
        }
        if !is_over {
            put(block, *digest);
        }
    }
    for (block, digest) in over {
        if let Some(digest) = digest {
            put(*block, *digest);
        }
    }
    out
}

/// What a file holds after its length was changed.
pub(super) fn resized(base: &Content, size: u64) -> Content {
    let mut out = Content { size, ..Content::default() };
    let count = out.count();
    // The block in which the shorter of both ends is cut off, or filled up.
    let edge = base.size.min(size);
    let torn = (base.size != size && !edge.is_multiple_of(BLOCK as u64)).then_some(edge / BLOCK as u64);
    for (block, digest) in base.blocks().filter(|(b, _)| u64::from(*b) < count) {
        out.push(block, if torn == Some(u64::from(block)) { UNKNOWN } else { *digest });
    }
    out
}

/// A file of this length of which nothing is known.
pub(super) fn unknown(size: u64) -> Content {
    let mut out = Content { size, ..Content::default() };
    for block in 0..u32::try_from(out.count()).unwrap_or(u32::MAX) {
        out.push(block, UNKNOWN);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(size: u64, blocks: &[(u32, u8)]) -> Content {
        let mut out = Content { size, ..Content::default() };
        for (block, digest) in blocks {
            out.push(*block, Digest([*digest; 32]));
        }
        out
    }

    #[test]
    fn what_was_written_is_no_difference_any_more() {
        let size = 20 * BLOCK as u64 - 7;
        let want = content(size, &[(0, 1), (1, 2), (5, 3), (19, 4)]);
        for have in [
            content(size, &[]),
            content(size, &[(0, 1), (1, 2), (5, 3), (19, 4)]),
            content(size, &[(0, 9), (2, 2), (4, 3), (6, 1), (19, 4)]),
            content(size, &[(18, 9)]),
        ] {
            let digest = |block: u32| want.blocks().find(|(b, _)| *b == block).map(|(_, d)| *d);
            let over: Blocks = differing(&want, &have)
                .into_iter()
                .map(|d| (d.block, digest(d.block).filter(|_| !d.is_zero)))
                .collect();
            assert_eq!(written(&have, &over), want);
        }
    }

    #[test]
    fn a_cut_off_block_is_not_known_any_more() {
        let block = BLOCK as u64;
        let base = content(3 * block, &[(0, 1), (1, 2), (2, 3)]);
        assert_eq!(resized(&base, 2 * block), content(2 * block, &[(0, 1), (1, 2)]));
        assert_eq!(resized(&base, block + 5), content(block + 5, &[(0, 1), (1, 0)]));
        assert_eq!(resized(&base, 9 * block), content(9 * block, &[(0, 1), (1, 2), (2, 3)]));
        let odd = content(block + 5, &[(0, 1), (1, 2)]);
        assert_eq!(resized(&odd, block + 6), content(block + 6, &[(0, 1), (1, 0)]));
    }
}
