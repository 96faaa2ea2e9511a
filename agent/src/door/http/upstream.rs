//! Streams to copies, and which of them are used again.
//!
//! HTTP/1.1: one stream a request. One that ended well serves again, but only a request that may be sent twice, because
//! the software may close it at the same moment. HTTP/2: all requests to a copy share one stream, as their callers do.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chandler_protocol::Micros;
use chandler_protocol::way::Backend;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};

use super::Host;
use super::outgoing::Outgoing;
use crate::door::opener::OpenError;
use crate::sync::lock;

/// How long an idle stream is kept: shorter than the software's own patience usually is.
const IDLE: Duration = Duration::from_secs(4);
/// Most idle streams for each copy.
const IDLE_MAX: usize = 64;
/// Windows of HTTP/2: what may be under way of one answer, and of all.
const WINDOW: u32 = 1 << 20;
const WINDOW_ALL: u32 = 4 << 20;

/// A stream that carries HTTP/1.1.
pub(super) type One = http1::SendRequest<Outgoing>;
/// A stream that carries HTTP/2.
pub(super) type Two = http2::SendRequest<Outgoing>;

/// What one port of a door has open.
#[derive(Default)]
pub(super) struct Upstreams {
    idle: Mutex<Idle>,
    shared: Mutex<BTreeMap<Backend, Two>>,
}

#[derive(Default)]
struct Idle {
    streams: BTreeMap<Backend, Vec<(Micros, One)>>,
    /// A task looks after them.
    watched: bool,
}

/// A stream that may be used again.
pub(super) struct Reuse {
    pub(super) backend: Backend,
    pub(super) stream: One,
}

impl Upstreams {
    /// An idle stream, the one used last.
    pub(super) fn take(&self, backend: &Backend) -> Option<One> {
        let mut idle = lock(&self.idle);
        let streams = idle.streams.get_mut(backend)?;
        while let Some((_, stream)) = streams.pop() {
            if stream.is_ready() {
                return Some(stream);
            }
        }
        None
    }

    /// A stream is idle.
    pub(super) fn put(host: &Arc<Host>, reuse: Reuse) {
        if reuse.stream.is_closed() || !host.gate.routes_to(&reuse.backend) {
            return;
        }
        let now = host.gate.now();
        let mut idle = lock(&host.upstreams.idle);
        let streams = idle.streams.entry(reuse.backend).or_default();
        if streams.len() < IDLE_MAX {
            streams.push((now, reuse.stream));
        }
        if !std::mem::replace(&mut idle.watched, true) {
            tokio::spawn(watch(host.clone()));
        }
    }

    /// Keeps only streams to these copies.
    pub(super) fn retain(&self, keep: impl Fn(&Backend) -> bool) {
        lock(&self.idle).streams.retain(|b, _| keep(b));
        lock(&self.shared).retain(|b, _| keep(b));
    }

    fn shared(&self, backend: &Backend) -> Option<Two> {
        let mut shared = lock(&self.shared);
        let stream = shared.get(backend)?;
        if stream.is_closed() {
            shared.remove(backend);
            return None;
        }
        Some(stream.clone())
    }
}

/// Closes what has been idle for too long, until there is none.
async fn watch(host: Arc<Host>) {
    loop {
        tokio::time::sleep(IDLE).await;
        let oldest = host.gate.now().0.saturating_sub(Micros::from_std(IDLE).0);
        let mut idle = lock(&host.upstreams.idle);
        idle.streams.retain(|_, streams| {
            streams.retain(|(since, stream)| since.0 > oldest && !stream.is_closed());
            !streams.is_empty()
        });
        if idle.streams.is_empty() {
            idle.watched = false;
            return;
        }
    }
}

/// A new stream that carries HTTP/1.1.
///
/// # Errors
/// See [`OpenError`].
pub(super) async fn one(host: &Host, backend: &Backend) -> Result<One, OpenError> {
    let io = open(host, backend).await?;
    let handshake = http1::Builder::new().preserve_header_case(true).handshake(TokioIo::new(io)).await;
    let (stream, connection) = handshake.map_err(|e| OpenError::Lost(e.to_string()))?;
    tokio::spawn(async move {
        let _ = connection.with_upgrades().await;
    });
    Ok(stream)
}

/// The stream that carries HTTP/2 to this copy, opened if there is none, and whether it was there.
///
/// # Errors
/// See [`OpenError`].
pub(super) async fn two(host: &Host, backend: &Backend) -> Result<(Two, bool), OpenError> {
    if let Some(stream) = host.upstreams.shared(backend) {
        return Ok((stream, true));
    }
    let io = open(host, backend).await?;
    let handshake = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW_ALL)
        .handshake(TokioIo::new(io))
        .await;
    let (stream, connection) = handshake.map_err(|e| OpenError::Lost(e.to_string()))?;
    tokio::spawn(async move {
        let _ = connection.await;
    });
    if host.gate.routes_to(backend) {
        lock(&host.upstreams.shared).insert(*backend, stream.clone());
    }
    Ok((stream, false))
}

async fn open(host: &Host, backend: &Backend) -> Result<crate::door::BoxedIo, OpenError> {
    let from = host.gate.now();
    let io = host.opener.open(backend, &host.port).await?;
    host.gate.connected(Micros(host.gate.now().0.saturating_sub(from.0)));
    Ok(io)
}
