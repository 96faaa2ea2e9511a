//! Accepts connections and hands each to what its ALPN names: joining, control, bulk or the relay.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chandler_protocol::{Micros, artifact, handshake, join, tunnel};
use quinn::crypto::rustls::HandshakeData;
use tokio::sync::Semaphore;

use super::identity::{Authority, IdentityError};
use super::relay;
use super::{Relay, Sessions, bulk, session, tls};
use crate::store::Writer;
use crate::store::blobs::Blobs;
use crate::world::Sockets;

/// Handshakes under way at once; further ones wait in quinn's bounded queue.
const HANDSHAKES: usize = 256;
/// A handshake that takes longer is given up.
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);

/// What agents are told to keep to.
#[derive(Debug, Clone, Copy)]
pub struct LinkConfig {
    /// How often they report telemetry.
    pub telemetry_interval: Micros,
    /// The longest they may stay silent.
    pub heartbeat: Micros,
    /// Over how long they spread reconnecting.
    pub reconnect_window: Micros,
}

impl Default for LinkConfig {
    fn default() -> Self {
        Self {
            telemetry_interval: Micros::from_secs(10),
            heartbeat: Micros::from_secs(4),
            reconnect_window: Micros::from_secs(2),
        }
    }
}

/// What every connection needs.
#[derive(Debug)]
pub struct Shared {
    /// Where changes go.
    pub writer: Writer,
    /// Artifacts, inputs and results.
    pub blobs: Arc<Blobs>,
    /// Who issues certificates.
    pub authority: Arc<Authority>,
    /// Who is connected.
    pub sessions: Arc<Sessions>,
    /// Packets between agents without a straight way.
    pub relay: Arc<Relay>,
    /// What agents are told to keep to.
    pub config: LinkConfig,
}

/// The agent listener.
#[derive(Debug)]
pub struct Link {
    endpoint: quinn::Endpoint,
    shared: Arc<Shared>,
}

impl Link {
    /// Listens for agents. Connections are accepted once [`Self::run`] runs.
    ///
    /// # Errors
    /// The address cannot be used, or no certificate can be made.
    pub fn listen(
        address: SocketAddr,
        reset_key: &[u8],
        sockets: &dyn Sockets,
        shared: Shared,
    ) -> Result<Self, IdentityError> {
        let server = tls::server_config(&shared.authority, shared.writer.clock())?;
        let endpoint = sockets.listen(address, server, reset_key)?;
        Ok(Self { endpoint, shared: Arc::new(shared) })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The socket is gone.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.endpoint.local_addr()
    }

    /// Serves agents until `shutdown` is done, then closes every connection.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
        tokio::pin!(shutdown);
        loop {
            let incoming = tokio::select! {
                biased;
                () = &mut shutdown => break,
                incoming = self.endpoint.accept() => incoming,
            };
            let Some(incoming) = incoming else { break };
            let Ok(permit) = handshakes.clone().acquire_owned().await else { break };
            let shared = self.shared.clone();
            tokio::spawn(async move {
                let connection = tokio::time::timeout(HANDSHAKE_TIME, async move { incoming.accept()?.await }).await;
                drop(permit);
                match connection {
                    Ok(Ok(connection)) => serve(connection, shared).await,
                    Ok(Err(error)) => tracing::debug!(%error, "a handshake failed"),
                    Err(_) => tracing::debug!("a handshake took too long"),
                }
            });
        }
        self.endpoint.close(session::CLOSE_STOPPING, b"the controller is stopping");
        // Agents are told at once; who does not answer is not waited for.
        let _ = tokio::time::timeout(Duration::from_secs(1), self.endpoint.wait_idle()).await;
    }
}

async fn serve(connection: quinn::Connection, shared: Arc<Shared>) {
    let data = connection.handshake_data().and_then(|d| d.downcast::<HandshakeData>().ok());
    let protocol = data.and_then(|d| d.protocol).unwrap_or_default();
    match protocol.as_slice() {
        p if p == handshake::ALPN => session::serve(connection, shared).await,
        p if p == artifact::ALPN => bulk::serve(connection, shared).await,
        p if p == tunnel::RELAY_ALPN => relay::serve(connection, shared).await,
        p if p == join::ALPN => super::join::serve(connection, shared).await,
        _ => connection.close(session::CLOSE_PROTOCOL, b"unknown protocol"),
    }
}
