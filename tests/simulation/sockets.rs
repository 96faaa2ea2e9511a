//! QUIC over the simulated network: quinn's socket and runtime traits on a simulated UDP socket, and everything that
//! quinn would draw at random taken from a seed or a counter.

use std::future::Future;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use chandler_agent::door::{Caller, Front, Fronts};
use futures_util::FutureExt as _;
use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncTimer, AsyncUdpSocket, ConnectionId, ConnectionIdGenerator, Runtime, TokioRuntime, UdpPoller};

/// Length of a connection id.
const ID_LENGTH: usize = 8;
/// Where a door listens that may choose.
const DOOR_PORT: u16 = 18_080;

type Readable = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

/// One simulated UDP socket.
struct Socket {
    inner: Arc<turmoil::net::UdpSocket>,
    readable: Mutex<Option<Readable>>,
}

impl std::fmt::Debug for Socket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.inner.fmt(f)
    }
}

/// The simulated network takes everything at once.
#[derive(Debug)]
struct AlwaysWritable;

impl UdpPoller for AlwaysWritable {
    fn poll_writable(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl AsyncUdpSocket for Socket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(AlwaysWritable)
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        match self.inner.try_send_to(transmit.contents, transmit.destination) {
            // As on a real network, nobody says that nobody listens.
            Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
            sent => sent.map(drop),
        }
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut readable = self.readable.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let waiting = readable.get_or_insert_with(|| {
                let inner = self.inner.clone();
                Box::pin(async move { inner.readable().await })
            });
            let is_readable = ready!(waiting.as_mut().poll(cx));
            *readable = None;
            is_readable?;
            match self.inner.try_recv_from(&mut buffers[0]) {
                Ok((length, from)) => {
                    meta[0] = RecvMeta { addr: from, len: length, stride: length, ..RecvMeta::default() };
                    return Poll::Ready(Ok(1));
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => return Poll::Ready(Err(e)),
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    fn may_fragment(&self) -> bool {
        false
    }
}

/// Tokio with its paused clock, which the simulation moves on.
#[derive(Debug)]
struct SimulatedRuntime;

impl Runtime for SimulatedRuntime {
    fn new_timer(&self, at: Instant) -> Pin<Box<dyn AsyncTimer>> {
        TokioRuntime.new_timer(at)
    }

    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) {
        tokio::spawn(future);
    }

    fn wrap_udp_socket(&self, _: std::net::UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        Err(io::Error::other("no real socket belongs into a simulation"))
    }

    fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }
}

/// Connection ids that count. The counter outlives restarts: an id never means two connections.
#[derive(Debug, Clone)]
struct Counter(Arc<AtomicU64>, u64);

impl Counter {
    fn next(&self) -> ConnectionId {
        let number = self.0.fetch_add(1, Ordering::Relaxed) | self.1 << 40;
        ConnectionId::new(&number.to_be_bytes())
    }
}

impl ConnectionIdGenerator for Counter {
    fn generate_cid(&mut self) -> ConnectionId {
        self.next()
    }

    fn cid_len(&self) -> usize {
        ID_LENGTH
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

/// The sockets of one simulated computer.
#[derive(Debug)]
pub(crate) struct SimulatedSockets {
    seed: u64,
    ids: Counter,
    first_ids: Counter,
    endpoints: AtomicU64,
}

impl SimulatedSockets {
    /// `computer` tells computers apart.
    pub(crate) fn new(seed: u64, computer: u64) -> Self {
        let counter = |n| Counter(Arc::default(), computer * 2 + n);
        Self { seed: seed ^ computer << 32, ids: counter(0), first_ids: counter(1), endpoints: AtomicU64::new(0) }
    }

    fn endpoint(&self, port: u16, server: Option<quinn::ServerConfig>, key: &[u8]) -> io::Result<quinn::Endpoint> {
        let any = SocketAddr::from(([0, 0, 0, 0], port));
        let bound = turmoil::net::UdpSocket::bind(any).now_or_never();
        let inner = bound.ok_or_else(|| io::Error::other("binding waits"))??;
        self.over(Arc::new(Socket { inner: Arc::new(inner), readable: Mutex::default() }), server, key)
    }

    fn over(
        &self,
        socket: Arc<dyn AsyncUdpSocket>,
        server: Option<quinn::ServerConfig>,
        key: &[u8],
    ) -> io::Result<quinn::Endpoint> {
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, key);
        let mut config = quinn::EndpointConfig::new(Arc::new(key));
        let ids = self.ids.clone();
        config.cid_generator(move || Box::new(ids.clone()));
        let mut rng = [0; 32];
        rng[..8].copy_from_slice(&self.seed.to_le_bytes());
        rng[8..16].copy_from_slice(&self.endpoints.fetch_add(1, Ordering::Relaxed).to_le_bytes());
        config.rng_seed(Some(rng));
        quinn::Endpoint::new_with_abstract_socket(config, server, socket, Arc::new(SimulatedRuntime))
    }
}

impl chandler_controller::world::Sockets for SimulatedSockets {
    fn listen(&self, address: SocketAddr, config: quinn::ServerConfig, key: &[u8]) -> io::Result<quinn::Endpoint> {
        self.endpoint(address.port(), Some(config), key)
    }

    fn dial(&self, _: SocketAddr) -> io::Result<quinn::Endpoint> {
        self.endpoint(0, None, &[0; 64])
    }
}

impl chandler_agent::world::Sockets for SimulatedSockets {
    fn endpoint(&self, _: SocketAddr) -> io::Result<quinn::Endpoint> {
        self.endpoint(0, None, &[0; 64])
    }

    fn adjust(&self, config: &mut quinn::ClientConfig) {
        let ids = self.first_ids.clone();
        config.initial_dst_cid_provider(Arc::new(move || ids.next()));
    }

    fn tunnel(&self, bind: SocketAddr, server: quinn::ServerConfig, key: &[u8; 32]) -> io::Result<quinn::Endpoint> {
        self.endpoint(bind.port(), Some(server), key)
    }

    fn over(
        &self,
        socket: Arc<dyn AsyncUdpSocket>,
        server: quinn::ServerConfig,
        key: &[u8; 32],
    ) -> io::Result<quinn::Endpoint> {
        Self::over(self, socket, Some(server), key)
    }

    fn addresses(&self) -> Vec<IpAddr> {
        // The controller knows from where it is talked to.
        Vec::new()
    }
}

/// Front doors listen, and nobody comes: what they say of routes and holds is real, what passes through them is not
/// simulated.
#[derive(Debug)]
pub(crate) struct QuietListeners;

/// One of them.
struct Quiet(SocketAddr);

#[async_trait::async_trait]
impl Fronts for QuietListeners {
    async fn listen(&self, at: SocketAddr) -> io::Result<Box<dyn Front>> {
        let port = if at.port() == 0 { DOOR_PORT } else { at.port() };
        Ok(Box::new(Quiet(SocketAddr::new(at.ip(), port))))
    }
}

#[async_trait::async_trait]
impl Front for Quiet {
    fn address(&self) -> io::Result<SocketAddr> {
        Ok(self.0)
    }

    async fn accept(&self) -> io::Result<Caller> {
        std::future::pending().await
    }
}
