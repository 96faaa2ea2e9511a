//! What comes in: JSON documents, queries, and preconditions, each with its limits.

use std::time::Duration;

use axum::body::Body;
use axum::extract::Query;
use axum::http::{HeaderMap, Uri, header};
use chandler_api::problem::{BAD_REQUEST, FieldError, NO_PRECONDITION, Problem, STALE, TOO_LARGE};
use chandler_protocol::text::{TEXT_MAX, clean};
use futures_util::StreamExt;
use serde::de::DeserializeOwned;

use super::error::{Failure, malformed};
use super::reply::etag;

/// Largest document but orders.
pub(super) const DOCUMENT_MAX: usize = 1 << 20;
/// Largest order: 10,000 items with their inputs.
pub(super) const ORDER_MAX: usize = 16 << 20;
/// Longest time that a document may take to arrive.
const ARRIVAL_MAX: Duration = Duration::from_secs(30);

/// The bytes of a document of at most `max` bytes.
pub(super) async fn read(headers: &HeaderMap, body: Body, max: usize) -> Result<Vec<u8>, Failure> {
    let too_large = || Failure::from(Problem::new(TOO_LARGE, format!("the body is larger than {max} bytes")));
    if announced_length(headers).is_some_and(|n| n > max as u64) {
        return Err(too_large());
    }
    let mut pieces = body.into_data_stream();
    let gather = async {
        let mut bytes = Vec::new();
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|_| malformed("the body broke off"))?;
            if bytes.len() + piece.len() > max {
                return Err(too_large());
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    };
    match tokio::time::timeout(ARRIVAL_MAX, gather).await {
        Ok(bytes) => bytes,
        Err(_) => Err(malformed(format!("the body did not arrive within {} s", ARRIVAL_MAX.as_secs()))),
    }
}

/// The length that the sender announced.
pub(super) fn announced_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Reads a JSON document; an error names the field.
pub(super) fn parse<T: DeserializeOwned>(headers: &HeaderMap, bytes: &[u8]) -> Result<T, Failure> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if essence != "application/json" && !essence.ends_with("+json") {
        return Err(malformed("the body must be JSON: send content-type: application/json"));
    }
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|e| {
        // What cannot be read at all has no name: `?` stands for it, and `.` for the whole.
        let path = e.path().to_string();
        let pointer = path.trim_end_matches('?').trim_end_matches('.');
        field(clean(pointer, TEXT_MAX), &e.into_inner().to_string())
    })?;
    reader.end().map_err(|e| field(String::new(), &e.to_string()))?;
    Ok(value)
}

fn field(pointer: String, detail: &str) -> Failure {
    let detail = clean(detail, TEXT_MAX);
    let text = if pointer.is_empty() { detail.clone() } else { format!("{pointer}: {detail}") };
    let mut problem = Problem::new(BAD_REQUEST, text);
    problem.errors.push(FieldError { pointer, detail });
    problem.into()
}

/// Reads the query of a request.
pub(super) fn query<T: DeserializeOwned>(uri: &Uri) -> Result<T, Failure> {
    match Query::try_from_uri(uri) {
        Ok(Query(value)) => Ok(value),
        Err(rejection) => Err(malformed(clean(&rejection.body_text(), TEXT_MAX))),
    }
}

/// Checks `If-Match` against the version that is there.
pub(super) fn precondition(headers: &HeaderMap, version: u64) -> Result<(), Failure> {
    let Some(wanted) = headers.get(header::IF_MATCH) else {
        return Err(Problem::new(NO_PRECONDITION, "send If-Match with the ETag of what you read").into());
    };
    let there = etag(version);
    // `*` would say "whatever is there", which is just what the precondition is to prevent.
    let matches = wanted.to_str().is_ok_and(|list| list.split(',').any(|tag| tag.trim() == there));
    if matches { Ok(()) } else { Err(Problem::new(STALE, format!("it is at {there} by now: read it again")).into()) }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use chandler_api::party::PartyCreate;

    use super::*;

    fn json_headers() -> HeaderMap {
        [(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"))].into_iter().collect()
    }

    #[test]
    fn errors_name_the_field() {
        let check = |body: &str, pointer: &str| {
            let problem = parse::<PartyCreate>(&json_headers(), body.as_bytes()).unwrap_err().0;
            assert_eq!((problem.code.as_str(), problem.errors[0].pointer.as_str()), ("E0110", pointer), "{body}");
        };
        check(r#"{"name": 1, "roles": []}"#, "name");
        check(r#"{"name": "a", "roles": ["king"]}"#, "roles[0]");
        check(r#"{"name": "a", "roles": [], "more": 1}"#, "more");
        check(r#"{"name": "a", "roles": []} x"#, "");
        check(r#"{"name": "a""#, "");
        let deep = "[".repeat(100_000);
        check(&deep, "[0]");
        check(&format!(r#"{{"name": "a", "roles": {deep}"#), "roles[0]");
        assert_eq!(parse::<PartyCreate>(&HeaderMap::new(), b"{}").unwrap_err().0.code, "E0110");
    }

    #[test]
    fn preconditions() {
        let check = |tag: Option<&'static str>, expect: Result<(), &str>| {
            let mut headers = HeaderMap::new();
            if let Some(tag) = tag {
                headers.insert(header::IF_MATCH, HeaderValue::from_static(tag));
            }
            let found = precondition(&headers, 3).map_err(|f| f.0.code);
            assert_eq!(found.as_ref().map_err(String::as_str), expect.as_ref().map_err(|e| *e), "{tag:?}");
        };
        check(None, Err("E0142"));
        check(Some("\"v3\""), Ok(()));
        check(Some("\"v1\", \"v3\""), Ok(()));
        for stale in ["\"v2\"", "*", "W/\"v3\"", "v3", ""] {
            check(Some(stale), Err("E0141"));
        }
    }
}
