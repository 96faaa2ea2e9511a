//! What became of requests, as far as it matters to those that follow.

use chandler_protocol::Micros;
use chandler_protocol::way::Backend;

use super::{Gate, Inner, SEALED_FOR};
use crate::sync::lock;

impl Gate {
    /// The copy could not be reached: it is not asked for a short while.
    pub(crate) fn unreachable(&self, backend: &Backend) {
        let now = self.now();
        let mut inner = lock(&self.inner);
        let Inner { balance, route, .. } = &mut *inner;
        balance.failed(backend.assignment, &route.backends, now);
        balance.shut_briefly(backend, now);
    }

    /// The copy serves no more, or the route to it is old: it is not asked until a new route comes.
    pub(crate) fn serves_no_more(&self, backend: &Backend) {
        let now = self.now();
        lock(&self.inner).balance.shut_for(backend, SEALED_FOR, now);
    }

    /// The copy answered, but cannot.
    pub(crate) fn did_badly(&self, backend: &Backend) {
        let now = self.now();
        let mut inner = lock(&self.inner);
        let Inner { balance, route, .. } = &mut *inner;
        balance.failed(backend.assignment, &route.backends, now);
    }

    /// The copy was reached, and how long that took.
    pub(crate) fn connected(&self, time: Micros) {
        lock(&self.inner).tally.connected(time);
    }

    /// The copy answered and could.
    pub(crate) fn did_well(&self, backend: &Backend) {
        let now = self.now();
        let mut inner = lock(&self.inner);
        inner.balance.did_well(backend.assignment, now);
        let recovered = inner.queue.is_empty() && inner.tally.recovered();
        drop(inner);
        if recovered {
            self.tell();
        }
    }

    /// An answer began: after `time`, with a status of 500 or above or not.
    pub(crate) fn answered(&self, time: Micros, is_error: bool) {
        lock(&self.inner).tally.answered(time, is_error);
    }

    /// A request got no answer of the service.
    pub(crate) fn failed(&self) {
        let mut inner = lock(&self.inner);
        let of = inner.of;
        inner.tally.failed(of);
    }

    /// Whether one more request may be sent again, which it then is.
    pub(crate) fn may_repeat(&self) -> bool {
        let now = self.now();
        let mut inner = lock(&self.inner);
        let may = inner.allowance.take(now);
        if may {
            inner.tally.retried();
        }
        may
    }

    /// A request that surely was not executed is sent again.
    pub(crate) fn repeated(&self) {
        lock(&self.inner).tally.retried();
    }
}
