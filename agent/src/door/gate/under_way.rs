//! What is under way to a copy, and how it learns that its copy has moved.

use std::sync::Arc;

use chandler_protocol::AssignmentId;

use super::{Gate, Inner};
use crate::sync::lock;

/// One request or connection that goes to a copy. Counted until dropped.
#[derive(Debug)]
pub(crate) struct UnderWay {
    gate: Arc<Gate>,
    copy: AssignmentId,
    lasts: bool,
}

impl UnderWay {
    pub(super) fn new(gate: Arc<Gate>, copy: AssignmentId) -> Self {
        Self { gate, copy, lasts: false }
    }

    /// It turned out to last until a side closes it.
    pub(crate) fn lasts(&mut self) {
        if !self.lasts {
            self.lasts = true;
            let mut inner = lock(&self.gate.inner);
            inner.balance.lasts(self.copy);
            let last = inner.is_drained(self.copy);
            drop(inner);
            if last {
                self.gate.tell();
            }
        }
    }

    /// Whether its copy is about to hand over, or is not in the route: an end that comes now comes of that.
    pub(crate) fn is_moving(&self) -> bool {
        lock(&self.gate.inner).is_leaving(self.copy)
    }

    /// It was ended because its copy moved.
    pub(crate) fn count_cut(&self) {
        let mut inner = lock(&self.gate.inner);
        let of = inner.of.or_else(|| inner.tally.counters().stalls.last().map(|s| s.r#move));
        inner.tally.cut(of);
    }

    /// Waits until its copy has handed over to another one. Never ends when it does not.
    pub(crate) async fn moved(&self) {
        let mut routes = self.gate.routes.subscribe();
        loop {
            if lock(&self.gate.inner).moved.contains(&self.copy) {
                return;
            }
            if routes.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut inner = lock(&self.gate.inner);
        inner.balance.end(self.copy, self.lasts);
        let last = inner.is_drained(self.copy);
        drop(inner);
        if last {
            self.gate.tell();
        }
    }
}

impl Inner {
    fn is_leaving(&self, copy: AssignmentId) -> bool {
        self.hold.is_some() || !self.route.backends.iter().any(|b| b.assignment == copy)
    }

    /// Whether somebody waits for this copy to have nothing under way, and it has not.
    fn is_drained(&self, copy: AssignmentId) -> bool {
        self.is_leaving(copy) && self.balance.short_lived(copy) == 0
    }
}
