//! Whose certificates are whose: bundles of CA certificates, chains that lead to them, and what was signed with them.
//!
//! Chains are verified by the TLS library. What is decided here is only against which anchors: those of one partner, and
//! never those of all partners together.

use std::time::Duration;

use chandler_engine::partner::{CERTIFICATE_MAX, Introduction, TRUST_MAX};
use chandler_protocol::Timestamp;
use data_encoding::BASE64;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::link::provider;

/// Longest bundle as text.
pub const BUNDLE_MAX: usize = 32 << 10;
/// Longest trust domain.
const DOMAIN_MAX: usize = 64;
/// Most characters of a line of PEM.
const PEM_LINE: usize = 64;
/// Longest address.
const ADDRESS_MAX: usize = 260;

/// Why a text is not a bundle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotABundle(&'static str);

/// SHA-256.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    let mut out = [0; 32];
    out.copy_from_slice(digest.as_ref());
    out
}

/// SHA-256 as people compare it.
pub fn fingerprint(certificate: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(&sha256(certificate))
}

/// Certificates as PEM.
pub fn to_pem(certificates: &[Vec<u8>]) -> String {
    let mut text = String::new();
    for certificate in certificates {
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        for line in BASE64.encode(certificate).as_bytes().chunks(PEM_LINE) {
            text.push_str(&String::from_utf8_lossy(line));
            text.push('\n');
        }
        text.push_str("-----END CERTIFICATE-----\n");
    }
    text
}

/// Reads a bundle: one to four Ed25519 CA certificates of one trust domain.
///
/// # Errors
/// What is wrong with it.
pub fn read_bundle(pem: &str, address: Option<String>) -> Result<Introduction, NotABundle> {
    if pem.len() > BUNDLE_MAX {
        return Err(NotABundle("the bundle is too long: write one to four certificates"));
    }
    let mut trust: Vec<Vec<u8>> = Vec::new();
    let mut trust_domain = String::new();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|_| NotABundle("the bundle is not PEM"))?;
        if trust.len() == TRUST_MAX || certificate.len() > CERTIFICATE_MAX {
            return Err(NotABundle("the bundle is too long: write one to four certificates"));
        }
        let domain = domain_of_ca(&certificate)?;
        if trust_domain.is_empty() {
            trust_domain = domain;
        } else if trust_domain != domain {
            return Err(NotABundle("the bundle's certificates are of several trust domains"));
        }
        if !trust.iter().any(|c| c == certificate.as_ref()) {
            trust.push(certificate.to_vec());
        }
    }
    if trust.is_empty() {
        return Err(NotABundle("the bundle holds no certificate (PEM)"));
    }
    Ok(Introduction { address, trust, trust_domain })
}

/// The trust domain of a CA certificate.
pub(super) fn domain_of_ca(certificate: &CertificateDer<'_>) -> Result<String, NotABundle> {
    let (rest, parsed) =
        X509Certificate::from_der(certificate).map_err(|_| NotABundle("a certificate is malformed"))?;
    if !rest.is_empty() {
        return Err(NotABundle("a certificate is malformed"));
    }
    let is_ca = parsed.basic_constraints().ok().flatten().is_some_and(|b| b.value.ca);
    if !is_ca {
        return Err(NotABundle("a certificate is not one of a CA"));
    }
    if parsed.public_key().algorithm.algorithm != x509_parser::oid_registry::OID_SIG_ED25519 {
        return Err(NotABundle("a certificate's key is not Ed25519"));
    }
    RootCertStore::empty().add(certificate.clone()).map_err(|_| NotABundle("a certificate cannot be an anchor"))?;
    only_uri(&parsed)
        .and_then(|uri| uri.strip_prefix("spiffe://").map(str::to_owned))
        .filter(|domain| is_domain(domain))
        .ok_or(NotABundle("a certificate names no trust domain (a SAN spiffe://DOMAIN)"))
}

fn is_domain(text: &str) -> bool {
    (1..=DOMAIN_MAX).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-'))
}

