//! Who this controller is to its partners: a CA of its own, apart from the one of its agents, and the certificates that
//! it issues to itself alone.
//!
//! The trust domain is in the CA's certificate and stays when the CA is rotated. A rotation cuts every partner off until
//! its operator has pinned the new CA: only a person can say that a new key is really ours. One that was announced may have
//! been pinned before.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use chandler_engine::partner::{Introduction, TRUST_MAX};
use chandler_protocol::world::Random;
use chandler_protocol::{Micros, Timestamp};
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, SerialNumber, SigningKey,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;

use super::trust::{self, message};
use crate::files;
use crate::link::identity::IdentityError;
use crate::link::provider;

/// How long a CA is good for.
const CA_LIFE: Micros = Micros::from_secs(20 * 365 * 86_400);
/// How long a certificate of the controller is good for; it is made anew at half that.
const LIFE: Micros = Micros::from_secs(7 * 86_400);
/// How far back a certificate's life begins: clocks of partners may be behind.
const BACKDATE: Micros = Micros::from_secs(3_600);
/// The file with the CA's key and certificate. One file, so that a crash never leaves a key without its certificate.
const FILE: &str = "federation.key";
/// The CA's certificate for people: what partners pin.
const PUBLIC_FILE: &str = "federation.pem";
/// The key and certificate of the CA that the next rotation makes this one's, if it was announced.
const NEXT_FILE: &str = "federation.next.key";
/// The CAs before, newest first: what they signed can still be checked.
const FORMER_FILE: &str = "federation.former.pem";

/// What a certificate is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// For the listener.
    Serving,
    /// For calling partners.
    Calling,
}

/// The controller as its partners know it.
pub struct Identity {
    file: Option<PathBuf>,
    random: Arc<dyn Random>,
    current: RwLock<Current>,
}

struct Current {
    issuer: Issuer<'static, KeyPair>,
    ca: CertificateDer<'static>,
    /// The CA that was announced.
    next: Option<(Vec<u8>, Vec<u8>)>,
    /// Certificates of the CAs before, newest first.
    former: Vec<Vec<u8>>,
    trust_domain: String,
    /// Counts rotations since the start: who holds something made from it sees that it is old.
    generation: u64,
    serving: Option<(Timestamp, Arc<CertifiedKey>)>,
    calling: Option<(Timestamp, Arc<CertifiedKey>)>,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("trust_domain", &self.trust_domain()).finish_non_exhaustive()
    }
}

impl Identity {
    /// The identity of a data directory; made on first use.
    ///
    /// # Errors
    /// A file cannot be read or written, or is damaged.
    pub fn open(directory: &Path, now: Timestamp, random: Arc<dyn Random>) -> Result<Self, IdentityError> {
        let file = directory.join(FILE);
        let (key, ca) = if file.exists() {
            kept(&file)?
        } else {
            let made = make_ca(&new_domain(random.as_ref()), now, random.as_ref())?;
            keep(&file, &made)?;
            made
        };
        let former = directory.join(FORMER_FILE);
        let mut current = Current::new(&key, ca, 0)?;
        let next = directory.join(NEXT_FILE);
        if next.exists() {
            // A crash may have left the one that is in use already.
            current.next = Some(kept(&next)?).filter(|(_, ca)| ca.as_slice() != current.ca.as_ref());
        }
        if former.exists() {
            let pem = std::fs::read_to_string(&former)?;
            let bundle = trust::read_bundle(&pem, None);
            current.former =
                bundle.map_err(|e| IdentityError::Io(std::io::Error::other(format!("{FORMER_FILE}: {e}"))))?.trust;
        }
        Ok(Self { current: RwLock::new(current), file: Some(file), random })
    }

    /// An identity that is kept nowhere: for the simulation and for tests.
    ///
    /// # Errors
    /// A key cannot be made.
    pub fn ephemeral(now: Timestamp, random: Arc<dyn Random>) -> Result<Self, IdentityError> {
        let (key, ca) = make_ca(&new_domain(random.as_ref()), now, random.as_ref())?;
        Ok(Self { current: RwLock::new(Current::new(&key, ca, 0)?), file: None, random })
    }

