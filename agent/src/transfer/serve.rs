//! Answering one stream of a receiver.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use chandler_protocol::transfer::{Ask, CUTS_PER_FRAME, Cut, Known, Looked, RANGE_MAX, Refusal, Say};
use chandler_protocol::{Bytes, Digest, Micros};
use fastcdc::v2020::StreamCDC;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout};

use super::error::{ServeError, TreeError};
use super::item::Path;
use super::source::{Shared, State};
use super::wire::Wire;
use super::{pack, pages};
use crate::sync::lock;

/// A stream on which nothing is asked for this long ends.
const IDLE: Duration = Duration::from_secs(120);
/// While a look takes long, the receiver hears of us this often.
const ALIVE: Duration = Duration::from_secs(5);
/// Smallest and usual length of what a file is cut into by its content, in bytes; the largest is [`RANGE_MAX`].
const CUT_MIN: usize = 16 << 10;
const CUT_USUAL: usize = 64 << 10;

/// Answers until the stream ends.
pub(super) async fn serve<S>(shared: &Arc<Shared>, stream: S, attempt: u64) -> Result<(), ServeError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let mut wire = Wire::new(stream);
    let ended = answer(shared, &mut wire, attempt).await;
    let (why, message) = match &ended {
        Ok(()) | Err(ServeError::Gone(_)) => return ended,
        Err(e @ ServeError::Asked(_)) => (Refusal::Asked, e.to_string()),
        Err(e @ ServeError::Attempt { .. }) => (Refusal::Attempt, e.to_string()),
        Err(ServeError::Tree(TreeError::Refused { path, why })) => (Refusal::Tree, format!("{path:?} {why}")),
        Err(ServeError::Tree(e)) => (Refusal::Io, e.to_string()),
    };
    // The receiver may be gone; then nobody needs to hear it.
    let said = wire.send(&Say::Refused { why, message }).await;
    if said.is_ok() {
        let _ = wire.finish().await;
    }
    ended
}

async fn answer<S>(shared: &Arc<Shared>, wire: &mut Wire<S>, attempt: u64) -> Result<(), ServeError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    loop {
        check(shared, attempt)?;
        let ask = match timeout(IDLE, wire.next::<Ask>()).await {
            Err(_) => return Err(ServeError::Gone("it asked nothing for two minutes".into())),
            Ok(Err(e)) if e.kind() == io::ErrorKind::InvalidData => return Err(ServeError::Asked("no known question")),
            Ok(Err(e)) => return Err(gone(&e)),
            Ok(Ok(None)) => return Ok(()),
            Ok(Ok(Some(ask))) => ask,
        };
        match ask {
            Ask::Look { known } => look(shared, wire, attempt, known).await?,
            Ask::Fetch { ranges } => {
                if let Some(fault) = pack::fault(&ranges) {
                    return Err(ServeError::Asked(fault));
                }
                let owned = Arc::clone(shared);
                let read = blocking(move || {
                    let inside = owned.open()?;
                    let numbers = |id| lock(&owned.numbers).get(&id).cloned();
                    pack::read(&inside, numbers, &ranges).map_err(|e| TreeError::io(b"", e))
                });
                let (head, raw) = read.await?;
                wire.send_with(&Say::Batch(head), &raw).await.map_err(|e| gone(&e))?;
            }
            Ask::Cuts { file } => cuts(shared, wire, file).await?,
            Ask::Await => {
                let mut state = shared.state.subscribe();
                let sealed = state.wait_for(|s| *s != State::Running);
                tokio::select! {
                    biased;
                    _ = sealed => {}
                    // The receiver asks nothing meanwhile: it left.
                    _ = wire.next::<Ask>() => return Ok(()),
                }
                check(shared, attempt)?;
                wire.send(&Say::Sealing).await.map_err(|e| gone(&e))?;
            }
        }
    }
}

/// Whether the state is still handed over in this attempt.
fn check(shared: &Shared, attempt: u64) -> Result<(), ServeError> {
    match *shared.state.borrow() {
        State::Sealing { attempt: now, .. } | State::Sealed { attempt: now, .. } if now != attempt => {
            Err(ServeError::Attempt { asked: attempt, now })
        }
        _ => Ok(()),
    }
}

