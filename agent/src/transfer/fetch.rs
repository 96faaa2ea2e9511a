//! Fetching bytes on one stream, and writing them where they belong.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chandler_protocol::Digest;
use chandler_protocol::transfer::{Ask, Batch, Piece, RANGES_MAX, Range, Say};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::timeout;

use super::content::UNKNOWN;
use super::error::ReceiveError;
use super::hash::{fill, is_zero};
use super::intake::lie;
use super::item::Path;
use super::local::Ground;
use super::pace::Throttle;
use super::plan::Need;
use super::wire::Wire;
use super::{pack, receiver};
use crate::sync::lock;

/// Bytes asked for at once.
const ASK: usize = 1 << 20;
/// Questions under way on one stream.
const WINDOW: usize = 2;
/// A source that says nothing for this long is gone.
pub(super) const SILENCE: Duration = Duration::from_secs(30);

/// What the streams of one round share.
#[derive(Debug)]
pub(super) struct Errand {
    pub(super) ground: Arc<Ground>,
    pub(super) needs: Mutex<VecDeque<Need>>,
    pub(super) rebuilds: Mutex<VecDeque<(Path, u64)>>,
    /// Bytes of state that arrived.
    pub(super) done: AtomicU64,
    /// Bytes on the wire.
    pub(super) sent: AtomicU64,
    pub(super) throttle: Throttle,
}

/// A question under way: what was asked for, and what is there in its place.
struct Asked {
    needs: Vec<Need>,
    old: Vec<Option<Vec<u8>>>,
}

impl Errand {
    /// Fetches until nothing is left, or the state is being sealed.
    pub(super) async fn run<S>(
        self: &Arc<Self>,
        wire: &mut Wire<S>,
        sealing: &watch::Receiver<bool>,
    ) -> Result<(), ReceiveError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let mut under_way: VecDeque<Asked> = VecDeque::new();
        let is_urgent = *sealing.borrow();
        loop {
            let abandoned = !is_urgent && *sealing.borrow();
            while under_way.len() < WINDOW && !abandoned {
                if under_way.is_empty() {
                    let rebuild = lock(&self.rebuilds).pop_front();
                    if let Some((path, file)) = rebuild {
                        self.rebuild(wire, path, file).await?;
                    }
                }
                let Some(asked) = self.ask(wire).await? else { break };
                under_way.push_back(asked);
            }
            let Some(asked) = under_way.pop_front() else { break };
            let (batch, raw) = match timeout(SILENCE, answer(wire)).await {
                Err(_) => return Err(ReceiveError::Unreachable("it says nothing any more".into())),
                Ok(answer) => answer?,
            };
            let carried = wire.take_carried();
            self.sent.fetch_add(carried, Ordering::Relaxed);
            let errand = Arc::clone(self);
            let written = receiver::blocking(&self.ground, move |_| errand.write(&asked, &batch, raw)).await?;
            self.done.fetch_add(written, Ordering::Relaxed);
            self.throttle.wait(carried, sealing).await;
        }
        Ok(())
    }

    /// Asks for the next bytes, if any are left.
    async fn ask<S>(self: &Arc<Self>, wire: &mut Wire<S>) -> Result<Option<Asked>, ReceiveError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let needs = self.next();
        if needs.is_empty() {
            return Ok(None);
        }
        let prepared = receiver::blocking(&self.ground, move |ground| Ok(prepare(ground, needs)));
        let (asked, ranges) = prepared.await?;
        wire.send(&Ask::Fetch { ranges }).await.map_err(|e| unreachable(&e))?;
        Ok(Some(asked))
    }

    fn next(&self) -> Vec<Need> {
        let mut queue = lock(&self.needs);
        let mut needs: Vec<Need> = Vec::new();
        let mut bytes = 0;
        while let Some(need) = queue.front() {
            bytes += need.length as usize;
            if needs.len() == RANGES_MAX || (bytes > ASK && !needs.is_empty()) {
                break;
            }
            needs.extend(queue.pop_front());
        }
        needs
    }

    /// Writes what arrived. Gives how many bytes of state that was.
    fn write(&self, asked: &Asked, batch: &Batch, raw: Vec<u8>) -> Result<u64, ReceiveError> {
        let sound = batch.pieces.len() == asked.needs.len()
            && batch.pieces.iter().zip(&asked.needs).zip(&asked.old).all(|((p, n), old)| is_sound(p, n, old.is_some()));
        if !sound {
            return Err(lie("sends other bytes than it was asked for"));
        }
        let plain = pack::unpack(batch, raw).map_err(|_| lie("sends bytes that cannot be unpacked"))?;
        {
            let mut state = lock(&self.ground.state);
            for need in &asked.needs {
                state.local.writing(&need.path, need.block.into_iter());
            }
        }
        let mut at = 0;
        let mut written = 0;
        let mut open: Option<(&Path, File)> = None;
        for ((need, piece), old) in asked.needs.iter().zip(&batch.pieces).zip(&asked.old) {
            let bytes = match *piece {
                Piece::Whole { length } => {
                    let bytes = plain.get(at..at + length as usize).unwrap_or_default().to_vec();
                    at += length as usize;
                    bytes
                }
                Piece::Parts { length, changed } => {
                    let rest = plain.get(at..).unwrap_or_default();
                    let (bytes, used) = pack::patch(old.as_deref().unwrap_or_default(), length as usize, changed, rest);
                    at += used;
                    bytes
                }
                // The next look says that it is gone.
                Piece::Missing => continue,
            };
            if open.as_ref().is_none_or(|(path, _)| *path != &need.path) {
                open = match self.ground.inside.writer(&need.path) {
                    Ok(file) => Some((&need.path, file)),
                    Err(e) => return Err(self.ground.failed(&need.path, &e)),
                };
            }
            if let Some((path, file)) = &open {
                file.write_all_at(&bytes, need.offset).map_err(|e| self.ground.failed(path, &e))?;
                self.note(need, &bytes);
                written += bytes.len() as u64;
            }
        }
        Ok(written)
    }

    fn note(&self, need: &Need, bytes: &[u8]) {
        let Some(block) = need.block else { return };
        let digest = match () {
            // Cut short: what is behind it is still there.
            () if bytes.len() < need.length as usize => Some(UNKNOWN),
            () if is_zero(bytes) => None,
            () => Some(Digest(*blake3::hash(bytes).as_bytes())),
        };
        lock(&self.ground.state).local.wrote(&need.path, block, digest, bytes.len());
    }
}

