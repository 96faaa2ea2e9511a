//! Tunnels where no address works: through a relay between real sockets, end to end encrypted, and straight again as soon
//! as that is possible.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use chandler_protocol::HostId;
use chandler_protocol::id::ID_BYTES;
use chandler_protocol::tunnel::RELAY_ALPN;
use chandler_protocol::way::{Grant, Path};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::OpenError;
use super::testing::{Agent, SOON, echo, port, says_back, server, until};
use crate::link::bulk::Route;
use crate::link::transport;
use crate::sync::lock;
use crate::tls::{SERVER_NAME, provider};

/// A relay that knows who is at each of its sockets. It keeps what it sees.
#[derive(Default)]
struct Relay {
    lines: Mutex<BTreeMap<HostId, quinn::Connection>>,
    seen: Mutex<Vec<Bytes>>,
    refuses: AtomicBool,
}

impl Relay {
    /// How `host` reaches it.
    fn route(self: &Arc<Self>, host: HostId) -> Route {
        let made = rcgen::generate_simple_self_signed(vec![SERVER_NAME.into()]).unwrap();
        let certificate = made.cert.der().clone();
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()).into();
        let tls13 = [&rustls::version::TLS13];
        let tls = rustls::ServerConfig::builder_with_provider(provider()).with_protocol_versions(&tls13).unwrap();
        let mut tls = tls.with_no_client_auth().with_single_cert(vec![certificate.clone()], key).unwrap();
        tls.alpn_protocols = vec![RELAY_ALPN.to_vec()];
        let crypto = quinn::crypto::rustls::QuicServerConfig::try_from(tls).unwrap();
        let mut config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
        config.transport_config(Arc::new(transport::relay()));
        let endpoint = quinn::Endpoint::server(config, "127.0.0.1:0".parse().unwrap()).unwrap();
        let address = endpoint.local_addr().unwrap();
        let relay = self.clone();
        tokio::spawn(async move {
            while let Some(incoming) = endpoint.accept().await {
                let connection = incoming.await.unwrap();
                lock(&relay.lines).insert(host, connection.clone());
                while let Ok(datagram) = connection.read_datagram().await {
                    relay.forward(host, &datagram);
                }
            }
        });
        let mut roots = rustls::RootCertStore::empty();
        roots.add(certificate).unwrap();
        let tls = rustls::ClientConfig::builder_with_provider(provider()).with_protocol_versions(&tls13).unwrap();
        let mut tls = tls.with_root_certificates(roots).with_no_client_auth();
        tls.alpn_protocols = vec![RELAY_ALPN.to_vec()];
        let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(tls).unwrap();
        let mut config = quinn::ClientConfig::new(Arc::new(crypto));
        config.transport_config(Arc::new(transport::relay()));
        let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        Route { endpoint, address, relay: config.clone(), config }
    }

    fn forward(&self, from: HostId, datagram: &Bytes) {
        if self.refuses.load(Ordering::Relaxed) {
            return;
        }
        lock(&self.seen).push(datagram.clone());
        let to = HostId::from_random(datagram[..ID_BYTES].try_into().unwrap());
        let onward = [from.as_bytes().as_slice(), &datagram[ID_BYTES..]].concat();
        if let Some(line) = lock(&self.lines).get(&to) {
            let _ = line.send_datagram(onward.into());
        }
    }
}

/// Two agents that know each other's keys but no address, and a relay that both reach.
async fn cut_off() -> (Agent, Agent, Arc<Relay>) {
    let (a, b, relay) = (Agent::start(1).await, Agent::start(2).await, Arc::new(Relay::default()));
    for (one, other) in [(&a, &b), (&b, &a)] {
        one.tunnels.set_grants(&[Grant { addresses: Vec::new(), relay: true, ..other.grant() }]);
        one.tunnels.set_controller(relay.route(one.id));
    }
    until("both reach the relay", || lock(&relay.lines).len() == 2).await;
    (a, b, relay)
}

