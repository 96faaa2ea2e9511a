//! Content: artifacts and inputs come from the buyer, results go to it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use chandler_api::problem::{BAD_REQUEST, DIGEST_MISMATCH, NOT_FOUND, Problem, TOO_LARGE};
use chandler_engine::federation::Side;
use chandler_engine::model::Model;
use chandler_protocol::state::Phase;
use chandler_protocol::workload::Software;
use chandler_protocol::{Digest, PartyId};
use futures_util::StreamExt;

use crate::federation::document::{Answer, Refusal, internal};
use crate::federation::{Desk, Peer};
use crate::store::blobs::BlobError;

/// Largest content of a buyer.
const CONTENT_MAX: u64 = 4 << 30;

/// Content of which it is remembered who brought it: the newest of all buyers.
const BROUGHT_MAX: usize = 4_096;

/// Who brought which content since this controller was started.
#[derive(Debug, Default)]
pub struct Brought(Mutex<VecDeque<(PartyId, Digest)>>);

impl Brought {
    fn all(&self) -> MutexGuard<'_, VecDeque<(PartyId, Digest)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, by: PartyId, digest: Digest) {
        let mut all = self.all();
        all.retain(|known| *known != (by, digest));
        all.push_back((by, digest));
        let beyond = all.len().saturating_sub(BROUGHT_MAX);
        all.drain(..beyond);
    }

    fn has(&self, by: PartyId, digest: Digest) -> bool {
        self.all().contains(&(by, digest))
    }
}

/// Whether this buyer has brought content that is here: it may not have heard the answer. Of what others brought nothing is
/// said: who names content has to have it.
pub(super) async fn brought(State(desk): State<Arc<Desk>>, peer: Peer, Path(digest): Path<String>) -> Answer<bool> {
    peer.buying()?;
    let digest = digest_of(&digest)?;
    Ok(Json(desk.brought.has(peer.party, digest) && desk.blobs.has(digest)))
}

/// Takes in content. What is there already is read again: who names content has to have it.
pub(super) async fn take(
    State(desk): State<Arc<Desk>>,
    peer: Peer,
    Path(digest): Path<String>,
    request: Request,
) -> Answer<bool> {
    peer.buying()?;
    let digest = digest_of(&digest)?;
    let mut received = desk.blobs.receive(digest);
    let mut pieces = request.into_body().into_data_stream();
    let mut length = 0_u64;
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|_| Problem::new(BAD_REQUEST, "the content broke off"))?;
        length += piece.len() as u64;
        if length > CONTENT_MAX {
            return Err(Problem::new(TOO_LARGE, format!("content may have at most {CONTENT_MAX} bytes")).into());
        }
        received.push(&piece).map_err(|e| not_kept(&e))?;
    }
    received.finish().map_err(|e| not_kept(&e))?;
    desk.brought.note(peer.party, digest);
    Ok(Json(true))
}

fn not_kept(error: &BlobError) -> Refusal {
    match error {
        BlobError::Mismatch { .. } => Problem::new(DIGEST_MISMATCH, error.to_string()).into(),
        BlobError::TooLarge => Problem::new(TOO_LARGE, error.to_string()).into(),
        BlobError::Io(_) => internal(error),
    }
}

/// Gives content that the buyer has to do with: what it sent itself, and the results of what it has leased.
pub(super) async fn give(
    State(desk): State<Arc<Desk>>,
    peer: Peer,
    Path(digest): Path<String>,
) -> Result<Response, Refusal> {
    let digest = digest_of(&digest)?;
    let missing = || Refusal::from(Problem::new(NOT_FOUND, "there is no such content of yours"));
    if !concerns(&desk.writer.snapshot(), peer.party, digest) {
        return Err(missing());
    }
    let manifest = desk.blobs.manifest(digest).map_err(internal)?.ok_or_else(missing)?;
    let blobs = desk.blobs.clone();
    let chunks =
        futures_util::stream::iter(manifest.chunks.clone().into_iter().enumerate()).map(move |(index, chunk)| {
            let zstd = blobs.chunk(chunk)?;
            let length = manifest.chunk_length(index);
            zstd::bulk::decompress(&zstd, length)
        });
    Ok(Response::new(Body::from_stream(chunks)))
}

fn concerns(model: &Model, buyer: PartyId, digest: Digest) -> bool {
    let mine = model.leases.values().filter(|l| l.side == Side::Sold && l.partner == buyer);
    let results = mine
        .filter_map(|l| model.guests.get(&l.id))
        .any(|seen| matches!(seen.phase, Phase::Completed(_)) && seen.outputs.iter().any(|o| o.digest == digest));
    let orders = model.tenancies.values().filter(|t| t.buyer == buyer).flat_map(|t| t.orders.assignments.iter());
    let mut sent = orders.map(|a| &a.spec);
    results
        || sent.any(|spec| {
            let software = matches!(&spec.software, Software::Artifact { digest: d, .. } if *d == digest);
            software || spec.inputs.iter().any(|i| i.digest == digest)
        })
}

fn digest_of(text: &str) -> Result<Digest, Refusal> {
    text.parse().map_err(|_| Problem::new(NOT_FOUND, "that is no digest").into())
}
