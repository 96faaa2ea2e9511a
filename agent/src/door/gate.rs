//! The gate of one service: whether requests go, wait, and in which order they go on.
//!
//! `Open -> Holding -> Releasing -> Open`. While it holds, requests queue up in the order they came in. Released, they
//! go on in that order, [`RELEASE`] at a time, and whoever comes meanwhile joins the tail. A copy that refuses a
//! request sends it back to its old place with its old deadline.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chandler_protocol::way::{Backend, Door, DoorLimits, Hold, Route};
use chandler_protocol::world::Clock;
use chandler_protocol::{AssignmentId, Bytes, Micros, MoveId};
use tokio::sync::{Notify, watch};

use super::allowance::Allowance;
use super::balance::Balance;
use super::room::Room;
use super::tally::Tally;
use crate::sync::lock;

mod notes;
mod ticket;
mod under_way;

pub(crate) use ticket::{Denied, Pass, Permit, Ticket};
pub(crate) use under_way::UnderWay;

/// Requests that are let go at a time after a hold.
const RELEASE: u32 = 64;
/// The longest anything waits, whatever an order says.
const HOLD_MAX: Micros = Micros::from_secs(10);
/// A copy that gave up its state is asked again after this time if no other route came: what it said may have been
/// taken back.
const SEALED_FOR: Micros = Micros::from_secs(1);
/// Bounds on what an order may say.
const REQUESTS_MAX: u32 = 65_536;
const WAITING_BYTES_MAX: u64 = 256 << 20;

/// See the head of this file.
pub(crate) struct Gate {
    inner: Mutex<Inner>,
    clock: Arc<dyn Clock>,
    /// Told about what is worth reporting at once.
    told: Arc<Notify>,
    room: Arc<Room>,
    /// Counts the routes that were taken, for those whose copy may have moved.
    routes: watch::Sender<u64>,
}

struct Inner {
    route: Route,
    limits: DoorLimits,
    hold: Option<Holding>,
    /// The move whose hold is on or was the last, while anybody waits because of it.
    of: Option<MoveId>,
    queue: BTreeMap<u64, Waiter>,
    next: u64,
    /// Permits that are out.
    released: u32,
    bytes: u64,
    full: bool,
    closed: bool,
    balance: Balance,
    tally: Tally,
    allowance: Allowance,
    /// Copies that handed over in a hold: what still hangs on them is to be ended.
    moved: BTreeSet<AssignmentId>,
}

/// A hold that is on, or is over without a new route.
#[derive(Debug, Clone, Copy)]
struct Holding {
    hold: Hold,
    until: Micros,
    over: bool,
}

struct Waiter {
    notify: Arc<Notify>,
    go: bool,
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gate").finish_non_exhaustive()
    }
}

/// What is so at a gate.
#[derive(Debug)]
pub(crate) struct Observed {
    pub(crate) sequence: u64,
    pub(crate) holding: bool,
    pub(crate) waiting: u32,
    /// (copy, under way, of these long-lived).
    pub(crate) under_way: Vec<(AssignmentId, u32, u32)>,
    pub(crate) counters: chandler_protocol::way::DoorCounters,
}

impl Gate {
    /// A gate without a route: whoever comes waits.
    pub(crate) fn new(clock: Arc<dyn Clock>, told: Arc<Notify>, room: Arc<Room>) -> Self {
        let inner = Inner {
            route: Route { sequence: 0, hold: None, backends: Vec::new() },
            limits: DoorLimits::default(),
            hold: None,
            of: None,
            queue: BTreeMap::new(),
            next: 0,
            released: 0,
            bytes: 0,
            full: false,
            closed: false,
            balance: Balance::default(),
            tally: Tally::default(),
            allowance: Allowance::new(clock.boot()),
            moved: BTreeSet::new(),
        };
        Self { inner: Mutex::new(inner), clock, told, room, routes: watch::Sender::new(0) }
    }

    /// The time, by the boot clock.
    pub(crate) fn now(&self) -> Micros {
        self.clock.boot()
    }

    /// Room for what waits.
    pub(crate) fn room(&self) -> &Arc<Room> {
        &self.room
    }

    /// What the controller says of this door. A route that is not newer than the one that is acted on changes nothing.
    pub(crate) fn update(&self, door: &Door) {
        let now = self.now();
        let mut inner = lock(&self.inner);
        let limits = door.limits;
        inner.limits = DoorLimits {
            wait: Micros(limits.wait.0.clamp(0, HOLD_MAX.0)),
            requests: limits.requests.clamp(1, REQUESTS_MAX),
            bytes: Bytes(limits.bytes.0.clamp(1, WAITING_BYTES_MAX)),
        };
        inner.measure();
        let newer = door.route.sequence > inner.route.sequence;
        if newer {
            inner.take(&door.route, now);
            inner.pump(now);
        }
        drop(inner);
        if newer {
            self.routes.send_modify(|n| *n += 1);
            self.told.notify_one();
        }
        self.let_in();
    }

