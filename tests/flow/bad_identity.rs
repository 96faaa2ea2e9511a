//! Certificates of the right authority and the wrong role: none but an agent's own opens the agents' listener.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use chandler_protocol::handshake;
use chandler_tests::fleet::{AgentOptions, Fleet, PATIENCE};
use quinn::crypto::rustls::QuicClientConfig;
use rcgen::string::Ia5String;
use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair, SanType};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::ground::cellar;

/// The name in every controller's certificate.
const SERVER_NAME: &str = "controller.chandler";
/// How long a controller may take to refuse.
const REFUSAL: Duration = Duration::from_secs(20);

/// The authority of a controller, stolen from its data directory.
struct Stolen {
    ca: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
    domain: String,
}

impl Stolen {
    fn from(fleet: &Fleet) -> Result<Self> {
        let ca = CertificateDer::from(std::fs::read(fleet.data_dir().join("ca.der"))?);
        let key = KeyPair::try_from(std::fs::read(fleet.data_dir().join("ca.key"))?.as_slice())?;
        let issuer = Issuer::from_ca_cert_der(&ca, key)?;
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &ca);
        let hex: String = digest.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { ca, issuer, domain: format!("chandler-{hex}") })
    }

    /// How somebody dials whose certificate names these URIs, for this use.
    fn dial(&self, uris: &[String], usage: ExtendedKeyUsagePurpose) -> Result<quinn::ClientConfig> {
        let key = KeyPair::generate_for(&rcgen::PKCS_ED25519)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "somebody");
        for uri in uris {
            params.subject_alt_names.push(SanType::URI(Ia5String::try_from(uri.as_str())?));
        }
        params.extended_key_usages = vec![usage];
        let certificate = params.signed_by(&key, &self.issuer)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        self.client(|b| Ok(b.with_client_auth_cert(vec![certificate.der().clone()], key)?))
    }

    fn client(
        &self,
        with: impl FnOnce(
            rustls::ConfigBuilder<rustls::ClientConfig, rustls::client::WantsClientCert>,
        ) -> Result<rustls::ClientConfig>,
    ) -> Result<quinn::ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.ca.clone())?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots);
        let mut tls = with(builder)?;
        tls.alpn_protocols = vec![handshake::ALPN.to_vec()];
        Ok(quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?)))
    }
}

/// Why a connection to the agents' listener was refused.
async fn refusal(quic: SocketAddr, config: quinn::ClientConfig) -> Result<String> {
    let endpoint = quinn::Endpoint::client(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let attempt = async {
        match endpoint.connect_with(config, quic, SERVER_NAME)?.await {
            Ok(connection) => anyhow::Ok(connection.closed().await.to_string()),
            Err(error) => Ok(error.to_string()),
        }
    };
    tokio::time::timeout(REFUSAL, attempt).await.context("it was not refused")?
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_another_role_is_refused() -> Result<()> {
    use ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};
    let mut fleet = Fleet::start().await?;
    cellar(&mut fleet, 1, &AgentOptions::default()).await?;
    let host = fleet.client.host("cellar-1").await?.id;
    let stolen = Stolen::from(&fleet)?;
    let (own, elsewhere) = (format!("spiffe://{}", stolen.domain), "spiffe://chandler-0000000000000000");
    let cases = [
        (vec![format!("{own}/partner/x")], ClientAuth, "E0206"),
        (vec![format!("{own}/controller")], ClientAuth, "E0206"),
        (vec![format!("{elsewhere}/agent/{host}")], ClientAuth, "E0206"),
        (vec![format!("{own}/agent/{host}/more")], ClientAuth, "E0206"),
        (vec![format!("{own}/AGENT/{host}")], ClientAuth, "E0206"),
        (vec![format!("{own}/agent/{host}"), format!("{own}/partner/x")], ClientAuth, "E0206"),
        (vec![], ClientAuth, "E0206"),
        // Of the right role, but with a key that this controller has not admitted.
        (vec![format!("{own}/agent/{host}")], ClientAuth, "E0203"),
        // A server's certificate used as a client's: the handshake fails already.
        (vec![format!("{own}/agent/{host}")], ServerAuth, "certificate"),
    ];
    for (uris, usage, expect) in cases {
        let said = refusal(fleet.quic, stolen.dial(&uris, usage.clone())?).await?;
        ensure!(said.contains(expect), "{uris:?} for {usage:?} shall be refused with {expect}: {said}");
    }
    let nobody = stolen.client(|b| Ok(b.with_no_client_auth()))?;
    ensure!(refusal(fleet.quic, nobody).await?.contains("E0206"), "without a certificate nobody may be here");
    // The real agent has noticed nothing of all that.
    let seen = fleet.client.host("cellar-1").await?;
    ensure!(seen.state == chandler_api::host::HostState::Active, "{seen:?}");
    fleet.agent_named("cellar-1")?.daemon.wait_for_line("ready ", PATIENCE).await?;
    Ok(())
}
