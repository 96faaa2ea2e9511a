//! One HTTP call: its headers, its retries, and the check of its answer.

use std::fmt;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue, IF_MATCH};
use reqwest::{Method, Response, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::{ClientError, Content};
use crate::problem::{
    BAD_REQUEST, CONFLICT, Code, FORBIDDEN, INTERNAL, NOT_FOUND, NOT_SIGNED_IN, Problem, TOO_LARGE, UNAVAILABLE,
};

/// Pauses before the second and third try of a call that found nobody listening: 2 s in all.
const PAUSES: [Duration; 2] = [Duration::from_millis(500), Duration::from_millis(1_500)];
/// Longest wait for a connection.
const CONNECT_WAIT: Duration = Duration::from_secs(3);
/// Longest wait for a whole answer.
const ANSWER_WAIT: Duration = Duration::from_secs(60);
/// Longest time one upload or download may take.
const BULK_WAIT: Duration = Duration::from_secs(6 * 3_600);
/// Largest answer that is taken into memory.
const ANSWER_MAX: usize = 64 << 20;

/// Where calls go and as whom.
pub(super) struct Transport {
    http: reqwest::Client,
    base: Url,
    notice: Option<Notice>,
}

/// Is told why a call is tried again.
pub type Notice = Box<dyn Fn(&ClientError) + Send + Sync>;

impl fmt::Debug for Transport {
    // The client holds the token in its default headers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport").field("base", &self.base.as_str()).finish_non_exhaustive()
    }
}

/// What is sent along.
#[derive(Debug, Clone)]
pub(super) enum Body {
    /// Nothing.
    None,
    /// A JSON document.
    Json(Bytes),
    /// Raw content with its media type.
    Raw(Content, &'static str),
}

/// One call.
#[derive(Debug, Clone)]
pub(super) struct Call {
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: Body,
    /// `None` for streams, which watch over themselves.
    wait: Option<Duration>,
}

impl Call {
    pub(super) fn query<Q: Serialize>(mut self, query: &Q) -> Result<Self, ClientError> {
        let cannot = |e: String| ClientError::Local(format!("cannot write the query: {e}"));
        let fields = match serde_json::to_value(query).map_err(|e| cannot(e.to_string()))? {
            serde_json::Value::Object(fields) => fields,
            other => return Err(cannot(format!("{other} is not an object"))),
        };
        for (name, value) in fields {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            self.url.query_pairs_mut().append_pair(&name, &text);
        }
        Ok(self)
    }

    pub(super) fn json<T: Serialize>(mut self, value: &T) -> Result<Self, ClientError> {
        let text =
            serde_json::to_vec(value).map_err(|e| ClientError::Local(format!("cannot write the request: {e}")))?;
        self.body = Body::Json(text.into());
        Ok(self)
    }

    pub(super) fn raw(mut self, content: Content, media_type: &'static str) -> Self {
        self.body = Body::Raw(content, media_type);
        self.wait = Some(BULK_WAIT);
        self
    }

    pub(super) fn header(mut self, name: &'static str, value: &str) -> Result<Self, ClientError> {
        let value = HeaderValue::from_str(value)
            .map_err(|_| ClientError::Local(format!("{name} holds characters that no header may hold")))?;
        self.headers.insert(name, value);
        Ok(self)
    }

    pub(super) fn if_match(self, etag: &str) -> Result<Self, ClientError> {
        self.header(IF_MATCH.as_str(), etag)
    }

    pub(super) fn key(self, key: &str) -> Result<Self, ClientError> {
        self.header(super::IDEMPOTENCY_KEY, key)
    }

    pub(super) fn long(mut self) -> Self {
        self.wait = Some(BULK_WAIT);
        self
    }

    pub(super) fn endless(mut self) -> Self {
        self.wait = None;
        self
    }