    /// Somebody who says to be of this trust domain.
    #[cfg(test)]
    pub(super) fn posing(trust_domain: &str, now: Timestamp, random: Arc<dyn Random>) -> Result<Self, IdentityError> {
        let (key, ca) = make_ca(trust_domain, now, random.as_ref())?;
        Ok(Self { current: RwLock::new(Current::new(&key, ca, 0)?), file: None, random })
    }

    fn current(&self) -> RwLockReadGuard<'_, Current> {
        self.current.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The trust domain in all its certificates.
    pub fn trust_domain(&self) -> String {
        self.current().trust_domain.clone()
    }

    /// The CA's certificate, DER.
    pub fn ca(&self) -> Vec<u8> {
        self.current().ca.to_vec()
    }

    /// Counts rotations since the start.
    pub fn generation(&self) -> u64 {
        self.current().generation
    }

    /// What partners are told of this controller.
    pub fn introduction(&self, address: Option<String>) -> Introduction {
        let current = self.current();
        Introduction { address, trust: vec![current.ca.to_vec()], trust_domain: current.trust_domain.clone() }
    }

    /// The certificate of the CA that the next rotation will use, so that partners can pin it before. Made when it is asked
    /// for the first time.
    ///
    /// # Errors
    /// It cannot be made or kept.
    pub fn announce(&self, now: Timestamp) -> Result<Vec<u8>, IdentityError> {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, ca)) = &current.next {
            return Ok(ca.clone());
        }
        let made = make_ca(&current.trust_domain, now, self.random.as_ref())?;
        if let Some(file) = &self.file {
            files::write_secret(&file.with_file_name(NEXT_FILE), &packed(&made)?)?;
        }
        let ca = made.1.clone();
        current.next = Some(made);
        Ok(ca)
    }

    /// Makes a new CA of the same trust domain: the one that was announced, if one was. The old key is gone afterwards.
    ///
    /// # Errors
    /// It cannot be made or kept; the old one stays then.
    pub fn rotate(&self, now: Timestamp) -> Result<(), IdentityError> {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let made = match current.next.clone() {
            Some(announced) => announced,
            None => make_ca(&current.trust_domain, now, self.random.as_ref())?,
        };
        let mut next = Current::new(&made.0, made.1.clone(), current.generation + 1)?;
        next.former = std::iter::once(current.ca.to_vec()).chain(current.former.iter().cloned()).collect();
        next.former.truncate(TRUST_MAX);
        if let Some(file) = &self.file {
            files::write_secret(&file.with_file_name(FORMER_FILE), trust::to_pem(&next.former).as_bytes())?;
            keep(file, &made)?;
            // What stays is seen to be in use at the next start.
            let _ = std::fs::remove_file(file.with_file_name(NEXT_FILE));
        }
        *current = next;
        Ok(())
    }

    /// Signs a statement with the CA's key, so that whoever pins the CA can check it. `context` says what kind of
    /// statement it is.
    ///
    /// # Errors
    /// The key is not usable.
    pub fn sign(&self, context: &str, bytes: &[u8]) -> Result<Vec<u8>, IdentityError> {
        Ok(self.current().issuer.key().sign(&message(context, bytes))?)
    }

    /// Whether this controller signed a statement, with its CA of now or one before.
    pub fn has_signed(&self, context: &str, bytes: &[u8], signature: &[u8]) -> bool {
        let current = self.current();
        let own = current.ca.to_vec();
        trust::verify(std::iter::once(&own).chain(&current.former), context, bytes, signature)
    }

    /// The certificate for a purpose, and its key. Made anew when half of its life is over.
    pub(super) fn certified(&self, purpose: Purpose, now: Timestamp) -> Result<Arc<CertifiedKey>, IdentityError> {
        let fresh = |made: Timestamp| made <= now && now.0 - made.0 < LIFE.0 / 2;
        if let Some((made, key)) = self.current().kept(purpose)
            && fresh(*made)
        {
            return Ok(key.clone());
        }
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let key = current.issue(purpose, now, self.random.as_ref())?;
        let kept = match purpose {
            Purpose::Serving => &mut current.serving,
            Purpose::Calling => &mut current.calling,
        };
        *kept = Some((now, key.clone()));
        Ok(key)
    }
}

impl Current {
    fn new(key: &[u8], ca: Vec<u8>, generation: u64) -> Result<Self, IdentityError> {
        let ca = CertificateDer::from(ca);
        let trust_domain = trust::domain_of_ca(&ca).map_err(|_| IdentityError::BadRequest)?;
        let issuer = Issuer::from_ca_cert_der(&ca, KeyPair::try_from(key)?)?;
        Ok(Self { issuer, ca, next: None, former: Vec::new(), trust_domain, generation, serving: None, calling: None })
    }

