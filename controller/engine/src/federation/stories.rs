//! Stories of two and three controllers that trade: each a pure model, driven by the functions that the product runs, with
//! machines that do what they are told and a wire that loses, delays, repeats and reorders. Every story is told for many
//! seeds; what must hold is checked after each word.

mod agent;
mod backup;
mod buyer;
mod check;
mod controller;
mod grow;
mod home;
mod late;
mod lies;
mod price;
mod reclaim;
mod seller;
mod stranger;
mod vanish;
mod wire;
mod world;

use chandler_protocol::AssignmentId;
use chandler_protocol::state::{Health, ObservedAssignment, Phase};

use self::world::World;
use crate::order::{Action, OrderSpec};
use crate::service::OperatingStatus;

/// How many seeds each story is told for: `CHANDLER_SEEDS` of the build, for more.
const SEEDS: u64 = match option_env!("CHANDLER_SEEDS") {
    Some(text) => number(text),
    None => 18,
};
/// The same for stories that have few turns.
const FEW: u64 = SEEDS / 2;

const fn number(text: &str) -> u64 {
    match u64::from_str_radix(text, 10) {
        Ok(number) if number >= 2 => number,
        _ => panic!("CHANDLER_SEEDS is a number from 2 up"),
    }
}

/// A state that one copy at a time writes, or none.
fn stateful(exclusive: bool) -> impl FnOnce(&mut OrderSpec) {
    move |spec| {
        if exclusive {
            spec.workload.state = Some(chandler_protocol::workload::State { path: "data".to_owned(), exclusive: true });
        }
    }
}

/// A customer of controller 0 orders `notes`.
fn ordered(world: &mut World, change: impl FnOnce(&mut OrderSpec)) {
    world.controllers[0].order("notes", Action::Add, change);
}

/// It runs, once, and nothing is under way.
fn done(world: &World) {
    let seed = world.seed;
    let service = world.controllers[0].service("notes").unwrap();
    assert_eq!(service.status, OperatingStatus::Running, "seed {seed}: {}", service.reason);
    assert_eq!(buyer::to_run(&world.controllers[0], "notes").len(), 1, "seed {seed}");
    assert!(world.controllers[0].model.moves_of(service.id).next().is_none(), "seed {seed}");
}

/// What an agent says of a copy.
fn agent_word(id: AssignmentId, epoch: u64, phase: Phase) -> ObservedAssignment {
    let (ports, message, outputs) = (Vec::new(), String::new(), Vec::new());
    ObservedAssignment { id, epoch, phase, ports, starts: 1, failures: 0, message, health: Health::default(), outputs }
}
