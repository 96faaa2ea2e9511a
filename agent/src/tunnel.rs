//! Tunnels: streams straight to another agent, or through the controller's relay, end to end encrypted.
//!
//! Each side knows the other by the public key that a grant pins, and by nothing else: two agents of different trust
//! domains need no common authority. One connection to a host carries all streams to and from it; it is opened on
//! demand, kept while it is used, and closed when nobody has used it for a while.

mod accept;
mod carried;
mod carry;
mod dial;
mod line;
mod link;
mod peer;
mod pinned;
mod relay;
mod serve;
mod transport;

#[cfg(test)]
mod relay_tests;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chandler_protocol::HostId;
use chandler_protocol::tunnel::{TunnelRefusal, TunnelRequest};
use chandler_protocol::way::{Grant, ObservedPath};
use tokio::sync::{Notify, Semaphore, watch};

use crate::AgentError;
use crate::disk::{self, Disk};
use crate::identity::HostKey;
use crate::link::bulk::Route;
use crate::sync::lock;
use crate::time::TrustedTime;
use crate::world::Sockets;

pub use carried::Carried;
pub use serve::Serve;

use peer::Peer;
use pinned::Credentials;
use relay::Relay;

/// Most hosts that an agent talks to.
pub const GRANTS_MAX: usize = 4_096;
/// Streams that are carried for other hosts at once, all hosts together.
const STREAMS_MAX: usize = 4_096;
/// Addresses that are said to the controller.
const LISTENS_MAX: usize = 8;
/// Where the port is kept, so that it is the same after a restart.
const PORT: &str = "tunnel-port";
/// How long to wait before the socket is tried again.
const BIND_AGAIN: Duration = Duration::from_secs(5);

/// A peer's connection is closed: the grant for it is gone.
const CLOSE_NO_GRANT: u32 = 1;
/// A connection is closed because nobody uses it.
const CLOSE_IDLE: u32 = 2;
/// A connection is closed because the agent stops.
const CLOSE_STOPPING: u32 = 3;
/// A connection is closed because there are newer ones.
const CLOSE_REPLACED: u32 = 4;

/// Why there is no stream. None of the caller's bytes has gone anywhere, whatever it says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The controller has not granted talking to this host.
    #[error("no grant lets this computer talk to that host")]
    NoGrant,
    /// The host cannot be reached now: nothing was asked.
    #[error("the host cannot be reached: {0}")]
    NoPath(String),
    /// The host said no: nothing reached the workload.
    #[error("the host refuses: {why:?}")]
    Refused {
        /// Why.
        why: TunnelRefusal,
        /// The epoch that the host knows for the copy; 0 when it knows none.
        epoch: u64,
    },
    /// The request was sent and the way was lost before the answer: the host may have connected to the workload, which
    /// has then seen a connection without a byte.
    #[error("the way was lost while it was being opened: {0}")]
    Lost(String),
}

/// How tunnels are set up on this computer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TunnelSettings {
    /// Where to accept tunnels. Absent: loopback when the controller is on this computer, else every network, on a port
    /// that is chosen once.
    pub listen: Option<SocketAddr>,
    /// Whether the network card cuts large sends into packets: much quicker, where it works.
    pub offload: bool,
}

impl Default for TunnelSettings {
    fn default() -> Self {
        Self { listen: None, offload: true }
    }
}

/// What tunnels are made from.
pub struct Parts<'a> {
    /// This host.
    pub host: HostId,
    /// Its key.
    pub key: &'a HostKey,
    /// The time that TLS asks for; nothing depends on it.
    pub time: &'a Arc<TrustedTime>,
    /// The network.
    pub sockets: Arc<dyn Sockets>,
    /// Where the port is kept.
    pub disk: Arc<dyn Disk>,
    /// Whether the controller is on this computer.
    pub is_local: bool,
    /// How they are set up.
    pub settings: TunnelSettings,
    /// What other hosts may ask for.
    pub serve: Arc<dyn Serve>,
    /// Told when [`Tunnels::paths`] or [`Tunnels::listens`] has changed.
    pub changed: Arc<Notify>,
}

