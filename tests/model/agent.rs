//! The agents' side: what a machine does with its copy. What custody says is kept is on the disk in the same step, so that
//! nothing can come between: whatever could, could as well come before.

use chandler_agent::custody::{Custody, May};
use chandler_protocol::state::{Own, Sealed};

use crate::fault::Fault;
use crate::message::{Message, Order, Who, Writes, received, root};
use crate::world::{Bounds, LASTS, Machine, NOW, World};

impl Machine {
    /// Whether a lease is held and has not ended.
    pub(crate) fn is_leased(&self) -> bool {
        self.custody.lease.is_some_and(|l| l.until > NOW)
    }
}

impl World {
    /// An order arrives.
    pub(crate) fn obey(&mut self, who: Who, epoch: u64, order: Order, fault: Option<Fault>) -> bool {
        let machine = self.machine_mut(who);
        if machine.burnt || !machine.custody.obeys(epoch) {
            return false;
        }
        machine.order = order;
        if fault == Some(Fault::StaleStart) && order == Order::Stopped {
            machine.running = false;
            self.say(Message::Stopped { by: who, epoch });
            return true;
        }
        machine.custody = machine.custody.ordered(epoch, &order.target());
        self.act(who, fault);
        true
    }

    /// A copy does what its order says, when it arrives and when its agent starts.
    fn act(&mut self, who: Who, fault: Option<Fault>) {
        let machine = self.machine_mut(who);
        let epoch = machine.custody.epoch;
        match machine.order {
            // What runs runs on.
            Order::Own(_) => {}
            Order::Receive(_) => machine.running = false,
            Order::Seal(attempt) => {
                machine.running &= fault == Some(Fault::SealedWhileRunning);
                machine.custody = machine.custody.given_up(attempt.into(), root(machine.state));
                let state = machine.state;
                self.say(Message::State { to: who.other(), attempt, state });
                self.say_sealed(who, attempt);
            }
            Order::Stopped => {
                machine.running = false;
                self.say(Message::Stopped { by: who, epoch });
            }
            Order::Wiped => {
                machine.running = false;
                machine.state = 0;
            }
        }
    }

    fn say_sealed(&mut self, by: Who, attempt: u8) {
        let Machine { custody, .. } = *self.machine(by);
        if let Some(Sealed { attempt, root, lease }) = custody.sealed(attempt.into()) {
            self.say(Message::Sealed { by, epoch: custody.epoch, attempt, state: root.0[0], lease });
        }
    }

    /// The state arrives.
    pub(crate) fn receive(&mut self, who: Who, attempt: u8, state: Writes, fault: Option<Fault>) -> bool {
        let machine = self.machine_mut(who);
        let received = received(attempt, state);
        let custody = machine.custody.received(received);
        if machine.burnt || machine.order != Order::Receive(attempt) || custody.received != Some(received) {
            return false;
        }
        if fault == Some(Fault::VerifiedUnwritten) {
            machine.written = machine.written.or(Some(machine.state));
        }
        machine.custody = custody;
        machine.state = state;
        self.say(Message::Verified { by: who, attempt, state });
        true
    }

    /// A lease arrives.
    pub(crate) fn lease(&mut self, who: Who, (epoch, generation, start): (u64, u64, u8), fault: Option<Fault>) -> bool {
        let machine = self.machine_mut(who);
        let is_known = machine.start == start || fault == Some(Fault::AnswerTakenLate);
        if machine.burnt || !is_known {
            return false;
        }
        machine.custody = machine.custody.leased(epoch, generation, NOW, LASTS);
        if let Order::Seal(attempt) = machine.order {
            self.say_sealed(who, attempt);
        }
        true
    }

    /// A copy that is to run asks for a lease: it has none, or one of an older epoch. To ask for one that it has again
    /// is for a lease not to end.
    pub(crate) fn ask(&mut self, who: Who, fault: Option<Fault>) -> bool {
        let Machine { burnt, custody, order: order @ Order::Own(_), running, start, .. } = *self.machine(who) else {
            return false;
        };
        let generation = match custody.may(&own(order, fault), NOW) {
            May::Ask => 0,
            May::Run if running && custody.lease.is_none_or(|l| l.generation == 0) => 0,
            _ => return false,
        };
        if !burnt {
            self.say(Message::Ask { by: who, epoch: custody.epoch, generation, start });
        }
        !burnt
    }

    /// The software is started.
    pub(crate) fn start(&mut self, who: Who, fault: Option<Fault>) -> bool {
        let machine = self.machine_mut(who);
        let order @ Order::Own(_) = machine.order else { return false };
        if machine.burnt || machine.running || machine.custody.may(&own(order, fault), NOW) != May::Run {
            return false;
        }
        machine.custody = machine.custody.begun();
        machine.running = true;
        let epoch = machine.custody.epoch;
        self.say(Message::Healthy { by: who, epoch });
        true
    }