    const fn kept(&self, purpose: Purpose) -> Option<&(Timestamp, Arc<CertifiedKey>)> {
        match purpose {
            Purpose::Serving => self.serving.as_ref(),
            Purpose::Calling => self.calling.as_ref(),
        }
    }

    fn issue(&self, purpose: Purpose, now: Timestamp, random: &dyn Random) -> Result<Arc<CertifiedKey>, IdentityError> {
        let key = KeyPair::generate_for(&rcgen::PKCS_ED25519)?;
        let mut params = params("Chandler controller", now, LIFE, random);
        params.subject_alt_names = vec![uri(&format!("{}/controller", self.trust_domain))?];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![match purpose {
            Purpose::Serving => ExtendedKeyUsagePurpose::ServerAuth,
            Purpose::Calling => ExtendedKeyUsagePurpose::ClientAuth,
        }];
        let certificate = params.signed_by(&key, &self.issuer)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let chain = vec![certificate.der().clone(), self.ca.clone()];
        let certified = CertifiedKey::from_der(chain, key, &provider());
        certified.map(Arc::new).map_err(|e| IdentityError::Io(std::io::Error::other(e.to_string())))
    }
}

/// Writes key and certificate for us, and the certificate for people.
fn keep(file: &Path, made: &(Vec<u8>, Vec<u8>)) -> Result<(), IdentityError> {
    files::write_secret(file, &packed(made)?)?;
    let public = trust::to_pem(std::slice::from_ref(&made.1));
    files::write_secret(&file.with_file_name(PUBLIC_FILE), public.as_bytes())?;
    Ok(())
}

fn packed(made: &(Vec<u8>, Vec<u8>)) -> Result<Vec<u8>, IdentityError> {
    postcard::to_allocvec(made).map_err(|e| IdentityError::Io(std::io::Error::other(e.to_string())))
}

/// The key and certificate in a file.
fn kept(file: &Path) -> Result<(Vec<u8>, Vec<u8>), IdentityError> {
    let damaged = |e| IdentityError::Io(std::io::Error::other(format!("{}: {e}", file.display())));
    postcard::from_bytes(&std::fs::read(file)?).map_err(damaged)
}

/// A trust domain that nobody else has by accident: 64 random bits.
fn new_domain(random: &dyn Random) -> String {
    let mut bytes = [0; 8];
    random.fill(&mut bytes);
    format!("chandler-{}", data_encoding::HEXLOWER.encode(&bytes))
}

fn make_ca(trust_domain: &str, now: Timestamp, random: &dyn Random) -> Result<(Vec<u8>, Vec<u8>), IdentityError> {
    let key = KeyPair::generate_for(&rcgen::PKCS_ED25519)?;
    let mut params = params("Chandler federation CA", now, CA_LIFE, random);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    params.subject_alt_names = vec![uri(trust_domain)?];
    let certificate = params.self_signed(&key)?;
    Ok((key.serialize_der(), certificate.der().to_vec()))
}