impl std::fmt::Debug for Parts<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts").field("host", &self.host).finish_non_exhaustive()
    }
}

/// The tunnels of one agent.
pub struct Tunnels {
    me: HostId,
    credentials: Credentials,
    sockets: Arc<dyn Sockets>,
    disk: Arc<dyn Disk>,
    is_local: bool,
    settings: TunnelSettings,
    serve: Arc<dyn Serve>,
    changed: Arc<Notify>,
    peers: Mutex<BTreeMap<HostId, Arc<Peer>>>,
    endpoint: watch::Sender<Option<quinn::Endpoint>>,
    relay: Relay,
    streams: Arc<Semaphore>,
    stopped: watch::Sender<bool>,
}

impl std::fmt::Debug for Tunnels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tunnels").field("me", &self.me).finish_non_exhaustive()
    }
}

impl Tunnels {
    /// Tunnels that carry nothing yet: [`Self::run`] opens the socket.
    ///
    /// # Errors
    /// The key of this computer cannot be used.
    pub fn new(parts: Parts<'_>) -> Result<Self, AgentError> {
        Ok(Self {
            me: parts.host,
            credentials: Credentials::new(parts.key, parts.time)?,
            relay: Relay::new(parts.host),
            sockets: parts.sockets,
            disk: parts.disk,
            is_local: parts.is_local,
            settings: parts.settings,
            serve: parts.serve,
            changed: parts.changed,
            peers: Mutex::default(),
            endpoint: watch::Sender::new(None),
            streams: Arc::new(Semaphore::new(STREAMS_MAX)),
            stopped: watch::Sender::new(false),
        })
    }

    /// Accepts tunnels and keeps the relay in reach until [`Self::stop`].
    pub async fn run(self: &Arc<Self>) {
        let mut stopped = self.stopped.subscribe();
        tokio::select! {
            biased;
            _ = stopped.wait_for(|stopped| *stopped) => {}
            () = self.listen() => {}
            () = relay::keep(self) => {}
        }
    }

    async fn listen(self: &Arc<Self>) {
        loop {
            match self.bind() {
                Ok(endpoint) => {
                    self.endpoint.send_replace(Some(endpoint.clone()));
                    self.changed.notify_one();
                    accept::accept(self, &endpoint, chandler_protocol::way::Path::Direct).await;
                    tracing::warn!("the socket for tunnels is gone; a new one is opened");
                }
                Err(error) => tracing::error!(%error, "no socket for tunnels can be opened; trying again"),
            }
            tokio::time::sleep(BIND_AGAIN).await;
        }
    }

    /// Opens the socket on the address that was set, or else on the port that it had before, or else on any.
    fn bind(&self) -> Result<quinn::Endpoint, AgentError> {
        let failed = |e: &dyn std::fmt::Display| AgentError::Setting(format!("tunnels: {e}"));
        let server = || self.credentials.accepting(transport::direct(self.settings.offload));
        let key = self.credentials.reset_key();
        if let Some(address) = self.settings.listen {
            return self.sockets.tunnel(address, server()?, &key).map_err(|e| failed(&format!("{address}: {e}")));
        }
        let kept = disk::load::<u16>(self.disk.as_ref(), PORT).ok().flatten().unwrap_or(0);
        let mut last = None;
        for port in [kept, 0] {
            for address in transport::anywhere(self.is_local, port) {
                match self.sockets.tunnel(address, server()?, &key) {
                    Ok(endpoint) => {
                        self.keep_port(kept, &endpoint);
                        return Ok(endpoint);
                    }
                    Err(error) => last = Some(error),
                }
            }
        }
        Err(failed(&last.unwrap_or_else(|| std::io::ErrorKind::AddrNotAvailable.into())))
    }

    fn keep_port(&self, kept: u16, endpoint: &quinn::Endpoint) {
        let Ok(port) = endpoint.local_addr().map(|a| a.port()) else { return };
        if port != kept
            && let Err(error) = disk::save(self.disk.as_ref(), PORT, &port)
        {
            tracing::warn!(%error, "the port for tunnels is not kept; it will be another after a restart");
        }
    }

