//! Somebody who holds an agent's key and certificate and speaks to the controller without being that agent.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use chandler_agent::disk::FileDisk;
use chandler_agent::identity::{HostKey, Identity};
use chandler_agent::link::framed::{self, Reader};
use chandler_agent::time::TrustedTime;
use chandler_agent::tls::{Dialling, SERVER_NAME};
use chandler_agent::world::{RealClock, RealRandom};
use chandler_protocol::artifact::{BulkRequest, BulkResponse};
use chandler_protocol::frame::BULK_MAX;
use chandler_protocol::{AssignmentId, Digest};

/// How long a controller may take to answer or to refuse.
const ANSWER: Duration = Duration::from_secs(20);

/// What an agent's records say about who it is.
pub(crate) fn identity(records: &Path) -> Result<Identity> {
    Identity::load(&FileDisk::open(records)?)?.context("it has not joined")
}

/// Somebody with an agent's identity as it was at one moment.
pub(crate) struct Outsider {
    dialling: Dialling,
}

impl Outsider {
    /// Takes the identity out of an agent's records; keeps nothing but in `scratch`.
    pub(crate) fn with_identity_of(records: &Path, scratch: &Path) -> Result<Self> {
        let (key, is_new) = HostKey::load_or_make(&FileDisk::open(records)?, &RealRandom)?;
        if is_new {
            bail!("there was no key in {}", records.display());
        }
        let own = FileDisk::open(&scratch.join("outsider"))?;
        let time = Arc::new(TrustedTime::load(Arc::new(RealClock), [0; 16], &own));
        Ok(Self { dialling: Dialling::new(&identity(records)?, &key, &time)? })
    }

    /// Why neither listener wants this identity: the same words on both.
    pub(crate) async fn refusal(&self, quic: SocketAddr) -> Result<String> {
        let mut said = Vec::new();
        for config in [&self.dialling.control, &self.dialling.bulk] {
            let attempt = async {
                match connect(quic, config).await {
                    Ok((_, connection)) => connection.closed().await.to_string(),
                    Err(error) => error.to_string(),
                }
            };
            said.push(tokio::time::timeout(ANSWER, attempt).await.context("it was not refused")?);
        }
        match said.as_slice() {
            [control, bulk] if control == bulk => Ok(control.clone()),
            _ => bail!("control and bulk are refused differently: {said:?}"),
        }
    }

    /// Asks for the chunks of a blob; the inner error is the code of a refusal.
    pub(crate) async fn manifest(&self, quic: SocketAddr, digest: Digest) -> Result<Result<(), String>> {
        match self.ask(quic, &BulkRequest::Manifest { digest }, b"").await? {
            BulkResponse::Manifest(manifest) if manifest.digest == digest => Ok(Ok(())),
            other => refused(other),
        }
    }

    /// Hands in a result; the inner error is the code of a refusal.
    pub(crate) async fn put_output(
        &self,
        quic: SocketAddr,
        assignment: AssignmentId,
        epoch: u64,
        path: &str,
        content: &[u8],
    ) -> Result<Result<(), String>> {
        let digest = Digest(*blake3::hash(content).as_bytes());
        let length = content.len() as u64;
        let head = BulkRequest::PutOutput { assignment, epoch, path: path.to_owned(), digest, length };
        match self.ask(quic, &head, content).await? {
            BulkResponse::Stored => Ok(Ok(())),
            other => refused(other),
        }
    }

    async fn ask(&self, quic: SocketAddr, request: &BulkRequest, content: &[u8]) -> Result<BulkResponse> {
        let (_endpoint, connection) = connect(quic, &self.dialling.bulk).await?;
        let (mut send, receive) = connection.open_bi().await?;
        framed::write(&mut send, request, BULK_MAX).await?;
        // A controller that has heard enough stops reading.
        let _ = send.write_all(content).await;
        let _ = send.finish();
        Ok(Reader::new(receive, BULK_MAX).expect(ANSWER, ANSWER).await?)
    }
}

async fn connect(quic: SocketAddr, config: &quinn::ClientConfig) -> Result<(quinn::Endpoint, quinn::Connection)> {
    let endpoint = quinn::Endpoint::client(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let connection = endpoint.connect_with(config.clone(), quic, SERVER_NAME)?.await?;
    Ok((endpoint, connection))
}

fn refused(response: BulkResponse) -> Result<Result<(), String>> {
    match response {
        BulkResponse::Refused { code, .. } => Ok(Err(code)),
        other => bail!("it answered {other:?}"),
    }
}
