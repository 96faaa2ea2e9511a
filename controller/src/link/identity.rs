//! The controller's certificate authority: who an agent is stands in a certificate that is issued here.
//!
//! Nothing of a certificate request is copied but the public key. The role and the id are in the SAN,
//! `spiffe://<trust domain>/agent/<host id>`, and an agent's certificate is good for the agent listener alone.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use chandler_protocol::join::JoinString;
use chandler_protocol::world::Random;
use chandler_protocol::{HostId, Micros, Timestamp};
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SanType, SerialNumber,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::files;

/// The name that every agent expects in the controller's certificate.
pub const SERVER_NAME: &str = "controller.chandler";
/// How long the CA itself is good for.
const CA_LIFE: Micros = Micros::from_secs(20 * 365 * 86_400);
/// How long the controller's own certificate is good for. It is made anew at each start.
const SERVER_LIFE: Micros = Micros::from_secs(2 * 365 * 86_400);
/// How far back a certificate's life begins at most, for clocks that are a little behind.
const BACKDATE: Micros = Micros::from_secs(300);
/// A short life begins only this part of it early: else half of it would be over when the certificate is made, and its
/// agent would ask for another one at once, for ever.
const BACKDATE_PART: i64 = 10;

/// What went wrong with identities.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file of the CA cannot be read or written.
    #[error("the CA's files cannot be used: {0}")]
    Io(#[from] io::Error),
    /// A key or certificate cannot be made or read.
    #[error("a key or certificate is not usable: {0}")]
    Certificate(#[from] rcgen::Error),
    /// The request is not a certificate request signed by its own key.
    #[error("the certificate request is malformed or not signed by its own key")]
    BadRequest,
}

/// A certificate that was issued, and the fingerprint of its key.
#[derive(Debug, Clone)]
pub struct Issued {
    /// DER.
    pub certificate: Vec<u8>,
    /// SHA-256 of the public key.
    pub key_fingerprint: [u8; 32],
}

/// The certificate authority.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    ca: CertificateDer<'static>,
    trust_domain: String,
    not_before: Timestamp,
    agent_life: Micros,
    addresses: Mutex<Vec<SocketAddr>>,
    random: Arc<dyn Random>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("trust_domain", &self.trust_domain).finish_non_exhaustive()
    }
}

impl Authority {
    /// The CA of a data directory; made on first use.
    ///
    /// # Errors
    /// See [`IdentityError`].
    pub fn open(
        directory: &Path,
        now: Timestamp,
        agent_life: Micros,
        random: Arc<dyn Random>,
    ) -> Result<Self, IdentityError> {
        let (key_file, certificate_file) = (directory.join("ca.key"), directory.join("ca.der"));
        let made = if key_file.exists() && certificate_file.exists() {
            (std::fs::read(&key_file)?, std::fs::read(&certificate_file)?)
        } else {
            let (key, certificate) = make_ca(now, random.as_ref())?;
            files::write_secret(&key_file, &key)?;
            files::write_secret(&certificate_file, &certificate)?;
            (key, certificate)
        };
        Self::from_parts(&made.0, made.1, agent_life, random)
    }

    /// A CA that is kept nowhere: for the simulation and for tests.
    ///
    /// # Errors
    /// See [`IdentityError`].
    pub fn ephemeral(now: Timestamp, agent_life: Micros, random: Arc<dyn Random>) -> Result<Self, IdentityError> {
        let (key, certificate) = make_ca(now, random.as_ref())?;
        Self::from_parts(&key, certificate, agent_life, random)
    }

    fn from_parts(
        key: &[u8],
        certificate: Vec<u8>,
        agent_life: Micros,
        random: Arc<dyn Random>,
    ) -> Result<Self, IdentityError> {
        let key = KeyPair::try_from(key)?;
        let ca = CertificateDer::from(certificate);
        let not_before = start_of(&ca).ok_or(IdentityError::BadRequest)?;
        // The trust domain is the fingerprint's start: two controllers never share one by accident.
        let trust_domain = format!("chandler-{}", &data_encoding::HEXLOWER.encode(&sha256(&ca))[..16]);
        let issuer = Issuer::from_ca_cert_der(&ca, key)?;
        Ok(Self { issuer, ca, trust_domain, not_before, agent_life, addresses: Mutex::default(), random })
    }