async fn look<S>(shared: &Arc<Shared>, wire: &mut Wire<S>, attempt: u64, known: Option<Known>) -> Result<(), ServeError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let began = Instant::now();
    let sealed = found(shared, wire, attempt).await?;
    let took = Micros::from_std(began.elapsed());
    let known = known.filter(|k| k.tree == shared.number).map(|k| k.generation);
    let (since, generation, gone_paths) = {
        let tree = lock(&shared.tree);
        let since = known.filter(|g| tree.can_tell_since(*g));
        (since, tree.generation, since.map_or_else(Vec::new, |g| pages::gone(&tree, g)))
    };
    tell(wire, &Say::Looking { tree: shared.number, is_change: since.is_some() }).await?;
    for say in gone_paths {
        tell(wire, &say).await?;
    }
    let mut after: Option<Path> = None;
    loop {
        let page = pages::page(&lock(&shared.tree), since, after.as_ref());
        tell(wire, &page.say).await?;
        if let Some(content) = &page.blocks {
            for say in pages::more(content) {
                tell(wire, &say).await?;
            }
        }
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    let looked = {
        let tree = lock(&shared.tree);
        let entries = tree.nodes.len() as u64;
        Looked { generation, entries, size: Bytes(tree.data), took, skipped: tree.skipped, sealed }
    };
    // What was told is the sealed tree only if it still is.
    check(shared, attempt)?;
    tell(wire, &Say::Looked(looked)).await
}

/// Waits until the tree was looked at. Gives the root once it is sealed.
async fn found<S>(shared: &Arc<Shared>, wire: &mut Wire<S>, attempt: u64) -> Result<Option<Digest>, ServeError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let mut state = shared.state.subscribe();
    loop {
        check(shared, attempt)?;
        let now = *state.borrow_and_update();
        match now {
            State::Sealed { root, .. } => return Ok(Some(root)),
            State::Sealing { .. } => alive(shared, wire, async { drop(state.changed().await) }).await?,
            State::Running => {
                shared.sync_in_background();
                let owned = Arc::clone(shared);
                match alive(shared, wire, blocking(move || owned.look())).await? {
                    // It is being sealed, or was: that look is worth more.
                    Err(TreeError::Superseded) => {}
                    Err(e) => return Err(e.into()),
                    Ok(()) => return Ok(None),
                }
            }
        }
    }
}

/// Lets the receiver know every few seconds that something goes on.
async fn alive<S, T>(shared: &Shared, wire: &mut Wire<S>, work: impl Future<Output = T>) -> Result<T, ServeError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let mut work = std::pin::pin!(work);
    loop {
        if let Ok(done) = timeout(ALIVE, &mut work).await {
            return Ok(done);
        }
        tell(wire, &Say::Looking { tree: shared.number, is_change: true }).await?;
    }
}

async fn cuts<S>(shared: &Arc<Shared>, wire: &mut Wire<S>, file: u64) -> Result<(), ServeError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let owned = Arc::clone(shared);
    let found = blocking(move || {
        let Some(path) = lock(&owned.numbers).get(&file).cloned() else { return Ok(Vec::new()) };
        let file = match owned.open()?.reader(&path) {
            Err(_) => return Ok(Vec::new()),
            Ok(file) => file,
        };
        Ok(cut(file).map(|(_, cut)| cut).collect::<Vec<Cut>>())
    })
    .await?;
    let mut frames = found.chunks(CUTS_PER_FRAME).peekable();
    loop {
        let some = frames.next().unwrap_or_default().to_vec();
        let is_last = frames.peek().is_none();
        tell(wire, &Say::Cuts { cuts: some, is_last }).await?;
        if is_last {
            return Ok(());
        }
    }
}

/// The pieces of a file between cuts that its content suggests: where each begins, and what it is. Ends early when the
/// file cannot be read any further.
pub(super) fn cut(file: std::fs::File) -> impl Iterator<Item = (u64, Cut)> {
    StreamCDC::new(file, CUT_MIN, CUT_USUAL, RANGE_MAX).map_while(Result::ok).map(|piece| {
        let digest = Digest(*blake3::hash(&piece.data).as_bytes());
        (piece.offset, Cut { length: u32::try_from(piece.length).unwrap_or(u32::MAX), digest })
    })
}

async fn tell<S: AsyncRead + AsyncWrite + Unpin + Send>(wire: &mut Wire<S>, say: &Say) -> Result<(), ServeError> {
    // A receiver that takes nothing for long is as good as gone.
    match timeout(IDLE, wire.send(say)).await {
        Err(_) => Err(ServeError::Gone("it takes nothing".into())),
        Ok(sent) => sent.map_err(|e| gone(&e)),
    }
}

fn gone(error: &io::Error) -> ServeError {
    ServeError::Gone(error.to_string())
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, TreeError> + Send + 'static,
) -> Result<T, TreeError> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(TreeError::Superseded))
}
