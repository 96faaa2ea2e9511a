//! What a receiver notes beside its directory, so that the next one need not read everything again.
//!
//! Only files that are on the disk are noted, each with its stamp. Whatever happens after that, a file with the same stamp
//! holds the same: also after the power was cut. A journal that is damaged, or missing, costs time and nothing else.

use std::fs;
use std::path::Path as FilePath;
use std::sync::Arc;

use chandler_protocol::Digest;
use chandler_protocol::transfer::Content;
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use super::error::ReceiveError;
use super::item::{Item, Meta, Path, What};
use super::local::Ground;
use super::tree::{Node, Tree};
use super::walk::Stamp;
use crate::sync::lock;

/// What each journal begins with; BLAKE3 of the rest follows.
const MAGIC: &[u8; 8] = b"CHDSTATE";
/// Largest journal that is read: what a state of a tebibyte needs, and more.
const LENGTH_MAX: u64 = 2 << 30;
/// A file must have been left alone for this long, in seconds, for its stamp to say so.
const SETTLED: i64 = 1;

/// One file.
#[derive(Debug, Serialize, Deserialize)]
struct Noted {
    path: Vec<u8>,
    stamp: Stamp,
    content: Content,
}

impl Ground {
    /// Notes what is here. While nothing is written.
    pub(super) fn note(&self) -> Result<(), ReceiveError> {
        let files: Vec<(Path, Arc<Content>)> = {
            let state = lock(&self.state);
            let is_whole =
                |path: &&Path| !state.local.unsynced.contains_key(*path) && !state.local.unread.contains_key(*path);
            let here = state.local.here.iter().filter(|(p, _)| is_whole(p));
            here.filter_map(|(p, i)| Some((Arc::clone(p), Arc::clone(i.content()?)))).collect()
        };
        let before = clock_gettime(ClockId::RealtimeCoarse).tv_sec - SETTLED;
        let mut bytes = vec![0; MAGIC.len() + 32];
        for (path, content) in files {
            let Ok(stat) = self.inside.stat(&path) else { continue };
            let stamp = Stamp::of(&stat);
            if stamp.ctime.0 >= before {
                continue;
            }
            let noted = Noted { path: path.to_vec(), stamp, content: Content::clone(&content) };
            bytes = postcard::to_extend(&noted, bytes)
                .map_err(|_| self.failed(&path, &std::io::ErrorKind::Other.into()))?;
        }
        let (head, rest) = bytes.split_at_mut(MAGIC.len() + 32);
        head[..MAGIC.len()].copy_from_slice(MAGIC);
        head[MAGIC.len()..].copy_from_slice(blake3::hash(rest).as_bytes());
        let new = self.journal.with_extension("new");
        let kept = fs::write(&new, &bytes).and_then(|()| fs::rename(&new, &self.journal));
        if let Err(error) = kept {
            // It only saves time.
            tracing::debug!(%error, "what was received so far is not noted");
            let _ = fs::remove_file(&new);
        }
        Ok(())
    }
}

/// Puts what was noted into a tree that has not been looked at yet.
pub(super) fn recall(journal: &FilePath, tree: &mut Tree) {
    let is_small = fs::metadata(journal).is_ok_and(|m| m.len() <= LENGTH_MAX);
    let Some(bytes) = is_small.then(|| fs::read(journal).ok()).flatten() else { return };
    let Some((head, mut rest)) = bytes.split_at_checked(MAGIC.len() + 32) else { return };
    if &head[..MAGIC.len()] != MAGIC || head[MAGIC.len()..] != blake3::hash(rest).as_bytes()[..] {
        tracing::warn!("the note of what was received is damaged; everything is read again");
        return;
    }
    while !rest.is_empty() {
        let Ok((noted, behind)) = postcard::take_from_bytes::<Noted>(rest) else { return };
        rest = behind;
        let Noted { path, stamp, content } = noted;
        if content.is_sound() {
            let item = Item { id: 0, inode: 0, meta: Meta::default(), what: What::File(Arc::new(content)) };
            let (digest, quick) = (Digest([0; 32]), Arc::from([]));
            tree.put(&path.into(), Node { item, digest, changed: 0, stamp, quick, is_proven: true }, 0);
        }
    }
}
