//! States as directories of this computer, moved by [`crate::transfer`].

use std::sync::Arc;

use async_trait::async_trait;
use chandler_protocol::state::{Progress, Receive, Received};
use chandler_protocol::world::Random;
use chandler_protocol::{AssignmentId, Digest};

use super::{BoxedStream, OpenState, StateError, StateReceiver, StateSource, States};
use crate::driver::Layout;
use crate::transfer::{ReceiveError, Receiver, Source, TreeError};

/// The states in one data directory.
pub(crate) struct FileStates {
    layout: Layout,
    random: Arc<dyn Random>,
}

impl FileStates {
    pub(crate) fn new(layout: Layout, random: Arc<dyn Random>) -> Self {
        Self { layout, random }
    }
}

impl States for FileStates {
    fn source(&self, assignment: AssignmentId) -> Arc<dyn StateSource> {
        let mut number = [0; 8];
        self.random.fill(&mut number);
        let dir = self.layout.state(assignment);
        // Software that never ran has given up an empty state. Where it cannot be made, sealing says so.
        let _ = std::fs::create_dir_all(&dir);
        Arc::new(Given(Source::new(dir, u64::from_le_bytes(number))))
    }

    fn receiver(&self, assignment: AssignmentId) -> Box<dyn StateReceiver> {
        Box::new(Receiver::new(self.layout.state(assignment), self.layout.received(assignment)))
    }
}

struct Given(Arc<Source>);

#[async_trait]
impl StateSource for Given {
    async fn seal(&self, attempt: u64) -> Result<Digest, StateError> {
        self.0.seal(attempt).await.map_err(|error| match error {
            TreeError::Refused { .. } => StateError::Refused(error.to_string()),
            TreeError::Io { .. } | TreeError::Changing { .. } | TreeError::Superseded => {
                StateError::Temporary(error.to_string())
            }
        })
    }

    fn unseal(&self) {
        self.0.unseal();
    }

    async fn serve(&self, attempt: u64, stream: BoxedStream) {
        if let Err(error) = self.0.serve(stream, attempt).await {
            tracing::debug!(%error, "a state is not given any more");
        }
    }
}

#[async_trait]
impl StateReceiver for Receiver {
    async fn receive(
        &mut self,
        order: &Receive,
        from: Arc<dyn OpenState>,
        tell: &(dyn Fn(Progress) + Send + Sync),
    ) -> Result<Received, StateError> {
        let open = || from.open();
        self.run(order, open, tell).await.map_err(|error| match error {
            ReceiveError::DiskFull { .. } => StateError::DiskFull(error.to_string()),
            ReceiveError::Refused { .. } => StateError::Refused(error.to_string()),
            _ => StateError::Temporary(error.to_string()),
        })
    }

    async fn settled(&self) {
        Self::settled(self).await;
    }
}
