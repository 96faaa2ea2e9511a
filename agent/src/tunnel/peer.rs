//! One other host: what is granted, the connections to it, and how it was reached last.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use chandler_protocol::way::{Grant, ObservedPath, Path, Permit};
use chandler_protocol::{HostId, Micros};
use tokio::sync::Notify;

use super::link::Link;
use super::{CLOSE_NO_GRANT, CLOSE_REPLACED, Tunnels, dial};
use crate::sync::lock;

/// Connections to one host at once. Two meet when both dial; a restarted peer leaves one that is not yet known to be dead.
const LINKS_MAX: usize = 4;
/// Addresses of one host that are tried.
const ADDRESSES_MAX: usize = 8;

pub(super) struct Peer {
    pub(super) id: HostId,
    grant: Mutex<Arc<Grant>>,
    state: Mutex<State>,
    /// Held while somebody dials: everybody else waits for what comes of it.
    dialling: tokio::sync::Mutex<()>,
    /// Told when it may be worth trying again to reach it straight.
    pub(super) retry: Notify,
}

#[derive(Default)]
struct State {
    links: Vec<Arc<Link>>,
    /// The address that worked last.
    good: Option<SocketAddr>,
    /// How it was reached last, and the round-trip time then.
    seen: Option<(Path, Option<Micros>)>,
    /// How often it was dialled, and why the last time failed.
    dials: u64,
    failure: Option<String>,
}

impl State {
    /// Whether it was reached in another way until now.
    fn is_other(&self, path: Path) -> bool {
        self.seen.is_none_or(|(seen, _)| seen != path)
    }

    /// The newest live connection, a straight one if there is any.
    fn best(&self) -> Option<&Arc<Link>> {
        let live = || self.links.iter().rev().filter(|l| !l.is_closed());
        live().find(|l| l.path == Path::Direct).or_else(|| live().next())
    }

    /// How it is reached now; says whether that is another way than before. Without a connection the last one counts:
    /// it was closed because nobody used it, or the next dial will tell.
    fn look(&mut self) -> bool {
        let Some(best) = self.best() else { return false };
        let seen = (best.path, Some(Micros::from_std(best.connection.rtt())));
        let is_other = self.is_other(seen.0);
        self.seen = Some(seen);
        is_other
    }
}

impl Peer {
    pub(super) fn new(grant: Grant) -> Self {
        Self {
            id: grant.peer,
            grant: Mutex::new(Arc::new(grant)),
            state: Mutex::default(),
            dialling: tokio::sync::Mutex::default(),
            retry: Notify::new(),
        }
    }

    pub(super) fn grant(&self) -> Arc<Grant> {
        lock(&self.grant).clone()
    }

    /// Another grant for the same host. Connections with another key end.
    pub(super) fn set_grant(&self, mut grant: Grant) {
        grant.addresses.truncate(ADDRESSES_MAX);
        let key = grant.key;
        let before = std::mem::replace(&mut *lock(&self.grant), Arc::new(grant));
        let now = self.grant();
        if before.addresses != now.addresses {
            self.retry.notify_waiters();
        }
        for link in lock(&self.state).links.iter().filter(|l| l.key != key) {
            link.connection.close(CLOSE_NO_GRANT.into(), b"no grant for this key any more");
        }
    }

    pub(super) fn permits(&self, permit: Permit) -> bool {
        self.grant().permits.contains(&permit)
    }

    /// Where it may be reached: what worked last goes first.
    pub(super) fn candidates(&self) -> Vec<SocketAddr> {
        let grant = self.grant();
        let good = lock(&self.state).good.filter(|good| grant.addresses.contains(good));
        let others = grant.addresses.iter().copied().filter(|a| Some(*a) != good);
        good.into_iter().chain(others).collect()
    }

    /// A live connection, the best there is; says whether it was opened just now.
    pub(super) async fn link(self: &Arc<Self>, tunnels: &Arc<Tunnels>) -> Result<(Arc<Link>, bool), String> {
        let dials = lock(&self.state).dials;
        if let Some(link) = self.best() {
            return Ok((link, false));
        }
        let _dialling = self.dialling.lock().await;
        if let Some(link) = self.best() {
            return Ok((link, true));
        }
        {
            // Who waited while another one failed does not make those behind it wait once more.
            let state = lock(&self.state);
            if let (true, Some(why)) = (state.dials != dials, &state.failure) {
                return Err(why.clone());
            }
        }
        let dialled = dial::dial(tunnels, self).await;
        let mut state = lock(&self.state);
        state.dials += 1;
        state.failure = dialled.as_ref().err().cloned();
        if dialled.is_err() {
            if state.is_other(Path::None) {
                tunnels.changed.notify_one();
            }
            state.seen = Some((Path::None, None));
        }
        drop(state);
        dialled.map(|link| (link, true))
    }

    /// A live straight connection.
    pub(super) fn is_direct(&self) -> bool {
        self.best().is_some_and(|l| l.path == Path::Direct)
    }

    /// The newest live connection, a straight one if there is any.
    pub(super) fn best(&self) -> Option<Arc<Link>> {
        lock(&self.state).best().cloned()
    }

    /// A connection stands.
    pub(super) fn enter(&self, link: &Arc<Link>, tunnels: &Tunnels) {
        let mut state = lock(&self.state);
        state.links.retain(|l| !l.is_closed());
        if state.links.len() >= LINKS_MAX {
            state.links.remove(0).connection.close(CLOSE_REPLACED.into(), b"replaced by newer connections");
        }
        state.links.push(link.clone());
        if link.path == Path::Direct && link.is_dialled {
            state.good = Some(link.connection.remote_address());
        }
        if state.look() {
            tunnels.changed.notify_one();
        }
    }

    /// A connection ended.
    pub(super) fn leave(&self, link: &Arc<Link>, tunnels: &Tunnels) {
        let mut state = lock(&self.state);
        state.links.retain(|l| !Arc::ptr_eq(l, link));
        if state.look() {
            tunnels.changed.notify_one();
        }
    }

    pub(super) fn observed(&self) -> Option<ObservedPath> {
        let mut state = lock(&self.state);
        state.look();
        state.seen.map(|(path, rtt)| ObservedPath { peer: self.id, path, rtt })
    }

    pub(super) fn close(&self, code: u32, why: &str) {
        for link in &lock(&self.state).links {
            link.connection.close(code.into(), why.as_bytes());
        }
    }
}
