//! The state of copies, as far as it is given up and received: what the supervisors of workloads need of state transfer.
//! The real one works on directories; a simulation keeps it in memory.

use std::sync::Arc;

use async_trait::async_trait;
use chandler_protocol::state::{Progress, Receive, Received};
use chandler_protocol::{AssignmentId, Digest};
use tokio::io::{AsyncRead, AsyncWrite};

mod files;

pub(crate) use files::FileStates;

/// A way to another agent that carries bytes both ways.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Any [`Stream`].
pub type BoxedStream = Box<dyn Stream>;

/// Opens streams to the copy that a state is received from; several may be open at once.
#[async_trait]
pub trait OpenState: Send + Sync {
    /// One more stream.
    ///
    /// # Errors
    /// The source cannot be reached now, or does not give the state; trying again may help.
    async fn open(&self) -> std::io::Result<BoxedStream>;
}

/// Why a state was not given up or received.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// It may work the next time: the source is away, a file could not be read just now.
    #[error("{0}")]
    Temporary(String),
    /// What is there cannot be moved: links out of the tree, devices, too many files. Says what.
    #[error("{0}")]
    Refused(String),
    /// No room on this disk. The source is as it was.
    #[error("{0}")]
    DiskFull(String),
}

/// The state of a copy that owns it.
#[async_trait]
pub trait StateSource: Send + Sync {
    /// The software has ended, with everything it started: writes its state out and measures it. Said again for the same
    /// attempt it gives the same.
    ///
    /// # Errors
    /// It is not sealed.
    async fn seal(&self, attempt: u64) -> Result<Digest, StateError>;
    /// The state was given back to this copy: it will change again.
    fn unseal(&self);
    /// Answers a receiver until one side ends it.
    async fn serve(&self, attempt: u64, stream: BoxedStream);
}

/// The state of a copy that is to own it.
#[async_trait]
pub trait StateReceiver: Send {
    /// Receives round after round until the source is sealed and all of it is here, compared and written out. Dropped, it
    /// stops; called again, it goes on with what is here.
    ///
    /// # Errors
    /// See [`StateError`].
    async fn receive(
        &mut self,
        order: &Receive,
        from: Arc<dyn OpenState>,
        tell: &(dyn Fn(Progress) + Send + Sync),
    ) -> Result<Received, StateError>;
    /// Waits until nothing of a call that was dropped still writes.
    async fn settled(&self);
}

/// The states on this computer.
pub trait States: Send + Sync {
    /// The state of a copy, to be given.
    fn source(&self, assignment: AssignmentId) -> Arc<dyn StateSource>;
    /// The state of a copy, to be received.
    fn receiver(&self, assignment: AssignmentId) -> Box<dyn StateReceiver>;
}
