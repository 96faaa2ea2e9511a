//! Ports that speak HTTP: each request is taken in, waits at the gate if it must, and is sent where the service is.
//!
//! HTTP/1.1 with keep-alive and upgrades; HTTP/2 when the caller begins with it, and then to the copy too. A body is not
//! read before its request may go: the sender feels it, and no `100 Continue` is sent too early. Extended CONNECT
//! (a WebSocket over HTTP/2) is not offered, so that clients use HTTP/1.1 for it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;

use super::front::{Caller, Line};
use super::gate::Gate;
use super::opener::{BoxedIo, Opener};
use upstream::Upstreams;

mod answer;
mod exchange;
mod headers;
mod outgoing;
mod upgrade;
mod upstream;

/// How long requests under way have to end when the door is closed.
const DRAIN: Duration = Duration::from_secs(10);
/// What is read ahead of one connection of HTTP/1.1: a head must fit.
const BUFFER_MAX: usize = 128 << 10;
/// Windows of HTTP/2: what may come of one body, and of all, before anybody reads it.
const WINDOW: u32 = 256 << 10;
const WINDOW_ALL: u32 = 1 << 20;
/// Requests at a time on one connection of HTTP/2.
const STREAMS_MAX: u32 = 250;

/// One port of a door that speaks HTTP.
pub(crate) struct Host {
    gate: Arc<Gate>,
    opener: Arc<dyn Opener>,
    /// The workload's name for the port.
    port: String,
    upstreams: Upstreams,
    server: auto::Builder<TokioExecutor>,
    closing: watch::Receiver<bool>,
}

impl Host {
    pub(crate) fn new(gate: Arc<Gate>, opener: Arc<dyn Opener>, port: String, closing: watch::Receiver<bool>) -> Self {
        let mut server = auto::Builder::new(TokioExecutor::new());
        server.http1().preserve_header_case(true).auto_date_header(false).max_buf_size(BUFFER_MAX);
        server
            .http2()
            .timer(TokioTimer::new())
            .auto_date_header(false)
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW_ALL)
            .max_concurrent_streams(STREAMS_MAX);
        Self { gate, opener, port, upstreams: Upstreams::default(), server, closing }
    }

    /// The route changed: idle streams to copies that are not in it are closed. In a hold all are, for a stream that was
    /// opened before it must not carry what the copy would refuse now.
    pub(crate) fn routed(&self) {
        self.upstreams.retain(|backend| self.gate.routes_to(backend));
    }
}

/// One caller.
struct Connection {
    host: Arc<Host>,
    line: Arc<dyn Line>,
    /// Its requests that went through the gate.
    busy: AtomicU32,
    /// Its name in the room.
    id: u64,
}

/// A request of a caller that went through the gate.
struct Busy(Arc<Connection>);

impl Busy {
    fn new(connection: &Arc<Connection>) -> Self {
        if connection.busy.fetch_add(1, Ordering::Relaxed) == 0 {
            // Its body is to be read, room or not.
            connection.host.gate.room().wake(connection.id);
        }
        Self(connection.clone())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Serves one caller until it leaves, or the door is closed and what is under way has ended.
pub(crate) async fn serve(host: Arc<Host>, caller: Caller) {
    let mut closing = host.closing.clone();
    let id = host.gate.room().id();
    let connection = Arc::new(Connection { host: host.clone(), line: caller.line, busy: AtomicU32::new(0), id });
    let io = Throttled { io: caller.io, connection: connection.clone() };
    let service = service_fn(move |request| exchange::answer(connection.clone(), request));
    let serving = host.server.serve_connection_with_upgrades(TokioIo::new(io), service);
    tokio::pin!(serving);
    tokio::select! {
        biased;
        _ = serving.as_mut() => return,
        _ = closing.wait_for(|c| *c) => serving.as_mut().graceful_shutdown(),
    }
    let _ = tokio::time::timeout(DRAIN, serving).await;
}

/// A connection from which nothing new is read while there is no room for it.
struct Throttled {
    io: BoxedIo,
    connection: Arc<Connection>,
}

impl Throttled {
    fn may_read(&self, cx: &Context<'_>) -> bool {
        let gate = &self.connection.host.gate;
        let may = || gate.has_room() || self.connection.busy.load(Ordering::Relaxed) > 0;
        if may() {
            return true;
        }
        gate.room().wait(self.connection.id, cx.waker());
        // Room may have come between the look and the wait.
        may()
    }
}

impl Drop for Throttled {
    fn drop(&mut self) {
        self.connection.host.gate.room().forget(self.connection.id);
    }
}

impl AsyncRead for Throttled {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.may_read(cx) {
            return Poll::Pending;
        }
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Throttled {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
