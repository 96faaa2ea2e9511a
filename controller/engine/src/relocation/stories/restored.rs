//! A controller that begins cannot tell whether it was restored from a backup, and has forgotten whom it gave leases since.

use chandler_protocol::Digest;
use chandler_protocol::state::Sealed;

use super::*;
use crate::fulfilment::{example::seen, observe};
use crate::relocation::frozen::is_frozen;

/// It ends, and begins again with what is in its store.
fn restarts(world: &mut World) {
    let boot = world.boot();
    let model = &mut world.model;
    (model.leasing_since, model.ordered_before) = (boot, model.last_order);
    model.lease_given = imbl::OrdMap::new();
}

#[test]
fn what_may_run_elsewhere_under_a_forgotten_lease_begins_when_that_is_over() {
    let mut world = exclusive();
    let owner = owner(&world).unwrap();
    world.pass(3_600);
    restarts(&mut world);
    for _ in 0..12 {
        assert!(!world.lease(owner), "another copy may have been given a lease a moment before");
        world.pass(1);
    }
    world.pass(1);
    assert!(world.lease(owner));
}

#[test]
fn who_renews_a_lease_is_not_kept_waiting_and_nor_is_what_is_new() {
    let mut world = exclusive();
    let first = owner(&world).unwrap();
    restarts(&mut world);
    assert!(world.lease(first), "it never ended");
    world.held.remove(&first);
    assert!(world.lease(first), "its machine began anew: nobody else had one");
    world.order("more", Action::Add, stateful(true));
    world.admit();
    let more = world.service("more").id;
    let copy = world.model.assignments_of(more).next().unwrap().id;
    assert!(world.lease(copy), "it was ordered after the controller began");
}

/// Its agent says something of the owner that this controller never ordered.
#[test]
fn an_owner_that_has_handed_over_or_forgotten_its_state_is_not_begun_anew() {
    let sealed = Phase::Sealed(Sealed { attempt: 1, root: Digest([1; 32]), lease: 1 });
    for (phase, starts) in [(sealed, 3), (Phase::Pending, 0)] {
        let mut world = exclusive();
        let owner = owner(&world).unwrap();
        let tell = |world: &mut World, phase, starts| {
            let epoch = side(world, Some(owner)).epoch;
            let word = chandler_protocol::state::ObservedAssignment { starts, ..seen(owner, epoch, phase) };
            world.step(|draft| observe(draft, host(1), &[word]));
        };
        tell(&mut world, Phase::Running, 3);
        restarts(&mut world);
        world.pass(60);
        tell(&mut world, phase, starts);
        let notes = world.service("notes");
        assert!(is_frozen(notes) && notes.reason.contains("older than the fleet"), "{phase:?}: {}", notes.reason);
        assert!(!world.lease(owner), "{phase:?}: nobody owns it");
        order_to(&mut world, 1);
        tell(&mut world, Phase::Pending, starts);
        assert!(!is_frozen(world.service("notes")), "{phase:?}: an operator has said so");
        assert!(world.lease(owner), "{phase:?}");
    }
}

/// A door passes over a route that is older than its own.
#[test]
fn a_door_that_knows_a_later_route_is_told_one_above_it() {
    let mut world = exclusive();
    let known = world.service("notes").route.sequence;
    for (ahead, next) in [(40, known + 41), (u64::MAX - known, known + 41)] {
        let last = world.model.doors[&(id(&world), host(DOOR))].as_ref().clone();
        let said = chandler_protocol::way::ObservedDoor { sequence: known + ahead, ..last };
        world.model.doors.insert((said.service, host(DOOR)), std::sync::Arc::new(said.clone()));
        world.step(|draft| crate::fulfilment::advance(draft, said.service));
        assert_eq!(world.service("notes").route.sequence, next, "a door that says {ahead} more");
    }
}