    /// A customer writes, and the answer arrives: it is on the disk.
    pub(crate) fn write(&mut self, who: Who, bounds: &Bounds) -> bool {
        let Machine { running, custody, .. } = *self.machine(who);
        let is_reachable = self.controller.reachable & (1 << custody.epoch) != 0;
        if !running || !is_reachable || self.spent.writes >= bounds.writes {
            return false;
        }
        let write = 1 << self.spent.writes;
        self.spent.writes += 1;
        self.machine_mut(who).state |= write;
        self.acknowledged |= write;
        self.promised |= write;
        true
    }

    /// Time passes: any lease that was asked for until now is over, at its agent first and then for the controller.
    pub(crate) fn lease_ends(&mut self, who: Who, fault: Option<Fault>) -> bool {
        if !self.controller.leased[who as usize] && !self.machine(who).is_leased() {
            return false;
        }
        let machine = self.machine_mut(who);
        if let Some(lease) = machine.custody.lease.as_mut() {
            lease.until = NOW;
        }
        machine.running &= fault == Some(Fault::LeaseIgnored);
        self.controller.leased[who as usize] = false;
        self.air.retain(|m| !m.is_of_lease(who));
        true
    }

    /// The machine goes down and comes up again.
    pub(crate) fn crash(&mut self, who: Who, bounds: &Bounds, fault: Option<Fault>) -> bool {
        let machine = self.machine(who);
        let Machine { custody, order, .. } = *machine;
        let is_lost = machine.running || custody.lease.is_some() || machine.written.is_some();
        if machine.burnt || !is_lost || self.spent.machines >= bounds.machines {
            return false;
        }
        self.spent.machines += 1;
        self.come_up(who, custody, order, fault);
        true
    }

    /// The disk is copied, for a bad day.
    pub(crate) fn copy_disk(&mut self, who: Who, bounds: &Bounds) -> bool {
        let left = self.spent.forgotten < bounds.forgotten;
        let machine = self.machine_mut(who);
        if !left || machine.burnt || machine.earlier.is_some() {
            return false;
        }
        machine.earlier = Some((machine.custody.rebooted(), machine.order));
        true
    }

    /// The machine goes down and comes up with the copy of its disk, as far as custody and orders go.
    pub(crate) fn forget(&mut self, who: Who, bounds: &Bounds, fault: Option<Fault>) -> bool {
        let Some((custody, order)) = self.machine_mut(who).earlier.take() else { return false };
        self.spent.forgotten += 1;
        if self.spent.forgotten >= bounds.forgotten {
            self.machines.iter_mut().for_each(|m| m.earlier = None);
        }
        self.come_up(who, custody, order, fault);
        true
    }

    fn come_up(&mut self, who: Who, custody: Custody, order: Order, fault: Option<Fault>) {
        let machine = self.machine_mut(who);
        machine.running = false;
        machine.custody = custody.rebooted();
        // A state is not received over what is there, nor deleted, before the controller has said once more that it shall
        // be: the disk may have forgotten that the state has long been this copy's own.
        let waits = matches!(order, Order::Receive(_) | Order::Wiped) && fault != Some(Fault::ReceiveResumed);
        machine.order = if waits { Order::Stopped } else { order };
        machine.start += 1;
        machine.state = machine.written.take().unwrap_or(machine.state);
        if !waits {
            self.act(who, fault);
        }
        // What the controller said before was said on a connection that is gone. On a new one it begins with this.
        self.air.retain(|m| !matches!(m, Message::Order { to, .. } if *to == who));
        let (epoch, order) = self.controller.orders[who as usize];
        self.say(Message::Order { to: who, epoch, order });
    }

    /// The machine burns, with its disk.
    pub(crate) fn burn(&mut self, who: Who, bounds: &Bounds) -> bool {
        if self.machine(who).burnt || self.spent.machines >= bounds.machines {
            return false;
        }
        self.spent.machines += 1;
        *self.machine_mut(who) = Machine { burnt: true, ..Machine::new() };
        // Nobody is there to hear it.
        self.air.retain(|m| m.hearer() != Some(who));
        true
    }
}

/// How the owner is to run, as its agent takes it.
fn own(order: Order, fault: Option<Fault>) -> Own {
    let own = order.own(fault != Some(Fault::StartedUnleased));
    Own { from: own.from.filter(|_| fault != Some(Fault::RootUnchecked)), ..own }
}
