//! The controller's side: takes a step of the tenure, commits it with the orders that follow from it, then speaks.

use chandler_engine::relocation::tenure::{Stage, Tenure};

use crate::fault::Fault;
use crate::message::{Message, Order, Who, Writes, received, root};
use crate::world::{Bounds, World};

/// What the controller decides by itself, at any moment that allows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    /// The owner shall hand over to the other copy.
    HandOver,
    /// The hand-over is given up before its commit.
    Cancel,
    /// It is given up after its commit.
    GiveBack,
    /// The lease of who owned the state last is surely over.
    LeaseOver,
    /// The owner is given up: its lease is surely over, the other copy begins with what it has.
    FailOver,
    /// The new owner is healthy: customers go there.
    Switch,
    /// What the old owner sealed is deleted.
    Delete,
}

impl Decision {
    pub(crate) const ALL: [Self; 7] =
        [Self::HandOver, Self::Cancel, Self::GiveBack, Self::LeaseOver, Self::FailOver, Self::Switch, Self::Delete];
}

impl World {
    /// Takes a decision; false when it cannot be taken now.
    pub(crate) fn decide(&mut self, decision: Decision, bounds: &Bounds, fault: Option<Fault>) -> bool {
        let done = match decision {
            Decision::HandOver => self.hand_over(bounds),
            Decision::Cancel => self.cancel(),
            Decision::GiveBack => self.give_back(fault),
            Decision::LeaseOver => self.lease_over(fault),
            Decision::FailOver => self.fail_over(bounds, fault),
            Decision::Switch => self.switch(),
            Decision::Delete => self.delete(),
        };
        done.is_some()
    }

    fn hand_over(&mut self, bounds: &Bounds) -> Option<()> {
        let tenure = self.controller.tenure;
        let owner = Who::of(tenure.owner?);
        let to = owner.other();
        // After a failover the copy that was given up is kept as it is, for a person to look at.
        let allowed = tenure.attempt < bounds.attempts && self.spent.failovers == 0 && !self.machine(to).burnt;
        let tenure = allowed.then(|| tenure.seal(to.id()).ok())??;
        self.controller.tenure = tenure;
        let attempt = attempt(&tenure);
        self.tell(owner, self.controller.orders[owner as usize].0, Order::Seal(attempt));
        // Never above the tenure's epoch: the one it may own the state under comes after.
        self.tell(to, tenure.epoch, Order::Receive(attempt));
        Some(())
    }

    fn cancel(&mut self) -> Option<()> {
        let tenure = self.controller.tenure.cancel().ok()?;
        let owner = self.owned(tenure)?;
        self.tell(owner.other(), tenure.epoch, Order::Stopped);
        Some(())
    }

    fn give_back(&mut self, fault: Option<Fault>) -> Option<()> {
        let tenure = self.controller.tenure.give_back().ok()?;
        self.controller.tenure = tenure;
        let from = Who::of(tenure.holder()?);
        self.tell(from, tenure.epoch, Order::Stopped);
        if fault == Some(Fault::UnfencedReturn) {
            self.owned(tenure.lease_over(from.id()).ok()?);
        }
        Some(())
    }

    fn lease_over(&mut self, fault: Option<Fault>) -> Option<()> {
        let of = self.gone(fault)?;
        self.owned(self.controller.tenure.lease_over(of.id()).ok()?);
        Some(())
    }

    fn fail_over(&mut self, bounds: &Bounds, fault: Option<Fault>) -> Option<()> {
        let gone = self.gone(fault)?;
        let to = gone.other();
        if self.spent.failovers >= bounds.failovers || self.machine(to).burnt {
            return None;
        }
        // The old owner still has all of it before the switch; anything else is a loss, and declared.
        let is_whole = match self.controller.tenure.stage {
            Stage::Committed { from, .. } => from == to.id(),
            Stage::Returning { to: back, .. } => back == to.id(),
            Stage::Settled | Stage::Sealing { .. } => false,
        };
        let tenure = self.controller.tenure.fail_over(gone.id(), to.id()).ok()?;
        if !is_whole {
            self.promised = 0;
        }
        self.spent.failovers += 1;
        self.owned(tenure);
        self.tell(gone, tenure.epoch, Order::Stopped);
        Some(())
    }

    fn switch(&mut self) -> Option<()> {
        let before = self.controller.tenure;
        let healthy = Message::Healthy { by: Who::of(before.owner?), epoch: before.epoch };
        if !self.was_said(healthy) {
            return None;
        }
        self.controller.tenure = before.switched().ok()?;
        self.controller.switched = true;
        self.controller.reachable |= 1 << before.epoch;
        Some(())
    }

