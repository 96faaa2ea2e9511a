//! The trunk: a QUIC connection with each partner that joins both relays, so that agents of one reach agents of the other
//! where there is no straight way. Datagrams only.
//!
//! It is served on the address and port of the HTTPS listener, over UDP, with the same certificates and the same trust.
//! Who buys dials, for as long as something is leased there. A path must take UDP packets of [`PACKET`] bytes: a path MTU
//! of 1,308 with IPv4 and of 1,328 with IPv6.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chandler_engine::federation::trunk::{heard, hop, trunks};
use chandler_engine::partner::{Partner, PartnerState};
use chandler_protocol::{HostId, PartyId};
use quinn::{IdleTimeout, MtuDiscoveryConfig, TransportConfig, VarInt};
use rustls::pki_types::CertificateDer;
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::peer::peer_of;
use super::{Desk, Federation, tls};
use crate::link::identity::SERVER_NAME;
use crate::link::{End, Relay, Word};
use crate::store::Writer;
use crate::world::Sockets;

/// The UDP packets that a trunk begins with: a tunnel's packet of 1,200 bytes, two ids, and what QUIC adds. quinn goes
/// above where the path takes more, and below where it takes less: tunnels do not fit any more then, which is counted.
const PACKET: u16 = 1_280;
/// A trunk that is silent for this long is gone; each side says this often that it lives.
const IDLE_MS: u32 = 10_000;
const KEEP_ALIVE: Duration = Duration::from_secs(3);
/// Bytes of datagrams that wait at either end: what a partner may make this controller hold.
const BUFFER: usize = 512 << 10;
/// Handshakes of partners under way at once; further ones wait in quinn's bounded queue.
const HANDSHAKES: usize = 32;
/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// The first pause after a trunk could not be dialled or was lost, and the longest.
const PAUSE: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// How often it is looked at most to whom a trunk is to be kept.
const LOOK: Duration = Duration::from_millis(250);
/// How long partners have to hear that this controller stops.
const STOPPING: Duration = Duration::from_millis(500);
/// The caller is not a partner.
const CLOSE_REFUSED: u32 = 2;
/// This controller stops.
const CLOSE_STOPPING: u32 = 4;

fn transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .initial_mtu(PACKET)
        .mtu_discovery_config(Some(MtuDiscoveryConfig::default()))
        .datagram_receive_buffer_size(Some(BUFFER))
        .datagram_send_buffer_size(BUFFER)
        .keep_alive_interval(Some(KEEP_ALIVE))
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(IDLE_MS))));
    transport
}

/// Opens the socket that partners dial.
pub(super) fn listen(
    address: SocketAddr,
    desk: &Desk,
    sockets: &dyn Sockets,
    reset_key: &[u8],
) -> std::io::Result<quinn::Endpoint> {
    let config = tls::accepting_trunks(desk.federation.identity(), desk.writer.clock(), transport());
    sockets.listen(address, config.map_err(std::io::Error::other)?, reset_key)
}

/// Takes in partners that dial, until the returned future is dropped.
async fn accept(endpoint: &quinn::Endpoint, desk: &Arc<Desk>) {
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
    while let Some(incoming) = endpoint.accept().await {
        let Ok(permit) = handshakes.clone().acquire_owned().await else { return };
        let desk = desk.clone();
        tokio::spawn(async move {
            let connected = tokio::time::timeout(HANDSHAKE, async move { incoming.accept()?.await }).await;
            drop(permit);
            match connected {
                Ok(Ok(connection)) => admit(&desk, &connection).await,
                Ok(Err(error)) => tracing::debug!(%error, "a trunk was not accepted"),
                Err(_) => tracing::debug!("the handshake of a trunk took too long"),
            }
        });
    }
}

/// Serves a connection, if it is a partner's.
async fn admit(desk: &Desk, connection: &quinn::Connection) {
    let chain = connection.peer_identity().and_then(|i| i.downcast::<Vec<CertificateDer<'static>>>().ok());
    let chain = chain.map(|chain| *chain).unwrap_or_default();
    let caller = || peer_of(&desk.writer.snapshot(), &chain, desk.writer.clock().now());
    let own = || desk.federation.identity().generation();
    let generation = own();
    match caller() {
        Ok(peer) => {
            // Once this controller has a new CA, the partner is to look at it: only who has pinned it comes back.
            let is_same = || caller().is_ok_and(|now| now.party == peer.party && (now.may_buy || now.may_sell));
            let is_welcome = || is_same() && own() == generation;
            carry(&desk.relay, &desk.writer, peer.party, End::Accepted, connection, is_welcome).await;
        }
        Err(refusal) => {
            tracing::info!(from = %connection.remote_address(), why = %refusal.0, "a trunk was refused");
            connection.close(CLOSE_REFUSED.into(), b"not a partner");
        }
    }
}

async fn carry(
    relay: &Relay,
    writer: &Writer,
    partner: PartyId,
    end: End,
    connection: &quinn::Connection,
    is_welcome: impl Fn() -> bool,
) {
    let ask = |to: HostId| {
        let model = writer.snapshot();
        hop(&model, to).map(|hop| Word { hop, senders: heard(&model, partner, to) })
    };
    tracing::info!(%partner, ?end, from = %connection.remote_address(), "a trunk stands");
    relay.carry_trunk(partner, end, connection, ask, is_welcome).await;
}

/// What dials partners.
#[derive(Clone)]
pub struct Dialler {
    /// The model.
    pub writer: Writer,
    /// How partners are called.
    pub federation: Arc<Federation>,
    /// Where their packets go.
    pub relay: Arc<Relay>,
    /// The network.
    pub sockets: Arc<dyn Sockets>,
}

impl std::fmt::Debug for Dialler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dialler").finish_non_exhaustive()
    }
}

