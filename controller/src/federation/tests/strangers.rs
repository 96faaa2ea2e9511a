//! Callers who are no partners: with no certificate, an agent's, somebody else's, or nonsense.

use std::sync::Arc;

use chandler_api::federation::Accept;
use chandler_protocol::HostId;
use quinn::crypto::rustls::QuicClientConfig;
use rcgen::KeyPair;
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsConnector;

use super::house::House;
use crate::federation::client::{CallError, FederationClient};
use crate::federation::identity::{Identity, Purpose};
use crate::federation::invitation::InvitationText;
use crate::federation::tls::{self, Anchors};
use crate::federation::trust::to_pem;
use crate::link::identity::SERVER_NAME;
use crate::link::provider;

/// Shows no certificate.
#[derive(Debug)]
struct Nobody;

impl rustls::client::ResolvesClientCert for Nobody {
    fn resolve(&self, _: &[&[u8]], _: &[rustls::SignatureScheme]) -> Option<Arc<rustls::sign::CertifiedKey>> {
        None
    }
    fn has_certs(&self) -> bool {
        false
    }
}

/// A caller of `house` who trusts it and shows `certificate`, or none.
fn caller(
    house: &House,
    certificate: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
) -> FederationClient {
    let federation = &house.api.federation;
    let own = federation.introduction();
    let anchors = Anchors::Pinned(own.trust);
    let clock = house.api.writer.clock();
    let mut tls = tls::calling(federation.identity(), clock, anchors, &own.trust_domain).unwrap();
    tls.client_auth_cert_resolver = match certificate {
        None => Arc::new(Nobody),
        Some((chain, key)) => {
            let key = rustls::sign::CertifiedKey::from_der(chain, key, &provider()).unwrap();
            Arc::new(rustls::sign::SingleCertAndKey::from(key))
        }
    };
    FederationClient::new("a", &house.address(), tls)
}

/// The certificate of one of a house's agents.
fn agent_of(house: &House) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let csr = rcgen::CertificateParams::default().serialize_request(&key).unwrap();
    let host = HostId::from_random([1; 10]);
    let issued = house.api.authority.issue_agent(host, csr.der(), house.now()).unwrap();
    let chain = vec![issued.certificate.into(), house.api.authority.ca().clone()];
    (chain, PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())))
}

/// A controller that nobody knows.
fn stranger(house: &House) -> FederationClient {
    FederationClient::new("a", &house.address(), stranger_settings(house))
}

pub(super) fn stranger_settings(house: &House) -> rustls::ClientConfig {
    let identity = Identity::ephemeral(house.now(), house.api.writer.random().clone()).unwrap();
    let own = house.api.federation.introduction();
    let anchors = Anchors::Pinned(own.trust);
    tls::calling(&Arc::new(identity), house.api.writer.clock(), anchors, &own.trust_domain).unwrap()
}

async fn standing(client: &FederationClient) -> Result<serde_json::Value, CallError> {
    client.get("standing").await
}

#[tokio::test]
async fn who_shows_no_certificate_or_an_agents_gets_nowhere() {
    let a = House::open().await;
    for certificate in [None, Some(agent_of(&a))] {
        let refused = standing(&caller(&a, certificate)).await.unwrap_err();
        assert_eq!(refused.code(), "E0415", "the handshake itself is broken off: {refused}");
    }
    // A controller's, of one that nobody invited.
    let stranger = stranger(&a);
    assert_eq!(standing(&stranger).await.unwrap_err().code(), "E0417");
    let unknown = stranger.get::<serde_json::Value>("nothing").await.unwrap_err();
    assert_eq!(unknown.code(), "E0130", "{unknown}");
}

