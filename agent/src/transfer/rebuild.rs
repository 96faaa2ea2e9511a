//! Files that were replaced as a whole: put together from pieces of the file that is here, cut by content, so that bytes
//! which only moved within it are not sent again.

use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use chandler_protocol::Digest;
use chandler_protocol::transfer::{Ask, Cut, FILE_MAX, RANGE_MAX, Say};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use super::content::unknown;
use super::error::ReceiveError;
use super::fetch::{Errand, SILENCE, heard, unreachable};
use super::hash::{fill, is_zero};
use super::intake::lie;
use super::item::Path;
use super::local::Ground;
use super::plan::Need;
use super::receiver::blocking;
use super::serve::cut;
use super::wire::Wire;
use crate::sync::lock;

impl Errand {
    /// Puts a file that was replaced as a whole together from pieces of the one that is here, as far as they are.
    pub(super) async fn rebuild<S>(
        self: &Arc<Self>,
        wire: &mut Wire<S>,
        path: Path,
        file: u64,
    ) -> Result<(), ReceiveError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        wire.send(&Ask::Cuts { file }).await.map_err(|e| unreachable(&e))?;
        let mut cuts: Vec<Cut> = Vec::new();
        let mut size = 0_u64;
        loop {
            let said = match timeout(SILENCE * 4, wire.next::<Say>()).await {
                Err(_) => return Err(ReceiveError::Unreachable("it says nothing any more".into())),
                Ok(said) => heard(said)?,
            };
            let Say::Cuts { cuts: some, is_last } = said else { return Err(lie("answers what was not asked")) };
            size = some.iter().fold(size, |size, cut| size.saturating_add(u64::from(cut.length)));
            let is_sound = some.iter().all(|c| (1..=RANGE_MAX).contains(&(c.length as usize)));
            if !is_sound || size > FILE_MAX.min(self.ground.limits.file) {
                return Err(ReceiveError::refused(&path, "is cut into pieces that cannot be"));
            }
            cuts.extend(some);
            if is_last {
                break;
            }
        }
        if cuts.is_empty() {
            return Ok(());
        }
        let at = Arc::clone(&path);
        let needs = blocking(&self.ground, move |ground| {
            rebuild(ground, &at, file, size, &cuts).map_err(|e| ground.failed(&at, &e))
        });
        let needs = needs.await?;
        self.done.fetch_add(size.saturating_sub(needs.iter().map(|n| u64::from(n.length)).sum()), Ordering::Relaxed);
        lock(&self.needs).extend(needs);
        Ok(())
    }
}

/// Makes the file anew. Gives what the old one does not hold.
fn rebuild(ground: &Ground, path: &Path, file: u64, size: u64, cuts: &[Cut]) -> io::Result<Vec<Need>> {
    let old = ground.inside.reader(path)?;
    let mut held: Vec<(Digest, u64, u32)> = cut(old.try_clone()?).map(|(at, c)| (c.digest, at, c.length)).collect();
    held.sort();
    {
        // From here on nobody knows what the file holds, until it is measured.
        let mut state = lock(&ground.state);
        state.local.set_content(path, Arc::new(unknown(size)));
        state.local.over.remove(path);
        state.local.unread.remove(path);
        state.local.rebuilt.insert(Arc::clone(path));
        state.local.renewed.insert(Arc::clone(path));
        state.local.writing(path, std::iter::empty());
        state.local.changed_in(path);
        state.local.unsynced_bytes = state.local.unsynced_bytes.saturating_add(size);
    }
    ground.inside.within(path, |dir, name| rustix::fs::unlinkat(dir, name, rustix::fs::AtFlags::empty()))?;
    let new = ground.inside.create(path)?;
    new.set_len(size)?;
    let mut needs = Vec::new();
    let mut offset = 0;
    for cut in cuts {
        let found = held.binary_search_by(|h| h.0.cmp(&cut.digest)).ok().and_then(|n| held.get(n));
        match found {
            Some((_, at, length)) if *length == cut.length => {
                let mut bytes = vec![0; cut.length as usize];
                if fill(&old, &mut bytes, *at)? == bytes.len() && !is_zero(&bytes) {
                    new.write_all_at(&bytes, offset)?;
                }
            }
            _ => needs.push(Need {
                path: Arc::clone(path),
                file,
                offset,
                length: cut.length,
                block: None,
                is_there: false,
            }),
        }
        offset += u64::from(cut.length);
    }
    Ok(needs)
}
