//! Packets between hosts of one controller, and between those of two.

use std::net::SocketAddr;

use super::*;
use crate::link::relay::trunk::TrunkCounts;

const SOON: Duration = Duration::from_secs(5);

fn id(n: u8) -> HostId {
    HostId::from_random([n; ID_BYTES])
}

fn endpoint() -> (quinn::Endpoint, quinn::ClientConfig, SocketAddr) {
    let made = rcgen::generate_simple_self_signed(vec!["relay".into()]).unwrap();
    let certificate = made.cert.der().clone();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()).into();
    let mut tls = rustls::ServerConfig::builder_with_provider(super::super::tls::provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    tls.alpn_protocols = vec![chandler_protocol::tunnel::RELAY_ALPN.to_vec()];
    let crypto = quinn::crypto::rustls::QuicServerConfig::try_from(tls).unwrap();
    let server = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    let endpoint = quinn::Endpoint::server(server, "127.0.0.1:0".parse().unwrap()).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).unwrap();
    let mut tls = rustls::ClientConfig::builder_with_provider(super::super::tls::provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![chandler_protocol::tunnel::RELAY_ALPN.to_vec()];
    let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(tls).unwrap();
    let address = endpoint.local_addr().unwrap();
    (endpoint, quinn::ClientConfig::new(Arc::new(crypto)), address)
}

