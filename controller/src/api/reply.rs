//! Answers of success: a JSON document, with its headers.

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::error::{Failure, internal, status};

/// What every handler of a JSON route gives.
pub(super) type Answer = Result<Reply, Failure>;

/// Done.
pub(super) const OK: u16 = 200;
/// A thing was made.
pub(super) const CREATED: u16 = 201;
/// An order was taken; it goes on.
pub(super) const ACCEPTED: u16 = 202;
/// Done; nothing to say.
pub(super) const NO_CONTENT: u16 = 204;

/// An answer of success.
#[derive(Debug, Clone)]
pub(super) struct Reply {
    /// HTTP status.
    pub(super) status: u16,
    /// A JSON document, or nothing.
    pub(super) body: String,
    headers: Vec<(HeaderName, String)>,
}

impl Reply {
    /// A document.
    pub(super) fn json<T: Serialize>(status: u16, value: &T) -> Answer {
        let body = serde_json::to_string(value).map_err(internal)?;
        Ok(Self { status, body, headers: Vec::new() })
    }

    /// A document that is JSON already.
    pub(super) const fn document(status: u16, body: String) -> Self {
        Self { status, body, headers: Vec::new() }
    }

    /// Nothing to say.
    pub(super) const fn empty() -> Self {
        Self { status: NO_CONTENT, body: String::new(), headers: Vec::new() }
    }

    /// An answer given before, given again.
    pub(super) fn again(status: u16, body: String) -> Self {
        Self { status, body, headers: Vec::new() }.with(HeaderName::from_static("idempotency-replayed"), "true")
    }

    /// With the version of the thing.
    pub(super) fn tagged(self, version: u64) -> Self {
        self.with(header::ETAG, etag(version))
    }

    /// With the place where the thing is.
    pub(super) fn at(self, path: String) -> Self {
        self.with(header::LOCATION, path)
    }

    fn with(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// A version as an `ETag`.
pub(super) fn etag(version: u64) -> String {
    format!("\"v{version}\"")
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        let is_empty = self.body.is_empty();
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = status(self.status);
        let headers = response.headers_mut();
        if !is_empty {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        for (name, value) in self.headers {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(name, value);
            }
        }
        response
    }
}