/// The trunks that are kept. They end with whoever holds them.
#[derive(Debug, Default)]
struct Kept(BTreeMap<PartyId, AbortHandle>);

impl Drop for Kept {
    fn drop(&mut self) {
        self.0.values().for_each(AbortHandle::abort);
    }
}

impl Dialler {
    /// Keeps a trunk to every partner at whom something is leased. Ends when the returned future is dropped.
    pub async fn run(self) {
        let mut kept = Kept::default();
        let mut models = self.writer.watch();
        loop {
            let model = models.borrow_and_update().clone();
            let (wanted, has_partners) = (trunks(&model), !model.partners.is_empty());
            drop(model);
            kept.0.retain(|partner, handle| {
                let goes_on = wanted.contains(partner);
                if !goes_on {
                    handle.abort();
                }
                goes_on
            });
            for partner in wanted {
                let dialler = &self;
                kept.0.entry(partner).or_insert_with(|| tokio::spawn(dialler.clone().keep(partner)).abort_handle());
            }
            if models.changed().await.is_err() {
                return;
            }
            if has_partners {
                // Leases come and go with every commit of a busy market: these are looked at together.
                tokio::time::sleep(LOOK).await;
            }
        }
    }

    /// Keeps a trunk to one partner.
    pub(super) async fn keep(self, partner: PartyId) {
        let (mut pause, mut last) = (PAUSE, String::new());
        loop {
            match self.dial(partner).await {
                Ok(lived) if lived >= PAUSE_MAX => pause = PAUSE,
                Ok(_) => {}
                // The same again and again is said once.
                Err(why) if why == last => tracing::debug!(%partner, why, "no trunk"),
                Err(why) => {
                    tracing::warn!(%partner, why, "there is no trunk to a partner: its hosts are reached straight only");
                    last = why;
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Dials once and serves the trunk until it ends; says for how long it stood.
    pub(super) async fn dial(&self, partner: PartyId) -> Result<Duration, String> {
        let route = self.federation.trunk(partner)?;
        let found = tokio::net::lookup_host(&route.address).await.map_err(|e| format!("{}: {e}", route.address))?;
        let mut why = format!("{}: no such address", route.address);
        for address in found {
            match self.connect(address, &route.config).await {
                Ok((_endpoint, connection)) => {
                    let began = Instant::now();
                    let closing = Closing(&connection);
                    let is_welcome = || self.federation.is_current(partner, &route);
                    carry(&self.relay, &self.writer, partner, End::Dialled, &connection, is_welcome).await;
                    drop(closing);
                    return Ok(began.elapsed());
                }
                Err(error) => why = format!("{address}: {error}"),
            }
        }
        Err(why)
    }

    async fn connect(
        &self,
        address: SocketAddr,
        config: &quinn::ClientConfig,
    ) -> Result<(quinn::Endpoint, quinn::Connection), String> {
        let endpoint = self.sockets.dial(address).map_err(|e| e.to_string())?;
        // The name in the certificate is checked by the settings; this one only fills the protocol's field.
        let connecting = endpoint.connect_with(config.clone(), address, SERVER_NAME).map_err(|e| e.to_string())?;
        match tokio::time::timeout(HANDSHAKE, connecting).await {
            Ok(connected) => connected.map(|c| (endpoint, c)).map_err(|e| e.to_string()),
            Err(_) => Err(format!("no answer over UDP in {} s", HANDSHAKE.as_secs())),
        }
    }
}

/// Closes a connection that nobody serves any more: nothing is leased there, or this controller stops.
struct Closing<'c>(&'c quinn::Connection);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.close(CLOSE_STOPPING.into(), b"no trunk is needed");
    }
}

/// How to dial a partner, and what that was made from.
pub(super) struct Route {
    address: String,
    config: quinn::ClientConfig,
    version: u64,
    generation: u64,
}

impl Federation {
    /// How the trunk to a partner is dialled now.
    fn trunk(&self, party: PartyId) -> Result<Route, String> {
        let generation = self.identity().generation();
        let model = self.writer.snapshot();
        let partner = model.partners.get(&party).filter(|p| is_seller(p)).ok_or("it does not sell here any more")?;
        let address = partner.address.clone().ok_or("it does not listen")?;
        let anchors = tls::Anchors::Pinned(partner.trust.clone());
        let config = tls::dialling_trunk(self.identity(), self.clock(), anchors, &partner.trust_domain, transport());
        let config = config.map_err(|e| e.to_string())?;
        Ok(Route { address, config, version: partner.version, generation })
    }

    /// Whether a trunk that was dialled like this would be dialled like this again.
    fn is_current(&self, party: PartyId, route: &Route) -> bool {
        let model = self.writer.snapshot();
        let known = model.partners.get(&party).is_some_and(|p| is_seller(p) && p.version == route.version);
        known && self.identity().generation() == route.generation
    }
}

fn is_seller(partner: &Partner) -> bool {
    partner.state == PartnerState::Active && partner.may_sell
}

/// Both the HTTPS listener's work and the trunk's, until `serving` is done; then whoever has dialled is told.
pub(super) async fn beside<T>(endpoint: quinn::Endpoint, desk: Arc<Desk>, serving: impl Future<Output = T>) -> T {
    let accepting = async {
        accept(&endpoint, &desk).await;
        std::future::pending::<()>().await;
    };
    let done = tokio::select! {
        biased;
        done = serving => done,
        () = accepting => return std::future::pending().await,
    };
    endpoint.close(CLOSE_STOPPING.into(), b"the controller is stopping");
    // Who does not answer is not waited for.
    let _ = tokio::time::timeout(STOPPING, endpoint.wait_idle()).await;
    done
}
