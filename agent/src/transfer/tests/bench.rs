//! What the tests of moved state stand on: a source, a receiver, a way between them, and an independent comparison.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use chandler_protocol::state::{Progress, Receive, Received};
use chandler_protocol::{AssignmentId, Bytes, HostId};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::watch;

use crate::transfer::{Limits, ReceiveError, Receiver, Source};

/// A move that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// Two directories and what is between them.
pub(super) struct Bench {
    pub(super) dir: TempDir,
    pub(super) source: Arc<Source>,
    pub(super) limits: Limits,
}

/// A receiver under way.
pub(super) struct Under {
    pub(super) progress: watch::Receiver<Progress>,
    pub(super) task: tokio::task::JoinHandle<(Receiver, Result<Received, ReceiveError>)>,
}

impl Bench {
    pub(super) fn new() -> Self {
        Self::with(Limits::default())
    }

    pub(super) fn with(limits: Limits) -> Self {
        let dir = TempDir::new().unwrap();
        fs::create_dir(dir.path().join("source")).unwrap();
        let source = Source::with(dir.path().join("source"), 7, limits, None);
        Self { dir, source, limits }
    }

    pub(super) fn from(&self) -> PathBuf {
        self.dir.path().join("source")
    }

    pub(super) fn to(&self) -> PathBuf {
        self.dir.path().join("target")
    }

    pub(super) fn receiver(&self) -> Receiver {
        Receiver::with(self.to(), self.dir.path().join("journal"), self.limits)
    }

    /// Begins to receive.
    pub(super) fn receive(&self, receiver: Receiver, order: Receive) -> Under {
        self.receive_by(receiver, order, |stream| stream)
    }

    /// Begins to receive over streams that are not what they seem.
    pub(super) fn receive_by<S>(
        &self,
        mut receiver: Receiver,
        order: Receive,
        wrap: impl Fn(DuplexStream) -> S + Send + Sync + 'static,
    ) -> Under
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let source = Arc::clone(&self.source);
        let (tell, progress) = watch::channel(Progress::default());
        let attempt = order.attempt;
        let task = tokio::spawn(async move {
            let open = || {
                let stream = connect(&source, attempt);
                let stream = wrap(stream);
                async move { Ok(stream) }
            };
            let hear = |p| {
                tell.send_replace(p);
            };
            let received = receiver.run(&order, open, hear).await;
            (receiver, received)
        });
        Under { progress, task }
    }

    /// Moves everything: until it is in step, then `stop`, the seal and the last round. Both ends must be equal then.
    pub(super) async fn moved(&self, stop: impl FnOnce()) -> Progress {
        let mut under = self.receive(self.receiver(), order(1));
        under.until(|p| p.in_step).await;
        stop();
        let sealed = self.source.seal(1).await.unwrap();
        let progress = *under.progress.borrow();
        let received = under.end().await.1.unwrap();
        assert_eq!(received, Received { attempt: 1, root: sealed });
        self.assert_equal();
        progress
    }

    /// Compares the directories without any of the code that is tested.
    pub(super) fn assert_equal(&self) {
        let (source, target) = (picture(&self.from()), picture(&self.to()));
        let names = |p: &BTreeMap<PathBuf, String>| p.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&source), names(&target), "the names differ");
        for (path, what) in &source {
            assert_eq!(what, &target[path], "{} differs", path.display());
        }
    }
}

impl Under {
    /// Waits until the progress is such.
    pub(super) async fn until(&mut self, is: impl FnMut(&Progress) -> bool) {
        let seen = tokio::time::timeout(PATIENCE, self.progress.wait_for(is)).await;
        let seen = seen.expect("it took too long").map(|p| *p);
        if seen.is_err() {
            let ended = (&mut self.task).await.unwrap().1;
            panic!("it ended early: {ended:?} at {:?}", *self.progress.borrow());
        }
    }

    pub(super) async fn end(self) -> (Receiver, Result<Received, ReceiveError>) {
        tokio::time::timeout(PATIENCE, self.task).await.expect("it took too long").unwrap()
    }
}

/// A stream to a source.
pub(super) fn connect(source: &Arc<Source>, attempt: u64) -> DuplexStream {
    let (near, far) = tokio::io::duplex(256 << 10);
    let source = Arc::clone(source);
    tokio::spawn(async move { source.serve(far, attempt).await });
    near
}

