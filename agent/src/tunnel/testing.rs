//! Two and three agents' tunnels in one process, over real sockets on loopback.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use chandler_protocol::tunnel::{TunnelRefusal, TunnelRequest};
use chandler_protocol::way::{Grant, Path, Permit};
use chandler_protocol::{AssignmentId, HostId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::{Carried, Parts, Serve, TunnelSettings, Tunnels};
use crate::disk::FileDisk;
use crate::identity::HostKey;
use crate::sync::lock;
use crate::time::TrustedTime;
use crate::tls::key_of;
use crate::world::{RealClock, RealRandom, RealSockets};

/// How long a test waits for something that shall happen.
pub(super) const SOON: Duration = Duration::from_secs(10);

/// The copy that tests ask for.
pub(super) fn copy() -> AssignmentId {
    AssignmentId::from_random([7; 10])
}

/// Ports by name, as the agent would know them.
#[derive(Default)]
pub(super) struct Ports(pub(super) Mutex<BTreeMap<String, Result<SocketAddr, (TunnelRefusal, u64)>>>);

#[async_trait]
impl Serve for Ports {
    fn port(&self, _: AssignmentId, _: u64, port: &str) -> Result<SocketAddr, (TunnelRefusal, u64)> {
        lock(&self.0).get(port).copied().unwrap_or(Err((TunnelRefusal::NotHere, 0)))
    }

    fn gives_state(&self, _: AssignmentId, attempt: u64) -> Result<(), (TunnelRefusal, u64)> {
        if attempt < 9 { Ok(()) } else { Err((TunnelRefusal::NotHere, 4)) }
    }

    async fn state(&self, _: AssignmentId, attempt: u64, mut stream: Carried) {
        let _ = stream.write_all(format!("state of attempt {attempt}").as_bytes()).await;
        // The second attempt is cut off in the middle.
        if attempt == 1 {
            let _ = stream.shutdown().await;
        }
    }
}

/// One agent's tunnels.
pub(super) struct Agent {
    pub(super) id: HostId,
    pub(super) key: [u8; 32],
    pub(super) tunnels: Arc<Tunnels>,
    pub(super) ports: Arc<Ports>,
    pub(super) changed: Arc<Notify>,
    running: JoinHandle<()>,
    _dir: Option<tempfile::TempDir>,
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.running.abort();
    }
}

impl Agent {
    pub(super) async fn start(number: u8) -> Self {
        Self::start_with(number, TunnelSettings::default()).await
    }

    pub(super) async fn start_with(number: u8, settings: TunnelSettings) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut agent = Self::start_in(number, dir.path(), settings).await;
        agent._dir = Some(dir);
        agent
    }

    async fn start_in(number: u8, dir: &std::path::Path, settings: TunnelSettings) -> Self {
        let id = HostId::from_random([number; 10]);
        let disk = Arc::new(FileDisk::open(dir).unwrap());
        let (key, _) = HostKey::load_or_make(disk.as_ref(), &RealRandom).unwrap();
        let time = Arc::new(TrustedTime::load(Arc::new(RealClock), [number; 16], disk.as_ref()));
        let (ports, changed) = (Arc::new(Ports::default()), Arc::new(Notify::new()));
        let parts = Parts {
            host: id,
            key: &key,
            time: &time,
            sockets: Arc::new(RealSockets),
            disk,
            is_local: true,
            settings,
            serve: ports.clone(),
            changed: changed.clone(),
        };
        let tunnels = Arc::new(Tunnels::new(parts).unwrap());
        let own = tunnels.clone();
        let running = tokio::spawn(async move { own.run().await });
        let key = key_of(&key.certificate().unwrap()).unwrap();
        until("it listens", || !tunnels.listens().is_empty()).await;
        Self { id, key, tunnels, ports, changed, running, _dir: None }
    }

    /// A grant to talk to this agent.
    pub(super) fn grant(&self) -> Grant {
        Grant {
            peer: self.id,
            key: self.key,
            addresses: self.tunnels.listens(),
            relay: false,
            permits: vec![Permit::Port(copy())],
        }
    }

    /// Another agent may ask for the copy here.
    pub(super) fn serve(&self, name: &str, at: SocketAddr) {
        lock(&self.ports.0).insert(name.to_owned(), Ok(at));
    }

    pub(super) fn path_to(&self, other: &Self) -> Option<Path> {
        self.tunnels.paths().iter().find(|p| p.peer == other.id).map(|p| p.path)
    }
}

/// An agent on a thread of its own: what it has open goes away with it at once, as in a crash.
pub(super) struct Elsewhere {
    pub(super) grant: Grant,
    thread: std::thread::JoinHandle<()>,
    end: tokio::sync::oneshot::Sender<()>,
}

impl Elsewhere {
    /// It may be asked for `web` by the host of `grant`.
    pub(super) async fn start(number: u8, dir: std::path::PathBuf, grant: Grant, web: SocketAddr) -> Self {
        let (tell, told) = tokio::sync::oneshot::channel();
        let (end, ended) = tokio::sync::oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let agent = Agent::start_in(number, &dir, TunnelSettings::default()).await;
                agent.tunnels.set_grants(&[grant]);
                agent.serve("web", web);
                let _ = tell.send(agent.grant());
                let _ = ended.await;
            });
        });
        Self { grant: told.await.unwrap(), thread, end }
    }

    pub(super) fn crash(self) -> Grant {
        let _ = self.end.send(());
        self.thread.join().unwrap();
        self.grant
    }
}

/// Each may talk to the other.
pub(super) fn introduce(a: &Agent, b: &Agent) {
    a.tunnels.set_grants(&[b.grant()]);
    b.tunnels.set_grants(&[a.grant()]);
}

/// A request for a port of the copy.
pub(super) fn port(name: &str) -> TunnelRequest {
    TunnelRequest::Port { assignment: copy(), epoch: 3, port: name.to_owned() }
}

/// A server whose connections are handled by `handle`.
pub(super) async fn server<F, R>(handle: F) -> SocketAddr
where
    F: Fn(TcpStream) -> R + Send + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(handle(stream));
        }
    });
    address
}

/// A server that gives back what it gets, and ends when its client does.
pub(super) async fn echo() -> SocketAddr {
    server(|mut stream| async move {
        let (mut from, mut to) = stream.split();
        let _ = tokio::io::copy(&mut from, &mut to).await;
        let _ = to.shutdown().await;
    })
    .await
}

/// Says something and hears it back, to the end.
pub(super) async fn says_back(stream: &mut Carried, text: &str) {
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut heard = vec![0; text.len()];
    tokio::time::timeout(SOON, stream.read_exact(&mut heard)).await.expect("an answer").unwrap();
    assert_eq!(heard, text.as_bytes());
}

/// Waits until something is so.
pub(super) async fn until(what: &str, is_so: impl Fn() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(SOON, waiting).await.is_ok(), "in time: {what}");
}
