//! Content on its way in and out, piece by piece. A thread does the disk's work; a short queue between it and the
//! network slows a fast sender down to what the disk takes.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::HeaderMap;
use axum::response::Response;
use chandler_api::problem::{DIGEST_MISMATCH, Problem, TOO_LARGE, UNAVAILABLE};
use chandler_protocol::Digest;
use chandler_protocol::artifact::Manifest;
use futures_util::StreamExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::Shared;
use super::body::announced_length;
use super::error::{Failure, conflict, internal, malformed};
use crate::store::blobs::{BlobError, Blobs};

/// Largest artifact or blob.
const CONTENT_MAX: u64 = 4 << 30;
/// Pieces that may wait for the disk.
const PIECES: usize = 16;
/// Longest pause between two pieces.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// Longest wait for a turn when many transfers are going on.
const TURN_MAX: Duration = Duration::from_secs(30);

/// What the thread that writes is told.
enum Piece {
    Bytes(Bytes),
    End,
}

/// Takes in content; it is kept when it is what `announced` says.
pub(super) async fn receive(
    api: &Shared,
    headers: &HeaderMap,
    body: Body,
    announced: Digest,
) -> Result<Manifest, Failure> {
    let too_large =
        || Failure::from(Problem::new(TOO_LARGE, format!("the content is larger than {} GiB", CONTENT_MAX >> 30)));
    if announced_length(headers).is_some_and(|n| n > CONTENT_MAX) {
        return Err(too_large());
    }
    let _turn = turn(api).await?;
    let (feed, fed) = mpsc::channel(PIECES);
    let blobs = api.blobs.clone();
    let writing = tokio::task::spawn_blocking(move || keep(&blobs, announced, fed));
    let mut pieces = body.into_data_stream();
    let mut length = 0_u64;
    loop {
        let next = tokio::time::timeout(PAUSE_MAX, pieces.next());
        let next = next.await.map_err(|_| malformed(format!("no byte came for {} s", PAUSE_MAX.as_secs())))?;
        let Some(piece) = next else { break };
        let piece = piece.map_err(|_| malformed("the content broke off"))?;
        length += piece.len() as u64;
        if length > CONTENT_MAX {
            return Err(too_large());
        }
        // A closed queue means that the disk has failed: its error is what `writing` gives.
        if feed.send(Piece::Bytes(piece)).await.is_err() {
            break;
        }
    }
    let _ = feed.send(Piece::End).await;
    drop(feed);
    writing.await.map_err(internal)?.map_err(refused)
}

/// Runs on a thread of its own. Content without an end was broken off and is not kept.
fn keep(blobs: &Blobs, announced: Digest, mut fed: mpsc::Receiver<Piece>) -> Result<Manifest, BlobError> {
    let mut receiver = blobs.receive(announced);
    while let Some(piece) = fed.blocking_recv() {
        match piece {
            Piece::Bytes(bytes) => receiver.push(&bytes)?,
            Piece::End => return receiver.finish(),
        }
    }
    Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into())
}

fn refused(error: BlobError) -> Failure {
    match error {
        BlobError::Mismatch { .. } => Problem::new(DIGEST_MISMATCH, error.to_string()).into(),
        BlobError::TooLarge => Problem::new(TOO_LARGE, error.to_string()).into(),
        BlobError::Io(cause) => {
            tracing::warn!(%cause, "content was not kept");
            Problem::new(UNAVAILABLE, "the content could not be kept; nothing of it was").into()
        }
    }
}

/// Waits for a turn among the transfers.
async fn turn(api: &Shared) -> Result<OwnedSemaphorePermit, Failure> {
    let turn = tokio::time::timeout(TURN_MAX, api.transfers.clone().acquire_owned()).await;
    turn.map_err(|_| conflict("too many transfers are going on: try again"))?.map_err(internal)
}

/// Sends a blob, chunk by chunk, each checked. `None` when it is not here.
pub(super) async fn send(api: &Shared, digest: Digest) -> Result<Option<Response>, Failure> {
    let blobs = api.blobs.clone();
    let Some(manifest) = manifest(&blobs, digest).await? else { return Ok(None) };
    let length = manifest.length;
    let sending = Sending { blobs, manifest: Arc::new(manifest), next: 0, turns: api.transfers.clone() };
    let pieces = futures_util::stream::try_unfold(sending, |mut sending| async move {
        let index = sending.next;
        let Some(chunk) = sending.manifest.chunks.get(index).copied() else { return Ok(None) };
        let length = sending.manifest.chunk_length(index) as u64;
        let blobs = sending.blobs.clone();
        // Held for the reading only: whoever takes what was read slowly keeps nobody waiting.
        let turn = sending.turns.clone().acquire_owned().await.map_err(std::io::Error::other)?;
        let read = tokio::task::spawn_blocking(move || read_chunk(&blobs, chunk, length));
        let plain = read.await.map_err(std::io::Error::other)??;
        drop(turn);
        sending.next += 1;
        Ok::<_, std::io::Error>(Some((Bytes::from(plain), sending)))
    });
    let mut response = Response::new(Body::from_stream(pieces));
    let headers = response.headers_mut();
    headers.insert(axum::http::header::CONTENT_LENGTH, length.into());
    let raw = axum::http::HeaderValue::from_static("application/octet-stream");
    headers.insert(axum::http::header::CONTENT_TYPE, raw);
    Ok(Some(response))
}

struct Sending {
    blobs: Arc<Blobs>,
    manifest: Arc<Manifest>,
    next: usize,
    turns: Arc<Semaphore>,
}

fn read_chunk(blobs: &Blobs, digest: Digest, length: u64) -> std::io::Result<Vec<u8>> {
    use std::io::Read;
    let mut plain = Vec::new();
    zstd::Decoder::new(blobs.chunk(digest)?.as_slice())?.take(length + 1).read_to_end(&mut plain)?;
    if *blake3::hash(&plain).as_bytes() != digest.0 {
        return Err(std::io::Error::other(format!("chunk {digest} is damaged on the controller's disk")));
    }
    Ok(plain)
}

/// The chunks of a blob, read on a thread for the disk; `None` when it is not here.
pub(super) async fn manifest(blobs: &Arc<Blobs>, digest: Digest) -> Result<Option<Manifest>, Failure> {
    let blobs = blobs.clone();
    let read = tokio::task::spawn_blocking(move || blobs.manifest(digest));
    read.await.map_err(internal)?.map_err(internal)
}

/// Part of a blob: at most `most` bytes from `from` on. Reads only the chunks it lies in.
pub(super) async fn part(blobs: &Arc<Blobs>, manifest: Manifest, from: u64, most: usize) -> Result<Vec<u8>, Failure> {
    let blobs = blobs.clone();
    let read = tokio::task::spawn_blocking(move || {
        let (mut bytes, mut start) = (Vec::new(), 0_u64);
        for (index, chunk) in manifest.chunks.iter().enumerate() {
            let length = manifest.chunk_length(index) as u64;
            if start + length > from && bytes.len() < most {
                let plain = read_chunk(&blobs, *chunk, length)?;
                let skip = usize::try_from(from.saturating_sub(start)).unwrap_or(usize::MAX);
                let wanted = most - bytes.len();
                bytes.extend(plain.into_iter().skip(skip).take(wanted));
            }
            start += length;
        }
        Ok::<_, std::io::Error>(bytes)
    });
    read.await.map_err(internal)?.map_err(internal)
}
