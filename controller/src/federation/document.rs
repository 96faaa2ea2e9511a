//! JSON documents of partners, with their limits, and problems on their way out.

use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chandler_api::problem::{BAD_REQUEST, FieldError, INTERNAL, Problem, TOO_LARGE, UNAVAILABLE};
use chandler_protocol::text::{TEXT_MAX, clean};
use futures_util::StreamExt;
use serde::de::DeserializeOwned;

use crate::store::{Refused, StoreError};

/// Largest document of a partner.
pub const DOCUMENT_MAX: usize = 4 << 20;
/// Longest time that a document may take to arrive.
const ARRIVAL_MAX: Duration = Duration::from_secs(30);

/// What every handler of partners' calls gives.
pub(super) type Answer<T> = Result<Json<T>, Refusal>;

/// Why a partner's call is refused.
#[derive(Debug, Clone)]
pub struct Refusal(pub Box<Problem>);

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self(Box::new(problem))
    }
}

impl From<Refused<Self>> for Refusal {
    fn from(refused: Refused<Self>) -> Self {
        match refused {
            Refused::By(refusal) => refusal,
            Refused::Store(error) => error.into(),
        }
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        tracing::warn!(%error, "the store refused a partner's call");
        Problem::new(UNAVAILABLE, "the store can not be read or written; nothing of the call was done").into()
    }
}

/// A fault of our own: `cause` is for the log, not for the partner.
pub(super) fn internal(cause: impl std::fmt::Display) -> Refusal {
    tracing::warn!(%cause, "a partner's call failed by our own fault");
    Problem::new(INTERNAL, "the log there names the cause").into()
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(serde_json::to_string(&self.0).unwrap_or_default()));
        *response.status_mut() = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        response
    }
}

/// The JSON document of a call, of at most [`DOCUMENT_MAX`] bytes. An error names the field.
#[derive(Debug)]
pub struct Document<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Document<T> {
    type Rejection = Refusal;
    async fn from_request(request: Request, _: &S) -> Result<Self, Refusal> {
        let bytes = gather(request.into_body(), DOCUMENT_MAX);
        match tokio::time::timeout(ARRIVAL_MAX, bytes).await {
            Ok(bytes) => parse(&bytes?).map(Self),
            Err(_) => Err(Problem::new(BAD_REQUEST, "the document did not arrive in time").into()),
        }
    }
}

async fn gather(body: Body, max: usize) -> Result<Bytes, Refusal> {
    let mut pieces = body.into_data_stream();
    let mut bytes = Vec::new();
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|_| Problem::new(BAD_REQUEST, "the document broke off"))?;
        if bytes.len() + piece.len() > max {
            return Err(Problem::new(TOO_LARGE, format!("the document is larger than {max} bytes")).into());
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes.into())
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refusal> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|e| {
        let pointer = clean(&e.path().to_string(), TEXT_MAX);
        let detail = clean(&e.into_inner().to_string(), TEXT_MAX);
        let mut problem = Problem::new(BAD_REQUEST, format!("{pointer}: {detail}"));
        problem.errors.push(FieldError { pointer, detail });
        problem
    })?;
    reader.end().map_err(|e| Problem::new(BAD_REQUEST, clean(&e.to_string(), TEXT_MAX)))?;
    Ok(value)
}
