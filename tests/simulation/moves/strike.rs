//! What goes wrong, drawn from the seed: in which phase, what, and for how long.

use chandler_engine::movement::MovePhase;
use chandler_protocol::Micros;
use rand::Rng as _;
use rand::seq::IndexedRandom as _;

use super::{Cause, DOOR, LEDGER, Run};
use crate::fleet::{Fault, Node};

/// Something that is to go wrong.
#[derive(Debug, Clone, Copy)]
pub(super) struct Strike {
    pub(super) phase: MovePhase,
    /// So long after the phase has come.
    pub(super) after: Micros,
    pub(super) lasts: Micros,
}

impl Run {
    /// What is to go wrong during a move, in the order of its phases.
    pub(super) fn draw_strikes(&mut self, name: &str, cause: Cause) -> Vec<Strike> {
        use MovePhase::{Copying, Draining, FinalCopy, Holding, Preparing, Starting, Switching, Verifying};
        let phases: &[MovePhase] = match name {
            LEDGER if cause != Cause::Failure => {
                &[Preparing, Copying, Holding, FinalCopy, FinalCopy, Starting, Starting, Verifying, Switching, Draining]
            }
            _ => &[Preparing, Starting, Verifying, Switching, Draining],
        };
        let count = self.rng.random_range(1..=2);
        let mut strikes: Vec<Strike> = (0..count)
            .map(|_| {
                let lasts = match self.rng.random_range(0..4) {
                    0 => 30..600,
                    1 => 600..4_000,
                    2 => 4_000..9_000,
                    _ => 9_000..28_000,
                };
                Strike {
                    phase: *phases.choose(&mut self.rng).unwrap(),
                    after: Micros::from_millis(*[0, 0, 8, 30, 90].choose(&mut self.rng).unwrap()),
                    lasts: Micros::from_millis(self.rng.random_range(lasts)),
                }
            })
            .collect();
        strikes.sort_by_key(|s| s.phase);
        strikes
    }

    /// Something that touches nothing that is touched already.
    pub(super) fn draw_fault(&mut self, source: usize, target: usize) -> Option<Fault> {
        let (c, s, t, d) = (Node::Controller, Node::Machine(source), Node::Machine(target), Node::Machine(DOOR));
        let pairs = [(c, s), (s, c), (c, t), (t, c), (s, t), (t, s), (c, d), (d, c)];
        let mut all: Vec<Fault> = pairs.into_iter().filter(|(a, b)| a != b).map(|(a, b)| Fault::OneWay(a, b)).collect();
        all.extend([(c, s), (c, t), (s, t), (c, d)].into_iter().filter(|(a, b)| a != b).map(|(a, b)| Fault::Cut(a, b)));
        for node in [c, s, t, c, s, t, d] {
            all.extend([Fault::Crash(node), Fault::Freeze(node)]);
        }
        all.extend([Fault::Power(source), Fault::Power(target), Fault::Sick(target), Fault::Sick(target)]);
        all.retain(|fault| self.active.iter().all(|(a, _)| touched(*a).iter().all(|n| !touched(*fault).contains(n))));
        all.choose(&mut self.rng).copied()
    }
}

/// A fault, by the parts that whom it touches have in a move.
pub(super) fn described(fault: Fault, source: usize, target: usize) -> String {
    let who = |node: Node| match node {
        Node::Controller => "controller",
        Node::Machine(index) if index == source => "source",
        Node::Machine(index) if index == target => "target",
        Node::Machine(DOOR) => "door",
        Node::Machine(_) => "other",
    };
    match fault {
        Fault::Cut(a, b) => format!("cut {}-{}", who(a), who(b)),
        Fault::OneWay(a, b) => format!("cut {}->{}", who(a), who(b)),
        Fault::Crash(node) => format!("crash {}", who(node)),
        Fault::Power(index) => format!("power {}", who(Node::Machine(index))),
        Fault::Sick(index) => format!("sick {}", who(Node::Machine(index))),
        Fault::Freeze(node) => format!("freeze {}", who(node)),
    }
}

/// Whom a fault touches.
fn touched(fault: Fault) -> Vec<Node> {
    match fault {
        Fault::Cut(a, b) | Fault::OneWay(a, b) => vec![a, b],
        Fault::Crash(node) | Fault::Freeze(node) => vec![node],
        Fault::Power(index) | Fault::Sick(index) => vec![Node::Machine(index)],
    }
}
