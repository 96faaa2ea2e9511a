//! The bulk connection: agents fetch what they were told to run, and hand in results. One stream, one request.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use chandler_api::problem;
use chandler_engine::federation;
use chandler_engine::model::Model;
use chandler_protocol::artifact::{BulkRequest, BulkResponse, CHUNKS_PER_REQUEST};
use chandler_protocol::frame::BULK_MAX;
use chandler_protocol::text::is_inner_path;
use chandler_protocol::workload::{Software, WorkloadSpec};
use chandler_protocol::{Digest, HostId, Timestamp};

use super::listener::Shared;
use super::session::{LinkError, authenticate, receive, send};
use crate::store::blobs::BlobError;

/// A stream on which nothing moves for this long is given up; the agent asks again.
const STALL: Duration = Duration::from_secs(30);
/// Largest result of a task.
const OUTPUT_MAX: u64 = 4 << 30;

pub(super) async fn serve(connection: quinn::Connection, shared: Arc<Shared>) {
    let Some(host) = authenticate(&connection, &shared) else { return };
    while let Ok((tx, rx)) = connection.accept_bi().await {
        let shared = shared.clone();
        // quinn allows eight streams at once, so that no more tasks than that run for one agent.
        tokio::spawn(async move {
            if let Err(error) = answer(tx, rx, host, shared).await {
                tracing::debug!(%host, %error, "a bulk request ended early");
            }
        });
    }
}

fn refused(code: problem::Code, message: impl std::fmt::Display) -> BulkResponse {
    BulkResponse::Refused { code: code.code.to_owned(), message: message.to_string() }
}

async fn answer(
    mut tx: quinn::SendStream,
    mut rx: quinn::RecvStream,
    host: HostId,
    shared: Arc<Shared>,
) -> Result<(), LinkError> {
    let mut frames = receive(BULK_MAX);
    let request = patient(frames.next(&mut rx)).await?;
    let Some(request) = request else { return Ok(()) };
    match request {
        BulkRequest::Manifest { digest } => {
            let response = manifest(&shared, host, digest);
            patient(send(&mut tx, &response, BULK_MAX)).await?;
        }
        BulkRequest::Chunks { digest, chunks } => give_chunks(&mut tx, &shared, host, digest, &chunks).await?,
        BulkRequest::PutOutput { assignment, path, digest, length, .. } => {
            let model = shared.writer.snapshot();
            let own = model.assignments.get(&assignment).filter(|a| a.host == host).map(|a| a.spec.clone());
            let guest = || {
                federation::desired(&model, host, Timestamp(0)).into_iter().find(|a| a.id == assignment).map(|a| a.spec)
            };
            let wanted =
                |spec: &WorkloadSpec| matches!(path.as_str(), "stdout" | "stderr") || spec.outputs.contains(&path);
            let response = if !own.or_else(guest).is_some_and(|spec| wanted(&spec)) || !is_inner_path(&path) {
                tracing::warn!(%host, %assignment, "a result for another's work was refused");
                refused(problem::FORBIDDEN, "that is not this host's work")
            } else if length > OUTPUT_MAX {
                refused(problem::TOO_LARGE, "a result may have at most 4 GiB")
            } else {
                take_output(&mut rx, frames.take_rest(), &shared, digest, length).await?
            };
            patient(send(&mut tx, &response, BULK_MAX)).await?;
        }
    }
    let _ = tx.finish();
    Ok(())
}

async fn patient<T>(work: impl Future<Output = Result<T, LinkError>>) -> Result<T, LinkError> {
    tokio::time::timeout(STALL, work).await.map_err(|_| LinkError::Protocol("nothing moved for too long"))?
}

