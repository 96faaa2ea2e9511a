//! A draft: changes being composed. Each is applied to a private copy at once, so that later steps see earlier ones.

use chandler_protocol::{Micros, Timestamp};

use crate::event::{Event, Noun};
use crate::model::{Change, Model};
use crate::order::{Order, OrderState};

/// Draws the random bytes of an id.
pub type Ids<'a> = dyn FnMut() -> [u8; 10] + 'a;

/// Changes being composed on a private copy of the model.
pub struct Draft<'a> {
    /// The model with all changes so far.
    pub model: Model,
    /// The changes, in order.
    pub changes: Vec<Change>,
    /// The time.
    pub now: Timestamp,
    /// The time by a clock that never jumps: what leases are counted by. Means nothing after a restart.
    pub boot: Micros,
    by: String,
    ids: &'a mut Ids<'a>,
}

impl std::fmt::Debug for Draft<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Draft").field("changes", &self.changes.len()).field("now", &self.now).finish_non_exhaustive()
    }
}

impl<'a> Draft<'a> {
    /// An empty draft on `model`. `by` stands in its events.
    pub fn new(model: &Model, now: Timestamp, by: &str, ids: &'a mut Ids<'a>) -> Self {
        Self { model: model.clone(), changes: Vec::new(), now, boot: Micros(now.0), by: by.to_owned(), ids }
    }

    /// The same with another clock that never jumps; without this it is the wall clock.
    #[must_use]
    pub fn at_boot(mut self, boot: Micros) -> Self {
        self.boot = boot;
        self
    }

    /// Random bytes for a new id.
    pub fn id(&mut self) -> [u8; 10] {
        (self.ids)()
    }

    /// Who makes these changes.
    pub fn by(&self) -> &str {
        &self.by
    }

    /// Adds a change.
    pub fn put(&mut self, change: impl Into<Change>) {
        let change = change.into();
        self.model.apply(&change);
        self.changes.push(change);
    }

    /// Adds an event: `what` is (noun, id, name).
    pub fn event(&mut self, what: (Noun, String, &str), from: &str, to: &str, reason: impl Into<String>) {
        let event = Event {
            id: 0,
            at: self.now,
            by: self.by.clone(),
            noun: what.0,
            subject: what.1,
            name: what.2.to_owned(),
            from: from.to_owned(),
            to: to.to_owned(),
            reason: reason.into(),
        };
        self.changes.push(Change::Event(event));
    }

    /// Moves an order to another state with its event. A move that the transition table refuses changes nothing.
    pub fn order_to(&mut self, order: &Order, to: OrderState, reason: impl Into<String>) {
        if !order.state.may_become(to) {
            return;
        }
        let reason = reason.into();
        self.event((Noun::Order, order.id.to_string(), &order.name), order.state.as_str(), to.as_str(), reason.clone());
        let completed_at = to.is_final().then_some(self.now);
        self.put(Order { state: to, reason, completed_at, ..order.clone() });
    }
}
