//! A UDP proxy with faults: delay, jitter, loss, duplicates, reordering, corruption and one-way cuts,
//! changeable while it runs. Like a NAT it speaks to upstream from one socket for each client.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval, sleep, sleep_until};

mod faults;
mod line;

pub use faults::{Faults, REORDER_HOLD, Way};
pub use line::{Counters, LINE_BYTES_MAX};

/// Most clients at once. Each costs one socket of this process.
pub const CLIENTS_MAX: usize = 4_096;
/// A client that was silent both ways for this long is forgotten, as by a NAT.
pub const CLIENT_IDLE: Duration = Duration::from_secs(120);
/// How often silent clients are looked for.
const SWEEP: Duration = Duration::from_secs(10);
/// Larger than any UDP datagram.
const DATAGRAM_MAX: usize = 65_536;
/// Pause after a socket error. A refused port reports one error for each datagram; anything that lasts must not spin.
const ERROR_PAUSE: Duration = Duration::from_millis(2);

/// A running proxy. Dropping it ends it.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    settings: watch::Sender<Settings>,
    shared: Arc<Shared>,
    tasks: [Task; 2],
}

#[derive(Debug, Clone, Copy)]
struct Settings {
    faults: Faults,
    upstream: SocketAddr,
    /// Grows when clients must be forgotten.
    generation: u64,
}

/// Where a datagram leaves: through this socket, to this address unless the socket is connected.
#[derive(Debug, Clone)]
struct Route {
    socket: Arc<UdpSocket>,
    to: Option<SocketAddr>,
}

#[derive(Debug)]
struct Shared {
    work: Mutex<Work>,
    /// The line got something.
    filled: Notify,
}

#[derive(Debug)]
struct Work {
    line: line::Line<Route>,
    /// One receive buffer for all sockets: 4,096 of their own would be 256 MiB.
    buffer: Box<[u8]>,
}

