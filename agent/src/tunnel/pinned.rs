//! TLS by pinned keys: who proves to have a granted key is who the grant names. Authorities, names and dates in
//! certificates mean nothing here, so that two trust domains can talk.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use chandler_protocol::{HostId, tunnel};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::NoServerSessionStorage;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme,
    version,
};

use crate::AgentError;
use crate::identity::HostKey;
use crate::sync::lock;
use crate::time::TrustedTime;
use crate::tls::{key_of, provider, unusable};

/// The name that TLS wants to be given. It is not sent and not looked at.
pub(super) const NAME: &str = "tunnel.chandler";
/// Separates the key for stateless resets from every other use of the host's key.
const RESET_CONTEXT: &str = "chandler 2026 stateless reset of tunnels";

type Keys = Mutex<BTreeMap<[u8; 32], HostId>>;

/// What this agent proves who it is with, and whom it believes.
pub(super) struct Credentials {
    certificate: Vec<u8>,
    key: Vec<u8>,
    time: Arc<TrustedTime>,
    keys: Arc<Keys>,
}

impl Credentials {
    pub(super) fn new(key: &HostKey, time: &Arc<TrustedTime>) -> Result<Self, AgentError> {
        let certificate = key.certificate()?;
        Ok(Self { certificate, key: key.to_der(), time: time.clone(), keys: Arc::default() })
    }

    /// Whom to accept.
    pub(super) fn set_keys(&self, keys: BTreeMap<[u8; 32], HostId>) {
        *lock(&self.keys) = keys;
    }

    /// The host that has proved to have the key of this certificate.
    pub(super) fn host_of(&self, certificate: &[u8]) -> Option<HostId> {
        lock(&self.keys).get(&key_of(certificate)?).copied()
    }

    /// The key of stateless resets: the same after a restart, so that peers notice one within a round trip.
    pub(super) fn reset_key(&self) -> [u8; 32] {
        blake3::derive_key(RESET_CONTEXT, &self.key)
    }

    fn chain(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.clone()));
        (vec![CertificateDer::from(self.certificate.clone())], key)
    }

    /// Dials exactly the host with this key.
    pub(super) fn dialling(
        &self,
        key: [u8; 32],
        transport: quinn::TransportConfig,
    ) -> Result<quinn::ClientConfig, AgentError> {
        let verifier = Arc::new(Pinned { accepted: Accepted::One(key) });
        let (chain, own) = self.chain();
        let mut tls = ClientConfig::builder_with_details(provider(), self.time.clone())
            .with_protocol_versions(&[&version::TLS13])
            .map_err(unusable)?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_client_auth_cert(chain, own)
            .map_err(unusable)?;
        tls.alpn_protocols = vec![tunnel::ALPN.to_vec()];
        tls.resumption = Resumption::disabled();
        tls.enable_sni = false;
        let mut config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).map_err(unusable)?));
        config.transport_config(Arc::new(transport));
        Ok(config)
    }

    /// Accepts any host whose key is granted at that moment.
    pub(super) fn accepting(&self, transport: quinn::TransportConfig) -> Result<quinn::ServerConfig, AgentError> {
        let verifier = Arc::new(Pinned { accepted: Accepted::Any(self.keys.clone()) });
        let (chain, own) = self.chain();
        let mut tls = ServerConfig::builder_with_details(provider(), self.time.clone())
            .with_protocol_versions(&[&version::TLS13])
            .map_err(unusable)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, own)
            .map_err(unusable)?;
        tls.alpn_protocols = vec![tunnel::ALPN.to_vec()];
        // A resumed session would be let in by what was granted before.
        tls.session_storage = Arc::new(NoServerSessionStorage {});
        tls.send_tls13_tickets = 0;
        let mut config = quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).map_err(unusable)?));
        config.transport_config(Arc::new(transport));
        config.max_incoming(256).incoming_buffer_size(16 << 10).incoming_buffer_size_total(1 << 20);
        Ok(config)
    }
}

#[derive(Debug)]
enum Accepted {
    One([u8; 32]),
    Any(Arc<Keys>),
}

/// Believes a key, not an authority.
#[derive(Debug)]
struct Pinned {
    accepted: Accepted,
}

impl Pinned {
    fn check(&self, certificate: &CertificateDer<'_>) -> Result<(), Error> {
        let key = key_of(certificate).ok_or(Error::InvalidCertificate(CertificateError::BadEncoding))?;
        let is_accepted = match &self.accepted {
            Accepted::One(expected) => *expected == key,
            Accepted::Any(keys) => lock(keys).contains_key(&key),
        };
        if is_accepted {
            Ok(())
        } else {
            Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
        }
    }

    fn verify(
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &algorithms)
    }

    fn schemes() -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

fn only_13() -> Result<HandshakeSignatureValid, Error> {
    Err(Error::General("only TLS 1.3 is spoken".into()))
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check(end_entity).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        only_13()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Self::verify(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        Self::schemes()
    }
}

impl ClientCertVerifier for Pinned {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.check(end_entity).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        only_13()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Self::verify(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        Self::schemes()
    }
}
