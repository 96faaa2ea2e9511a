//! One port of a door: its listeners, opened again until they stand, and what they accept.

use std::future::poll_fn;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use chandler_protocol::ServiceId;
use chandler_protocol::way::DoorPort;
use chandler_protocol::workload::PortMode;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::AbortHandle;

use super::front::{Caller, Front, Fronts};
use super::gate::Gate;
use super::http::{self, Host};
use super::numbers::Numbers;
use super::opener::Opener;
use super::tcp::{self, Port};
use crate::sync::lock;

/// How often an address that is taken is tried again; first soon, for it may be our own that is just being closed.
const AGAIN: Duration = Duration::from_secs(1);
const SOON: Duration = Duration::from_millis(20);
/// A rest when connections cannot be accepted, for instance because there are too many open files.
const REST: Duration = Duration::from_millis(50);
/// Most connections at a time on one port. Beyond it the system keeps them until they are accepted.
const CONNECTIONS_MAX: usize = 16_384;

/// What a port needs from its door and its agent.
#[derive(Clone)]
pub(crate) struct Needs {
    pub(crate) service: ServiceId,
    pub(crate) gate: Arc<Gate>,
    pub(crate) opener: Arc<dyn Opener>,
    pub(crate) fronts: Arc<dyn Fronts>,
    pub(crate) numbers: Arc<Numbers>,
    pub(crate) told: Arc<Notify>,
}

/// A port that listens, or tries to. Closed when dropped: what is under way may end.
pub(crate) struct Listening {
    wanted: DoorPort,
    state: Arc<Mutex<State>>,
    served: Served,
    closing: watch::Sender<bool>,
    task: AbortHandle,
}

#[derive(Default)]
struct State {
    /// The first is the loopback address.
    addresses: Vec<SocketAddr>,
    messages: Vec<(SocketAddr, String)>,
}

/// What serves what is accepted.
#[derive(Clone)]
enum Served {
    Http(Arc<Host>),
    Tcp(Arc<Port>),
}

impl Listening {
    /// Begins to listen as `wanted`.
    pub(crate) fn open(wanted: &DoorPort, needs: Needs) -> Self {
        let closing = watch::Sender::new(false);
        let name = wanted.name.clone();
        let (gate, opener) = (needs.gate.clone(), needs.opener.clone());
        let served = match wanted.mode {
            PortMode::Http => Served::Http(Arc::new(Host::new(gate, opener, name, closing.subscribe()))),
            PortMode::Tcp => Served::Tcp(Arc::new(Port { gate, opener, name, closing: closing.subscribe() })),
        };
        let state = Arc::new(Mutex::new(State::default()));
        let task = tokio::spawn(keep(wanted.clone(), needs, state.clone(), served.clone())).abort_handle();
        Self { wanted: wanted.clone(), state, served, closing, task }
    }

    /// Whether it is what is wanted.
    pub(crate) fn is(&self, wanted: &DoorPort) -> bool {
        self.wanted == *wanted
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.wanted.name
    }

    /// Where it listens, loopback first.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        lock(&self.state).addresses.clone()
    }

    /// Why it does not listen where it should.
    pub(crate) fn messages(&self) -> Vec<String> {
        lock(&self.state).messages.iter().map(|(at, why)| format!("{at}: {why}")).collect()
    }

    /// The route changed.
    pub(crate) fn routed(&self) {
        if let Served::Http(host) = &self.served {
            host.routed();
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.task.abort();
        self.closing.send_replace(true);
    }
}

/// Listens on the loopback address and, once that has its number, on the other one.
async fn keep(wanted: DoorPort, needs: Needs, state: Arc<Mutex<State>>, served: Served) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let kept = wanted.number.or_else(|| needs.numbers.get(needs.service, &wanted.name));
    let local = SocketAddr::from((Ipv4Addr::LOCALHOST, kept.unwrap_or(0)));
    let (front, at) = bind(local, &needs, &state).await;
    if wanted.number.is_none() {
        needs.numbers.keep(needs.service, &wanted.name, at.port());
    }
    let other = wanted.lan.filter(|ip| *ip != Ipv4Addr::LOCALHOST && !ip.is_unspecified() && !ip.is_multicast());
    let lan = async {
        let Some(ip) = other else { return };
        let (front, _) = bind(SocketAddr::from((ip, at.port())), &needs, &state).await;
        accept(&*front, &needs, &served, &connections).await;
    };
    tokio::join!(accept(&*front, &needs, &served, &connections), lan);
}

/// Listens at this address, however often that takes.
async fn bind(at: SocketAddr, needs: &Needs, state: &Mutex<State>) -> (Box<dyn Front>, SocketAddr) {
    let mut rest = SOON;
    loop {
        let front = needs.fronts.listen(at).await.and_then(|f| f.address().map(|a| (f, a)));
        let (found, news) = state_after(front, at, &mut lock(state));
        if news {
            needs.told.notify_one();
        }
        if let Some(found) = found {
            return found;
        }
        tokio::time::sleep(rest).await;
        rest = AGAIN;
    }
}

type Stands = (Box<dyn Front>, SocketAddr);

/// Notes what became of a try, and says whether that is news.
fn state_after(front: io::Result<Stands>, at: SocketAddr, state: &mut State) -> (Option<Stands>, bool) {
    let before = state.messages.clone();
    state.messages.retain(|(of, _)| *of != at);
    match front {
        Ok((front, address)) => {
            state.addresses.push(address);
            (Some((front, address)), true)
        }
        Err(error) => {
            state.messages.push((at, error.to_string()));
            (None, state.messages != before)
        }
    }
}

/// Accepts as long as there is room.
async fn accept(front: &dyn Front, needs: &Needs, served: &Served, connections: &Arc<Semaphore>) {
    let id = needs.gate.room().id();
    loop {
        let Ok(permit) = connections.clone().acquire_owned().await else { return };
        poll_fn(|cx| {
            if needs.gate.has_room() {
                return Poll::Ready(());
            }
            needs.gate.room().wait(id, cx.waker());
            if needs.gate.has_room() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        match front.accept().await {
            Ok(caller) => {
                let served = served.clone();
                tokio::spawn(async move {
                    served.serve(caller).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::debug!(%error, "a connection is not accepted");
                tokio::time::sleep(REST).await;
            }
        }
    }
}

impl Served {
    async fn serve(self, caller: Caller) {
        match self {
            Self::Http(host) => http::serve(host, caller).await,
            Self::Tcp(port) => tcp::serve(port, caller).await,
        }
    }
}
