//! Calls to one partner: JSON over HTTPS, to the pinned controller and no other.
//!
//! A call that found a connection closed before anything was sent is made again; everything else is told to the caller,
//! whose calls are idempotent and level-triggered.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderValue, Method, Request, Response, header};
use chandler_api::federation::BASE;
use chandler_api::problem::{INTERNAL, NOT_THE_PARTNER, PARTNER_UNREACHABLE, Problem};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::TlsConnector;

use crate::link::identity::SERVER_NAME;

/// Longest wait for a connection, its handshake included.
const CONNECT_WAIT: Duration = Duration::from_secs(5);
/// Longest wait for an answer that nobody waits with.
const ANSWER_WAIT: Duration = Duration::from_secs(30);
/// What is added to a long poll's own wait.
const MARGIN: Duration = Duration::from_secs(10);
/// Largest document that is taken into memory.
const ANSWER_MAX: usize = 64 << 20;
/// Connections that are kept open without a call.
const IDLE_MAX: usize = 8;
/// Calls to one partner at once; further ones wait.
const CALLS_MAX: usize = 64;

/// Why a call gave no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// It was not even made: the partnership does not allow it.
    #[error("{0}")]
    NotMade(Box<Problem>),
    /// There was no answer.
    #[error("{name} at {address} {cause}")]
    Unreachable {
        /// Which partner.
        name: String,
        /// Where it was called.
        address: String,
        /// What happened.
        cause: String,
    },
    /// Somebody else answered: the certificate does not lead to the pinned CA.
    #[error("who answers at {address} is not {name}: its certificate does not lead to the CA that is pinned for it")]
    NotThePartner {
        /// Which partner.
        name: String,
        /// Where it was called.
        address: String,
    },
    /// The partner said no.
    #[error("{0}")]
    Refused(Box<Problem>),
    /// The partner said what cannot be understood.
    #[error("cannot understand the answer of {name}: {cause}")]
    Decode {
        /// Which partner.
        name: String,
        /// What is wrong with the answer.
        cause: String,
    },
}

impl CallError {
    /// The stable code.
    pub fn code(&self) -> &str {
        match self {
            Self::NotMade(p) | Self::Refused(p) => &p.code,
            Self::Unreachable { .. } => PARTNER_UNREACHABLE.code,
            Self::NotThePartner { .. } => NOT_THE_PARTNER.code,
            Self::Decode { .. } => INTERNAL.code,
        }
    }

    /// The same as a problem object.
    pub fn into_problem(self) -> Problem {
        match self {
            Self::NotMade(p) | Self::Refused(p) => *p,
            Self::Unreachable { .. } => Problem::new(PARTNER_UNREACHABLE, self.to_string()),
            Self::NotThePartner { .. } => Problem::new(NOT_THE_PARTNER, self.to_string()),
            Self::Decode { .. } => Problem::new(INTERNAL, self.to_string()),
        }
    }
}

/// Calls to one partner. Cheap to share; keeps a few connections open.
pub struct FederationClient {
    name: String,
    address: String,
    tls: TlsConnector,
    idle: Mutex<Vec<SendRequest<Body>>>,
    calls: Arc<Semaphore>,
}

