//! The controller's share of the outside: the real clock, real chance, and the real UDP socket. Everything else gets
//! them passed in, so that the simulation can pass its own.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use chandler_protocol::world::{Clock, Random};
use chandler_protocol::{Micros, Timestamp};

/// The machine's clocks.
#[derive(Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }

    fn boot(&self) -> Micros {
        let t = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        Micros(t.tv_sec.saturating_mul(1_000_000).saturating_add(t.tv_nsec / 1_000))
    }
}

/// The operating system's random numbers.
#[derive(Debug, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&self, bytes: &mut [u8]) {
        // Without random numbers nothing here is safe: no keys, no tokens, no ids.
        #[expect(clippy::expect_used, reason = "the operating system always has random numbers once it runs")]
        getrandom::fill(bytes).expect("the operating system gives random numbers");
    }
}

/// Makes the QUIC endpoints: the one that agents connect to, and those that join the relays of partners.
pub trait Sockets: Send + Sync {
    /// An endpoint on `address`. `reset_key` outlives restarts, so that agents notice one within a round trip.
    ///
    /// # Errors
    /// The address cannot be used.
    fn listen(&self, address: SocketAddr, config: quinn::ServerConfig, reset_key: &[u8])
    -> io::Result<quinn::Endpoint>;

    /// An endpoint to connect to `remote` with.
    ///
    /// # Errors
    /// There is no socket for such an address.
    fn dial(&self, remote: SocketAddr) -> io::Result<quinn::Endpoint>;
}

/// Real UDP sockets.
#[derive(Debug, Default)]
pub struct UdpSockets;

impl Sockets for UdpSockets {
    fn listen(
        &self,
        address: SocketAddr,
        config: quinn::ServerConfig,
        reset_key: &[u8],
    ) -> io::Result<quinn::Endpoint> {
        let socket = std::net::UdpSocket::bind(address)?;
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, reset_key);
        let mut endpoint = quinn::EndpointConfig::new(Arc::new(key));
        endpoint.cid_generator(|| Box::new(RandomIds));
        quinn::Endpoint::new(endpoint, Some(config), socket, Arc::new(quinn::TokioRuntime))
    }

    fn dial(&self, remote: SocketAddr) -> io::Result<quinn::Endpoint> {
        let any: IpAddr = if remote.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        quinn::Endpoint::client(SocketAddr::new(any, 0))
    }
}

/// Length of a connection id.
const ID_LENGTH: usize = 8;

/// Connection ids without a mark of who made them. quinn's own bear one that changes with each start, and packets with
/// an older mark are dropped without a word: an agent would not be told that its connection is gone.
#[derive(Debug)]
struct RandomIds;

impl quinn::ConnectionIdGenerator for RandomIds {
    fn generate_cid(&mut self) -> quinn::ConnectionId {
        let mut bytes = [0; ID_LENGTH];
        SystemRandom.fill(&mut bytes);
        quinn::ConnectionId::new(&bytes)
    }

    fn cid_len(&self) -> usize {
        ID_LENGTH
    }

    fn cid_lifetime(&self) -> Option<std::time::Duration> {
        None
    }
}

/// Everything outside that the controller uses.
#[derive(Clone)]
pub struct World {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub random: Arc<dyn Random>,
    /// The network.
    pub sockets: Arc<dyn Sockets>,
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("World")
    }
}

impl World {
    /// The real one.
    pub fn real() -> Self {
        Self { clock: Arc::new(SystemClock), random: Arc::new(SystemRandom), sockets: Arc::new(UdpSockets) }
    }
}