    /// Whether doing it twice is the same as doing it once.
    fn repeatable(&self) -> bool {
        [Method::GET, Method::PUT, Method::DELETE].contains(&self.method)
            || self.headers.contains_key(super::IDEMPOTENCY_KEY)
    }
}

impl Transport {
    pub(super) fn new(base: &str, token: Option<&str>) -> Result<Self, ClientError> {
        let bad = |why: &str| ClientError::Local(format!("{base:?} is not a controller's address: {why}"));
        let base_url = Url::parse(base).map_err(|e| bad(&format!("{e}; write it as http://HOST:PORT")))?;
        if base_url.scheme() != "http" {
            return Err(bad("write it as http://HOST:PORT"));
        }
        if base_url.host_str().is_none() || !base_url.username().is_empty() || base_url.password().is_some() {
            return Err(bad("it holds a host and a port only; the token is given apart from it"));
        }
        let mut headers = HeaderMap::new();
        if let Some(token) = token {
            let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
                .map_err(|_| ClientError::Local("the token holds characters that no token has".to_owned()))?;
            value.set_sensitive(true);
            headers.insert(reqwest::header::AUTHORIZATION, value);
        }
        let http = reqwest::Client::builder()
            .default_headers(headers)
            .user_agent(concat!("chandler/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_WAIT)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(|e| ClientError::Local(format!("cannot set up the connection: {e}")))?;
        Ok(Self { http, base: base_url, notice: None })
    }

    pub(super) fn tell(&mut self, notice: Notice) {
        self.notice = Some(notice);
    }

    pub(super) fn address(&self) -> String {
        let host = self.base.host_str().unwrap_or("?");
        format!("{host}:{}", self.base.port_or_known_default().unwrap_or(80))
    }

    /// A call of `/api/v1/` and these parts; each part is percent-encoded.
    pub(super) fn call(&self, method: Method, parts: &[&str]) -> Result<Call, ClientError> {
        let mut url = self.base.clone();
        // A part of dots or nothing would name another route than meant.
        if let Some(bad) = parts.iter().find(|p| matches!(**p, "" | "." | "..")) {
            return Err(ClientError::Problem(Box::new(Problem::new(NOT_FOUND, format!("nothing is called {bad:?}")))));
        }
        url.path_segments_mut()
            .map_err(|()| ClientError::Local(format!("{} cannot be extended by a path", self.base)))?
            .pop_if_empty()
            .extend(parts);
        Ok(Call { method, url, headers: HeaderMap::new(), body: Body::None, wait: Some(ANSWER_WAIT) })
    }

    async fn once(&self, call: &Call) -> Result<Result<Response, reqwest::Error>, ClientError> {
        let mut request = self.http.request(call.method.clone(), call.url.clone()).headers(call.headers.clone());
        request = match &call.body {
            Body::None => request,
            Body::Json(text) => request.header(CONTENT_TYPE, "application/json").body(text.clone()),
            Body::Raw(content, media_type) => {
                let (body, length) = content.body().await?;
                request.header(CONTENT_TYPE, *media_type).header(CONTENT_LENGTH, length).body(body)
            }
        };
        if let Some(wait) = call.wait {
            request = request.timeout(wait);
        }
        Ok(request.send().await)
    }

    /// The answer, when it is one of success. Tries again only when nobody was listening.
    pub(super) async fn send(&self, call: &Call) -> Result<Response, ClientError> {
        let started = Instant::now();
        let mut pauses = PAUSES.iter();
        let mut tries = 1;
        loop {
            let error = match self.once(call).await? {
                Ok(response) if response.status().is_success() => return Ok(response),
                Ok(response) => return Err(self.refusal(response).await),
                Err(error) => error,
            };
            let silence = self.silence(&error, tries, started.elapsed());
            match pauses.next() {
                Some(pause) if error.is_connect() && call.repeatable() => {
                    if let Some(notice) = &self.notice {
                        notice(&silence);
                    }
                    tokio::time::sleep(*pause).await;
                }
                _ => return Err(silence),
            }
            tries += 1;
        }
    }

    /// The answer's document.
    pub(super) async fn fetch<T: DeserializeOwned>(&self, call: &Call) -> Result<T, ClientError> {
        let response = self.send(call).await?;
        self.document(response).await
    }

    pub(super) async fn document<T: DeserializeOwned>(&self, response: Response) -> Result<T, ClientError> {
        let body = self.whole(response).await?;
        serde_json::from_slice(&body).map_err(|e| self.decode(&e.to_string()))
    }

    pub(super) fn decode(&self, cause: &str) -> ClientError {
        ClientError::Decode { url: self.address(), cause: cause.to_owned() }
    }

    async fn whole(&self, mut response: Response) -> Result<Bytes, ClientError> {
        let mut body = BytesMut::new();
        while let Some(piece) = self.piece(&mut response).await? {
            if body.len() + piece.len() > ANSWER_MAX {
                return Err(self.decode(&format!("it is longer than {} MiB", ANSWER_MAX >> 20)));
            }
            body.extend_from_slice(&piece);
        }
        Ok(body.freeze())
    }

    /// The next bytes of an answer.
    pub(super) async fn piece(&self, response: &mut Response) -> Result<Option<Bytes>, ClientError> {
        response.chunk().await.map_err(|e| ClientError::Unreachable {
            url: self.address(),
            cause: format!("broke off its answer: {}", deepest(&e)),
        })
    }

    fn silence(&self, error: &reqwest::Error, tries: u32, took: Duration) -> ClientError {
        let cause = if error.is_connect() && !error.is_timeout() {
            match io_kind(error) {
                Some(std::io::ErrorKind::ConnectionRefused) => "refused the connection".to_owned(),
                _ => format!("cannot be connected to: {}", deepest(error)),
            }
        } else if error.is_timeout() {
            "gave no answer in time".to_owned()
        } else {
            format!("broke off: {}", deepest(error))
        };
        let times = if tries == 1 { "1 try".to_owned() } else { format!("{tries} tries") };
        let cause = format!("{cause} ({times}, {:.1} s)", took.as_secs_f64());
        ClientError::Unreachable { url: self.address(), cause }
    }

    /// An answer that is not one of success, as a problem.
    async fn refusal(&self, response: Response) -> ClientError {
        let status = response.status().as_u16();
        let body = match self.whole(response).await {
            Ok(body) => body,
            Err(e) => return e,
        };
        match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) if !problem.code.is_empty() => ClientError::Problem(Box::new(problem)),
            // Something in between, such as a proxy, or not a controller at all.
            _ => {
                let detail = format!("{} answered with HTTP status {status} and no reason", self.address());
                ClientError::Problem(Box::new(Problem { status, ..Problem::new(code_of(status), detail) }))
            }
        }
    }
}

fn code_of(status: u16) -> Code {
    match status {
        400 => BAD_REQUEST,
        401 => NOT_SIGNED_IN,
        403 => FORBIDDEN,
        404 => NOT_FOUND,
        409 => CONFLICT,
        413 => TOO_LARGE,
        502..=504 => UNAVAILABLE,
        _ => INTERNAL,
    }
}

fn io_kind(error: &reqwest::Error) -> Option<std::io::ErrorKind> {
    let mut source = std::error::Error::source(error);
    while let Some(e) = source {
        if let Some(io) = e.downcast_ref::<std::io::Error>() {
            return Some(io.kind());
        }
        source = e.source();
    }
    None
}

/// The innermost cause, which is the one that says something.
fn deepest(error: &reqwest::Error) -> String {
    let mut last: &dyn std::error::Error = error;
    while let Some(e) = last.source() {
        last = e;
    }
    last.to_string()
}