/// A task that ends when this is dropped.
#[derive(Debug)]
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl FaultProxy {
    /// Listens on `listen` (port 0: any) and carries datagrams to `upstream` and back. Equal seeds and
    /// equal sequences of datagrams meet equal faults.
    ///
    /// # Errors
    /// The address cannot be listened on.
    pub async fn start(listen: SocketAddr, upstream: SocketAddr, faults: Faults, seed: u64) -> io::Result<Self> {
        let socket = Arc::new(UdpSocket::bind(listen).await?);
        let address = socket.local_addr()?;
        let (settings, seen) = watch::channel(Settings { faults, upstream, generation: 0 });
        let work = Work { line: line::Line::new(seed), buffer: vec![0; DATAGRAM_MAX].into() };
        let shared = Arc::new(Shared { work: Mutex::new(work), filled: Notify::new() });
        let listener = Listener { socket, shared: shared.clone(), settings: seen, clients: BTreeMap::new() };
        let tasks = [Task(tokio::spawn(listener.run())), Task(tokio::spawn(deliver(shared.clone())))];
        Ok(Self { address, settings, shared, tasks })
    }

    /// Where clients send to.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The faults from the next datagram on. What is under way already keeps its fate.
    pub fn set(&self, faults: Faults) {
        self.settings.send_modify(|s| s.faults = faults);
    }

    /// The faults now.
    pub fn faults(&self) -> Faults {
        self.settings.borrow().faults
    }

    /// Forgets every client, as a NAT that restarts: upstream sees them come from new ports.
    pub fn rebind(&self) {
        self.settings.send_modify(|s| s.generation += 1);
    }

    /// Carries to another upstream from now on, as after a change of address.
    pub fn retarget(&self, upstream: SocketAddr) {
        self.settings.send_modify(|s| {
            s.upstream = upstream;
            s.generation += 1;
        });
    }

    /// What happened so far to what went one way.
    pub fn counters(&self, way: Way) -> Counters {
        self.shared.lock().line.counters(way)
    }

    /// Whether it still works; it ends by itself only when the runtime does.
    pub fn is_running(&self) -> bool {
        self.tasks.iter().all(|t| !t.0.is_finished())
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends what is due, when it is due.
async fn deliver(shared: Arc<Shared>) {
    loop {
        let due = {
            let mut work = shared.lock();
            match work.line.pop(Instant::now()) {
                Some(datagram) => Ok(datagram),
                None => Err(work.line.next_due()),
            }
        };
        match due {
            // A datagram that cannot be sent is lost, as on any network.
            Ok((Route { socket, to: Some(to) }, bytes)) => drop(socket.send_to(&bytes, to).await),
            Ok((Route { socket, to: None }, bytes)) => drop(socket.send(&bytes).await),
            Err(None) => shared.filled.notified().await,
            Err(Some(due)) => tokio::select! {
                biased;
                () = shared.filled.notified() => {}
                () = sleep_until(due) => {}
            },
        }
    }
}

/// One client: its own socket to upstream and the task that carries answers back.
#[derive(Debug)]
struct Client {
    route: Route,
    /// When something was last seen, either way.
    last: Arc<Mutex<Instant>>,
    _answers: Task,
}

#[derive(Debug)]
struct Listener {
    socket: Arc<UdpSocket>,
    shared: Arc<Shared>,
    settings: watch::Receiver<Settings>,
    clients: BTreeMap<SocketAddr, Client>,
}

impl Listener {
    async fn run(mut self) {
        let mut sweep = interval(SWEEP);
        let mut generation = 0;
        loop {
            tokio::select! {
                biased;
                changed = self.settings.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let now = self.settings.borrow_and_update().generation;
                    if now != generation {
                        generation = now;
                        self.clients.clear();
                    }
                }
                _ = sweep.tick() => self.forget_idle(),
                ready = self.socket.readable() => match ready.and_then(|()| self.take()) {
                    Err(e) if e.kind() != io::ErrorKind::WouldBlock => sleep(ERROR_PAUSE).await,
                    _ => {}
                },
            }
        }
    }

    /// Takes one datagram of a client.
    fn take(&mut self) -> io::Result<()> {
        let settings = *self.settings.borrow();
        let mut work = self.shared.lock();
        let Work { line, buffer } = &mut *work;
        let (length, from) = self.socket.try_recv_from(buffer)?;
        if !self.clients.contains_key(&from) {
            if self.clients.len() >= CLIENTS_MAX {
                line.refuse(Way::ToUpstream);
                return Ok(());
            }
            let client = self.admit(from, settings.upstream)?;
            self.clients.insert(from, client);
        }
        if let Some(client) = self.clients.get(&from) {
            touch(&client.last);
            line.accept(Instant::now(), &settings.faults, Way::ToUpstream, &client.route, &buffer[..length]);
            self.shared.filled.notify_one();
        }
        Ok(())
    }

    /// Gives a new client its socket to upstream.
    fn admit(&self, from: SocketAddr, upstream: SocketAddr) -> io::Result<Client> {
        let any: SocketAddr = match upstream {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = std::net::UdpSocket::bind(any)?;
        socket.set_nonblocking(true)?;
        socket.connect(upstream)?;
        let socket = Arc::new(UdpSocket::from_std(socket)?);
        let last = Arc::new(Mutex::new(Instant::now()));
        let answers = Answers {
            upstream: socket.clone(),
            route: Route { socket: self.socket.clone(), to: Some(from) },
            shared: self.shared.clone(),
            settings: self.settings.clone(),
            last: last.clone(),
        };
        let answers = Task(tokio::spawn(answers.run()));
        Ok(Client { route: Route { socket, to: None }, last, _answers: answers })
    }

    fn forget_idle(&mut self) {
        let now = Instant::now();
        self.clients.retain(|_, c| {
            let last = *c.last.lock().unwrap_or_else(PoisonError::into_inner);
            now.duration_since(last) < CLIENT_IDLE
        });
    }
}

fn touch(last: &Mutex<Instant>) {
    *last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
}

/// Carries one client's answers back.
struct Answers {
    upstream: Arc<UdpSocket>,
    route: Route,
    shared: Arc<Shared>,
    settings: watch::Receiver<Settings>,
    last: Arc<Mutex<Instant>>,
}

impl Answers {
    async fn run(self) {
        loop {
            match self.upstream.readable().await.and_then(|()| self.take()) {
                Ok(()) => touch(&self.last),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                // Upstream does not listen now; it may later.
                Err(_) => sleep(ERROR_PAUSE).await,
            }
        }
    }

    fn take(&self) -> io::Result<()> {
        let faults = self.settings.borrow().faults;
        let mut work = self.shared.lock();
        let Work { line, buffer } = &mut *work;
        let length = self.upstream.try_recv(buffer)?;
        line.accept(Instant::now(), &faults, Way::ToClient, &self.route, &buffer[..length]);
        self.shared.filled.notify_one();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
