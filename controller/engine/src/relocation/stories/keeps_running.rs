//! Exclusive state that rather stays up than alone: it runs without a lease, and is begun nowhere else on silence alone.

use chandler_protocol::Micros;
use chandler_protocol::state::Own;

use super::*;
use crate::assurance;
use crate::fleet::HostState;
use crate::order::{OnLoss, OnPartition};
use crate::relocation::lease::lease_over;
use crate::relocation::next_look;
use crate::service::OperatingStatus;

pub(super) fn keeps(spec: &mut OrderSpec) {
    stateful(true)(spec);
    spec.policy.mobility.unleased = true;
}

/// What an order must not say; what is decided does not rest on that alone.
fn keeps_and_begins_empty(spec: &mut OrderSpec) {
    keeps(spec);
    spec.policy.mobility.on_loss = OnLoss::StartEmpty;
}

/// It stops when nobody renews its lease, and begins anew elsewhere.
fn stops(spec: &mut OrderSpec) {
    stateful(true)(spec);
    spec.policy.mobility.on_partition = OnPartition::Stop;
    spec.policy.mobility.on_loss = OnLoss::StartEmpty;
}

fn amend(world: &mut World, to: fn(&mut OrderSpec)) {
    world.order("notes", Action::Modify, to);
    world.admit();
}

/// The host is silent for much longer than any grace.
fn silence(world: &mut World, n: u8) {
    world.cut(n);
    for _ in 0..4 {
        world.pass(13);
        world.watch();
    }
    world.pass(86_400);
    world.watch();
    assert_eq!(world.model.hosts[&host(n)].state, HostState::Lost);
}

fn revoke(world: &mut World, n: u8) {
    world.step(|draft| {
        let known = draft.model.hosts[&host(n)].clone();
        assurance::host_to(draft, &known, HostState::Revoked, "an operator said so");
    });
    world.look();
}

const FREE: Target = Target::Own(Own { leased: false, from: None });

#[test]
fn silence_begins_nothing_elsewhere_and_that_is_said_until_the_host_is_back() {
    for order in [keeps as fn(&mut OrderSpec), keeps_and_begins_empty] {
        let mut world = with(order);
        assert_eq!(side(&world, owner(&world)).target, FREE);
        assert!(!world.lease(owner(&world).unwrap()), "it asks for none and gets none");
        silence(&mut world, 1);
        assert_eq!((world.places("notes"), world.model.moves.len()), (vec![1], 0));
        let service = world.service("notes");
        assert_eq!(service.status, OperatingStatus::Unknown);
        for word in ["waits for its host", "h-1", "keepRunning", "revoke"] {
            assert!(service.reason.contains(word), "{word}: {}", service.reason);
        }
        assert_eq!(next_look(&world.model, world.now, Micros(world.now.0)), None, "time alone changes nothing");
        world.hear(1);
        world.agents(&[]);
        let service = world.service("notes");
        assert_eq!((service.status, service.reason.as_str()), (OperatingStatus::Running, ""));
        assert_eq!(side(&world, owner(&world)).epoch, service.tenure.unwrap().epoch, "it was never disturbed");
    }
}

#[test]
fn what_was_never_seen_to_run_may_run_all_the_same() {
    let mut world = World::of(3);
    world.order("notes", Action::Add, keeps);
    world.admit();
    silence(&mut world, 1);
    assert_eq!(world.places("notes"), [1]);
    assert!(world.service("notes").reason.contains("waits for its host"), "{}", world.service("notes").reason);
}

#[test]
fn an_operator_who_revokes_the_host_ends_the_wait() {
    let mut world = with(keeps);
    let old = owner(&world).unwrap();
    silence(&mut world, 1);
    revoke(&mut world, 1);
    world.agents(&[]);
    assert_eq!(world.places("notes"), [2]);
    assert_ne!(owner(&world), Some(old));
    assert!(newest(&world).evidence.contains("begins empty"), "{}", newest(&world).evidence);
}

#[test]
fn whoever_was_told_to_keep_running_is_not_believed_to_have_stopped_by_a_lease_of_before() {
    let mut world = with(stops);
    let copy = owner(&world).unwrap();
    assert!(world.lease(copy));
    // Its agent says nothing any more: it may have heard this or not.
    amend(&mut world, keeps_and_begins_empty);
    assert_eq!(side(&world, Some(copy)).target, FREE);
    silence(&mut world, 1);
    assert!(lease_over(&world.model, copy, world.boot()));
    assert_eq!(world.places("notes"), [1], "{}", world.service("notes").reason);
}

#[test]
fn whoever_shall_stop_again_is_bound_by_a_lease_only_once_it_has_shown_that_it_holds_one() {
    // How often its agent is heard after the order: it takes it in and asks, then it asks for more of what it was given.
    for (heard, places) in [(0, [1]), (1, [1]), (2, [2])] {
        let mut world = with(keeps);
        amend(&mut world, stops);
        for _ in 0..heard {
            world.report(1, false);
        }
        silence(&mut world, 1);
        assert_eq!(world.places("notes"), places, "heard {heard} times: {}", world.service("notes").reason);
    }
}

#[test]
fn the_new_copy_has_a_lease_until_it_serves_and_none_from_then_on() {
    let mut world = with(keeps);
    let source = owner(&world).unwrap();
    order_to(&mut world, 2);
    drive(&mut world, MovePhase::FinalCopy);
    assert_eq!(side(&world, Some(source)).target, Target::Seal { attempt: 1 }, "it seals as any other does");
    drive(&mut world, MovePhase::Starting);
    let new = newest(&world).to;
    assert!(matches!(side(&world, new).target, Target::Own(Own { leased: true, .. })));
    drive(&mut world, MovePhase::Switching);
    assert!(matches!(side(&world, new).target, Target::Own(Own { leased: false, .. })));
    drive(&mut world, MovePhase::Done);
    world.agents(&[]);
    silence(&mut world, 2);
    assert_eq!(world.places("notes"), [2], "from then on silence says nothing");
}

#[test]
fn a_new_copy_that_falls_silent_before_it_serves_gives_the_state_back_when_its_lease_is_over() {
    let mut world = with(keeps);
    let source = owner(&world).unwrap();
    order_to(&mut world, 2);
    drive(&mut world, MovePhase::Verifying);
    let new = newest(&world).to.unwrap();
    assert!(world.lease(new));
    world.cut(2);
    world.pass(11);
    world.look();
    assert_eq!(owner(&world), Some(new), "its lease may not be over");
    for _ in 0..4 {
        world.pass(13);
        world.watch();
        world.report(1, false);
    }
    assert_eq!(owner(&world), Some(source));
    assert_eq!(side(&world, Some(source)).target, FREE);
}

#[test]
fn a_source_that_falls_silent_when_it_is_to_seal_is_waited_for() {
    let mut world = with(keeps);
    let source = owner(&world).unwrap();
    order_to(&mut world, 2);
    drive(&mut world, MovePhase::FinalCopy);
    silence(&mut world, 1);
    assert_eq!((owner(&world), phase(&world)), (Some(source), MovePhase::RolledBack));
    assert_eq!(world.places("notes"), [1]);
    assert!(world.service("notes").reason.contains("waits for its host"), "{}", world.service("notes").reason);
}