    /// Nobody goes through any more; whoever waits is sent away.
    pub(crate) fn close(&self) {
        let mut inner = lock(&self.inner);
        inner.closed = true;
        inner.queue.values().for_each(|w| w.notify.notify_one());
        drop(inner);
        self.routes.send_modify(|n| *n += 1);
    }

    /// What is so now.
    pub(crate) fn observed(&self) -> Observed {
        let now = self.now();
        let inner = lock(&self.inner);
        Observed {
            sequence: inner.route.sequence,
            holding: inner.is_holding(now),
            waiting: u32::try_from(inner.queue.len()).unwrap_or(u32::MAX),
            under_way: inner.balance.under_way().collect(),
            counters: inner.tally.counters().clone(),
        }
    }

    /// Whether more may be taken in.
    pub(crate) fn has_room(&self) -> bool {
        !self.room.is_full() && !lock(&self.inner).full
    }

    /// Tells of something worth reporting at once.
    pub(crate) fn tell(&self) {
        self.told.notify_one();
    }

    /// Whether requests go to this copy as a matter of course: it is in the present route, and no hold is on or was.
    pub(crate) fn routes_to(&self, backend: &Backend) -> bool {
        let inner = lock(&self.inner);
        inner.hold.is_none() && inner.route.backends.contains(backend)
    }

    /// Lets those in who wait outside, if there is room.
    fn let_in(&self) {
        if self.has_room() {
            self.room.wake_all();
        }
    }
}

impl Inner {
    /// Whether requests wait for a hold.
    fn is_holding(&self, now: Micros) -> bool {
        self.hold.is_some_and(|h| !h.over && now < h.until)
    }

    /// Whether requests go.
    fn is_open(&self, now: Micros) -> bool {
        !self.is_holding(now) && self.balance.any(&self.route.backends, now)
    }

    /// A newer route.
    fn take(&mut self, route: &Route, now: Micros) {
        let gone: Vec<_> = self.route.backends.iter().map(|b| b.assignment).collect();
        let here = |id: &AssignmentId| route.backends.iter().any(|b| b.assignment == *id);
        // Copies that left after a hold handed over what they own: nothing may hang on them any more.
        if self.hold.is_some() {
            self.moved.extend(gone.into_iter().filter(|id| !here(id)));
        }
        self.moved.retain(|id| !here(id));
        self.hold = route.hold.map(|hold| {
            let limit = Micros(hold.limit.0.clamp(0, HOLD_MAX.0));
            let hold = Hold { limit, ..hold };
            // The same hold again, said with another sequence, does not begin anew.
            let same = self.hold.filter(|h| h.hold.r#move == hold.r#move && h.hold.attempt == hold.attempt);
            same.unwrap_or(Holding { hold, until: Micros(now.0.saturating_add(limit.0)), over: false })
        });
        if let Some(holding) = &self.hold {
            self.of = Some(holding.hold.r#move);
            self.tally.hold(holding.hold.r#move);
        } else if self.queue.is_empty() {
            self.of = None;
        }
        self.route = route.clone();
        self.tally.routed(route.sequence);
        self.balance.routed(&route.backends);
        let (moved, balance) = (&mut self.moved, &self.balance);
        moved.retain(|id| balance.under_way().any(|(busy, ..)| busy == *id));
    }

    /// Lets those go whose turn it is.
    fn pump(&mut self, now: Micros) {
        if !self.is_open(now) {
            return;
        }
        for waiter in self.queue.values_mut() {
            if self.released >= RELEASE {
                break;
            }
            if !waiter.go {
                waiter.go = true;
                self.released += 1;
                waiter.notify.notify_one();
            }
        }
    }

    /// Notes whether there is room. Only well below the limit does anybody come in again. Says whether that changed to
    /// yes.
    fn measure(&mut self) -> bool {
        let (count, bytes) = (self.queue.len() as u64, self.bytes);
        let (most, most_bytes) = (u64::from(self.limits.requests), self.limits.bytes.0);
        let was = self.full;
        self.full =
            if was { count * 8 > most * 7 || bytes / 7 > most_bytes / 8 } else { count >= most || bytes >= most_bytes };
        was && !self.full
    }
}

/// `until - now`, at least a moment, at most `most`.
fn remaining(until: Micros, now: Micros, most: Duration) -> Duration {
    Micros(until.0.saturating_sub(now.0)).to_std().max(Duration::from_micros(200)).min(most)
}