/// The one name in a certificate, when it is a URI and the only one.
fn only_uri(parsed: &X509Certificate<'_>) -> Option<String> {
    let names = parsed.subject_alternative_name().ok()??;
    match names.value.general_names.as_slice() {
        [GeneralName::URI(uri)] => Some((*uri).to_owned()),
        _ => None,
    }
}

/// The trust domain whose controller a certificate names. Exact: no case folding, no further names.
pub fn domain_of(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let uri = only_uri(&parsed)?;
    let domain = uri.strip_prefix("spiffe://")?.strip_suffix("/controller")?;
    is_domain(domain).then(|| domain.to_owned())
}

/// Whether a client's chain names this trust domain and leads to one of these anchors now.
pub fn leads_to(trust: &[Vec<u8>], trust_domain: &str, chain: &[CertificateDer<'_>], now: Timestamp) -> bool {
    let Some((leaf, between)) = chain.split_first() else { return false };
    if domain_of(leaf).as_deref() != Some(trust_domain) {
        return false;
    }
    let Some(roots) = anchors(trust) else { return false };
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider()).build();
    verifier.is_ok_and(|v| v.verify_client_cert(leaf, between, unix(now)).is_ok())
}

/// These certificates as anchors; `None` when there is none.
pub(super) fn anchors(trust: &[Vec<u8>]) -> Option<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in trust {
        roots.add(CertificateDer::from_slice(certificate)).ok()?;
    }
    (!roots.is_empty()).then_some(roots)
}

/// A moment as the TLS library wants it.
pub(super) fn unix(t: Timestamp) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(t.0 / 1_000_000).unwrap_or(0)))
}

/// Whether one of these CA certificates has signed `bytes`, said in this context.
pub fn verify<'c>(trust: impl IntoIterator<Item = &'c Vec<u8>>, context: &str, bytes: &[u8], signature: &[u8]) -> bool {
    let message = message(context, bytes);
    trust.into_iter().any(|certificate| {
        let Ok((_, parsed)) = X509Certificate::from_der(certificate) else { return false };
        let key = parsed.public_key().subject_public_key.data.as_ref();
        let key = aws_lc_rs::signature::UnparsedPublicKey::new(&aws_lc_rs::signature::ED25519, key);
        key.verify(&message, signature).is_ok()
    })
}

/// What is signed: never the bytes alone, so that nothing signed for one purpose is good for another. A certificate does
/// not begin like this.
pub(super) fn message(context: &str, bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(context.len()).unwrap_or(u32::MAX).to_be_bytes();
    [b"chandler signed statement\0".as_slice(), &length, context.as_bytes(), bytes].concat()
}

/// Whether `text` is `HOST:PORT`.
pub fn is_address(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-' | b':' | b'[' | b']');
    text.len() <= ADDRESS_MAX
        && !host.is_empty()
        && host.bytes().all(plain)
        && (!host.contains(':') || (host.starts_with('[') && host.ends_with(']')))
        && port.parse::<u16>().is_ok_and(|p| p != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_a_host_and_a_port() {
        for good in ["127.0.0.1:7444", "[::1]:1", "a.example:65535"] {
            assert!(is_address(good), "{good}");
        }
        for bad in ["", ":1", "a", "a:", "a:0", "a:65536", "::1:5", "https://a:1", "a b:1", "a/b:1", "a@b:1"] {
            assert!(!is_address(bad), "{bad}");
        }
    }

    #[test]
    fn what_is_no_bundle_is_refused_with_its_reason() {
        let said = |pem: &str| read_bundle(pem, None).unwrap_err().0;
        assert!(said("").contains("no certificate"));
        assert!(said("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").contains("malformed"));
        assert!(said(&"x".repeat(BUNDLE_MAX + 1)).contains("too long"));
        let other = rcgen::generate_simple_self_signed(vec!["a.example".to_owned()]).unwrap();
        assert!(said(&to_pem(&[other.cert.der().to_vec()])).contains("not one of a CA"));
    }
}