    /// The CA's certificate.
    pub fn ca(&self) -> &CertificateDer<'static> {
        &self.ca
    }

    /// Where agents reach this controller: stands in the join strings made from now on.
    pub fn set_addresses(&self, addresses: Vec<SocketAddr>) {
        *self.addresses.lock().unwrap_or_else(PoisonError::into_inner) = addresses;
    }

    /// A join string around a secret.
    pub fn join_string(&self, secret: [u8; 16], now: Timestamp) -> JoinString {
        let addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner).clone();
        JoinString { addresses, ca_fingerprint: sha256(&self.ca), secret, issued_at: now }
    }

    /// A fresh key and certificate for the controller's own listener, with the CA behind it.
    ///
    /// # Errors
    /// See [`IdentityError`].
    pub fn server(
        &self,
        now: Timestamp,
    ) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), IdentityError> {
        let key = KeyPair::generate_for(&rcgen::PKCS_ED25519)?;
        let mut params = self.params(now, SERVER_LIFE);
        // An agent whose idea of the time is old must still find this certificate valid.
        params.not_before = date(self.not_before);
        params.distinguished_name.push(DnType::CommonName, "Chandler controller");
        params.subject_alt_names = vec![SanType::DnsName(Ia5String::try_from(SERVER_NAME)?), self.uri("controller")?];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = params.signed_by(&key, &self.issuer)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        Ok((vec![certificate.der().clone(), self.ca.clone()], key))
    }

    /// A certificate for an agent, from its request.
    ///
    /// # Errors
    /// [`IdentityError::BadRequest`], or the certificate cannot be made.
    pub fn issue_agent(&self, host: HostId, csr: &[u8], now: Timestamp) -> Result<Issued, IdentityError> {
        let request = CertificateSigningRequestParams::from_der(&csr.into()).map_err(|_| IdentityError::BadRequest)?;
        let key_fingerprint = sha256(&request.public_key.subject_public_key_info());
        let mut params = self.params(now, self.agent_life);
        params.distinguished_name.push(DnType::CommonName, host.to_string());
        params.subject_alt_names = vec![self.uri(&format!("agent/{host}"))?];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&request.public_key, &self.issuer)?;
        Ok(Issued { certificate: certificate.der().to_vec(), key_fingerprint })
    }

    /// The host that a certificate names, when its role is agent and it is of this trust domain. The chain was
    /// verified by the TLS handshake already. Exact byte comparison: no case folding, no trailing dots.
    pub fn agent_of(&self, certificate: &CertificateDer<'_>) -> Option<(HostId, [u8; 32])> {
        use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        let names = parsed.subject_alternative_name().ok()??;
        let [GeneralName::URI(uri)] = names.value.general_names.as_slice() else { return None };
        let host = uri.strip_prefix(&format!("spiffe://{}/agent/", self.trust_domain))?.parse().ok()?;
        Some((host, sha256(parsed.public_key().raw)))
    }

    fn params(&self, now: Timestamp, life: Micros) -> CertificateParams {
        let mut params = CertificateParams::default();
        let mut serial = [0_u8; 16];
        self.random.fill(&mut serial);
        serial[0] &= 0x7f;
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        let backdate = BACKDATE.0.min(life.0 / BACKDATE_PART);
        params.not_before = date(Timestamp(now.0.saturating_sub(backdate)));
        params.not_after = date(now.after(life));
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params
    }

    fn uri(&self, path: &str) -> Result<SanType, IdentityError> {
        Ok(SanType::URI(Ia5String::try_from(format!("spiffe://{}/{path}", self.trust_domain))?))
    }
}

fn make_ca(now: Timestamp, random: &dyn Random) -> Result<(Vec<u8>, Vec<u8>), IdentityError> {
    let key = KeyPair::generate_for(&rcgen::PKCS_ED25519)?;
    let mut params = CertificateParams::default();
    let mut serial = [0_u8; 16];
    random.fill(&mut serial);
    serial[0] &= 0x7f;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.not_before = date(Timestamp(now.0.saturating_sub(BACKDATE.0)));
    params.not_after = date(now.after(CA_LIFE));
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "Chandler CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    let certificate = params.self_signed(&key)?;
    Ok((key.serialize_der(), certificate.der().to_vec()))
}

/// When a certificate begins to be valid.
fn start_of(certificate: &CertificateDer<'_>) -> Option<Timestamp> {
    use x509_parser::prelude::{FromDer, X509Certificate};
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    Some(Timestamp(parsed.validity().not_before.timestamp().saturating_mul(1_000_000)))
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    let mut out = [0; 32];
    out.copy_from_slice(digest.as_ref());
    out
}

/// A moment as the certificate library wants it.
fn date(t: Timestamp) -> time::OffsetDateTime {
    time::OffsetDateTime::from_unix_timestamp(t.0 / 1_000_000).unwrap_or(time::OffsetDateTime::UNIX_EPOCH)
}
