//! What is in the air: everything that was said, until it can have no effect any more, whenever it arrives.
//!
//! That is for the product's functions to say. Epochs and attempts only grow; so what is refused for being of an older one,
//! by a tenure or a custody that would like it in every other way, is refused for ever. Without this the check would
//! tell moments apart that differ only in what nobody listens to.

use chandler_engine::relocation::tenure::{Denied, Stage, Tenure};

use crate::message::{Message, Order, Who, received, root};
use crate::world::World;

impl World {
    /// Takes out of the air what can have no effect any more.
    pub(crate) fn clear_air(&mut self) {
        let mut air = std::mem::take(&mut self.air);
        air.retain(|m| self.may_matter(m));
        // Messages that carry an order are there before the states that are received by it.
        let awaited = |to: Who, attempt: u8| {
            let order = Order::Receive(attempt);
            let machine = self.machine(to);
            let is_ordered =
                |m: &Message| matches!(m, Message::Order { to: t, order: o, .. } if (*t, *o) == (to, order));
            machine.order == order
                || machine.earlier.is_some()
                || self.controller.orders[to as usize].1 == order
                || air.iter().any(is_ordered)
        };
        let void: Vec<bool> =
            air.iter().map(|m| matches!(m, Message::State { to, attempt, .. } if !awaited(*to, *attempt))).collect();
        let mut void = void.into_iter();
        air.retain(|_| void.next() != Some(true));
        self.air = air;
        for who in Who::BOTH {
            if !self.air.iter().any(|m| m.is_of_lease(who)) {
                self.machine_mut(who).start = 0;
            }
        }
    }

    fn may_matter(&self, message: &Message) -> bool {
        let tenure = self.controller.tenure;
        let would = |owner: Who, stage: Stage| Tenure { owner: Some(owner.id()), stage, ..tenure };
        match *message {
            Message::Order { to, epoch, .. } => self.machine(to).custody.obeys(epoch),
            Message::State { to, .. } => !self.machine(to).burnt,
            Message::Sealed { by, epoch, attempt, state, lease } => {
                let willing = would(by, Stage::Sealing { to: by.other().id(), root: None });
                is_possible(willing.sealed(by.id(), epoch, attempt, root(state), lease))
            }
            Message::Verified { by, attempt, state } => {
                let willing = would(by.other(), Stage::Sealing { to: by.id(), root: Some(root(state)) });
                is_possible(willing.verified(by.id(), received(attempt, state)))
            }
            Message::Stopped { by, epoch } => {
                let willing = would(by, Stage::Returning { from: by.id(), to: by.other().id() });
                is_possible(willing.fenced(by.id(), epoch))
            }
            Message::Healthy { epoch, .. } => epoch >= tenure.epoch,
            Message::Ask { by, epoch, generation, .. } => {
                is_possible(would(by, Stage::Settled).grant(by.id(), epoch, generation))
            }
            Message::Grant { to, epoch, start, .. } => {
                let machine = self.machine(to);
                machine.start == start && machine.custody.obeys(epoch)
            }
        }
    }
}

/// Whether it is taken, or refused for something that may still come.
fn is_possible<T>(answer: Result<T, Denied>) -> bool {
    !matches!(answer, Err(Denied::Epoch | Denied::Attempt))
}