/// A link that carries so many bytes a second to the receiver, all streams together.
pub(super) fn narrow(rate: u64) -> impl Fn(DuplexStream) -> DuplexStream + Send + Sync + 'static {
    let turn = Arc::new(tokio::sync::Mutex::new(()));
    move |far| {
        let (near, ours) = tokio::io::duplex(16 << 10);
        let turn = Arc::clone(&turn);
        let ((mut from, mut up), (mut down, mut into)) = (tokio::io::split(far), tokio::io::split(ours));
        tokio::spawn(async move { tokio::io::copy(&mut down, &mut up).await });
        tokio::spawn(async move {
            let mut buffer = vec![0; 16 << 10];
            while let Ok(got @ 1..) = from.read(&mut buffer).await {
                let _mine = turn.lock().await;
                tokio::time::sleep(Duration::from_secs_f64(got as f64 / rate as f64)).await;
                if into.write_all(&buffer[..got]).await.is_err() {
                    return;
                }
            }
        });
        near
    }
}

pub(super) fn order(attempt: u64) -> Receive {
    Receive { attempt, host: HostId::from_random([1; 10]), source: AssignmentId::from_random([2; 10]), rate_max: None }
}

pub(super) fn slowed(attempt: u64, rate: u64) -> Receive {
    Receive { rate_max: Some(Bytes(rate)), ..order(attempt) }
}

/// Everything about each entry that is to arrive.
pub(super) fn picture(dir: &Path) -> BTreeMap<PathBuf, String> {
    let mut out = BTreeMap::new();
    let mut names: BTreeMap<u64, Vec<PathBuf>> = BTreeMap::new();
    let mut open = vec![dir.to_owned()];
    while let Some(at) = open.pop() {
        for entry in fs::read_dir(&at).unwrap() {
            let path = entry.unwrap().path();
            let meta = fs::symlink_metadata(&path).unwrap();
            let inner = path.strip_prefix(dir).unwrap().to_owned();
            let mtime = (meta.mtime(), meta.mtime_nsec());
            let mode = meta.permissions().mode() & 0o7777;
            let text = if meta.is_dir() {
                open.push(path.clone());
                format!("directory {mode:o} {mtime:?}")
            } else if meta.is_symlink() {
                format!("link to {:?}", fs::read_link(&path).unwrap())
            } else if meta.is_file() {
                names.entry(meta.ino()).or_default().push(inner.clone());
                format!("file {mode:o} {mtime:?} {} {}", meta.len(), content(&path))
            } else {
                continue;
            };
            out.insert(inner, text);
        }
    }
    for same in names.into_values() {
        for path in &same {
            let mut same = same.clone();
            same.sort();
            out.get_mut(path).unwrap().push_str(&format!(" as {same:?}"));
        }
    }
    out
}

/// The hash of the data in a file, where it is: holes are skipped.
fn content(path: &Path) -> String {
    let file = fs::File::open(path).unwrap();
    let length = file.metadata().unwrap().len();
    let mut hasher = blake3::Hasher::new();
    let mut at = 0;
    let mut buffer = vec![0; 4096];
    while at < length {
        let Ok(data) = rustix::fs::seek(&file, rustix::fs::SeekFrom::Data(at)) else { break };
        at = data / 4096 * 4096;
        let got = file.read_at(&mut buffer, at).unwrap();
        if buffer[..got].iter().any(|b| *b != 0) {
            hasher.update(&at.to_le_bytes());
            hasher.update(&buffer[..got]);
        }
        at += 4096;
    }
    hasher.finalize().to_hex().to_string()
}

/// Bytes that no compressor shortens, the same for the same seed.
pub(super) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    let mut reader = blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof();
    reader.read_exact(&mut bytes).unwrap();
    bytes
}

/// A thread that writes until it is stopped.
pub(super) struct Writer {
    stop: Arc<AtomicBool>,
    pub(super) count: Arc<AtomicU64>,
    thread: std::thread::JoinHandle<()>,
}

impl Writer {
    /// Calls `write` with 0, 1, 2, ... until it is stopped.
    pub(super) fn new(mut write: impl FnMut(u64) -> io::Result<()> + Send + 'static) -> Self {
        let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&count));
        let thread = std::thread::spawn(move || {
            let mut n = 0;
            while !stopped.load(Ordering::Relaxed) {
                write(n).unwrap();
                n += 1;
                counted.store(n, Ordering::Relaxed);
            }
        });
        Self { stop, count, thread }
    }

    pub(super) fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
    }
}

/// Waits a moment between two writes, so that a writer does not beat every link.
pub(super) fn breathe(micros: u64) {
    std::thread::sleep(Duration::from_micros(micros));
}
