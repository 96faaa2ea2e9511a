//! The bulk connection: opened when a file is to be moved, dropped by itself when idle.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;

use chandler_protocol::Digest;
use chandler_protocol::artifact::{BulkRequest, BulkResponse, Manifest};
use chandler_protocol::frame::BULK_MAX;
use chandler_protocol::text::{TEXT_MAX, clean};
use tokio::sync::Notify;

use super::framed::{self, Reader, StreamError};
use crate::sync::lock;
use crate::tls::SERVER_NAME;

/// How long opening the connection or a stream may take.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// A transfer in which no byte arrives for this long has stalled.
pub const STALL: Duration = Duration::from_secs(20);
/// How long one answer may take in all: slower than this is an attack or a line of no use.
pub const ANSWER: Duration = Duration::from_secs(60);

/// Why nothing was moved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BulkError {
    /// No controller is connected: not the source's fault.
    #[error("no controller is connected")]
    Offline,
    /// The connection failed.
    #[error("{from}: {error}")]
    Lost {
        /// The source.
        from: SocketAddr,
        /// Why.
        error: StreamError,
    },
    /// The source will not give or take it.
    #[error("{from} refused: {message} [{code}]")]
    Refused {
        /// The source.
        from: SocketAddr,
        /// Its stable code.
        code: String,
        /// Its sentence.
        message: String,
    },
    /// The source gave something else than what was asked for.
    #[error("{from} gave {what}")]
    Wrong {
        /// The source.
        from: SocketAddr,
        /// What.
        what: String,
    },
}

/// How the controller in use is reached.
#[derive(Debug, Clone)]
pub struct Route {
    /// The endpoint of the control connection.
    pub endpoint: quinn::Endpoint,
    /// Where the controller is.
    pub address: SocketAddr,
    /// How to dial it for bulk.
    pub config: quinn::ClientConfig,
    /// How to dial its relay.
    pub relay: quinn::ClientConfig,
}

/// The bulk connection, if there is one.
#[derive(Debug, Default)]
pub struct Bulk {
    route: Mutex<Option<Route>>,
    connection: tokio::sync::Mutex<Option<quinn::Connection>>,
    up: Notify,
}

/// One request and what comes back.
#[derive(Debug)]
pub struct Exchange {
    /// Who answers.
    pub from: SocketAddr,
    send: quinn::SendStream,
    reader: Reader,
}

impl Bulk {
    /// A controller was connected, or lost.
    pub fn set_route(&self, route: Option<Route>) {
        let is_up = route.is_some();
        *lock(&self.route) = route;
        if is_up {
            self.up.notify_waiters();
        }
    }

    /// The endpoint in use, if any.
    pub fn endpoint(&self) -> Option<quinn::Endpoint> {
        lock(&self.route).as_ref().map(|r| r.endpoint.clone())
    }

    /// Waits until a controller is connected anew. Somebody who waits for one has nothing else to try.
    pub async fn wait_up(&self) {
        let notified = self.up.notified();
        if lock(&self.route).is_none() {
            notified.await;
        }
    }

    /// Sends a request on a stream of its own.
    ///
    /// # Errors
    /// See [`BulkError`].
    pub async fn request(&self, request: &BulkRequest) -> Result<Exchange, BulkError> {
        let route = lock(&self.route).clone().ok_or(BulkError::Offline)?;
        let from = route.address;
        let lost = |error| BulkError::Lost { from, error };
        let opened = tokio::time::timeout(OPEN_TIMEOUT, async {
            let connection = self.connection(&route).await?;
            connection.open_bi().await.map_err(|e| StreamError::Lost(e.to_string()))
        });
        let (mut send, receive) = opened.await.map_err(|_| lost(StreamError::Stalled(OPEN_TIMEOUT)))?.map_err(lost)?;
        framed::write(&mut send, request, BULK_MAX).await.map_err(lost)?;
        Ok(Exchange { from, send, reader: Reader::new(receive, BULK_MAX) })
    }

    async fn connection(&self, route: &Route) -> Result<quinn::Connection, StreamError> {
        let mut kept = self.connection.lock().await;
        if let Some(open) = kept.as_ref().filter(|c| c.close_reason().is_none() && c.remote_address() == route.address)
        {
            return Ok(open.clone());
        }
        *kept = None;
        let connecting = route.endpoint.connect_with(route.config.clone(), route.address, SERVER_NAME);
        let connection = connecting.map_err(|e| StreamError::Lost(e.to_string()))?;
        let connection = connection.await.map_err(|e| StreamError::Lost(e.to_string()))?;
        *kept = Some(connection.clone());
        Ok(connection)
    }

    /// The chunks of a file.
    ///
    /// # Errors
    /// See [`BulkError`].
    pub async fn manifest(&self, digest: Digest, length: u64) -> Result<(SocketAddr, Manifest), BulkError> {
        let mut exchange = self.request(&BulkRequest::Manifest { digest }).await?;
        exchange.finish();
        match exchange.next().await? {
            BulkResponse::Manifest(m) if m.digest == digest && m.length == length && m.is_sound() => {
                Ok((exchange.from, m))
            }
            _ => Err(exchange.wrong(&format!("no sound list of the chunks of {digest}"))),
        }
    }
}

impl Exchange {
    /// Nothing more is sent.
    pub fn finish(&mut self) {
        let _ = self.send.finish();
    }

    /// Sends raw bytes behind the request.
    ///
    /// # Errors
    /// See [`BulkError`].
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), BulkError> {
        let from = self.from;
        match tokio::time::timeout(STALL, self.send.write_all(bytes)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(e)) => Err(BulkError::Lost { from, error: StreamError::Lost(e.to_string()) }),
            Err(_) => Err(BulkError::Lost { from, error: StreamError::Stalled(STALL) }),
        }
    }

    /// The next answer; a refusal is an error.
    ///
    /// # Errors
    /// See [`BulkError`].
    pub async fn next(&mut self) -> Result<BulkResponse, BulkError> {
        let from = self.from;
        match self.reader.expect(STALL, ANSWER).await {
            Ok(BulkResponse::Refused { code, message }) => {
                Err(BulkError::Refused { from, code: clean(&code, 16), message: clean(&message, TEXT_MAX) })
            }
            Ok(answer) => Ok(answer),
            Err(error) => Err(BulkError::Lost { from, error }),
        }
    }

    /// The answer was something else.
    pub fn wrong(&self, what: &str) -> BulkError {
        BulkError::Wrong { from: self.from, what: what.to_owned() }
    }
}
