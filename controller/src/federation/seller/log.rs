//! Logs of a buyer's software, read from the host that it runs on.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, Query, State};
use chandler_api::problem::{CONFLICT, Problem};
use chandler_protocol::command::{Action, LogStream, Outcome};
use serde::{Deserialize, Serialize};

use super::lease_of;
use crate::federation::document::Answer;
use crate::federation::{Desk, Peer};

/// Most bytes of a log in one answer.
const PART_MAX: u32 = 64 << 10;
/// Longest wait for a host.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// Which part of which log.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Wanted {
    stderr: bool,
    offset: Option<u64>,
}

/// A part of a log.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Part {
    /// Where it begins.
    pub offset: u64,
    /// Where the log ends now.
    pub end: u64,
    /// The bytes, as text.
    pub text: String,
}

pub(super) async fn show(
    State(desk): State<Arc<Desk>>,
    peer: Peer,
    Path(id): Path<String>,
    Query(wanted): Query<Wanted>,
) -> Answer<Part> {
    let lease = lease_of(&desk.writer.snapshot(), &peer, &id)?.clone();
    let stream = if wanted.stderr { LogStream::Stderr } else { LogStream::Stdout };
    let action = Action::ReadLog { assignment: lease.id, stream, offset: wanted.offset, limit: PART_MAX };
    let outcome = desk.sessions.command(lease.host, action, WAIT_MAX).await;
    match outcome {
        Ok(Outcome::Log { offset, bytes, end }) => {
            Ok(Json(Part { offset, end, text: String::from_utf8_lossy(&bytes).into_owned() }))
        }
        Ok(_) => Err(Problem::new(CONFLICT, "the host could not read the log").into()),
        Err(e) => Err(Problem::new(CONFLICT, format!("the host cannot be asked now: {e}")).into()),
    }
}