/// Whether a host was told to run something that needs this blob.
fn needs(model: &Model, host: HostId, digest: Digest) -> bool {
    let wants = |spec: &WorkloadSpec| {
        let software = matches!(&spec.software, Software::Artifact { digest: d, .. } if *d == digest);
        software || spec.inputs.iter().any(|i| i.digest == digest)
    };
    let guests = || federation::desired(model, host, Timestamp(0));
    model.assignments_of_host(host).any(|a| wants(&a.spec)) || guests().iter().any(|a| wants(&a.spec))
}

fn manifest(shared: &Shared, host: HostId, digest: Digest) -> BulkResponse {
    if !needs(&shared.writer.snapshot(), host, digest) {
        tracing::warn!(%host, %digest, "content that a host does not need was refused");
        return refused(problem::FORBIDDEN, "this host was not told to run anything that needs this content");
    }
    match shared.blobs.manifest(digest) {
        Ok(Some(manifest)) => BulkResponse::Manifest(manifest),
        Ok(None) => refused(problem::NOT_AN_ARTIFACT, "the controller does not have this content"),
        Err(error) => {
            tracing::error!(%digest, %error, "a manifest cannot be read");
            refused(problem::INTERNAL, "the controller cannot read this content")
        }
    }
}

async fn give_chunks(
    tx: &mut quinn::SendStream,
    shared: &Shared,
    host: HostId,
    digest: Digest,
    chunks: &[Digest],
) -> Result<(), LinkError> {
    let manifest = match manifest(shared, host, digest) {
        BulkResponse::Manifest(manifest) => manifest,
        refused => return patient(send(tx, &refused, BULK_MAX)).await,
    };
    if chunks.len() > CHUNKS_PER_REQUEST {
        return Err(LinkError::Protocol("too many chunks asked for at once"));
    }
    for chunk in chunks {
        let index = manifest.chunks.iter().position(|c| c == chunk);
        let response = match index {
            None => refused(problem::FORBIDDEN, "that chunk is not part of this content"),
            Some(index) => match shared.blobs.chunk(*chunk) {
                Ok(zstd) => BulkResponse::Chunk {
                    digest: *chunk,
                    length: u32::try_from(manifest.chunk_length(index)).unwrap_or(0),
                    zstd,
                },
                Err(error) => {
                    tracing::error!(%chunk, %error, "a chunk cannot be read");
                    refused(problem::INTERNAL, "the controller cannot read this chunk")
                }
            },
        };
        patient(send(tx, &response, BULK_MAX)).await?;
    }
    Ok(())
}

/// Takes in exactly the announced number of bytes.
async fn take_output(
    rx: &mut quinn::RecvStream,
    arrived: Vec<u8>,
    shared: &Shared,
    digest: Digest,
    length: u64,
) -> Result<BulkResponse, LinkError> {
    let mut receiver = shared.blobs.receive(digest);
    let Some(mut left) = length.checked_sub(arrived.len() as u64) else {
        return Err(LinkError::Protocol("more bytes than announced"));
    };
    if let Err(error) = receiver.push(&arrived) {
        return Ok(not_kept(&error));
    }
    while left > 0 {
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(256 << 10);
        let chunk = patient(async { Ok(rx.read_chunk(most, true).await?) }).await?;
        let Some(chunk) = chunk else { return Err(LinkError::Protocol("the result ended early")) };
        left -= chunk.bytes.len() as u64;
        if let Err(error) = receiver.push(&chunk.bytes) {
            return Ok(not_kept(&error));
        }
    }
    Ok(match receiver.finish() {
        Ok(_) => BulkResponse::Stored,
        Err(error) => not_kept(&error),
    })
}

fn not_kept(error: &BlobError) -> BulkResponse {
    let code = match error {
        BlobError::Mismatch { .. } => problem::DIGEST_MISMATCH,
        BlobError::TooLarge => problem::TOO_LARGE,
        BlobError::Io(e) if e.kind() == io::ErrorKind::StorageFull => problem::UNAVAILABLE,
        BlobError::Io(_) => problem::INTERNAL,
    };
    refused(code, error)
}