impl std::fmt::Debug for FederationClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FederationClient")
            .field("name", &self.name)
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl FederationClient {
    /// A client of the partner at `HOST:PORT`, whose certificate these settings check. Connects at the first call.
    pub(super) fn new(name: &str, address: &str, tls: rustls::ClientConfig) -> Self {
        let (name, address) = (name.to_owned(), address.to_owned());
        let calls = Arc::new(Semaphore::new(CALLS_MAX));
        Self { name, address, tls: TlsConnector::from(Arc::new(tls)), idle: Mutex::default(), calls }
    }

    /// What the partner is called here.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Asks for a document. `path` is what follows `/federation/v1/`, with its query, percent-encoded where needed.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, CallError> {
        self.call(Method::GET, path, Body::empty(), ANSWER_WAIT).await
    }

    /// Asks for a document that may be long in coming: `wait` is how long the partner was asked to wait.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn poll<T: DeserializeOwned>(&self, path: &str, wait: Duration) -> Result<T, CallError> {
        self.call(Method::GET, path, Body::empty(), wait.saturating_add(MARGIN)).await
    }

    /// Puts a document; the partner answers with one.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn put<B: Serialize, T: DeserializeOwned>(&self, path: &str, document: &B) -> Result<T, CallError> {
        self.call(Method::PUT, path, self.json(document)?, ANSWER_WAIT).await
    }

    /// Posts a document; the partner answers with one.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn post<B: Serialize, T: DeserializeOwned>(&self, path: &str, document: &B) -> Result<T, CallError> {
        self.call(Method::POST, path, self.json(document)?, ANSWER_WAIT).await
    }

    /// Deletes; the partner answers with a document.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, CallError> {
        self.call(Method::DELETE, path, Body::empty(), ANSWER_WAIT).await
    }

    /// Makes a call whose body or answer is content and no document. The answer is one of success; it is read by its body,
    /// and `within` counts until it begins.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        media_type: &'static str,
        body: Body,
        within: Duration,
    ) -> Result<Response<Body>, CallError> {
        let (response, _) = self.exchange(method, path, Some(media_type), body, within).await?;
        Ok(response.map(Body::new))
    }

    fn json<B: Serialize>(&self, document: &B) -> Result<Body, CallError> {
        let text = serde_json::to_vec(document).map_err(|e| self.decode(&format!("cannot write the call: {e}")))?;
        Ok(Body::from(text))
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Body,
        within: Duration,
    ) -> Result<T, CallError> {
        let whole = async {
            let (response, sender) = self.exchange(method, path, Some("application/json"), body, within).await?;
            let bytes = self.whole(response).await?;
            self.keep(sender);
            // An empty answer stands for a document without fields.
            let bytes = if bytes.is_empty() { Bytes::from_static(b"null") } else { bytes };
            serde_json::from_slice(&bytes).map_err(|e| self.decode(&e.to_string()))
        };
        tokio::time::timeout(within, whole).await.unwrap_or_else(|_| Err(self.silence("gave no answer in time")))
    }

    /// One exchange; the answer is one of success.
    async fn exchange(
        &self,
        method: Method,
        path: &str,
        media_type: Option<&'static str>,
        body: Body,
        within: Duration,
    ) -> Result<(Response<Incoming>, SendRequest<Body>), CallError> {
        let Ok(_turn) = self.calls.acquire().await else { return Err(self.silence("is not called any more")) };
        let mut request = Request::builder().method(method).uri(format!("{BASE}/{}", path.trim_start_matches('/')));
        request = request.header(header::HOST, &self.address);
        if let Some(media_type) = media_type {
            request = request.header(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
        }
        let mut request = request.body(body).map_err(|e| self.decode(&format!("cannot write the call: {e}")))?;
        // Ends: each turn either returns, or has used up a connection that was kept.
        loop {
            let (mut sender, is_kept) = match self.kept() {
                Some(sender) => (sender, true),
                None => (self.connect().await?, false),
            };
            let sent = tokio::time::timeout(within, sender.try_send_request(request)).await;
            let sent = sent.map_err(|_| self.silence("gave no answer in time"))?;
            match sent {
                Ok(response) if response.status().is_success() => return Ok((response, sender)),
                Ok(response) => return Err(self.refusal(response).await),
                Err(mut failed) => match failed.take_message() {
                    Some(unsent) if is_kept => request = unsent,
                    _ => return Err(self.silence(&format!("broke off: {}", failed.into_error()))),
                },
            }
        }
    }

    fn kept(&self) -> Option<SendRequest<Body>> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|sender| !sender.is_closed());
        let ready = idle.iter().position(SendRequest::is_ready)?;
        Some(idle.swap_remove(ready))
    }

    fn keep(&self, sender: SendRequest<Body>) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX && !sender.is_closed() {
            idle.push(sender);
        }
    }

    async fn connect(&self) -> Result<SendRequest<Body>, CallError> {
        // The name in the certificate is checked by the settings; this one only fills the protocol's field.
        let name = ServerName::try_from(SERVER_NAME).map_err(|e| self.silence(&e.to_string()))?;
        let connecting = async {
            let stream = TcpStream::connect(&self.address).await.map_err(|e| self.silence(&reason(&e)))?;
            let _ = stream.set_nodelay(true);
            let stream = self.tls.connect(name, stream).await.map_err(|e| self.handshake_error(&e))?;
            handshake(TokioIo::new(stream)).await.map_err(|e| self.silence(&e.to_string()))
        };
        let connected = tokio::time::timeout(CONNECT_WAIT, connecting).await;
        let (sender, connection) = connected.map_err(|_| self.silence("does not take a connection in time"))??;
        tokio::spawn(async move {
            // Whoever waits for an answer is told of the error; here it is only the end.
            let _ = connection.await;
        });
        Ok(sender)
    }

    fn handshake_error(&self, error: &std::io::Error) -> CallError {
        let inner = error.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>());
        match inner {
            Some(rustls::Error::InvalidCertificate(_)) => {
                CallError::NotThePartner { name: self.name.clone(), address: self.address.clone() }
            }
            _ => self.silence(&format!("breaks off the handshake: {error}")),
        }
    }

    async fn whole(&self, response: Response<Incoming>) -> Result<Bytes, CallError> {
        to_bytes(Body::new(response.into_body()), ANSWER_MAX)
            .await
            .map_err(|e| self.silence(&format!("broke off its answer, or it is too long: {e}")))
    }

    async fn refusal(&self, response: Response<Incoming>) -> CallError {
        let status = response.status();
        let body = match self.whole(response).await {
            Ok(body) => body,
            Err(e) => return e,
        };
        match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) if !problem.code.is_empty() => CallError::Refused(Box::new(problem)),
            _ => self.decode(&format!("HTTP status {status} and no reason")),
        }
    }

    fn silence(&self, cause: &str) -> CallError {
        CallError::Unreachable { name: self.name.clone(), address: self.address.clone(), cause: cause.to_owned() }
    }

    fn decode(&self, cause: &str) -> CallError {
        CallError::Decode { name: self.name.clone(), cause: cause.to_owned() }
    }
}

fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "refused the connection".to_owned(),
        _ => format!("cannot be connected to: {error}"),
    }
}
