//! Content on its way: artifacts and inputs to the partner, results back.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::body::Body;
use axum::http::Method;
use chandler_engine::federation::{News, Orders};
use chandler_protocol::workload::Software;
use chandler_protocol::{AssignmentId, Digest, HostId};
use futures_util::StreamExt;

use super::Talk;
use super::hear::has_results;
use crate::federation::CallError;

/// Longest time that content may take to get going.
const WITHIN: Duration = Duration::from_secs(600);
/// Largest result that is fetched.
const RESULT_MAX: u64 = 4 << 30;

impl Talk {
    /// Sends what these orders need and the partner was not sent yet. A partner that has it reads it again: each is sent
    /// once in the life of this controller.
    pub(super) async fn send_content(&self, orders: &Orders) -> Result<(), CallError> {
        let mut needed = BTreeSet::new();
        for assignment in &orders.assignments {
            if let Software::Artifact { digest, .. } = &assignment.spec.software {
                needed.insert(*digest);
            }
            needed.extend(assignment.spec.inputs.iter().map(|i| i.digest));
        }
        for digest in needed {
            if self.sent.contains(digest) {
                continue;
            }
            let Ok(Some(manifest)) = self.blobs.manifest(digest) else {
                tracing::warn!(%digest, "content that a partner needs is not here");
                continue;
            };
            let blobs = self.blobs.clone();
            let chunks = manifest.chunks.clone().into_iter().enumerate();
            let pieces = futures_util::stream::iter(chunks).map(move |(index, chunk)| {
                let zstd = blobs.chunk(chunk)?;
                zstd::bulk::decompress(&zstd, manifest.chunk_length(index))
            });
            let body = Body::from_stream(pieces);
            let path = format!("content/{digest}");
            self.client()?.send(Method::PUT, &path, "application/octet-stream", body, WITHIN).await?;
            self.sent.insert(digest);
        }
        Ok(())
    }

    /// Fetches results before it is believed that a task has ended: who sees the end finds the results.
    pub(super) async fn fetch_results(&self, news: &News) -> Result<(), CallError> {
        let model = self.writer.snapshot();
        // Of its own copies there: nobody else's results are taken in, however many are named.
        let is_own = |host: HostId, id: AssignmentId| {
            model.assignments.get(&id).is_some_and(|a| a.host == host) && model.home_of(host) == Some(self.partner)
        };
        let own = news.hosts.iter().flat_map(|h| h.observed.iter().flatten().filter(move |o| is_own(h.host, o.id)));
        let seen = own.filter(|o| has_results(o));
        let outputs: Vec<_> = seen.flat_map(|o| o.outputs.iter()).filter(|o| !self.blobs.has(o.digest)).collect();
        for output in outputs {
            if output.length <= RESULT_MAX {
                self.fetch(output.digest).await?;
            }
        }
        Ok(())
    }

    async fn fetch(&self, digest: Digest) -> Result<(), CallError> {
        let path = format!("content/{digest}");
        let answer = self.client()?.send(Method::GET, &path, "application/octet-stream", Body::empty(), WITHIN).await?;
        let mut pieces = answer.into_body().into_data_stream();
        let mut receiver = self.blobs.receive(digest);
        let mut length = 0_u64;
        while let Some(Ok(piece)) = pieces.next().await {
            length += piece.len() as u64;
            if length > RESULT_MAX || receiver.push(&piece).is_err() {
                return Ok(());
            }
        }
        if let Err(error) = receiver.finish() {
            tracing::warn!(%digest, %error, "a result of a partner is not what was announced");
        }
        Ok(())
    }
}
