//! Availability known from elsewhere: a host's history before it joined is added to what is measured here.

use axum::extract::{Path, Request, State};
use chandler_api::host::{HistoryImport, Host as Shown};
use chandler_engine::availability::History;
use chandler_engine::draft::Draft;
use chandler_engine::event::Noun;
use chandler_engine::fleet::Host;
use chandler_protocol::Micros;
use chandler_protocol::text::clean;

use super::Api;
use super::access::Caller;
use super::body::{DOCUMENT_MAX, parse, read};
use super::error::Fields;
use super::host::{find, whole};
use super::idempotency::{Begun, begin, has_key};
use super::reply::{Answer, OK, Reply};

/// Longest history that is believed: 20 years.
const SPAN_MAX: i64 = 20 * 366 * 86_400 * 1_000_000;
/// Longest note on where it is known from.
const SOURCE_MAX: usize = 200;

/// Adds to the history. With an `Idempotency-Key` it is safe to repeat.
#[utoipa::path(put, path = "/api/v1/hosts/{reference}/history", tag = "hosts", request_body = HistoryImport,
    params(("reference" = String, Path, description = "name or id"),
        ("Idempotency-Key" = Option<String>, Header, description = "makes it safe to repeat, for this adds")),
    responses((status = 200, body = Shown)))]
pub(super) async fn import(State(api): Api, caller: Caller, Path(reference): Path<String>, request: Request) -> Answer {
    let (parts, body) = request.into_parts();
    if !has_key(&parts.headers) {
        let bytes = read(&parts.headers, body, DOCUMENT_MAX).await?;
        let wanted: HistoryImport = parse(&parts.headers, &bytes)?;
        return api.transact(caller, move |draft| add(draft, caller, &reference, &wanted)).await;
    }
    let post = match begin(&api, caller, &parts, body, DOCUMENT_MAX).await? {
        Begun::Before(reply) => return Ok(reply),
        Begun::New(post) => post,
    };
    let wanted: HistoryImport = post.parse()?;
    post.commit(&api, move |draft| add(draft, caller, &reference, &wanted)).await
}

fn add(draft: &mut Draft<'_>, caller: Caller, reference: &str, wanted: &HistoryImport) -> Answer {
    let host = find(&draft.model, caller, reference)?.clone();
    let mut fields = Fields::default();
    for (pointer, value) in [("upMicros", wanted.up_micros), ("downMicros", wanted.down_micros)] {
        fields.check((0..=SPAN_MAX).contains(&value), pointer, format!("write microseconds from 0 to {SPAN_MAX}"));
    }
    let source = clean(wanted.source.trim(), SOURCE_MAX);
    fields.check(!source.is_empty(), "source", "write where this is known from, for instance \"old monitoring\"");
    fields.finish()?;
    let sum = |a: Micros, b: i64| Micros(a.0.saturating_add(b));
    let history = History {
        up: sum(host.history.up, wanted.up_micros),
        down: sum(host.history.down, wanted.down_micros),
        outages: host.history.outages.saturating_add(wanted.outages),
        ..host.history
    };
    let reason = format!(
        "history added: {} up, {} down, {} outages; from {source}",
        Micros(wanted.up_micros),
        Micros(wanted.down_micros),
        wanted.outages
    );
    let state = host.state.as_str();
    draft.event((Noun::Host, host.id.to_string(), &host.name), state, state, reason);
    let host = Host { history, ..host };
    draft.put(host.clone());
    Reply::json(OK, &whole(&draft.model, &host, draft.now))
}
