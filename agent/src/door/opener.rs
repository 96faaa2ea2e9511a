//! How a door reaches a copy: it asks for a stream of bytes and learns what is certain when it gets none.

use std::fmt;

use async_trait::async_trait;
use chandler_protocol::tunnel::TunnelRefusal;
use chandler_protocol::way::Backend;
use tokio::io::{AsyncRead, AsyncWrite};

/// Bytes both ways.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// Bytes both ways, of any kind.
pub type BoxedIo = Box<dyn Io>;

/// Opens streams to copies: through a tunnel, or straight when the copy is on this host.
#[async_trait]
pub trait Opener: Send + Sync {
    /// A new stream to the named port of a copy. Nothing was sent on it yet.
    ///
    /// # Errors
    /// There is none; [`OpenError`] says what is certain. In no case has a byte of the request left the door, for the door
    /// writes only to a stream that it was given.
    async fn open(&self, backend: &Backend, port: &str) -> Result<BoxedIo, OpenError>;
}

/// Why there is no stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpenError {
    /// No path or no grant: nobody was asked.
    NotSent(String),
    /// The agent of the copy does not carry it. Nothing reached the workload.
    Refused {
        /// Why.
        why: TunnelRefusal,
        /// The epoch that agent knows for the copy; 0 when it knows none.
        epoch: u64,
    },
    /// The way broke while it was asked for. The stream carried nothing yet.
    Lost(String),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSent(why) => write!(f, "no way to the copy: {why}"),
            Self::Refused { why, epoch } => write!(f, "its agent refuses: {why:?} (epoch {epoch})"),
            Self::Lost(why) => write!(f, "the way broke: {why}"),
        }
    }
}

impl std::error::Error for OpenError {}
