//! The state of simulated software: a few bytes in memory, given and received whole.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use chandler_agent::states::{BoxedStream, OpenState, StateError, StateReceiver, StateSource, States};
use chandler_protocol::state::{Progress, Receive, Received};
use chandler_protocol::{AssignmentId, Bytes, Digest, Micros};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::machine::Machine;

/// How long one look at the source takes to be worth another one.
const ROUND: Micros = Micros::from_millis(20);
/// Most bytes of a simulated state.
const STATE_MAX: usize = 1 << 20;
/// Length of its root.
const ROOT: usize = 32;

/// The states on one machine.
pub(crate) struct Kept(pub(crate) Arc<Machine>);

/// One copy's state on one machine.
struct Copy {
    machine: Arc<Machine>,
    assignment: AssignmentId,
    /// The attempt that it is sealed in. The agent forgets it when it ends.
    sealed: Mutex<Option<u64>>,
}

impl Copy {
    fn new(machine: &Arc<Machine>, assignment: AssignmentId) -> Self {
        Self { machine: machine.clone(), assignment, sealed: Mutex::default() }
    }

    fn sealed(&self) -> MutexGuard<'_, Option<u64>> {
        self.sealed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl States for Kept {
    fn source(&self, assignment: AssignmentId) -> Arc<dyn StateSource> {
        Arc::new(Copy::new(&self.0, assignment))
    }

    fn receiver(&self, assignment: AssignmentId) -> Box<dyn StateReceiver> {
        Box::new(Copy::new(&self.0, assignment))
    }
}

fn root(bytes: &[u8]) -> Digest {
    Digest(*blake3::hash(bytes).as_bytes())
}

#[async_trait]
impl StateSource for Copy {
    async fn seal(&self, attempt: u64) -> Result<Digest, StateError> {
        self.machine.must_have_ended(self.assignment, "sealed");
        *self.sealed() = Some(attempt);
        Ok(root(&self.machine.state(self.assignment)))
    }

    fn unseal(&self) {
        *self.sealed() = None;
    }

    /// Says whether it is sealed, what it is, and how that is told from a part of it.
    async fn serve(&self, attempt: u64, mut stream: BoxedStream) {
        let is_sealed = *self.sealed() == Some(attempt);
        let bytes = self.machine.state(self.assignment);
        let mut said = vec![u8::from(is_sealed)];
        said.extend(root(&bytes).0);
        said.extend(bytes);
        let _ = stream.write_all(&said).await;
        let _ = stream.shutdown().await;
    }
}

#[async_trait]
impl StateReceiver for Copy {
    async fn receive(
        &mut self,
        order: &Receive,
        from: Arc<dyn OpenState>,
        tell: &(dyn Fn(Progress) + Send + Sync),
    ) -> Result<Received, StateError> {
        let failed = |e: io::Error| StateError::Temporary(e.to_string());
        for rounds in 1.. {
            let mut stream = from.open().await.map_err(failed)?.take(STATE_MAX as u64);
            let mut said = Vec::new();
            stream.read_to_end(&mut said).await.map_err(failed)?;
            let cut_off = || failed(io::ErrorKind::UnexpectedEof.into());
            let (sealed, rest) = said.split_first().ok_or_else(cut_off)?;
            let (promised, bytes) = rest.split_at_checked(ROOT).ok_or_else(cut_off)?;
            if promised != root(bytes).0 {
                return Err(cut_off());
            }
            self.machine.must_have_ended(self.assignment, "received");
            self.machine.set_state(self.assignment, bytes.to_vec());
            let size = Bytes(bytes.len() as u64);
            tell(Progress { attempt: order.attempt, rounds, size, in_step: true, ..Progress::default() });
            if *sealed == 1 {
                return Ok(Received { attempt: order.attempt, root: root(bytes) });
            }
            tokio::time::sleep(ROUND.to_std()).await;
        }
        Err(StateError::Temporary("rounds without end".to_owned()))
    }

    async fn settled(&self) {}
}
