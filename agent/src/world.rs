//! Everything the agent takes from outside, as one value: real in production, simulated in tests.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::{fmt, io};

use async_trait::async_trait;
use chandler_protocol::inventory::HostInventory;
use chandler_protocol::telemetry::Readings;
use chandler_protocol::world::{Clock, Random};
use chandler_protocol::{Micros, Timestamp};

use crate::artifact::Depot;
use crate::disk::Disk;
use crate::driver::{Driver, Workspace};
use crate::fronts::Fronts;
use crate::states::{FileStates, States};

/// The world as the agent sees it.
#[derive(Clone)]
pub struct World {
    /// The wall clock and the boot clock.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub random: Arc<dyn Random>,
    /// The network, as far as QUIC needs it.
    pub sockets: Arc<dyn Sockets>,
    /// Where front doors listen.
    pub listeners: Arc<dyn crate::door::Fronts>,
    /// Small records that survive.
    pub disk: Arc<dyn Disk>,
    /// Fetched files.
    pub depot: Arc<dyn Depot>,
    /// Runs software.
    pub driver: Arc<dyn Driver>,
    /// What software leaves behind: logs and results.
    pub workspace: Arc<dyn Workspace>,
    /// The states of software, to be given and received.
    pub states: Arc<dyn States>,
    /// Where the services that software uses are found on this computer.
    pub fronts: Fronts,
    /// What this computer is and how it does.
    pub probe: Arc<dyn Probe>,
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").finish_non_exhaustive()
    }
}

/// Makes QUIC endpoints.
pub trait Sockets: Send + Sync {
    /// A new client endpoint that can reach `remote`. Called again after the network changed under the old one.
    ///
    /// # Errors
    /// No socket could be opened.
    fn endpoint(&self, remote: SocketAddr) -> io::Result<quinn::Endpoint>;

    /// The last word on how a connection is dialled; a simulation fixes the connection ids here.
    fn adjust(&self, config: &mut quinn::ClientConfig) {
        let _ = config;
    }

    /// An endpoint on `bind` that both accepts and dials tunnels. `key` outlives restarts, so that peers notice one within
    /// a round trip.
    ///
    /// # Errors
    /// The address cannot be used.
    fn tunnel(&self, bind: SocketAddr, server: quinn::ServerConfig, key: &[u8; 32]) -> io::Result<quinn::Endpoint>;

    /// The same over a socket that was made elsewhere.
    ///
    /// # Errors
    /// The socket cannot be used.
    fn over(
        &self,
        socket: Arc<dyn quinn::AsyncUdpSocket>,
        server: quinn::ServerConfig,
        key: &[u8; 32],
    ) -> io::Result<quinn::Endpoint>;

    /// Addresses of this computer that others may reach it at, best first.
    fn addresses(&self) -> Vec<IpAddr>;
}

/// Looks at the computer.
#[async_trait]
pub trait Probe: Send + Sync {
    /// Identifies this boot of the computer.
    fn boot_id(&self) -> [u8; 16];
    /// The cheap, frequent look. Fields about workloads and dropped samples are filled in by the caller.
    fn readings(&self) -> Readings;
    /// The thorough, rare look.
    async fn inventory(&self) -> HostInventory;
}

/// The computer's own clocks.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealClock;

impl Clock for RealClock {
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Timestamp(Micros::from_std(since).0)
    }
    fn boot(&self) -> Micros {
        crate::platform::boot_clock()
    }
}

/// The operating system's chance.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealRandom;

impl Random for RealRandom {
    #[expect(clippy::expect_used, reason = "a system without randomness cannot make a key; there is no way on")]
    fn fill(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes).expect("the operating system gives random bytes");
    }
}

/// The computer's own network.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealSockets;

impl Sockets for RealSockets {
    fn endpoint(&self, remote: SocketAddr) -> io::Result<quinn::Endpoint> {
        let any: std::net::IpAddr =
            if remote.is_ipv4() { [0, 0, 0, 0].into() } else { std::net::Ipv6Addr::UNSPECIFIED.into() };
        quinn::Endpoint::client((any, 0).into())
    }

    fn tunnel(&self, bind: SocketAddr, server: quinn::ServerConfig, key: &[u8; 32]) -> io::Result<quinn::Endpoint> {
        let socket = std::net::UdpSocket::bind(bind)?;
        // As much as the system allows: a burst of bulk shall not be lost at once.
        let _ = rustix::net::sockopt::set_socket_recv_buffer_size(&socket, SOCKET_BUFFER);
        let _ = rustix::net::sockopt::set_socket_send_buffer_size(&socket, SOCKET_BUFFER);
        quinn::Endpoint::new(endpoint_config(key), Some(server), socket, Arc::new(quinn::TokioRuntime))
    }