#[tokio::test]
async fn without_a_straight_path_a_relay_carries_what_it_cannot_read() {
    let (a, b, relay) = cut_off().await;
    b.serve("web", echo().await);
    let mut stream = a.tunnels.open(b.id, &port("web")).await.unwrap();
    says_back(&mut stream, "a secret of two hosts").await;
    assert_eq!(a.path_to(&b), Some(Path::Relayed));
    until("b knows too", || b.path_to(&a) == Some(Path::Relayed)).await;
    let seen = lock(&relay.seen).concat();
    assert!(seen.len() > 1_200, "it went through the relay");
    assert!(!seen.windows(6).any(|w| w == b"secret"), "the relay could read it");
}

#[tokio::test]
async fn bulk_goes_through_a_relay_and_arrives_whole() {
    const SIZE: usize = 8 << 20;
    let (a, b, _relay) = cut_off().await;
    let source = server(|mut stream| async move {
        let block: Vec<u8> = (0..SIZE).map(|n| (n / 7 % 251) as u8).collect();
        stream.write_all(&block).await.unwrap();
        stream.shutdown().await.unwrap();
    });
    b.serve("bulk", source.await);
    let mut stream = a.tunnels.open(b.id, &port("bulk")).await.unwrap();
    let (mut heard, begun) = (Vec::new(), Instant::now());
    tokio::time::timeout(SOON * 6, stream.read_to_end(&mut heard)).await.expect("an end").unwrap();
    assert!(heard.len() == SIZE && heard.iter().enumerate().all(|(n, b)| *b == (n / 7 % 251) as u8));
    println!("bulk through a relay: {:.0} MiB/s", SIZE as f64 / 1_048_576.0 / begun.elapsed().as_secs_f64());
}

#[tokio::test]
async fn a_straight_path_that_comes_up_is_used_by_new_streams_and_old_ones_go_on() {
    let (a, b, relay) = cut_off().await;
    b.serve("web", echo().await);
    let mut relayed = a.tunnels.open(b.id, &port("web")).await.unwrap();
    says_back(&mut relayed, "around").await;
    // Its address becomes known.
    a.tunnels.set_grants(&[Grant { relay: true, ..b.grant() }]);
    until("it is reached straight", || a.path_to(&b) == Some(Path::Direct)).await;
    says_back(&mut relayed, "still around").await;
    let mut straight = a.tunnels.open(b.id, &port("web")).await.unwrap();
    relay.refuses.store(true, Ordering::Relaxed);
    says_back(&mut straight, "straight").await;
}

#[tokio::test]
async fn an_address_that_does_not_work_costs_little_where_there_is_a_relay() {
    let (a, b, _relay) = cut_off().await;
    b.serve("web", echo().await);
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    a.tunnels.set_grants(&[Grant { relay: true, addresses: vec![silent.local_addr().unwrap()], ..b.grant() }]);
    let begun = Instant::now();
    says_back(&mut a.tunnels.open(b.id, &port("web")).await.unwrap(), "around").await;
    assert!(begun.elapsed() < Duration::from_secs(2), "took {:?}", begun.elapsed());
    assert_eq!(a.path_to(&b), Some(Path::Relayed));
}

#[tokio::test]
async fn a_relay_that_refuses_is_no_path_and_says_so() {
    let (a, b, relay) = cut_off().await;
    b.serve("web", echo().await);
    relay.refuses.store(true, Ordering::Relaxed);
    let refused = a.tunnels.open(b.id, &port("web")).await.unwrap_err();
    assert!(matches!(&refused, OpenError::NoPath(why) if why.contains("relay")), "{refused}");
    assert_eq!(a.path_to(&b), Some(Path::None));
    // A stranger behind the relay is not let in: the key decides, not the way.
    relay.refuses.store(false, Ordering::Relaxed);
    a.tunnels.set_grants(&[Grant { key: [9; 32], addresses: Vec::new(), relay: true, ..b.grant() }]);
    assert!(matches!(a.tunnels.open(b.id, &port("web")).await, Err(OpenError::NoPath(_))));
}

#[tokio::test]
async fn without_a_grant_that_needs_it_nobody_is_at_the_relay() {
    let (a, b, relay) = cut_off().await;
    a.tunnels.set_grants(&[b.grant()]);
    let line = lock(&relay.lines).get(&a.id).cloned().unwrap();
    tokio::time::timeout(SOON, line.closed()).await.expect("it leaves");
}
