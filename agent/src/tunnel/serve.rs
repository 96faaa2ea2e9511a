//! What other hosts may ask of this one, as far as the tunnels need to know it.

use std::net::SocketAddr;

use async_trait::async_trait;
use chandler_protocol::AssignmentId;
use chandler_protocol::tunnel::TunnelRefusal;

use super::Carried;

/// Answers what a permitted peer asks for.
#[async_trait]
pub trait Serve: Send + Sync {
    /// Where a port of a copy listens now. `epoch` is that of the route it was chosen from.
    ///
    /// # Errors
    /// Why it may not be connected to, and the epoch that is known for the copy (0: none).
    fn port(&self, assignment: AssignmentId, epoch: u64, port: &str) -> Result<SocketAddr, (TunnelRefusal, u64)>;

    /// Whether the state of a copy is given. Asked before the stream is answered.
    ///
    /// # Errors
    /// As for [`Self::port`].
    fn gives_state(&self, assignment: AssignmentId, attempt: u64) -> Result<(), (TunnelRefusal, u64)>;

    /// Gives the state of a copy through `stream`, until it is given or the stream is gone. A stream that is dropped
    /// before it was shut down tells the other end that it was cut off.
    async fn state(&self, assignment: AssignmentId, attempt: u64, stream: Carried);
}
