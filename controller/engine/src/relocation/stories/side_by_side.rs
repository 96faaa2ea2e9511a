//! Copies without state: the new one serves before the old one ends.

use super::*;
use crate::movement::MoveKind;
use crate::service::Trigger;

#[test]
fn the_old_copy_serves_until_every_door_has_turned() {
    let mut world = with(|_| {});
    let old = world.service("notes").route.backends.clone();
    let [source] = old[..] else { panic!("{old:?}") };
    order_to(&mut world, 2);
    let on = newest(&world);
    assert_eq!((on.kind, on.trigger, on.by.as_str()), (MoveKind::Overlap, Trigger::Operator, "anna"));
    world.look();
    assert_eq!(world.service("notes").route.backends, old);
    world.report(2, false);
    assert_eq!(phase(&world), MovePhase::Switching);
    assert_eq!(world.service("notes").route.backends, [on.to.unwrap()]);
    world.look();
    assert_eq!(phase(&world), MovePhase::Switching, "a door has not said that it turned");
    world.door(DOOR, "notes", &[(source, 2)], &[]);
    assert_eq!(phase(&world), MovePhase::Draining);
    assert_eq!(world.places("notes"), [1, 2], "two requests are under way at the old copy");
    world.door(DOOR, "notes", &[], &[]);
    assert_eq!(side(&world, Some(source)).target, Target::Wiped);
    world.report(1, false);
    assert_eq!(phase(&world), MovePhase::Done);
    assert_eq!(world.places("notes"), [2]);
    assert_eq!(newest(&world).realised.1.cut, 0);
}

#[test]
fn what_never_ends_is_cut_after_an_hour_and_counted() {
    let mut world = with(|_| {});
    let source = world.service("notes").route.backends[0];
    order_to(&mut world, 2);
    world.report(2, false);
    world.door(DOOR, "notes", &[(source, 2)], &[(source, 2)]);
    world.pass(3_590);
    world.look();
    assert_eq!(phase(&world), MovePhase::Draining);
    world.pass(11);
    world.look();
    world.report(1, false);
    assert_eq!((phase(&world), newest(&world).realised.1.cut), (MovePhase::Done, 2));
}

#[test]
fn a_silent_door_is_not_waited_for_when_its_host_is_not_heard_and_not_for_ever_otherwise() {
    for cut in [true, false] {
        let mut world = with(|_| {});
        order_to(&mut world, 2);
        if cut {
            world.cut(DOOR);
        }
        world.report(2, false);
        if !cut {
            assert_eq!(phase(&world), MovePhase::Switching);
            world.pass(11);
            world.look();
        }
        assert!(phase(&world) >= MovePhase::Draining, "{:?}", phase(&world));
    }
}

#[test]
fn a_new_copy_that_fails_leaves_the_old_one_in_charge() {
    let mut world = with(|_| {});
    let route = world.service("notes").route.clone();
    order_to(&mut world, 2);
    world.report(2, true);
    let ended = newest(&world);
    assert_eq!(ended.phase, MovePhase::RolledBack);
    assert!(ended.reason.contains("h-2"), "{}", ended.reason);
    world.agents(&[]);
    assert_eq!(world.places("notes"), [1]);
    assert_eq!(world.service("notes").route, route, "no door noticed anything");
    assert_eq!(world.model.hosts[&host(2)].failures.len(), 1);
}

#[test]
fn of_several_copies_one_moves_and_the_others_stay() {
    let mut world = World::of(4);
    world.order("notes", Action::Add, |spec| (spec.policy.replicas_min, spec.policy.replicas_max) = (2, 2));
    world.admit();
    world.agents(&[]);
    assert_eq!(world.places("notes"), [1, 2]);
    order_to(&mut world, 4);
    world.agents(&[]);
    world.agents(&[]);
    assert_eq!(world.places("notes"), [2, 4]);
    assert_eq!(world.service("notes").route.backends.len(), 2);
}

#[test]
fn fewer_copies_are_left_without_a_move_once_doors_have_turned() {
    let mut world = World::of(3);
    let copies = |n: u32| move |spec: &mut OrderSpec| (spec.policy.replicas_min, spec.policy.replicas_max) = (n, n);
    world.order("notes", Action::Add, copies(2));
    world.admit();
    world.agents(&[]);
    let dearer = side(&world, world.model.assignments_of_host(host(2)).next().map(|a| a.id)).id;
    world.door(DOOR, "notes", &[(dearer, 1)], &[]);
    world.order("notes", Action::Modify, copies(1));
    world.admit();
    world.look();
    assert_eq!(world.service("notes").route.backends.len(), 1);
    assert_eq!(world.places("notes"), [1, 2], "a request is under way there");
    world.door(DOOR, "notes", &[], &[]);
    assert_eq!(world.places("notes"), [1]);
}