/// Connects as a host; `may` says to whom it may talk.
async fn join(relay: &Arc<Relay>, host: HostId, may: &'static [u8]) -> quinn::Connection {
    let (endpoint, config, address) = endpoint();
    let relay_too = relay.clone();
    tokio::spawn(async move {
        let connection = endpoint.accept().await.unwrap().await.unwrap();
        let may = || may.iter().map(|n| (id(*n), [Hop::Here].into())).collect();
        relay_too.carry(host, &connection, may, || true).await;
    });
    let client = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let connection = client.connect_with(config, address, "relay").unwrap().await.unwrap();
    while !relay.lines().contains_key(&host) {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    connection
}

fn packet(to: HostId, what: &[u8]) -> Bytes {
    [to.as_bytes().as_slice(), what].concat().into()
}

#[tokio::test]
async fn packets_go_to_whom_they_may_and_bear_the_sender_who_was_proved() {
    let relay = Arc::new(Relay::default());
    let a = join(&relay, id(1), &[2, 9]).await;
    let b = join(&relay, id(2), &[1]).await;
    let c = join(&relay, id(3), &[]).await;
    // Whatever c claims, nothing of it arrives.
    c.send_datagram(packet(id(2), b"psst")).unwrap();
    c.send_datagram(Bytes::from_static(b"short")).unwrap();
    // Nobody has this id.
    a.send_datagram(packet(id(9), b"anybody?")).unwrap();
    a.send_datagram(packet(id(2), b"hello")).unwrap();
    let heard = tokio::time::timeout(SOON, b.read_datagram()).await.unwrap().unwrap();
    assert_eq!(heard, packet(id(1), b"hello"));
    b.send_datagram(packet(id(1), b"hello yourself")).unwrap();
    let heard = tokio::time::timeout(SOON, a.read_datagram()).await.unwrap().unwrap();
    assert_eq!(heard, packet(id(2), b"hello yourself"));
    while relay.counts.lost.load(Ordering::Relaxed) == 0 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(relay.counts.forwarded.load(Ordering::Relaxed), 2);
    // A newer connection of the same host takes its place.
    let again = join(&relay, id(2), &[1]).await;
    tokio::time::timeout(SOON, b.closed()).await.unwrap();
    a.send_datagram(packet(id(2), b"there?")).unwrap();
    assert_eq!(tokio::time::timeout(SOON, again.read_datagram()).await.unwrap().unwrap(), packet(id(1), b"there?"));
}

const ALPHA: PartyId = PartyId::from_random([201; 10]);
const BETA: PartyId = PartyId::from_random([202; 10]);

/// The relays of alpha, a buyer with host 1, and of beta, a seller with the hosts 2 and 3.
struct Two {
    alpha: Arc<Relay>,
    beta: Arc<Relay>,
    /// What beta is sent by, past every check of alpha's.
    trunk: quinn::Connection,
    welcome: Arc<std::sync::atomic::AtomicBool>,
}

/// `mtu` is what the way between both takes at first.
async fn two(mtu: u16) -> Two {
    let (alpha, beta) = (Arc::new(Relay::default()), Arc::new(Relay::default()));
    let welcome = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let (endpoint, mut config, address) = endpoint();
    let mut transport = quinn::TransportConfig::default();
    transport.initial_mtu(mtu).mtu_discovery_config(None);
    config.transport_config(Arc::new(transport));
    let (seller, asked) = (beta.clone(), welcome.clone());
    tokio::spawn(async move {
        let connection = endpoint.accept().await.unwrap().await.unwrap();
        // Alpha has leased the second host for its first, and has a host at a third partner's.
        let ask = |to: HostId| {
            let hop = |n: u8| if n == 4 { Hop::Partner(BETA) } else { Hop::Here };
            let n = (2..=4).find(|n| id(*n) == to)?;
            Some(Word { hop: hop(n), senders: if n == 3 { BTreeSet::new() } else { [id(1)].into() } })
        };
        let is_welcome = || asked.load(Ordering::Relaxed);
        seller.carry_trunk(ALPHA, End::Accepted, &connection, ask, is_welcome).await;
    });
    let client = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let connection = client.connect_with(config, address, "relay").unwrap().await.unwrap();
    let (buyer, trunk) = (alpha.clone(), connection.clone());
    tokio::spawn(async move {
        let ask = |to: HostId| (to == id(1)).then(|| Word { hop: Hop::Here, senders: [id(2)].into() });
        buyer.carry_trunk(BETA, End::Dialled, &connection, ask, || true).await;
    });
    let two = Two { alpha, beta, trunk, welcome };
    two.until(|two| two.alpha.trunk_counts(BETA).is_up && two.beta.trunk_counts(ALPHA).is_up).await;
    two
}

impl Two {
    async fn until(&self, is_so: impl Fn(&Self) -> bool) {
        let waiting = async {
            while !is_so(self) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let counts = || (self.alpha.trunk_counts(BETA), self.beta.trunk_counts(ALPHA));
        tokio::time::timeout(SOON, waiting).await.unwrap_or_else(|_| panic!("{:?}", counts()));
    }
}

/// A host with a line to one of two relays, which sends to hosts at another partner's.
async fn join_far(relay: &Arc<Relay>, host: HostId, to: HostId, partner: PartyId) -> quinn::Connection {
    let (endpoint, config, address) = endpoint();
    let relay_too = relay.clone();
    tokio::spawn(async move {
        let connection = endpoint.accept().await.unwrap().await.unwrap();
        let may = || [(to, [Hop::Partner(partner)].into())].into();
        relay_too.carry(host, &connection, may, || true).await;
    });
    let client = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let connection = client.connect_with(config, address, "relay").unwrap().await.unwrap();
    while !relay.lines().contains_key(&host) {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    connection
}

fn trunked(from: HostId, to: HostId, what: &[u8]) -> Bytes {
    [from.as_bytes().as_slice(), to.as_bytes(), what].concat().into()
}

async fn heard(connection: &quinn::Connection) -> Bytes {
    tokio::time::timeout(SOON, connection.read_datagram()).await.unwrap().unwrap()
}

#[tokio::test]
async fn packets_go_over_both_relays_and_back() {
    let two = two(1_280).await;
    let laptop = join_far(&two.alpha, id(1), id(2), BETA).await;
    let server = join_far(&two.beta, id(2), id(1), ALPHA).await;
    laptop.send_datagram(packet(id(2), b"hello")).unwrap();
    assert_eq!(heard(&server).await, packet(id(1), b"hello"));
    // A whole packet of a tunnel fits at once.
    assert!(two.alpha.trunk_counts(BETA).is_wide);
    server.send_datagram(packet(id(1), b"hello yourself")).unwrap();
    assert_eq!(heard(&laptop).await, packet(id(2), b"hello yourself"));
    let expect = TrunkCounts { is_up: true, is_wide: true, sent: 1, received: 1, refused: 0, lost: 0 };
    assert_eq!(two.alpha.trunk_counts(BETA), expect);
}

#[tokio::test]
async fn what_a_partner_may_not_say_arrives_nowhere_and_is_counted() {
    let two = two(1_280).await;
    let server = join(&two.beta, id(2), &[]).await;
    let idle = join(&two.beta, id(3), &[]).await;
    let hostile = [
        // Somebody whom alpha did not name, one of beta's own hosts among them.
        trunked(id(9), id(2), b"psst"),
        trunked(id(3), id(2), b"psst"),
        // A host that alpha has not leased, and one that does not exist.
        trunked(id(1), id(3), b"psst"),
        trunked(id(1), id(8), b"psst"),
    ];
    for datagram in &hostile {
        two.trunk.send_datagram(datagram.clone()).unwrap();
    }
    two.until(|two| two.beta.trunk_counts(ALPHA).refused == 4).await;
    // Too short for two ids, without a packet, or to a partner that there is no trunk to.
    for datagram in [Bytes::from_static(b""), Bytes::from_static(b"short"), trunked(id(1), id(2), b"")] {
        two.trunk.send_datagram(datagram).unwrap();
    }
    two.trunk.send_datagram(trunked(id(1), id(4), b"onward")).unwrap();
    two.until(|two| two.beta.trunk_counts(ALPHA).lost == 4).await;
    assert_eq!(two.beta.trunk_counts(BETA).lost, 1);
    two.trunk.send_datagram(trunked(id(1), id(2), b"allowed")).unwrap();
    assert_eq!(heard(&server).await, packet(id(1), b"allowed"), "and it is the first that arrives");
    assert!(tokio::time::timeout(Duration::from_millis(50), idle.read_datagram()).await.is_err());
}

#[tokio::test]
async fn what_does_not_fit_or_has_nowhere_to_go_is_counted() {
    let two = two(1_200).await;
    let laptop = join_far(&two.alpha, id(1), id(2), BETA).await;
    let line = || laptop.max_datagram_size().unwrap_or(0);
    while line() < 1_200 + ID_BYTES {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    laptop.send_datagram(packet(id(2), &[7; 1_200])).unwrap();
    two.until(|two| two.alpha.trunk_counts(BETA).lost == 1).await;
    assert!(!two.alpha.trunk_counts(BETA).is_wide);
    // It fits, and its host is not connected.
    laptop.send_datagram(packet(id(2), b"small")).unwrap();
    two.until(|two| two.beta.trunk_counts(ALPHA).lost == 1).await;
    assert_eq!(two.beta.trunk_counts(ALPHA).received, 0);
}

#[tokio::test]
async fn a_partner_that_is_not_welcome_any_more_is_cut_off_and_a_newer_trunk_takes_the_place_of_an_older() {
    let two = two(1_280).await;
    two.welcome.store(false, Ordering::Relaxed);
    tokio::time::timeout(SOON, two.trunk.closed()).await.unwrap();
    two.until(|two| !two.alpha.trunk_counts(BETA).is_up && !two.beta.trunk_counts(ALPHA).is_up).await;
    let laptop = join_far(&two.alpha, id(1), id(2), BETA).await;
    laptop.send_datagram(packet(id(2), b"anybody?")).unwrap();
    two.until(|two| two.alpha.trunk_counts(BETA).lost == 1).await;

    let open = async |relay: &Arc<Relay>| {
        let (endpoint, config, address) = endpoint();
        let relay = relay.clone();
        tokio::spawn(async move {
            let connection = endpoint.accept().await.unwrap().await.unwrap();
            relay.carry_trunk(ALPHA, End::Accepted, &connection, |_| None, || true).await;
        });
        let client = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        client.connect_with(config, address, "relay").unwrap().await.unwrap()
    };
    let older = open(&two.beta).await;
    two.until(|two| two.beta.trunk_counts(ALPHA).is_up).await;
    let newer = open(&two.beta).await;
    tokio::time::timeout(SOON, older.closed()).await.unwrap();
    assert!(newer.close_reason().is_none() && two.beta.trunk_counts(ALPHA).is_up);
}