    /// Whom this agent may talk to, whole. A connection to a host that is not named any more is closed; a permit that is
    /// gone refuses new streams and ends none.
    pub fn set_grants(self: &Arc<Self>, grants: &[Grant]) {
        let mut peers = lock(&self.peers);
        let mut next = BTreeMap::new();
        for grant in grants.iter().filter(|g| g.peer != self.me).take(GRANTS_MAX) {
            let peer = peers.remove(&grant.peer).unwrap_or_else(|| Arc::new(Peer::new(grant.clone())));
            peer.set_grant(grant.clone());
            next.insert(grant.peer, peer);
        }
        let gone = std::mem::replace(&mut *peers, next);
        self.credentials.set_keys(peers.values().map(|p| (p.grant().key, p.id)).collect());
        self.relay.want(peers.values().any(|p| p.grant().relay));
        drop(peers);
        if !gone.is_empty() {
            gone.values().for_each(|peer| peer.close(CLOSE_NO_GRANT, "no grant any more"));
            self.changed.notify_one();
        }
    }

    /// How the controller is reached: its relay is the last resort.
    pub fn set_controller(&self, route: Route) {
        self.relay.set_controller(route);
    }

    /// Opens a stream to a host and asks for something there. One round trip when the host is connected already.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open(self: &Arc<Self>, host: HostId, request: &TunnelRequest) -> Result<Carried, OpenError> {
        if host == self.me {
            return carry::to_this_host(self.serve.clone(), request).await;
        }
        let mut is_again = false;
        loop {
            let peer = self.peer(host).ok_or(OpenError::NoGrant)?;
            let (link, is_new) = peer.link(self).await.map_err(OpenError::NoPath)?;
            match link::ask(&link, request).await {
                // It was closed at the other end before anybody noticed here: a restart, or idleness.
                Err(OpenError::Lost(_) | OpenError::NoPath(_)) if !is_new && !is_again && link.is_closed() => {
                    is_again = true;
                }
                answer => return answer,
            }
        }
    }

    /// How the hosts that were talked to are reached, in order of id.
    pub fn paths(&self) -> Vec<ObservedPath> {
        let peers: Vec<_> = lock(&self.peers).values().cloned().collect();
        peers.iter().filter_map(|p| p.observed()).collect()
    }

    /// Where tunnels are accepted: addresses of this computer's networks; unspecified with the port where none is known.
    pub fn listens(&self) -> Vec<SocketAddr> {
        let Some(bound) = self.endpoint.borrow().as_ref().and_then(|e| e.local_addr().ok()) else { return Vec::new() };
        let ip = bound.ip().to_canonical();
        if !ip.is_unspecified() {
            return vec![SocketAddr::new(ip, bound.port())];
        }
        let own = self.sockets.addresses().into_iter().filter(|a| bound.is_ipv6() || a.is_ipv4());
        let listens: Vec<_> = own.take(LISTENS_MAX).map(|a| SocketAddr::new(a, bound.port())).collect();
        if listens.is_empty() { vec![bound] } else { listens }
    }

    /// Closes every connection; the other hosts learn of it at once.
    pub fn stop(&self) {
        self.stopped.send_replace(true);
        for endpoint in self.endpoints() {
            endpoint.close(CLOSE_STOPPING.into(), b"the agent stops");
        }
    }

    /// Waits until the other hosts were told.
    pub async fn wait_stopped(&self) {
        for endpoint in self.endpoints() {
            endpoint.wait_idle().await;
        }
    }

    fn endpoints(&self) -> Vec<quinn::Endpoint> {
        let relayed = self.relay.endpoint();
        self.endpoint.borrow().clone().into_iter().chain(relayed).collect()
    }

    fn peer(&self, host: HostId) -> Option<Arc<Peer>> {
        lock(&self.peers).get(&host).cloned()
    }
}
