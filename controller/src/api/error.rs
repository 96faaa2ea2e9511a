//! Errors on their way out: the only file that names HTTP status codes.
//!
//! A handler fails with a [`Problem`]; it travels beside the response, and [`finish`] writes it out with the id of
//! the request and logs what is our own fault.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use chandler_api::problem::{
    BAD_REQUEST, CONFLICT, FORBIDDEN, FieldError, INTERNAL, INVALID, NOT_FOUND, Problem, UNAVAILABLE,
};
use chandler_protocol::world::Random;
use data_encoding::HEXLOWER;

use super::Shared;
use crate::store::{Refused, StoreError};

/// Media type of problems (RFC 9457).
const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");
/// Most field errors that are told at once.
pub(super) const FIELD_ERRORS_MAX: usize = 50;

/// Why a request failed.
#[derive(Debug, Clone)]
pub(super) struct Failure(pub(super) Box<Problem>);

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self(Box::new(problem))
    }
}

impl From<Refused<Self>> for Failure {
    fn from(refused: Refused<Self>) -> Self {
        match refused {
            Refused::By(failure) => failure,
            Refused::Store(error) => error.into(),
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        tracing::warn!(%error, "the store refused");
        Problem::new(UNAVAILABLE, "the store can not be read or written; nothing of the request was done").into()
    }
}

/// There is no such thing. Said alike of what does not exist and of what belongs to others.
pub(super) fn not_found(what: &str, reference: &str) -> Failure {
    let reference = chandler_protocol::text::clean(reference, chandler_protocol::text::NAME_MAX);
    Problem::new(NOT_FOUND, format!("there is no {what} {reference}")).into()
}

/// It does not fit to what is there.
pub(super) fn conflict(detail: impl Into<String>) -> Failure {
    Problem::new(CONFLICT, detail).into()
}

/// The request can not be read.
pub(super) fn malformed(detail: impl Into<String>) -> Failure {
    Problem::new(BAD_REQUEST, detail).into()
}

/// A fault of our own: `cause` is for the log, not for the caller.
pub(super) fn internal(cause: impl std::fmt::Display) -> Failure {
    tracing::warn!(%cause, "a request failed by our own fault");
    Problem::new(INTERNAL, "the log names the cause under the request id").into()
}

/// Collects what is wrong with fields, so that all of it is told at once.
#[derive(Debug, Default)]
pub(super) struct Fields(Vec<FieldError>);

impl Fields {
    /// One more wrong field.
    pub(super) fn wrong(&mut self, pointer: impl Into<String>, detail: impl Into<String>) {
        if self.0.len() < FIELD_ERRORS_MAX {
            self.0.push(FieldError { pointer: pointer.into(), detail: detail.into() });
        }
    }

    /// A wrong field unless `holds`.
    pub(super) fn check(&mut self, holds: bool, pointer: impl Into<String>, detail: impl Into<String>) {
        if !holds {
            self.wrong(pointer, detail);
        }
    }

    /// Whether nothing is wrong so far.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Fine when nothing is wrong.
    pub(super) fn finish(self) -> Result<(), Failure> {
        let Some(first) = self.0.first() else { return Ok(()) };
        let more = match self.0.len() {
            1 => String::new(),
            n => format!(" (and {} more)", n - 1),
        };
        let mut problem = Problem::new(INVALID, format!("{}: {}{more}", first.pointer, first.detail));
        problem.errors = self.0;
        Err(problem.into())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = status(self.0.status).into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// The HTTP status with this number.
pub(super) fn status(number: u16) -> StatusCode {
    StatusCode::from_u16(number).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// Names requests: a count, and random digits so that two runs of the controller do not name two alike.
#[derive(Debug)]
pub(super) struct RequestIds {
    run: String,
    next: AtomicU64,
}

impl RequestIds {
    pub(super) fn new(random: &dyn Random) -> Self {
        let mut bytes = [0; 4];
        random.fill(&mut bytes);
        Self { run: HEXLOWER.encode(&bytes), next: AtomicU64::new(1) }
    }

    fn draw(&self) -> String {
        format!("{}-{}", self.run, self.next.fetch_add(1, Ordering::Relaxed))
    }
}

/// The outermost layer: refuses foreign web pages, writes problems out, logs our own faults.
pub(super) async fn finish(State(api): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let response = if is_foreign_page(request.headers()) {
        Failure::from(Problem::new(
            FORBIDDEN,
            "a web page asked for this under a name that is not this controller's: use its address or localhost",
        ))
        .into_response()
    } else {
        next.run(request).await
    };
    let mut response = write_out(response, &api.request_ids, &method, &path);
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn write_out(mut response: Response, ids: &RequestIds, method: &axum::http::Method, path: &str) -> Response {
    if !response.status().is_client_error() && !response.status().is_server_error() {
        return response;
    }
    let failure = response.extensions_mut().remove::<Failure>();
    let mut problem = failure.map_or_else(|| foreign(response.status(), method, path), |f| *f.0);
    problem.request_id = ids.draw();
    if response.status().is_server_error() {
        tracing::warn!(request = problem.request_id, %method, path, code = problem.code, detail = problem.detail);
    }
    let body = serde_json::to_string(&problem).unwrap_or_default();
    let mut written = Response::new(Body::from(body));
    *written.status_mut() = status(problem.status);
    written.headers_mut().insert(header::CONTENT_TYPE, PROBLEM_JSON);
    if written.status() == StatusCode::UNAUTHORIZED {
        written.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    written
}

/// What the web framework refused by itself, in our words.
fn foreign(status: StatusCode, method: &axum::http::Method, path: &str) -> Problem {
    let path = chandler_protocol::text::clean(path, chandler_protocol::text::TEXT_MAX);
    match status {
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => {
            Problem::new(NOT_FOUND, format!("there is no {method} {path}: /api/v1/openapi.json lists what there is"))
        }
        s if s.is_client_error() => Problem::new(BAD_REQUEST, format!("{method} {path} cannot be read")),
        _ => Problem::new(INTERNAL, "the log names the cause under the request id"),
    }
}

/// Whether a browser page reached us under a foreign name: its owner may have pointed that name here (DNS
/// rebinding). Programs send no `Origin`.
fn is_foreign_page(headers: &axum::http::HeaderMap) -> bool {
    if !headers.contains_key(header::ORIGIN) {
        return false;
    }
    let host = headers.get(header::HOST).and_then(|h| h.to_str().ok()).unwrap_or_default();
    !(host.parse::<std::net::SocketAddr>().is_ok()
        || host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok()
        || host.split(':').next() == Some("localhost"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_under_a_foreign_name_are_refused() {
        let check = |origin: bool, host: &'static str, foreign: bool| {
            let mut headers = axum::http::HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_static(host));
            if origin {
                headers.insert(header::ORIGIN, HeaderValue::from_static("http://page.example"));
            }
            assert_eq!(is_foreign_page(&headers), foreign, "{host}");
        };
        check(false, "evil.example:7480", false);
        check(true, "evil.example:7480", true);
        check(true, "127.0.0.1:7480", false);
        check(true, "[::1]:7480", false);
        check(true, "[::1]", false);
        check(true, "localhost:7480", false);
        check(true, "localhost.evil.example", true);
    }
}
