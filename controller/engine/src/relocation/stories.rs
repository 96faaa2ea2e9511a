//! Moves from beginning to end on a small fleet that is stepped by hand, audited after every step.

mod contrary;
mod estimates;
mod faults;
mod handover;
mod keeps_running;
mod loss;
mod outage;
mod restored;
mod side_by_side;
mod walk;

use chandler_protocol::state::{Phase, Progress, Target};
use chandler_protocol::{AssignmentId, MoveId, ServiceId};

use super::{Destination, order_move};
use crate::fulfilment::example::{World, host, stateful};
use crate::movement::{Move, MovePhase};
use crate::order::{Action, OrderSpec};
use crate::service::Assignment;

/// The host whose front door is watched in these stories.
const DOOR: u8 = 3;

/// Three hosts; a service that runs on the first, and a front door on the last.
fn with(change: impl FnOnce(&mut OrderSpec)) -> World {
    let mut world = World::of(3);
    world.order("notes", Action::Add, change);
    world.admit();
    world.agents(&[]);
    assert_eq!(world.places("notes"), [1]);
    world.door(DOOR, "notes", &[], &[]);
    world
}

/// The same with a state that one copy at a time may write.
fn exclusive() -> World {
    let mut world = with(stateful(true));
    let owner = owner(&world).unwrap();
    assert!(world.lease(owner));
    world
}

fn id(world: &World) -> ServiceId {
    world.service("notes").id
}

fn owner(world: &World) -> Option<AssignmentId> {
    world.service("notes").tenure.unwrap().owner
}

/// An operator orders it to a host.
fn order_to(world: &mut World, n: u8) -> MoveId {
    let id = id(world);
    world.step(|draft| order_move(draft, id, Destination::Host(host(n)), "anna")).unwrap()
}

fn side(world: &World, id: Option<AssignmentId>) -> Assignment {
    world.model.assignments[&id.unwrap()].as_ref().clone()
}

fn phase(world: &World) -> MovePhase {
    world.newest_move("notes").phase
}

fn newest(world: &World) -> Move {
    world.newest_move("notes").clone()
}

/// Takes the newest move forward until it is in this phase, one thing at a time.
fn drive(world: &mut World, to: MovePhase) {
    for _ in 0..40 {
        let on = newest(world);
        if on.phase == to {
            return;
        }
        let new = side(world, on.to);
        let (here, there) = (on.from_host.as_bytes()[0], on.to_host.as_bytes()[0]);
        match on.phase {
            MovePhase::Planned => world.look(),
            MovePhase::Preparing => {
                let Target::Receive(order) = new.target else { panic!("{:?}", new.target) };
                let attempt = order.attempt;
                world.says.insert(new.id, Phase::Receiving(Progress { attempt, ..Progress::default() }));
                world.report(there, false);
                world.says.remove(&new.id);
            }
            MovePhase::Copying => world.report(there, false),
            MovePhase::Standby => {
                let told =
                    chandler_protocol::way::Told { assignment: on.from.unwrap(), attempt: on.attempt, ready: true };
                world.model.told.insert(told.assignment, told);
                world.look();
            }
            MovePhase::Holding => world.door(DOOR, "notes", &[], &[]),
            MovePhase::FinalCopy => {
                world.report(here, false);
                world.report(there, false);
            }
            MovePhase::Starting => {
                world.says.insert(new.id, Phase::Starting);
                world.report(there, false);
                world.says.remove(&new.id);
            }
            MovePhase::Verifying => world.report(there, false),
            MovePhase::Switching => world.door(DOOR, "notes", &[(on.from.unwrap(), 1)], &[]),
            MovePhase::Draining => world.door(DOOR, "notes", &[], &[]),
            MovePhase::Done | MovePhase::RolledBack | MovePhase::Declined => panic!("ended: {on:?}"),
        }
    }
    panic!("{:?} never became {to:?}", newest(world));
}

/// Faults are over: everybody is heard, does what it is told, and doors follow. Time passes.
fn calm(world: &mut World) {
    world.says.clear();
    for n in 1..=3 {
        world.hear(n);
    }
    // Long enough for every deadline but a pause between two tries.
    for _ in 0..12 {
        for _ in 0..2 {
            world.agents(&[]);
            world.door(DOOR, "notes", &[], &[]);
        }
        world.pass(5);
        world.watch();
    }
}