    fn over(
        &self,
        socket: Arc<dyn quinn::AsyncUdpSocket>,
        server: quinn::ServerConfig,
        key: &[u8; 32],
    ) -> io::Result<quinn::Endpoint> {
        let runtime = Arc::new(quinn::TokioRuntime);
        quinn::Endpoint::new_with_abstract_socket(endpoint_config(key), Some(server), socket, runtime)
    }

    fn addresses(&self) -> Vec<IpAddr> {
        crate::platform::addresses()
    }
}

fn endpoint_config(key: &[u8; 32]) -> quinn::EndpointConfig {
    let mut config = quinn::EndpointConfig::new(Arc::new(ResetKey(*key)));
    config.cid_generator(|| Box::new(RandomIds));
    config
}

/// Signs stateless resets with keyed BLAKE3.
struct ResetKey([u8; 32]);

impl quinn::crypto::HmacKey for ResetKey {
    fn sign(&self, data: &[u8], signature: &mut [u8]) {
        blake3::Hasher::new_keyed(&self.0).update(data).finalize_xof().fill(signature);
    }

    fn signature_len(&self) -> usize {
        blake3::OUT_LEN
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), quinn::crypto::CryptoError> {
        // Compared in constant time.
        let given = <[u8; blake3::OUT_LEN]>::try_from(signature).map_err(|_| quinn::crypto::CryptoError)?;
        let right = blake3::keyed_hash(&self.0, data) == blake3::Hash::from_bytes(given);
        if right { Ok(()) } else { Err(quinn::crypto::CryptoError) }
    }
}

/// Length of a connection id.
const ID_LENGTH: usize = 8;
/// Bytes that a socket for tunnels may hold, where the system allows it.
const SOCKET_BUFFER: usize = 4 << 20;

/// Connection ids without a mark of who made them: quinn's own bear one that changes with each start, and a packet with
/// an older mark is not answered with a reset.
#[derive(Debug)]
struct RandomIds;

impl quinn::ConnectionIdGenerator for RandomIds {
    fn generate_cid(&mut self) -> quinn::ConnectionId {
        let mut bytes = [0; ID_LENGTH];
        RealRandom.fill(&mut bytes);
        quinn::ConnectionId::new(&bytes)
    }

    fn cid_len(&self) -> usize {
        ID_LENGTH
    }

    fn cid_lifetime(&self) -> Option<std::time::Duration> {
        None
    }
}

/// What the real world is made from.
#[derive(Debug, Clone)]
pub struct RealWorld<'a> {
    /// Where everything is kept.
    pub data_dir: &'a Path,
    /// How this program is started again as the supervisor of one workload.
    pub shim: Vec<std::ffi::OsString>,
    /// What this computer is called.
    pub host_name: String,
    /// What the owner gives; `None` means the default share.
    pub offer: crate::platform::Offer,
    /// Programs to list beside the packages.
    pub programs: Vec<(String, String)>,
}

impl World {
    /// The real world.
    ///
    /// # Errors
    /// The data directory cannot be used.
    pub fn real(parts: RealWorld<'_>) -> Result<Self, crate::AgentError> {
        let clock = Arc::new(RealClock);
        let disk = Arc::new(crate::disk::FileDisk::open(&parts.data_dir.join("records"))?);
        let limits = crate::platform::Limiter::detect();
        let layout = crate::driver::Layout::new(parts.data_dir);
        let depot = Arc::new(crate::artifact::FileDepot::open(&layout).map_err(|e| data_dir(parts.data_dir, &e))?);
        let probe = crate::platform::HostProbe::new(
            parts.data_dir.to_owned(),
            parts.host_name,
            parts.offer,
            parts.programs,
            limits.clone(),
        );
        let fronts = Fronts::default();
        let states = Arc::new(FileStates::new(layout.clone(), Arc::new(RealRandom)));
        let process = crate::driver::process::ProcessDriver::new(layout, parts.shim, limits, clock.clone());
        let process = Arc::new(process.map_err(|e| data_dir(parts.data_dir, &e))?.with_fronts(fronts.clone()));
        Ok(Self {
            clock,
            random: Arc::new(RealRandom),
            sockets: Arc::new(RealSockets),
            listeners: Arc::new(crate::door::RealFronts),
            disk,
            depot,
            driver: process.clone(),
            workspace: process,
            states,
            fronts,
            probe: Arc::new(probe),
        })
    }
}

fn data_dir(path: &Path, error: &io::Error) -> crate::AgentError {
    crate::AgentError::DataDir(format!("the data directory {} cannot be used: {error}", path.display()))
}