    fn delete(&mut self) -> Option<()> {
        let tenure = self.controller.tenure;
        let old = Who::of(tenure.owner?).other();
        let is_left = matches!(self.controller.orders[old as usize].1, Order::Seal(_));
        if tenure.stage != Stage::Settled || !is_left {
            return None;
        }
        self.tell(old, tenure.epoch, Order::Wiped);
        Some(())
    }

    /// Who may run by the tenure and whose lease is surely over.
    fn gone(&self, fault: Option<Fault>) -> Option<Who> {
        let holder = Who::of(self.controller.tenure.holder()?);
        let may_live = self.controller.leased[holder as usize] && fault != Some(Fault::ConcludedEarly);
        (!may_live).then_some(holder)
    }

    /// Somebody owns the state again, with what it has, and customers may reach it.
    fn owned(&mut self, tenure: Tenure) -> Option<Who> {
        self.controller.tenure = tenure;
        let owner = Who::of(tenure.owner?);
        self.controller.reachable |= 1 << tenure.epoch;
        self.tell(owner, tenure.epoch, Order::Own(None));
        Some(owner)
    }

    fn tell(&mut self, to: Who, epoch: u64, order: Order) {
        self.controller.orders[to as usize] = (epoch, order);
        if !self.machine(to).burnt {
            self.say(Message::Order { to, epoch, order });
        }
    }

    /// A copy says that it sealed.
    pub(crate) fn heard_sealed(
        &mut self,
        (by, epoch, attempt): (Who, u64, u64),
        (state, lease): (Writes, u64),
        fault: Option<Fault>,
    ) -> bool {
        let tenure = self.controller.tenure;
        let lease = if fault == Some(Fault::GenerationUnchecked) { tenure.lease } else { lease };
        match tenure.sealed(by.id(), epoch, attempt, root(state), lease) {
            Ok(tenure) => {
                self.controller.tenure = tenure;
                true
            }
            Err(_) => false,
        }
    }

    /// A copy says that it verified: the commit.
    pub(crate) fn heard_verified(&mut self, by: Who, attempt: u8, state: Writes, fault: Option<Fault>) -> bool {
        let before = self.controller;
        let Ok(tenure) = before.tenure.verified(by.id(), received(attempt, state)) else { return false };
        let from = by.other();
        if fault == Some(Fault::DeletedAtVerify) && before.orders[from as usize].1 != Order::Wiped {
            self.tell(from, before.orders[from as usize].0, Order::Wiped);
            return true;
        }
        self.controller.tenure = tenure;
        self.tell(by, tenure.epoch, Order::Own(Some((attempt, state))));
        match fault {
            Some(Fault::CommitNotDurable) => self.undurable = Some(before),
            Some(Fault::DeletedAtCommit) => self.tell(from, tenure.epoch, Order::Wiped),
            Some(Fault::EarlyTraffic) => self.controller.reachable |= 1 << tenure.epoch,
            _ => {}
        }
        true
    }

    /// A copy says that it is stopped.
    pub(crate) fn heard_stopped(&mut self, by: Who, epoch: u64) -> bool {
        match self.controller.tenure.fenced(by.id(), epoch) {
            Ok(tenure) => self.owned(tenure).is_some(),
            Err(_) => false,
        }
    }

    /// A copy asks for a lease.
    pub(crate) fn heard_ask(&mut self, ask: (Who, u64, u64, u8), bounds: &Bounds, fault: Option<Fault>) -> bool {
        let (by, epoch, generation, start) = ask;
        let before = self.controller.tenure;
        let asked = match before.stage {
            Stage::Sealing { to, .. } if fault == Some(Fault::LeasedAfterSeal) => {
                Tenure { stage: Stage::Sealing { to, root: None }, ..before }
            }
            _ => before,
        };
        let Ok((tenure, granted)) = asked.grant(by.id(), epoch, generation) else { return false };
        if granted > bounds.generations {
            return false;
        }
        self.controller.tenure = Tenure { stage: before.stage, ..tenure };
        self.controller.leased[by as usize] = true;
        // An agent that was started since does not know what this answers.
        if self.machine(by).start == start && !self.machine(by).burnt {
            self.say(Message::Grant { to: by, epoch, generation: granted, start });
        }
        true
    }

    /// The controller ends and starts again with what its database has: only where the commit was not durable is that
    /// another than before.
    pub(crate) fn controller_restarts(&mut self) -> bool {
        let Some(durable) = self.undurable.take() else { return false };
        self.controller = durable;
        // It does not know which leases were given, and presumes all.
        self.controller.leased = [true; 2];
        true
    }
}

#[expect(clippy::cast_possible_truncation, reason = "attempts are bounded by a handful")]
const fn attempt(tenure: &Tenure) -> u8 {
    tenure.attempt as u8
}