fn params(name: &str, now: Timestamp, life: Micros, random: &dyn Random) -> CertificateParams {
    let mut params = CertificateParams::default();
    let mut serial = [0_u8; 16];
    random.fill(&mut serial);
    serial[0] &= 0x7f;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.not_before = date(Timestamp(now.0.saturating_sub(BACKDATE.0)));
    params.not_after = date(now.after(life));
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn uri(path: &str) -> Result<SanType, IdentityError> {
    Ok(SanType::URI(Ia5String::try_from(format!("spiffe://{path}"))?))
}

/// A moment as the certificate library wants it.
fn date(t: Timestamp) -> time::OffsetDateTime {
    time::OffsetDateTime::from_unix_timestamp(t.0 / 1_000_000).unwrap_or(time::OffsetDateTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::SystemRandom;

    const NOW: Timestamp = Timestamp(1_795_348_800_000_000);
    const CONTEXT: &str = "receipt head";

    fn identity() -> Identity {
        Identity::ephemeral(NOW, Arc::new(SystemRandom)).unwrap()
    }

    #[test]
    fn it_is_the_same_after_a_restart_and_its_files_are_private() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let open = || Identity::open(dir.path(), NOW, Arc::new(SystemRandom)).unwrap();
        let first = open();
        assert_eq!((first.ca(), first.trust_domain()), (open().ca(), open().trust_domain()));
        for file in [FILE, PUBLIC_FILE] {
            let mode = std::fs::metadata(dir.path().join(file)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{file}");
        }
        first.rotate(NOW).unwrap();
        let second = open();
        assert_eq!((second.ca(), second.trust_domain()), (first.ca(), first.trust_domain()), "a rotation is kept");
        let announced = second.announce(NOW).unwrap();
        let third = open();
        assert_eq!((third.ca(), third.announce(NOW).unwrap()), (second.ca(), announced.clone()), "it is not used yet");
        let next = std::fs::read(dir.path().join(NEXT_FILE)).unwrap();
        third.rotate(NOW).unwrap();
        // As if a crash had left the file.
        std::fs::write(dir.path().join(NEXT_FILE), next).unwrap();
        let second = open();
        assert_eq!(second.ca(), announced, "what was announced is what was rotated to");
        assert_ne!(second.announce(NOW).unwrap(), announced, "and never announced again");
        let pem = std::fs::read_to_string(dir.path().join(PUBLIC_FILE)).unwrap();
        assert_eq!(trust::read_bundle(&pem, None).unwrap(), second.introduction(None));
    }

    #[test]
    fn chains_lead_to_their_own_ca_only_and_for_their_time_and_purpose() {
        let (a, b) = (identity(), identity());
        let chain = a.certified(Purpose::Calling, NOW).unwrap().cert.clone();
        let leads = |to: &Introduction, chain: &[CertificateDer<'_>], now| {
            trust::leads_to(&to.trust, &to.trust_domain, chain, now)
        };
        let (own, other) = (a.introduction(None), b.introduction(None));
        assert!(leads(&own, &chain, NOW));
        assert!(!leads(&other, &chain, NOW));
        assert!(!leads(&Introduction { trust_domain: other.trust_domain.clone(), ..own.clone() }, &chain, NOW));
        assert!(!leads(&Introduction { trust: other.trust, ..own.clone() }, &chain, NOW));
        assert!(!leads(&own, &chain, NOW.after(Micros(LIFE.0 + 1_000_000))), "it has ended");
        assert!(!leads(&own, &a.certified(Purpose::Serving, NOW).unwrap().cert, NOW), "it is for the listener");
        assert!(!leads(&own, &[], NOW));
        a.rotate(NOW).unwrap();
        assert!(!leads(&a.introduction(None), &chain, NOW), "an old certificate does not lead to the new CA");
        assert!(!leads(&own, &a.certified(Purpose::Calling, NOW).unwrap().cert, NOW), "nor a new one to the old CA");
    }

    #[test]
    fn certificates_are_made_anew_at_half_their_life() {
        let a = identity();
        let at = |now| a.certified(Purpose::Calling, now).unwrap();
        let first = at(NOW);
        assert!(Arc::ptr_eq(&first, &at(NOW.after(Micros(LIFE.0 / 2 - 1)))));
        assert!(!Arc::ptr_eq(&first, &at(NOW.after(Micros(LIFE.0 / 2)))));
    }

    #[test]
    fn statements_are_checked_by_the_pinned_ca_and_hold_in_their_context_only() {
        let (a, b) = (identity(), identity());
        let signature = a.sign(CONTEXT, b"head").unwrap();
        let verify = |who: &Identity, context, bytes: &[u8], signature: &[u8]| {
            trust::verify(&who.introduction(None).trust, context, bytes, signature)
        };
        assert!(verify(&a, CONTEXT, b"head", &signature));
        assert!(!verify(&b, CONTEXT, b"head", &signature));
        assert!(!verify(&a, "another", b"head", &signature));
        assert!(!verify(&a, CONTEXT, b"tail", &signature));
        assert!(!verify(&a, CONTEXT, b"head", &signature[1..]));
        // What was signed before a rotation is checked by the retired CA.
        let old = a.introduction(None).trust;
        a.rotate(NOW).unwrap();
        assert!(!verify(&a, CONTEXT, b"head", &signature));
        assert!(trust::verify(a.introduction(None).trust.iter().chain(&old), CONTEXT, b"head", &signature));
    }
}
