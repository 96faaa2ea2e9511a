//! What a failover was to users: how long they waited, as their doors counted it.

use std::sync::Arc;

use chandler_protocol::Micros;
use chandler_protocol::way::{ObservedDoor, Stall};

use super::loss::single;
use super::*;
use crate::movement::MoveKind;
use crate::relocation::next_look;

#[test]
fn the_record_of_a_failover_says_how_long_users_waited() {
    let mut world = with(single);
    world.cut(1);
    world.pass(13);
    world.watch();
    world.report(2, false);
    assert_eq!((newest(&world).kind, phase(&world)), (MoveKind::Failover, MovePhase::Switching));
    // The door follows, and lets those in who waited; some are still to go.
    let mut said = door_of(&world);
    said.waiting = 2;
    door_says(&mut world, said.clone());
    assert_eq!(phase(&world), MovePhase::Draining, "they are waited for, so that their time is known");
    let line = |until, seconds| Stall {
        r#move: Stall::outage(until),
        held: 7,
        longest: Micros::from_secs(seconds),
        failed: 4,
        cut: 0,
    };
    said.waiting = 0;
    // One that was over before, and that of now: the route that ended it was followed by another one since.
    let planned = newest(&world).route;
    said.counters.stalls = vec![line(planned, 99), line(planned + 1, 2)];
    door_says(&mut world, said);
    assert_eq!(phase(&world), MovePhase::Done);
    let came = newest(&world).realised.1;
    assert_eq!((came.held, came.failed, came.longest_stall), (7, 4, Micros::from_secs(2)), "of this outage only");
}

#[test]
fn a_failover_ends_though_somebody_waits_for_ever() {
    let mut world = with(single);
    world.cut(1);
    world.pass(13);
    world.watch();
    world.report(2, false);
    let mut said = door_of(&world);
    said.waiting = 1;
    door_says(&mut world, said);
    assert_eq!(phase(&world), MovePhase::Draining);
    let at = next_look(&world.model, world.now, Micros(world.now.0)).unwrap();
    assert!(at <= world.now.after(Micros::from_secs(5)), "somebody looks in time");
    world.pass(5);
    world.look();
    assert_eq!(phase(&world), MovePhase::Done);
}

/// What the door says that follows the route as it is.
fn door_of(world: &World) -> ObservedDoor {
    let last = world.model.doors[&(id(world), host(DOOR))].as_ref().clone();
    ObservedDoor { sequence: world.service("notes").route.sequence, ..last }
}

fn door_says(world: &mut World, said: ObservedDoor) {
    world.model.doors.insert((said.service, host(DOOR)), Arc::new(said.clone()));
    world.step(|draft| crate::fulfilment::advance(draft, said.service));
}
