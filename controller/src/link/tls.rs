//! TLS and transport settings of the agent listener. The crypto provider is chosen in one place.

use std::sync::Arc;
use std::time::Duration;

use chandler_protocol::world::Clock;
use chandler_protocol::{artifact, handshake, join, tunnel};
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{IdleTimeout, TransportConfig, VarInt};
use rustls::RootCertStore;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::time_provider::TimeProvider;

use super::identity::{Authority, IdentityError};

/// Streams that a peer may have open at once: quinn pays memory for each that is allowed.
const STREAMS: u32 = 8;
/// A connection without any packet for this long is closed. Liveness is decided by heartbeats, not by this.
const IDLE: Duration = Duration::from_secs(90);
/// Bytes that a peer may send ahead on one stream.
const STREAM_WINDOW: u32 = 1 << 20;
/// Bytes that a peer may send ahead on one connection.
const CONNECTION_WINDOW: u32 = 4 << 20;

/// Bytes of datagrams that wait at either end of a connection: only the relay's has any.
const DATAGRAMS: usize = 512 << 10;

/// The one crypto provider.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// Certificates are judged by the injected clock.
pub(crate) struct Clocked(pub(crate) Arc<dyn Clock>);

impl std::fmt::Debug for Clocked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Clocked")
    }
}

impl TimeProvider for Clocked {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = u64::try_from(self.0.now().0 / 1_000_000).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
    }
}

/// Settings of the listener: TLS 1.3 only, no early data; a client certificate is asked for and checked against our
/// CA when given. Who gives none may do nothing but join.
pub(super) fn server_config(
    authority: &Authority,
    clock: &Arc<dyn Clock>,
) -> Result<quinn::ServerConfig, IdentityError> {
    let broken = |e: &dyn std::fmt::Display| IdentityError::Io(std::io::Error::other(e.to_string()));
    let mut roots = RootCertStore::empty();
    roots.add(authority.ca().clone()).map_err(|e| broken(&e))?;
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
        .allow_unauthenticated()
        .build()
        .map_err(|e| broken(&e))?;
    let verifier = Arc::new(LateRenewal(verifier));
    let (chain, key) = authority.server(clock.now())?;
    let mut tls = rustls::ServerConfig::builder_with_details(provider(), Arc::new(Clocked(clock.clone())))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|e| broken(&e))?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .map_err(|e| broken(&e))?;
    tls.alpn_protocols = [handshake::ALPN, artifact::ALPN, join::ALPN, tunnel::RELAY_ALPN].map(<[u8]>::to_vec).to_vec();
    let quic = QuicServerConfig::try_from(tls).map_err(|e| broken(&e))?;
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(quic));
    config.transport_config(Arc::new(transport()));
    config.max_incoming(4_096).incoming_buffer_size(64 << 10).incoming_buffer_size_total(64 << 20);
    Ok(config)
}

/// How long after its end a certificate still lets its agent in, to renew it with the same key. An agent that slept over
/// a holiday, or a fleet whose controller was down for long, must come back by itself. What makes this safe is checked at
/// every connection: the key is the one on record, and its identity was not revoked.
const RENEWAL_GRACE: Duration = Duration::from_secs(90 * 86_400);

/// Checks client certificates as the TLS library does, and one that has ended as of its last moment.
#[derive(Debug)]
struct LateRenewal(Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for LateRenewal {
    fn root_hint_subjects(&self) -> &[rustls::DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.0.client_auth_mandatory()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let judged = self.0.verify_client_cert(end_entity, intermediates, now);
        match (judged, end_of(end_entity)) {
            (Err(_), Some(end)) if end < now && now.as_secs() - end.as_secs() <= RENEWAL_GRACE.as_secs() => {
                self.0.verify_client_cert(end_entity, intermediates, end)
            }
            (judged, _) => judged,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// The last moment at which a certificate is valid.
fn end_of(certificate: &CertificateDer<'_>) -> Option<UnixTime> {
    use x509_parser::prelude::{FromDer, X509Certificate};
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let seconds = u64::try_from(parsed.validity().not_after.timestamp()).ok()?;
    Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
}

fn transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(STREAMS))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW))
        .send_window(8 << 20)
        .datagram_receive_buffer_size(Some(DATAGRAMS))
        .datagram_send_buffer_size(DATAGRAMS)
        .max_idle_timeout(IdleTimeout::try_from(IDLE).ok());
    transport
}
