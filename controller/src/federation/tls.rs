//! TLS between controllers: 1.3 only, no resumption, both sides with a certificate.
//!
//! The listener takes any well-formed client certificate whose key the caller has; whose it is, is judged at every call
//! against the partners of that moment, so that a suspension holds for connections that are open already.

use std::sync::Arc;

use chandler_protocol::tunnel::TRUNK_ALPN;
use chandler_protocol::world::Clock;
use quinn::TransportConfig;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, Resumption, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, NoServerSessionStorage, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

use super::identity::{Identity, Purpose};
use super::trust::{anchors, domain_of, sha256};
use crate::link::{Clocked, provider};

/// ALPN of both sides: an agent's connection, or a browser's HTTP/2, is none of this.
const ALPN: &[u8] = b"http/1.1";
/// Trunks that wait for their handshake to begin; further ones are turned away by QUIC.
const INCOMING: usize = 256;
/// Most certificates of a chain.
const CHAIN_MAX: usize = 4;

/// What a server's chain must lead to.
#[derive(Debug, Clone)]
pub enum Anchors {
    /// One of these CA certificates.
    Pinned(Vec<Vec<u8>>),
    /// The CA certificate with this SHA-256, which the server shows: as an invitation names it.
    Fingerprint([u8; 32]),
}

/// Settings of the listener.
///
/// # Errors
/// The TLS library cannot be set up so.
pub fn listening(identity: &Arc<Identity>, clock: &Arc<dyn Clock>) -> Result<rustls::ServerConfig, Error> {
    let certificates = Own { identity: identity.clone(), clock: clock.clone(), purpose: Purpose::Serving };
    let mut tls = rustls::ServerConfig::builder_with_details(provider(), Arc::new(Clocked(clock.clone())))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(Arc::new(AnyCaller(provider())))
        .with_cert_resolver(Arc::new(certificates));
    tls.alpn_protocols = vec![ALPN.to_vec()];
    tls.session_storage = Arc::new(NoServerSessionStorage {});
    tls.send_tls13_tickets = 0;
    Ok(tls)
}

/// Settings for calling one partner.
///
/// # Errors
/// The TLS library cannot be set up so.
pub fn calling(
    identity: &Arc<Identity>,
    clock: &Arc<dyn Clock>,
    anchors: Anchors,
    trust_domain: &str,
) -> Result<rustls::ClientConfig, Error> {
    let verifier = OnePartner { anchors, trust_domain: trust_domain.to_owned(), provider: provider() };
    let certificates = Own { identity: identity.clone(), clock: clock.clone(), purpose: Purpose::Calling };
    let mut tls = rustls::ClientConfig::builder_with_details(provider(), Arc::new(Clocked(clock.clone())))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_cert_resolver(Arc::new(certificates));
    tls.alpn_protocols = vec![ALPN.to_vec()];
    tls.resumption = Resumption::disabled();
    Ok(tls)
}

/// Settings of the trunk's listener: the same certificates and callers as for HTTPS, over QUIC.
pub(super) fn accepting_trunks(
    identity: &Arc<Identity>,
    clock: &Arc<dyn Clock>,
    transport: TransportConfig,
) -> Result<quinn::ServerConfig, Error> {
    let mut tls = listening(identity, clock)?;
    tls.alpn_protocols = vec![TRUNK_ALPN.to_vec()];
    let quic = QuicServerConfig::try_from(tls).map_err(|e| Error::General(e.to_string()))?;
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(quic));
    config.transport_config(Arc::new(transport));
    config.max_incoming(INCOMING).incoming_buffer_size(64 << 10).incoming_buffer_size_total(4 << 20);
    Ok(config)
}

/// Settings for dialling the trunk to one partner.
pub(super) fn dialling_trunk(
    identity: &Arc<Identity>,
    clock: &Arc<dyn Clock>,
    anchors: Anchors,
    trust_domain: &str,
    transport: TransportConfig,
) -> Result<quinn::ClientConfig, Error> {
    let mut tls = calling(identity, clock, anchors, trust_domain)?;
    tls.alpn_protocols = vec![TRUNK_ALPN.to_vec()];
    let quic = QuicClientConfig::try_from(tls).map_err(|e| Error::General(e.to_string()))?;
    let mut config = quinn::ClientConfig::new(Arc::new(quic));
    config.transport_config(Arc::new(transport));
    Ok(config)
}

/// Our own certificate as of now: it is made anew while the listener runs, and when the CA is rotated.
#[derive(Clone)]
struct Own {
    identity: Arc<Identity>,
    clock: Arc<dyn Clock>,
    purpose: Purpose,
}

impl std::fmt::Debug for Own {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Own").field("purpose", &self.purpose).finish_non_exhaustive()
    }
}

impl Own {
    fn certified(&self) -> Option<Arc<CertifiedKey>> {
        let made = self.identity.certified(self.purpose, self.clock.now());
        made.inspect_err(|error| tracing::error!(%error, "no certificate for partners can be made")).ok()
    }
}

impl ResolvesServerCert for Own {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.certified()
    }
}

impl ResolvesClientCert for Own {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.certified()
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Lets any controller connect that has a certificate, and asks it to prove that it has the key.
#[derive(Debug)]
struct AnyCaller(Arc<CryptoProvider>);

impl ClientCertVerifier for AnyCaller {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match domain_of(leaf) {
            Some(_) if between.len() < CHAIN_MAX => Ok(ClientCertVerified::assertion()),
            _ => Err(CertificateError::BadEncoding.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.3 only".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Takes one partner's certificate and no other. The address is not looked at: whoever has the partner's key is it.
#[derive(Debug)]
struct OnePartner {
    anchors: Anchors,
    trust_domain: String,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for OnePartner {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if domain_of(leaf).as_deref() != Some(&self.trust_domain) || between.len() >= CHAIN_MAX {
            return Err(CertificateError::ApplicationVerificationFailure.into());
        }
        let roots = match &self.anchors {
            Anchors::Pinned(trust) => anchors(trust),
            Anchors::Fingerprint(wanted) => {
                let shown = between.iter().find(|c| sha256(c) == *wanted);
                shown.and_then(|c| anchors(&[c.to_vec()]))
            }
        };
        let roots = roots.ok_or(Error::InvalidCertificate(CertificateError::UnknownIssuer))?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        let parsed = ParsedCertificate::try_from(leaf)?;
        verify_server_cert_signed_by_trust_anchor(&parsed, &roots, between, now, algorithms)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.3 only".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
