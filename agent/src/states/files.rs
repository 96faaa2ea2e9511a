//! States as directories of this computer.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use chandler_protocol::state::{Progress, Receive, Received};
use chandler_protocol::{AssignmentId, Digest};

use super::{BoxedStream, OpenState, StateError, StateReceiver, StateSource, States};
use crate::driver::Layout;

/// Bytes hashed at once.
const BLOCK: usize = 256 << 10;

/// The states in one data directory.
#[derive(Debug)]
pub(crate) struct FileStates {
    layout: Layout,
}

impl FileStates {
    pub(crate) fn new(layout: Layout) -> Self {
        Self { layout }
    }
}

impl States for FileStates {
    fn source(&self, assignment: AssignmentId) -> Arc<dyn StateSource> {
        Arc::new(Tree(self.layout.state(assignment)))
    }

    fn receiver(&self, _: AssignmentId) -> Box<dyn StateReceiver> {
        Box::new(NoReceiver)
    }
}

struct Tree(PathBuf);

#[async_trait]
impl StateSource for Tree {
    async fn seal(&self, _: u64) -> Result<Digest, StateError> {
        let dir = self.0.clone();
        let measured = tokio::task::spawn_blocking(move || measure(&dir)).await;
        let failed = |e: &dyn std::fmt::Display| StateError::Temporary(format!("its state cannot be read: {e}"));
        measured.map_err(|e| failed(&e))?.map_err(|e| failed(&e))
    }

    fn unseal(&self) {}

    async fn serve(&self, _: u64, _: BoxedStream) {}
}

/// Writes a tree out and hashes it: every path, in order, and what is there.
fn measure(dir: &Path) -> io::Result<Digest> {
    fs::create_dir_all(dir)?;
    crate::platform::sync_tree(dir)?;
    let (mut hasher, mut todo) = (blake3::Hasher::new(), vec![dir.to_owned()]);
    let mut block = vec![0; BLOCK];
    while let Some(path) = todo.pop() {
        let meta = fs::symlink_metadata(&path)?;
        hasher.update(path.strip_prefix(dir).unwrap_or(&path).as_os_str().as_encoded_bytes());
        hasher.update(&[0]);
        if meta.is_dir() {
            let mut inside = fs::read_dir(&path)?.map(|e| Ok(e?.path())).collect::<io::Result<Vec<_>>>()?;
            inside.sort();
            todo.extend(inside.into_iter().rev());
        } else if meta.is_file() {
            hasher.update(&meta.len().to_le_bytes());
            let mut file = fs::File::open(&path)?;
            while let n @ 1.. = file.read(&mut block)? {
                hasher.update(&block[..n]);
            }
        }
    }
    Ok(Digest(*hasher.finalize().as_bytes()))
}

struct NoReceiver;

#[async_trait]
impl StateReceiver for NoReceiver {
    async fn receive(
        &mut self,
        _: &Receive,
        _: Arc<dyn OpenState>,
        _: &(dyn Fn(Progress) + Send + Sync),
    ) -> Result<Received, StateError> {
        Err(StateError::Temporary("this agent cannot receive states yet".into()))
    }
}
