//! TLS as the agent uses it: version 1.3 only, one crypto provider, trusted time, never early data.

use std::sync::{Arc, Mutex};

use chandler_protocol::{artifact, handshake, join, tunnel};
use quinn::crypto::rustls::QuicClientConfig;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme, version};

use crate::AgentError;
use crate::identity::{HostKey, Identity};
use crate::link::transport;
use crate::sync::lock;
use crate::time::TrustedTime;

/// The name in every controller's certificate; a controller is known by its CA, not by its address.
pub const SERVER_NAME: &str = "controller.chandler";
/// Sessions kept for resumption: the control and the bulk connection of one controller.
const SESSIONS: usize = 4;

/// The one crypto provider, in one place so that it can be exchanged in one place.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// How the agent dials: once for the control connection, once for bulk, once for the relay.
#[derive(Debug, Clone)]
pub struct Dialling {
    /// For [`handshake::ALPN`].
    pub control: quinn::ClientConfig,
    /// For [`artifact::ALPN`].
    pub bulk: quinn::ClientConfig,
    /// For [`tunnel::RELAY_ALPN`].
    pub relay: quinn::ClientConfig,
}

impl Dialling {
    /// Dialling as `identity`.
    ///
    /// # Errors
    /// The certificate, the key or the CA cannot be used.
    pub fn new(identity: &Identity, key: &HostKey, time: &Arc<TrustedTime>) -> Result<Self, AgentError> {
        let mut tls = mutual(identity, key, time)?;
        tls.alpn_protocols = vec![handshake::ALPN.to_vec()];
        let control = quic(tls.clone(), transport::control())?;
        tls.alpn_protocols = vec![artifact::ALPN.to_vec()];
        let bulk = quic(tls.clone(), transport::bulk())?;
        tls.alpn_protocols = vec![tunnel::RELAY_ALPN.to_vec()];
        let relay = quic(tls, transport::relay())?;
        Ok(Self { control, bulk, relay })
    }
}

fn builder(time: &Arc<TrustedTime>) -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, AgentError> {
    ClientConfig::builder_with_details(provider(), time.clone())
        .with_protocol_versions(&[&version::TLS13])
        .map_err(unusable)
}

fn mutual(identity: &Identity, key: &HostKey, time: &Arc<TrustedTime>) -> Result<ClientConfig, AgentError> {
    let roots = roots(&identity.ca).map_err(unusable)?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.to_der()));
    let chain = vec![CertificateDer::from(identity.certificate.clone())];
    let verifier =
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build().map_err(unusable)?;
    let mut tls = builder(time)?.with_webpki_verifier(verifier).with_client_auth_cert(chain, key).map_err(unusable)?;
    tls.resumption = Resumption::in_memory_sessions(SESSIONS);
    Ok(tls)
}

fn quic(tls: ClientConfig, transport: quinn::TransportConfig) -> Result<quinn::ClientConfig, AgentError> {
    let crypto = QuicClientConfig::try_from(tls).map_err(unusable)?;
    let mut config = quinn::ClientConfig::new(Arc::new(crypto));
    config.transport_config(Arc::new(transport));
    Ok(config)
}

fn roots(ca: &[u8]) -> Result<RootCertStore, rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(ca.to_vec()))?;
    Ok(roots)
}

pub(crate) fn unusable(error: impl std::fmt::Display) -> AgentError {
    AgentError::Identity(format!("the key or certificate of this computer cannot be used: {error}"))
}

/// Dialling for the one exchange before this computer has a certificate. `seen` tells afterwards whether a
/// refusal was because the CA is another one.
///
/// # Errors
/// TLS could not be set up.
pub fn joining(
    fingerprint: [u8; 32],
    time: &Arc<TrustedTime>,
) -> Result<(quinn::ClientConfig, Arc<FingerprintVerifier>), AgentError> {
    let verifier = Arc::new(FingerprintVerifier { fingerprint, provider: provider(), wrong_ca: Mutex::new(false) });
    let mut tls = builder(time)?.dangerous().with_custom_certificate_verifier(verifier.clone()).with_no_client_auth();
    tls.alpn_protocols = vec![join::ALPN.to_vec()];
    tls.resumption = Resumption::disabled();
    Ok((quic(tls, transport::control())?, verifier))
}

/// Accepts a server only when the CA it presents has the fingerprint of the join string and its own certificate
/// is issued by that CA for [`SERVER_NAME`].
#[derive(Debug)]
pub struct FingerprintVerifier {
    fingerprint: [u8; 32],
    provider: Arc<CryptoProvider>,
    wrong_ca: Mutex<bool>,
}

impl FingerprintVerifier {
    /// Whether a server was refused because it is not the one that the join string names.
    pub fn saw_wrong_ca(&self) -> bool {
        *lock(&self.wrong_ca)
    }
}

impl ServerCertVerifier for FingerprintVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(ca) = intermediates.iter().find(|c| sha256(&self.provider, c) == Some(self.fingerprint)) else {
            *lock(&self.wrong_ca) = true;
            return Err(rustls::Error::General("no certificate of the join string's CA was presented".into()));
        };
        let roots = Arc::new(roots(ca)?);
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, self.provider.clone())
            .build()
            .map_err(|e| rustls::Error::General(e.to_string()))?;
        // The name is fixed: what was dialled says nothing about who a controller is.
        let name = ServerName::try_from(SERVER_NAME).map_err(|e| rustls::Error::General(e.to_string()))?;
        let verified = verifier.verify_server_cert(end_entity, &[], &name, ocsp, now);
        *lock(&self.wrong_ca) = verified.is_err();
        verified
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("only TLS 1.3 is spoken".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// SHA-256 of a certificate: how a join string names its CA.
pub fn fingerprint(certificate: &[u8]) -> Option<[u8; 32]> {
    sha256(&provider(), certificate)
}

/// SHA-256 of a certificate's public key (SubjectPublicKeyInfo, DER): how a grant pins a host. `None` when it is no
/// certificate.
pub fn key_of(certificate: &[u8]) -> Option<[u8; 32]> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    sha256(&provider(), parsed.public_key().raw)
}

/// SHA-256 by the provider's own implementation, as TLS 1.3's first cipher suite brings it along.
fn sha256(provider: &CryptoProvider, bytes: &[u8]) -> Option<[u8; 32]> {
    let hash = provider.cipher_suites.iter().find_map(|s| match s.tls13()?.common.hash_provider {
        h if h.output_len() == 32 => Some(h),
        _ => None,
    })?;
    hash.hash(bytes).as_ref().try_into().ok()
}