/// The other way round: who may call as a partner is nobody to the agents' listener.
#[tokio::test]
async fn a_partners_certificate_is_good_for_nothing_else() {
    let (a, b) = (House::open().await, House::open().await);
    a.befriend(&b, "nova", "acme-cloud").await;
    for identity in [a.api.federation.identity(), b.api.federation.identity()] {
        let certified = identity.certified(Purpose::Calling, a.now()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(a.api.authority.ca().clone()).unwrap();
        let mut tls = rustls::ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(certified)));
        tls.alpn_protocols = vec![chandler_protocol::handshake::ALPN.to_vec()];
        let config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
        let endpoint = quinn::Endpoint::client(std::net::SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let refused = match endpoint.connect_with(config, a.quic, SERVER_NAME).unwrap().await {
            Ok(connection) => connection.closed().await.to_string(),
            Err(error) => error.to_string(),
        };
        assert!(refused.contains("certificate") || refused.contains("unknown"), "{refused}");
    }
}

/// Without the proof that the bundle is the caller's own, one partner could cut off another: two with one bundle cannot be
/// told apart.
#[tokio::test]
async fn nobody_becomes_a_partner_with_somebody_elses_bundle() {
    let (a, b, c) = (House::open().await, House::open().await, House::open().await);
    let invitation: InvitationText = a.invite("nova", &["buy"]).await.parse().unwrap();
    let accept = |bundle: String, address: Option<String>| Accept {
        secret: data_encoding::HEXLOWER.encode(&invitation.secret),
        bundle,
        address,
    };
    let stolen = to_pem(&c.api.federation.introduction().trust);
    let own = a.api.federation.introduction();
    let tls =
        tls::calling(b.api.federation.identity(), b.api.writer.clock(), Anchors::Pinned(own.trust), &own.trust_domain);
    let client = FederationClient::new("a", &a.address(), tls.unwrap());
    for (request, code) in [
        (accept(stolen.clone(), None), "E0420"),
        (accept(String::new(), None), "E0420"),
        (accept(to_pem(&b.api.federation.introduction().trust), Some("http://b".to_owned())), "E0111"),
        (Accept { secret: "00".to_owned(), ..accept(to_pem(&b.api.federation.introduction().trust), None) }, "E0411"),
    ] {
        let refused = client.post::<_, serde_json::Value>("accept", &request).await.unwrap_err();
        assert_eq!(refused.code(), code, "{refused}");
    }
    let flood = client.post::<_, serde_json::Value>("accept", &accept("x".repeat(5 << 20), None)).await.unwrap_err();
    assert!(["E0112", "E0415"].contains(&flood.code()), "told, or cut off while it still sends: {flood}");
    let anonymous = caller(&a, None).post::<_, serde_json::Value>("accept", &accept(stolen, None)).await.unwrap_err();
    assert_eq!(anonymous.code(), "E0415", "{anonymous}");
    assert_eq!(a.get("partners/nova").await.unwrap()["state"], "invited");
}

#[tokio::test]
async fn nonsense_and_crowds_do_not_keep_partners_out() {
    let (a, b) = (House::open().await, House::open().await);
    a.befriend(&b, "nova", "acme-cloud").await;
    let mut plain = tokio::net::TcpStream::connect(a.address()).await.unwrap();
    plain.write_all(b"GET /federation/v1/standing HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    // An alert of TLS at most, and the end.
    let _ = plain.read_to_end(&mut answer).await;
    assert!(!String::from_utf8_lossy(&answer).contains("HTTP"), "{answer:?}");

    // More strangers than there is room for, each with an open connection.
    let connector = TlsConnector::from(Arc::new(stranger_settings(&a)));
    let mut crowd = Vec::new();
    for _ in 0..40 {
        let stream = tokio::net::TcpStream::connect(a.address()).await.unwrap();
        crowd.push(connector.connect(ServerName::try_from("a").unwrap(), stream).await.unwrap());
    }
    // Many that say nothing at all.
    let mut silent = Vec::new();
    for _ in 0..60 {
        silent.push(tokio::net::TcpStream::connect(a.address()).await.unwrap());
    }
    assert!(b.standing_at("acme-cloud").await.is_ok());
}
