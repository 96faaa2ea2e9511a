//! How doors reach copies: through tunnels.

use std::sync::Arc;

use async_trait::async_trait;
use chandler_protocol::tunnel::TunnelRequest;
use chandler_protocol::way::Backend;

use crate::door::{BoxedIo, OpenError, Opener};
use crate::tunnel::{self, Tunnels};

/// Opens streams to the ports of copies, wherever they are.
pub(crate) struct Opening(pub(crate) Arc<Tunnels>);

#[async_trait]
impl Opener for Opening {
    async fn open(&self, backend: &Backend, port: &str) -> Result<BoxedIo, OpenError> {
        let request =
            TunnelRequest::Port { assignment: backend.assignment, epoch: backend.epoch, port: port.to_owned() };
        match self.0.open(backend.host, &request).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(error @ (tunnel::OpenError::NoGrant | tunnel::OpenError::NoPath(_))) => {
                Err(OpenError::NotSent(error.to_string()))
            }
            Err(tunnel::OpenError::Refused { why, epoch }) => Err(OpenError::Refused { why, epoch }),
            Err(tunnel::OpenError::Lost(why)) => Err(OpenError::Lost(why)),
        }
    }
}
