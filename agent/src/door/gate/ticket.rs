//! One request at the gate: its place in the queue, its deadline, and the pass with which it goes on.

use std::sync::Arc;
use std::time::Duration;

use chandler_protocol::way::Backend;
use chandler_protocol::{Micros, MoveId};
use tokio::sync::Notify;

use super::{Gate, HOLD_MAX, Inner, UnderWay, Waiter, remaining};
use crate::sync::lock;

/// How often whoever waits looks up by itself, in case nobody calls.
const LOOK: Duration = Duration::from_secs(1);

/// A request or connection that was taken in. Leaves the queue when it is dropped.
pub(crate) struct Ticket {
    gate: Arc<Gate>,
    place: u64,
    arrived: Micros,
    /// Bytes it takes up while it waits.
    charge: u64,
    notify: Arc<Notify>,
    /// It waited: until when it may.
    deadline: Option<Micros>,
    /// Since when it waits, and for which move.
    waits: Option<(Micros, Option<MoveId>)>,
}

impl std::fmt::Debug for Ticket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ticket").field("place", &self.place).finish_non_exhaustive()
    }
}

/// What lets a request go to a copy.
#[derive(Debug)]
pub(crate) struct Pass {
    /// The copy, with the epoch of the route that it was chosen from.
    pub(crate) backend: Backend,
    /// Counted as under way until dropped.
    pub(crate) under_way: UnderWay,
    /// To be dropped when the copy has begun to answer: then the next one goes.
    pub(crate) permit: Option<Permit>,
}

/// One of those that go at a time.
#[derive(Debug)]
pub(crate) struct Permit(Arc<Gate>);

/// Why a request does not go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Denied {
    /// It waited for a hold longer than allowed.
    HeldTooLong,
    /// It waited for a copy longer than allowed.
    NoCopy,
    /// The door is closed.
    Closed,
}

enum Step {
    Go(Pass),
    Wait(Duration),
    Deny(Denied),
}

impl Gate {
    /// A request was taken in that takes up `charge` bytes while it waits.
    pub(crate) fn enter(self: &Arc<Self>, charge: u64) -> Ticket {
        let arrived = self.now();
        let mut inner = lock(&self.inner);
        inner.tally.request();
        inner.allowance.request();
        let place = inner.next;
        inner.next += 1;
        drop(inner);
        let notify = Arc::new(Notify::new());
        Ticket { gate: self.clone(), place, arrived, charge, notify, deadline: None, waits: None }
    }
}

impl Ticket {
    /// When it came in, by the boot clock.
    pub(crate) fn arrived(&self) -> Micros {
        self.arrived
    }

