//! The listener for partners: HTTPS with certificates on both sides, bounded in connections and in patience; and on the
//! same address and port, over UDP, the trunk.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tower::ServiceExt as _;

use super::peer::{Connection, peer_of};
use super::{Desk, routes, tls, trunk};
use crate::world::Sockets;

/// How often the system is asked for a port that is free both for TCP and for UDP.
const PORTS_TRIED: usize = 16;
/// Handshakes under way at once; further callers wait in the system's queue.
const HANDSHAKES: usize = 256;
/// A handshake that takes longer is given up.
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);
/// Connections of partners at once.
const PARTNERS: usize = 1_024;
/// Connections of others at once: each is here to show an invitation.
const STRANGERS: usize = 32;
/// How long a stranger may stay.
const STRANGER_TIME: Duration = Duration::from_secs(30);
/// Longest time between a connection's calls, and for the head of a call.
const IDLE: Duration = Duration::from_secs(60);
/// Largest head of a call.
const HEAD_MAX: usize = 64 << 10;
/// Most header lines of a call.
const HEADERS_MAX: usize = 64;
/// How long open calls have to end once the listener shall stop.
const DRAIN: Duration = Duration::from_secs(2);
/// Pause after the system gave no connection, for want of file handles.
const BREATH: Duration = Duration::from_millis(100);

/// The listener for partners.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    endpoint: quinn::Endpoint,
    desk: Arc<Desk>,
}

/// What all connections share.
#[derive(Clone)]
struct Shared {
    acceptor: TlsAcceptor,
    router: Router,
    desk: Arc<Desk>,
    partners: Arc<Semaphore>,
    strangers: Arc<Semaphore>,
    stopped: watch::Receiver<bool>,
}

impl Listener {
    /// Listens. Connections are accepted once [`Self::run`] runs. `reset_key` outlives restarts, so that partners notice one
    /// at once.
    ///
    /// # Errors
    /// The address cannot be used.
    pub async fn bind(address: SocketAddr, desk: Desk, sockets: &dyn Sockets, reset_key: &[u8]) -> io::Result<Self> {
        for _ in 0..PORTS_TRIED {
            let socket = TcpListener::bind(address).await?;
            match trunk::listen(socket.local_addr()?, &desk, sockets, reset_key) {
                Ok(endpoint) => return Ok(Self { socket, endpoint, desk: Arc::new(desk) }),
                // Some other program has this port over UDP; the system may choose another one.
                Err(error) if error.kind() == io::ErrorKind::AddrInUse && address.port() == 0 => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::AddrInUse.into())
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The socket is gone.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Serves partners until `shutdown` is done.
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> io::Result<()> {
        let (endpoint, desk) = (self.endpoint.clone(), self.desk.clone());
        trunk::beside(endpoint, desk, self.serve(shutdown)).await
    }

    async fn serve(self, shutdown: impl Future<Output = ()>) -> io::Result<()> {
        let federation = &self.desk.federation;
        let config = tls::listening(federation.identity(), self.desk.writer.clock()).map_err(io::Error::other)?;
        let (stop, stopped) = watch::channel(false);
        let shared = Shared {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            router: routes::router(self.desk.clone()),
            desk: self.desk,
            partners: Arc::new(Semaphore::new(PARTNERS)),
            strangers: Arc::new(Semaphore::new(STRANGERS)),
            stopped,
        };
        let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
        tokio::pin!(shutdown);
        loop {
            let Ok(permit) = handshakes.clone().acquire_owned().await else { break };
            let accepted = tokio::select! {
                biased;
                () = &mut shutdown => break,
                accepted = self.socket.accept() => accepted,
            };
            match accepted {
                Ok((stream, from)) => {
                    tokio::spawn(connection(stream, from, shared.clone(), permit));
                }
                Err(error) => {
                    tracing::warn!(%error, "no connection of a partner can be accepted");
                    tokio::time::sleep(BREATH).await;
                }
            }
        }
        drop(shared);
        let _ = stop.send(true);
        // Each connection holds a receiver: when the last is gone, all have ended.
        let _ = tokio::time::timeout(DRAIN, stop.closed()).await;
        Ok(())
    }
}

async fn connection(stream: TcpStream, from: SocketAddr, shared: Shared, handshake: OwnedSemaphorePermit) {
    let _ = stream.set_nodelay(true);
    let stream = match tokio::time::timeout(HANDSHAKE_TIME, shared.acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%error, %from, "a handshake of a partner failed"),
        Err(_) => return tracing::debug!(%from, "a handshake of a partner took too long"),
    };
    drop(handshake);
    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default().to_vec();
    let now = shared.desk.writer.clock().now();
    let is_partner = peer_of(&shared.desk.writer.snapshot(), &chain, now).is_ok();
    // Strangers never take the place of partners.
    let room = if is_partner { &shared.partners } else { &shared.strangers };
    let Ok(_permit) = room.clone().try_acquire_owned() else {
        return tracing::warn!(%from, is_partner, "too many connections of partners");
    };
    let stay = if is_partner { Duration::MAX } else { STRANGER_TIME };
    let served = serve(stream, Arc::new(Connection { chain, from }), &shared);
    let _ = tokio::time::timeout(stay, served).await;
}

async fn serve(stream: TlsStream<TcpStream>, connection: Arc<Connection>, shared: &Shared) {
    let answer = service_fn(|request: Request<Incoming>| {
        let (router, connection) = (shared.router.clone(), connection.clone());
        async move {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(connection);
            Ok::<_, Infallible>(router.oneshot(request).await.unwrap_or_else(|never| match never {}))
        }
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(IDLE).max_buf_size(HEAD_MAX).max_headers(HEADERS_MAX);
    let serving = http.serve_connection(TokioIo::new(stream), answer);
    tokio::pin!(serving);
    let mut stopped = shared.stopped.clone();
    let stopped = async {
        let _ = stopped.wait_for(|stop| *stop).await;
    };
    let ended = tokio::select! {
        biased;
        () = stopped => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
        ended = serving.as_mut() => ended,
    };
    if let Err(error) = ended {
        tracing::debug!(%error, from = %connection.from, "a partner's connection broke off");
    }
}
