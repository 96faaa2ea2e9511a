//! The relay: where two agents find no straight way to each other, packets of their tunnel go through the controller.
//!
//! Each datagram of an agent's relay connection is the id of a host and a packet; it goes on with the id of the sender,
//! which the sender's certificate names. The packets are the tunnel's own QUIC, encrypted between the agents: the relay
//! can lose them, nothing else. It holds nothing back for anybody: what a connection cannot take in time is lost, and the
//! tunnel sends it again, slower. It serves the agents that are connected to this controller.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use chandler_engine::fleet::HostState;
use chandler_engine::model::Model;
use chandler_engine::way;
use chandler_protocol::HostId;
use chandler_protocol::id::ID_BYTES;
use tokio::time::Instant;

use super::listener::Shared;
use super::session::{CLOSE_REFUSED, CLOSE_REPLACED, authenticate};

/// How long what the model says of a sender is believed.
const BELIEVED: Duration = Duration::from_secs(1);
/// How soon the model is asked again about a host that a sender may not talk to: a grant may have come just now, and a
/// sender that names anybody shall not keep the controller busy.
const DOUBTED: Duration = Duration::from_millis(100);

/// The agents that can be reached through this controller.
#[derive(Debug, Default)]
pub(super) struct Relay {
    lines: Mutex<BTreeMap<HostId, quinn::Connection>>,
    counts: Counts,
}

/// What became of the packets.
#[derive(Debug, Default)]
struct Counts {
    /// Handed on.
    forwarded: AtomicU64,
    /// For a host that the sender may not talk to.
    refused: AtomicU64,
    /// For a host that is not connected, or too large for its path, or no packet at all.
    lost: AtomicU64,
}

/// To whom one sender may talk, as it was a moment ago.
struct Allowed<F> {
    ask: F,
    hosts: BTreeSet<HostId>,
    at: Option<Instant>,
}

impl<F: Fn() -> BTreeSet<HostId>> Allowed<F> {
    fn new(ask: F) -> Self {
        Self { ask, hosts: BTreeSet::new(), at: None }
    }

    fn may_talk_to(&mut self, host: HostId, now: Instant) -> bool {
        let life = if self.hosts.contains(&host) { BELIEVED } else { DOUBTED };
        if self.at.is_none_or(|at| now.saturating_duration_since(at) >= life) {
            (self.hosts, self.at) = ((self.ask)(), Some(now));
        }
        self.hosts.contains(&host)
    }
}

/// Serves one agent's relay connection until it ends.
pub(super) async fn serve(connection: quinn::Connection, shared: Arc<Shared>, relay: Arc<Relay>) {
    let Some(host) = authenticate(&connection, &shared) else { return };
    let may = || {
        let grants = way::grants(&shared.writer.snapshot(), host);
        grants.into_iter().filter(|g| g.relay).map(|g| g.peer).collect()
    };
    let is_welcome = || !is_revoked(&shared.writer.snapshot(), host);
    relay.carry(host, &connection, may, is_welcome).await;
}

impl Relay {
    /// Hands on what `host` sends to those that it may talk to, as long as it is welcome itself.
    async fn carry(
        &self,
        host: HostId,
        connection: &quinn::Connection,
        may: impl Fn() -> BTreeSet<HostId>,
        is_welcome: impl Fn() -> bool,
    ) {
        if let Some(old) = self.lines().insert(host, connection.clone()) {
            old.close(CLOSE_REPLACED, b"replaced by a newer connection");
        }
        let mut allowed = Allowed::new(may);
        let mut look = tokio::time::interval(BELIEVED);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                _ = look.tick() => if !is_welcome() {
                    connection.close(CLOSE_REFUSED, b"revoked");
                },
                datagram = connection.read_datagram() => match datagram {
                    Ok(datagram) => self.forward(host, datagram, &mut allowed),
                    Err(_) => break,
                }
            }
        }
        let mut lines = self.lines();
        if lines.get(&host).is_some_and(|l| l.stable_id() == connection.stable_id()) {
            lines.remove(&host);
        }
        drop(lines);
        let [forwarded, refused, lost] =
            [&self.counts.forwarded, &self.counts.refused, &self.counts.lost].map(|n| n.load(Ordering::Relaxed));
        tracing::debug!(%host, forwarded, refused, lost, "a relay connection ended; packets of all hosts so far");
    }

    fn forward<F: Fn() -> BTreeSet<HostId>>(&self, from: HostId, datagram: Bytes, allowed: &mut Allowed<F>) {
        let Some((id, packet)) = datagram.split_first_chunk::<ID_BYTES>() else { return count(&self.counts.lost) };
        let to = HostId::from_random(*id);
        if !allowed.may_talk_to(to, Instant::now()) {
            return count(&self.counts.refused);
        }
        let line = self.lines().get(&to).cloned();
        let mut onward = BytesMut::with_capacity(datagram.len());
        onward.put_slice(from.as_bytes());
        onward.put_slice(packet);
        // A full buffer loses its oldest packet by itself.
        match line.map(|l| l.send_datagram(onward.freeze())) {
            Some(Ok(())) => count(&self.counts.forwarded),
            Some(Err(_)) | None => count(&self.counts.lost),
        }
    }

    fn lines(&self) -> MutexGuard<'_, BTreeMap<HostId, quinn::Connection>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

fn is_revoked(model: &Model, host: HostId) -> bool {
    model.hosts.get(&host).is_none_or(|h| h.state == HostState::Revoked)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

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
            let may = || may.iter().map(|n| id(*n)).collect();
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

    #[test]
    fn a_grant_that_comes_or_goes_is_noticed_and_a_sender_that_names_anybody_asks_for_little() {
        let (asked, granted) = (std::cell::Cell::new(0), std::cell::Cell::new(true));
        let mut allowed = Allowed::new(|| {
            asked.set(asked.get() + 1);
            granted.get().then(|| id(2)).into_iter().collect()
        });
        let now = Instant::now();
        assert!(allowed.may_talk_to(id(2), now));
        for n in 3..=u8::MAX {
            assert!(!allowed.may_talk_to(id(n), now));
        }
        assert_eq!(asked.get(), 1);
        granted.set(false);
        assert!(!allowed.may_talk_to(id(2), now + BELIEVED), "it was taken back");
        granted.set(true);
        assert!(allowed.may_talk_to(id(2), now + BELIEVED + DOUBTED), "it came back");
    }
}