    /// Waits until it may go. Called again, it waits at its old place until its old deadline.
    ///
    /// # Errors
    /// It may not go; that is counted.
    pub(crate) async fn pass(&mut self) -> Result<Pass, Denied> {
        loop {
            let wait = match self.step() {
                Step::Go(pass) => return Ok(pass),
                Step::Deny(why) => return Err(why),
                Step::Wait(wait) => wait,
            };
            tokio::select! {
                biased;
                () = self.notify.notified() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    fn step(&mut self) -> Step {
        let gate = self.gate.clone();
        let now = gate.now();
        let mut inner = lock(&gate.inner);
        if inner.closed {
            self.leave(&mut inner, now);
            inner.tally.failed(None);
            return Step::Deny(Denied::Closed);
        }
        if let Some(hold) = inner.hold.as_mut().filter(|h| !h.over && now >= h.until) {
            hold.over = true;
            gate.tell();
        }
        if inner.is_open(now) {
            let free = inner.queue.is_empty();
            if !free {
                self.queue_up(&mut inner, now);
                inner.pump(now);
            }
            let go = inner.queue.get(&self.place).is_some_and(|w| w.go);
            if !free && !go {
                return Step::Wait(LOOK);
            }
            return self.go(&mut inner, now, go);
        }
        self.queue_up(&mut inner, now);
        if let Some(waiter) = inner.queue.get_mut(&self.place).filter(|w| w.go) {
            // It was called, but something came in between.
            waiter.go = false;
            inner.released = inner.released.saturating_sub(1);
        }
        self.not_yet(&mut inner, now)
    }

    /// It is let go.
    fn go(&mut self, inner: &mut Inner, now: Micros, released: bool) -> Step {
        let Inner { balance, route, .. } = &mut *inner;
        let Some(backend) = balance.choose(&route.backends, now) else { return Step::Wait(LOOK) };
        balance.begin(backend.assignment);
        if let Some(waiter) = inner.queue.get_mut(&self.place) {
            // The permit goes with it.
            waiter.go = false;
        }
        self.leave(inner, now);
        let permit = released.then(|| Permit(self.gate.clone()));
        let under_way = UnderWay::new(self.gate.clone(), backend.assignment);
        Step::Go(Pass { backend, under_way, permit })
    }

    /// It waits on, or has waited for too long.
    fn not_yet(&mut self, inner: &mut Inner, now: Micros) -> Step {
        let after = |time: Micros| Micros(self.arrived.0.saturating_add(time.0));
        let own = after(inner.hold.map_or(inner.limits.wait, |h| h.hold.limit));
        let mut deadline = self.deadline.unwrap_or(own);
        let mut next = LOOK;
        if let Some(holding) = inner.hold.filter(|_| inner.is_holding(now)) {
            deadline = deadline.max(holding.until);
            next = remaining(holding.until, now, next);
        }
        // Hold after hold must not keep it for ever.
        deadline = deadline.min(after(HOLD_MAX));
        self.deadline = Some(deadline);
        if now >= deadline {
            let of = self.waits.and_then(|(_, of)| of);
            self.leave(inner, now);
            inner.tally.held_too_long();
            inner.tally.failed(of);
            return Step::Deny(if of.is_some() { Denied::HeldTooLong } else { Denied::NoCopy });
        }
        if let Some(reopens) = inner.balance.reopens(&inner.route.backends, now) {
            next = remaining(reopens, now, next);
        }
        Step::Wait(remaining(deadline, now, next))
    }

    /// Takes its place in the queue, unless it has.
    fn queue_up(&mut self, inner: &mut Inner, now: Micros) {
        if inner.queue.contains_key(&self.place) {
            return;
        }
        inner.queue.insert(self.place, Waiter { notify: self.notify.clone(), go: false });
        inner.bytes = inner.bytes.saturating_add(self.charge);
        self.gate.room.take(self.charge);
        inner.measure();
        if self.waits.is_none() {
            let of = inner.of;
            inner.tally.held(of);
            self.waits = Some((now, of));
        }
    }

    /// Leaves the queue, if it is in it.
    fn leave(&mut self, inner: &mut Inner, now: Micros) {
        let Some(waiter) = inner.queue.remove(&self.place) else { return };
        if waiter.go {
            inner.released = inner.released.saturating_sub(1);
        }
        inner.bytes = inner.bytes.saturating_sub(self.charge);
        self.gate.room.give(self.charge);
        if let Some((since, of)) = self.waits {
            // Whom a copy left without an answer has waited since it came.
            let since = if of.is_some() { since } else { self.arrived };
            inner.tally.waited(of, Micros(now.0.saturating_sub(since.0)));
        }
        if inner.queue.is_empty() && inner.hold.is_none() {
            inner.of = None;
        }
        if inner.measure() {
            self.gate.room.wake_all();
        }
        inner.pump(now);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let gate = self.gate.clone();
        let now = gate.now();
        self.leave(&mut lock(&gate.inner), now);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let now = self.0.now();
        let mut inner = lock(&self.0.inner);
        inner.released = inner.released.saturating_sub(1);
        inner.pump(now);
    }
}
