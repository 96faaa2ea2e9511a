//! Where tunnels are accepted: which socket, and what is said of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chandler_protocol::way::Path;

use super::{Tunnels, accept, transport};
use crate::AgentError;
use crate::disk;

/// Addresses that are said to the controller.
const LISTENS_MAX: usize = 8;
/// Where the port is kept, so that it is the same after a restart.
const PORT: &str = "tunnel-port";
/// How long to wait before the socket is tried again.
const BIND_AGAIN: Duration = Duration::from_secs(5);

impl Tunnels {
    /// Keeps a socket open and accepts what comes.
    pub(super) async fn listen(self: &Arc<Self>) {
        loop {
            match self.bind() {
                Ok(endpoint) => {
                    self.endpoint.send_replace(Some(endpoint.clone()));
                    self.changed.notify_one();
                    accept::accept(self, &endpoint, Path::Direct).await;
                    tracing::warn!("the socket for tunnels is gone; a new one is opened");
                }
                Err(error) => tracing::error!(%error, "no socket for tunnels can be opened; trying again"),
            }
            tokio::time::sleep(BIND_AGAIN).await;
        }
    }

    /// Opens the socket on the address that was set, or else on the port that it had before, or else on any.
    fn bind(&self) -> Result<quinn::Endpoint, AgentError> {
        let failed = |e: &dyn std::fmt::Display| AgentError::Setting(format!("tunnels: {e}"));
        let server = || self.credentials.accepting(transport::direct(self.settings.offload));
        let key = self.credentials.reset_key();
        if let Some(address) = self.settings.listen {
            return self.sockets.tunnel(address, server()?, &key).map_err(|e| failed(&format!("{address}: {e}")));
        }
        let kept = disk::load::<u16>(self.disk.as_ref(), PORT).ok().flatten().unwrap_or(0);
        let mut last = None;
        for port in [kept, 0] {
            for address in transport::anywhere(self.is_local, port) {
                match self.sockets.tunnel(address, server()?, &key) {
                    Ok(endpoint) => {
                        self.keep_port(kept, &endpoint);
                        return Ok(endpoint);
                    }
                    Err(error) => last = Some(error),
                }
            }
        }
        Err(failed(&last.unwrap_or_else(|| std::io::ErrorKind::AddrNotAvailable.into())))
    }

    fn keep_port(&self, kept: u16, endpoint: &quinn::Endpoint) {
        let Ok(port) = endpoint.local_addr().map(|a| a.port()) else { return };
        if port != kept
            && let Err(error) = disk::save(self.disk.as_ref(), PORT, &port)
        {
            tracing::warn!(%error, "the port for tunnels is not kept; it will be another after a restart");
        }
    }

    /// Where tunnels are accepted: addresses of this computer's networks; unspecified with the port where none is known.
    pub fn listens(&self) -> Vec<SocketAddr> {
        let Some(bound) = self.endpoint.borrow().as_ref().and_then(|e| e.local_addr().ok()) else { return Vec::new() };
        let ip = bound.ip().to_canonical();
        if !ip.is_unspecified() {
            return vec![SocketAddr::new(ip, bound.port())];
        }
        let own = self.sockets.addresses().into_iter().filter(|a| bound.is_ipv6() || a.is_ipv4());
        let listens: Vec<_> = own.take(LISTENS_MAX).map(|a| SocketAddr::new(a, bound.port())).collect();
        if listens.is_empty() { vec![bound] } else { listens }
    }
}
