//! Faults: what is done to a simulated fleet, and undone again.

use std::sync::PoisonError;

use chandler_protocol::Micros;

use super::{CONTROLLER, Fleet, machine_name};

/// A program of the fleet, with the computer it runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Node {
    /// The controller.
    Controller,
    /// The agent on the computer of this index.
    Machine(usize),
}

impl Node {
    fn name(self) -> String {
        match self {
            Self::Controller => CONTROLLER.to_owned(),
            Self::Machine(index) => machine_name(index),
        }
    }

    const fn place(self) -> usize {
        match self {
            Self::Controller => 0,
            Self::Machine(index) => index + 1,
        }
    }
}

/// Something that goes wrong for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// Nothing passes between the two.
    Cut(Node, Node),
    /// Nothing passes from the first to the second.
    OneWay(Node, Node),
    /// kill -9, and later a new start. What its computer runs goes on.
    Crash(Node),
    /// The power of the computer of this index is cut, and comes back. What was written out is kept.
    Power(usize),
    /// Software on the computer of this index does not say that it is well.
    Sick(usize),
    /// SIGSTOP, and later SIGCONT: nothing is said, heard, started or ended, and no time seems to pass. What its computer
    /// runs goes on.
    Freeze(Node),
}

impl Fleet {
    /// It goes wrong.
    pub(crate) fn begin(&mut self, fault: Fault) {
        match fault {
            Fault::Cut(a, b) => self.sim.partition(a.name(), b.name()),
            Fault::OneWay(from, to) => self.sim.partition_oneway(from.name(), to.name()),
            Fault::Crash(Node::Controller) => {
                // First what stands outside of it: what is left of a router would hold the socket open.
                self.desk().router = None;
                self.sim.crash(CONTROLLER);
            }
            Fault::Crash(node @ Node::Machine(index)) => {
                self.sim.crash(node.name());
                self.machines[index].kill_agent();
            }
            Fault::Power(index) => {
                self.sim.crash(machine_name(index));
                self.machines[index].switch_off(self.now());
            }
            Fault::Sick(index) => self.machines[index].set_sick(true),
            Fault::Freeze(node) => {
                self.stop_clock(node, Some(self.now()));
                if let Node::Machine(index) = node {
                    self.machines[index].freeze();
                }
                for other in self.others(node) {
                    self.sim.hold(node.name(), other.name());
                }
            }
        }
    }

    /// It is well again.
    pub(crate) fn end(&mut self, fault: Fault) {
        match fault {
            Fault::Cut(a, b) => self.sim.repair(a.name(), b.name()),
            Fault::OneWay(from, to) => self.sim.repair_oneway(from.name(), to.name()),
            Fault::Crash(Node::Controller) => {
                self.sim.bounce(CONTROLLER);
                self.until("the controller to be up again", |fleet| fleet.desk().router.is_some());
            }
            Fault::Crash(node) => self.sim.bounce(node.name()),
            Fault::Power(index) => self.sim.bounce(machine_name(index)),
            Fault::Sick(index) => self.machines[index].set_sick(false),
            Fault::Freeze(node) => {
                self.stop_clock(node, None);
                if let Node::Machine(index) = node {
                    self.machines[index].thaw(self.now());
                }
                for other in self.others(node) {
                    self.sim.release(node.name(), other.name());
                }
            }
        }
    }

    fn others(&self, node: Node) -> Vec<Node> {
        let all = (0..self.machines.len()).map(Node::Machine);
        std::iter::once(Node::Controller).chain(all).filter(|n| *n != node).collect()
    }

    fn stop_clock(&self, node: Node, at: Option<Micros>) {
        *self.stopped[node.place()].lock().unwrap_or_else(PoisonError::into_inner) = at;
    }
}
