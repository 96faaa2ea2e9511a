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
/// Smaller content is sent at once: it is hardly more than the question.
const ASKED_FROM: u64 = 64 << 10;
/// Largest result that is fetched.
const RESULT_MAX: u64 = 4 << 30;

impl Talk {
    /// Brings what these orders need.
    pub(super) async fn send_content(&self, orders: &Orders) -> Result<(), CallError> {
        let mut needed = BTreeSet::new();
        for assignment in &orders.assignments {
            if let Software::Artifact { digest, .. } = &assignment.spec.software {
                needed.insert(*digest);
            }
            needed.extend(assignment.spec.inputs.iter().map(|i| i.digest));
        }
        for digest in needed {
            self.bring(digest).await?;
        }
        Ok(())
    }

    /// Sends content that the partner was not sent yet: each once in the life of this controller. What is large is asked for
    /// first: it may be there, and the answer was lost, or this controller was started anew.
    pub(in crate::federation) async fn bring(&self, digest: Digest) -> Result<(), CallError> {
        if self.sent.contains(digest) {
            return Ok(());
        }
        let Ok(Some(manifest)) = self.blobs.manifest(digest) else {
            tracing::warn!(%digest, "content that a partner needs is not here");
            return Ok(());
        };
        if manifest.length < ASKED_FROM || !self.is_brought(digest).await? {
            let blobs = self.blobs.clone();
            let chunks = manifest.chunks.clone().into_iter().enumerate();
            let pieces = futures_util::stream::iter(chunks).map(move |(index, chunk)| {
                let zstd = blobs.chunk(chunk)?;
                zstd::bulk::decompress(&zstd, manifest.chunk_length(index))
            });
            let body = Body::from_stream(pieces);
            let path = format!("content/{digest}");
            self.client()?.send(Method::PUT, &path, "application/octet-stream", body, WITHIN).await?;
        }
        self.sent.insert(digest);
        Ok(())
    }

    /// Whether the partner has what this controller brought before. One that knows no such question is brought it again.
    async fn is_brought(&self, digest: Digest) -> Result<bool, CallError> {
        match self.client()?.get(&format!("content/{digest}/brought")).await {
            Ok(is_there) => Ok(is_there),
            Err(CallError::Refused(problem)) if problem.status == 404 => Ok(false),
            Err(error) => Err(error),
        }
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