/// Reads what is in the place of what is asked for, where that may be nearly the same.
fn prepare(ground: &Ground, needs: Vec<Need>) -> (Asked, Vec<Range>) {
    let mut open: Option<(Path, File)> = None;
    let mut old = Vec::with_capacity(needs.len());
    let mut ranges = Vec::with_capacity(needs.len());
    for need in &needs {
        let mut there = None;
        if need.is_there {
            if open.as_ref().is_none_or(|(path, _)| *path != need.path) {
                open = ground.inside.reader(&need.path).ok().map(|file| (Arc::clone(&need.path), file));
            }
            let mut bytes = vec![0; need.length as usize];
            let read = open.as_ref().map(|(_, file)| fill(file, &mut bytes, need.offset));
            there = matches!(read, Some(Ok(n)) if n == bytes.len()).then_some(bytes);
        }
        let parts = there.as_deref().map(pack::parts).unwrap_or_default();
        ranges.push(Range { file: need.file, offset: need.offset, length: need.length, parts });
        old.push(there);
    }
    (Asked { needs, old }, ranges)
}

fn is_sound(piece: &Piece, need: &Need, has_old: bool) -> bool {
    match piece {
        Piece::Whole { length } => *length <= need.length,
        Piece::Parts { length, .. } => has_old && *length <= need.length,
        Piece::Missing => true,
    }
}

async fn answer<S>(wire: &mut Wire<S>) -> Result<(Batch, Vec<u8>), ReceiveError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let Say::Batch(batch) = heard(wire.next::<Say>().await)? else { return Err(lie("answers what was not asked")) };
    if batch.length as usize > chandler_protocol::transfer::BATCH_MAX {
        return Err(lie("sends more bytes than it was asked for"));
    }
    let raw = wire.raw(batch.length).await.map_err(|e| unreachable(&e))?;
    Ok((batch, raw))
}

/// What the source said; that it refuses is an error.
pub(super) fn heard(said: io::Result<Option<Say>>) -> Result<Say, ReceiveError> {
    use chandler_protocol::transfer::Refusal;
    match said {
        Ok(Some(Say::Refused { why, message })) => {
            let message = chandler_protocol::text::clean(&message, chandler_protocol::text::TEXT_MAX);
            Err(match why {
                Refusal::Tree => ReceiveError::Refused { path: String::new(), why: message },
                Refusal::Attempt | Refusal::Io | Refusal::Asked => ReceiveError::SourceRefuses(message),
            })
        }
        Ok(Some(say)) => Ok(say),
        Ok(None) => Err(ReceiveError::Unreachable("it ended the stream".into())),
        Err(e) if e.kind() == io::ErrorKind::InvalidData => Err(lie("sends what is no known answer")),
        Err(e) => Err(unreachable(&e)),
    }
}

/// The stream broke.
pub(super) fn unreachable(error: &io::Error) -> ReceiveError {
    ReceiveError::Unreachable(chandler_protocol::text::clean(&error.to_string(), 200))
}
