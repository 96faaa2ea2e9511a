//! Logs: read from the host while the software is there, and from the collected results of a task item afterwards.

use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::Uri;
use chandler_api::problem::{Problem, WAIT_TIMED_OUT};
use chandler_api::service::{Log, LogQuery};
use chandler_engine::model::Model;
use chandler_engine::service::{AllocationState, Assignment, Service};
use chandler_protocol::command::{Action, LogStream, Outcome};
use chandler_protocol::state::Phase;
use chandler_protocol::text::{TEXT_MAX, clean};

use crate::api::access::Caller;
use crate::api::body::query;
use crate::api::error::{Failure, conflict, internal, malformed};
use crate::api::reply::{Answer, OK, Reply};
use crate::api::{Api, Shared, upload};
use crate::federation::Part;
use crate::link::CommandError;

/// Most bytes of a log in one answer.
const PART_MAX: u32 = 64 << 10;
/// Longest wait for a host.
const WAIT_MAX: Duration = Duration::from_secs(5);

#[utoipa::path(get, path = "/api/v1/services/{reference}/logs", tag = "services",
    params(("reference" = String, Path, description = "name or id"), LogQuery), responses((status = 200, body = Log)))]
pub(in crate::api) async fn show(State(api): Api, caller: Caller, Path(reference): Path<String>, uri: Uri) -> Answer {
    let asked: LogQuery = query(&uri)?;
    let (stream, name) = match asked.stream.as_deref() {
        None | Some("stdout") => (LogStream::Stdout, "stdout"),
        Some("stderr") => (LogStream::Stderr, "stderr"),
        Some(other) => return Err(malformed(format!("stream: {:?}: write stdout or stderr", clean(other, 64)))),
    };
    let model = api.writer.snapshot();
    let service = super::find(&model, caller, &reference)?;
    let log = if service.exit.is_some() {
        collected(&api, service, name, asked.offset).await?
    } else {
        let assignment = running(&model, service)
            .ok_or_else(|| conflict(format!("{} is on no host: {}", service.name, service.status.as_str())))?;
        live(&api, &model, assignment, stream, asked.offset).await?
    };
    Reply::json(OK, &log)
}

/// The copy that is asked: one that runs before one that does not.
fn running<'m>(model: &'m Model, service: &Service) -> Option<&'m Assignment> {
    let runs = |a: &Assignment| a.observed.as_ref().is_some_and(|o| o.phase == Phase::Running);
    let order = |a: &&Assignment| (!runs(a), a.leaving, a.state == AllocationState::Releasing, a.id);
    model.assignments_of(service.id).map(AsRef::as_ref).min_by_key(order)
}

async fn live(
    api: &Shared,
    model: &Model,
    assignment: &Assignment,
    stream: LogStream,
    offset: Option<u64>,
) -> Result<Log, Failure> {
    let host = model.host_name(assignment.host);
    if let Some(partner) = model.home_of(assignment.host) {
        let client = api.federation.client(partner).map_err(|e| conflict(e.to_string()))?;
        let from = offset.map_or_else(String::new, |o| format!("&offset={o}"));
        let path = format!("leases/{}/log?stderr={}{from}", assignment.id, stream == LogStream::Stderr);
        let part: Part = client.get(&path).await.map_err(|e| conflict(e.to_string()))?;
        return Ok(Log { host, offset: part.offset, end: part.end, text: part.text });
    }
    let action = Action::ReadLog { assignment: assignment.id, stream, offset, limit: PART_MAX };
    let outcome = api.sessions.command(assignment.host, action, WAIT_MAX).await.map_err(|e| match e {
        CommandError::TimedOut => Failure::from(Problem::new(
            WAIT_TIMED_OUT,
            format!("host {host} did not answer within {} s", WAIT_MAX.as_secs()),
        )),
        CommandError::NotConnected | CommandError::Busy => {
            conflict(format!("the log is on host {host}, which cannot be asked now: {e}"))
        }
    })?;
    match outcome {
        Outcome::Log { offset, bytes, end } if bytes.len() <= PART_MAX as usize => {
            Ok(Log { host, offset, end, text: text(&bytes) })
        }
        Outcome::Failed(why) => Err(conflict(format!("host {host} could not read the log: {}", clean(&why, TEXT_MAX)))),
        Outcome::Expired => Err(Problem::new(WAIT_TIMED_OUT, format!("host {host} got the question too late")).into()),
        Outcome::Log { .. } | Outcome::Done => Err(internal(format!("host {host} answered something else"))),
    }
}

/// The kept output of a task item that has ended.
async fn collected(api: &Shared, service: &Service, name: &str, offset: Option<u64>) -> Result<Log, Failure> {
    let empty = Log { host: String::new(), offset: 0, end: 0, text: String::new() };
    let Some(output) = service.outputs.iter().find(|o| o.path == name) else { return Ok(empty) };
    let Some(manifest) = upload::manifest(&api.blobs, output.digest).await? else { return Ok(empty) };
    let end = manifest.length;
    let from = offset.unwrap_or_else(|| end.saturating_sub(u64::from(PART_MAX))).min(end);
    let bytes = upload::part(&api.blobs, manifest, from, PART_MAX as usize).await?;
    Ok(Log { offset: from, end, text: text(&bytes), ..empty })
}

/// Bytes as text. Control characters stay, for a log may hold tabs and colours: whoever shows it strips them.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
