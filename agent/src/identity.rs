//! Who this agent is: a key made here that never leaves, and the certificate the controller gave for it.

use std::net::SocketAddr;

use chandler_protocol::world::Random;
use chandler_protocol::{HostId, Micros, Timestamp};
use rcgen::{CertificateParams, KeyPair, PKCS_ED25519};
use rustls::pki_types::PrivatePkcs8KeyDer;
use serde::{Deserialize, Serialize};

use crate::AgentError;
use crate::disk::{self, Disk};

const KEY: &str = "key";
const IDENTITY: &str = "identity";
/// PKCS#8 version 1 of an Ed25519 key up to the 32 secret bytes (RFC 8410).
const PKCS8_HEAD: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// What joining gave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The id of this computer.
    pub host: HostId,
    /// The name of its site.
    pub site: String,
    /// Its certificate, DER.
    pub certificate: Vec<u8>,
    /// The controller's CA, DER.
    pub ca: Vec<u8>,
    /// Where controllers listen.
    pub addresses: Vec<SocketAddr>,
}

impl Identity {
    /// What an earlier join left.
    ///
    /// # Errors
    /// The record is damaged.
    pub fn load(disk: &dyn Disk) -> Result<Option<Self>, AgentError> {
        Ok(disk::load(disk, IDENTITY)?)
    }

    /// Keeps it.
    ///
    /// # Errors
    /// It is not kept.
    pub fn save(&self, disk: &dyn Disk) -> Result<(), AgentError> {
        Ok(disk::save(disk, IDENTITY, self)?)
    }

    /// When half of the certificate's life is over.
    pub fn renew_at(&self) -> Option<Timestamp> {
        let (from, until) = validity(&self.certificate)?;
        Some(from.after(Micros(until.since(from).0 / 2)))
    }
}

/// The private key of this computer.
pub struct HostKey {
    pair: KeyPair,
}

impl std::fmt::Debug for HostKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HostKey").finish_non_exhaustive()
    }
}

impl HostKey {
    /// The key on this disk; a new one when there is none. The flag says whether it was made now.
    ///
    /// # Errors
    /// The key is damaged or cannot be kept.
    pub fn load_or_make(disk: &dyn Disk, random: &dyn Random) -> Result<(Self, bool), AgentError> {
        if let Some(der) = disk::load::<Vec<u8>>(disk, KEY)? {
            return Ok((Self::from_der(&der)?, false));
        }
        let mut der = PKCS8_HEAD.to_vec();
        let mut secret = [0; 32];
        random.fill(&mut secret);
        der.extend(secret);
        let key = Self::from_der(&der)?;
        disk::save(disk, KEY, &der)?;
        Ok((key, true))
    }

    fn from_der(der: &[u8]) -> Result<Self, AgentError> {
        let der = PrivatePkcs8KeyDer::from(der);
        let pair = KeyPair::from_pkcs8_der_and_sign_algo(&der, &PKCS_ED25519)
            .map_err(|e| AgentError::Identity(format!("the key of this computer cannot be used: {e}")))?;
        Ok(Self { pair })
    }

    /// PKCS#8, DER.
    pub fn to_der(&self) -> Vec<u8> {
        self.pair.serialize_der()
    }

    /// A certificate that this key gives itself: it says nothing but the key. It never ends.
    ///
    /// # Errors
    /// It could not be signed.
    pub fn certificate(&self) -> Result<Vec<u8>, AgentError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        let signed = params.self_signed(&self.pair);
        signed.map(|c| c.der().to_vec()).map_err(|e| AgentError::Identity(format!("no certificate could be made: {e}")))
    }

    /// A request for a certificate, PKCS#10 DER. Nothing in it matters but the public key.
    ///
    /// # Errors
    /// It could not be signed.
    pub fn request(&self) -> Result<Vec<u8>, AgentError> {
        CertificateParams::default()
            .serialize_request(&self.pair)
            .map(|r| r.der().to_vec())
            .map_err(|e| AgentError::Identity(format!("no certificate request could be made: {e}")))
    }
}

/// From when until when a certificate is valid.
pub fn validity(certificate: &[u8]) -> Option<(Timestamp, Timestamp)> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let stamp = |t: x509_parser::time::ASN1Time| Timestamp(t.timestamp().saturating_mul(1_000_000));
    Some((stamp(parsed.validity().not_before), stamp(parsed.validity().not_after)))
}

/// Whether `certificate` is for the key of this computer: anything else would lock it out.
pub fn is_for(certificate: &[u8], key: &HostKey) -> bool {
    x509_parser::parse_x509_certificate(certificate)
        .is_ok_and(|(_, parsed)| parsed.public_key().subject_public_key.data.as_ref() == key.pair.public_key_raw())
}
