//! Hosts that are lost, leases that end, and hosts that come back.

use chandler_protocol::state::Phase;
use chandler_protocol::{Micros, Timestamp};

use super::*;
use crate::assurance::{self, Patience, Watch};
use crate::fleet::HostState;
use crate::fulfilment::example::seen;
use crate::fulfilment::observe;
use crate::movement::MoveKind;
use crate::order::{OnLoss, OnPartition};
use crate::relocation::{lease_over, next_look};
use crate::service::OperatingStatus;

/// One copy, no state; it is stopped by its agent before another one is started.
pub(super) fn single(spec: &mut OrderSpec) {
    spec.policy.mobility.on_partition = OnPartition::Stop;
}

fn begins_empty(spec: &mut OrderSpec) {
    stateful(true)(spec);
    spec.policy.mobility.on_loss = OnLoss::StartEmpty;
}

#[test]
fn what_runs_under_a_lease_is_started_elsewhere_when_that_is_surely_over_and_at_once_then() {
    for order in [single as fn(&mut OrderSpec), begins_empty] {
        let mut world = with(order);
        let old = world.service("notes").route.backends[0];
        world.pass(3);
        assert!(world.lease(old));
        let granted = world.now;
        // The lease was renewed later than the last word that the controller's wall clock remembers.
        world.cut(1);
        world.model.pulses.insert(
            host(1),
            crate::fleet::Pulse { seen_at: Timestamp(granted.0 - 2_000_000), ..world.model.pulse(host(1)) },
        );
        world.pass(11);
        world.watch();
        assert_eq!(world.model.hosts[&host(1)].state, HostState::Lost);
        assert!(!lease_over(&world.model, old, Micros(world.now.0)));
        assert_eq!(world.places("notes"), [1], "its lease may not be over");
        let at = next_look(&world.model, world.now, Micros(world.now.0)).unwrap();
        assert!(at > granted.after(Micros::from_secs(12)) && at < granted.after(Micros::from_millis(12_001)));
        world.now = at;
        world.look();
        assert!(world.places("notes").contains(&2), "{:?}", world.places("notes"));
        let on = newest(&world);
        assert_eq!((on.kind, on.from_host, on.to_host), (MoveKind::Failover, host(1), host(2)));
        world.report(2, false);
        world.door(DOOR, "notes", &[], &[]);
        assert_eq!(phase(&world), MovePhase::Done);
        assert_eq!(world.service("notes").route.backends, [on.to.unwrap()]);
    }
}

#[test]
fn leases_are_counted_by_the_clock_that_never_jumps() {
    let mut world = with(single);
    let old = world.service("notes").route.backends[0];
    assert!(world.lease(old));
    let boot = |w: &World| Micros(w.now.0 + w.boot_ahead);
    // The wall clock is put an hour ahead: no time has passed.
    world.now.0 += 3_600_000_000;
    world.boot_ahead -= 3_600_000_000;
    assert!(!lease_over(&world.model, old, boot(&world)));
    world.boot_ahead += 12_000_000;
    assert!(!lease_over(&world.model, old, boot(&world)), "at the very end it may still run");
    world.boot_ahead += 1;
    assert!(lease_over(&world.model, old, boot(&world)));
    // A controller that has just begun knows of no lease, and counts each from its beginning.
    world.model.lease_given = Default::default();
    world.model.leasing_since = boot(&world);
    assert!(!lease_over(&world.model, old, boot(&world)));
}

#[test]
fn a_lost_or_revoked_host_and_a_copy_on_its_way_out_get_no_lease() {
    let mut world = with(single);
    let old = world.service("notes").route.backends[0];
    assert!(world.lease(old));
    for state in [HostState::Lost, HostState::Revoked] {
        let mut other = with(single);
        let old = other.service("notes").route.backends[0];
        other.step(|draft| {
            let known = draft.model.hosts[&host(1)].clone();
            assurance::host_to(draft, &known, state, "gone");
        });
        assert!(!other.lease(old));
    }
    world.order("notes", Action::Delete, |_| {});
    world.admit();
    assert!(!world.lease(old));
}

#[test]
fn the_only_state_is_waited_for_and_that_is_said() {
    let mut world = exclusive();
    world.cut(1);
    world.pass(13);
    world.watch();
    world.pass(600);
    world.watch();
    assert_eq!(world.places("notes"), [1]);
    let service = world.service("notes");
    assert!(service.reason.contains("waits for its host") && service.reason.contains("h-1"), "{}", service.reason);
    assert!(service.route.backends.is_empty(), "doors do not send requests to a host that is lost");
    world.hear(1);
    world.agents(&[]);
    let service = world.service("notes");
    assert_eq!((service.status, service.reason.as_str()), (OperatingStatus::Running, ""));
}

#[test]
fn state_that_was_given_up_is_kept_when_its_host_returns() {
    let mut world = with(begins_empty);
    let old = owner(&world).unwrap();
    world.cut(1);
    world.pass(13);
    world.watch();
    world.report(2, false);
    assert!(newest(&world).evidence.contains("begins empty"), "{}", newest(&world).evidence);
    assert_ne!(owner(&world), Some(old));
    world.hear(1);
    for _ in 0..3 {
        world.agents(&[]);
        world.pass(200_000 / 10);
        world.step(crate::relocation::retire);
    }
    assert_eq!(side(&world, Some(old)).target, Target::Stopped, "kept for a person to look at");
    assert!(!world.lease(old));
}

/// What the agent of a host that is heard again says of a copy before it is told anything.
fn returns(world: &mut World, n: u8, copy: AssignmentId, epoch: u64) {
    world.hear(n);
    let said = [seen(copy, epoch, Phase::Running)];
    world.step(|draft| {
        for service in observe(draft, host(n), &said) {
            crate::fulfilment::advance(draft, service);
        }
    });
}

#[test]
fn a_copy_that_ran_on_is_kept_without_a_restart_while_the_other_does_not_answer() {
    let mut world = with(|_| {});
    let old = world.service("notes").route.backends[0];
    let epoch = side(&world, Some(old)).epoch;
    world.cut(1);
    world.pass(13);
    world.watch();
    let new = newest(&world).to.unwrap();
    assert_eq!(world.places("notes"), [2]);
    returns(&mut world, 1, old, epoch);
    assert_eq!(phase(&world), MovePhase::RolledBack);
    let kept = side(&world, Some(old));
    assert_eq!(kept.target, Target::Running, "never told to stop");
    assert!(kept.epoch > epoch + 1);
    assert_eq!(side(&world, Some(new)).target, Target::Wiped);
    world.agents(&[]);
    world.agents(&[]);
    assert_eq!(world.places("notes"), [1]);
    assert_eq!(world.service("notes").status, OperatingStatus::Running);
}

#[test]
fn a_copy_that_ran_on_goes_when_the_other_answers_already() {
    let mut world = with(|_| {});
    let old = world.service("notes").route.backends[0];
    let epoch = side(&world, Some(old)).epoch;
    world.cut(1);
    world.pass(13);
    world.watch();
    world.report(2, false);
    returns(&mut world, 1, old, epoch);
    world.agents(&[]);
    world.agents(&[]);
    assert_eq!(world.places("notes"), [2]);
    assert_eq!(world.model.assignments.len(), 1);
}

#[test]
fn a_host_that_returns_before_another_place_was_found_keeps_its_copy() {
    let mut world = World::of(1);
    world.order("notes", Action::Add, |_| {});
    world.admit();
    world.agents(&[]);
    let old = world.service("notes").route.backends[0];
    let epoch = side(&world, Some(old)).epoch;
    world.cut(1);
    world.pass(13);
    world.watch();
    assert_eq!(world.places("notes"), [0; 0]);
    returns(&mut world, 1, old, epoch);
    assert_eq!(world.places("notes"), [1]);
    world.agents(&[]);
    assert_eq!(side(&world, Some(old)).target, Target::Running);
}

#[test]
fn row_34_and_p2_nothing_moves_while_too_many_are_silent() {
    let mut world = World::of(5);
    for name in ["a", "b", "c"] {
        world.order(name, Action::Add, single);
    }
    world.admit();
    world.agents(&[]);
    for n in 1..=3 {
        world.cut(n);
    }
    world.pass(60);
    let before = world.model.assignments.clone();
    assert_eq!(world.watch(), Watch::Frozen { silent: 3, of: 5 });
    assert_eq!((world.model.moves.len(), &world.model.assignments), (0, &before));
    assert!(assurance::next_look(&world.model, Patience::default(), world.now, Micros(world.now.0)).is_some());
}

#[test]
fn p2_hosts_that_fall_silent_at_one_moment_are_not_lost_one_by_one() {
    let mut world = World::of(5);
    for name in ["a", "b", "c"] {
        world.order(name, Action::Add, single);
    }
    world.admit();
    world.agents(&[]);
    // Each spoke last at another moment of its heartbeat of four seconds.
    let cut_at = [0, 1_900_000, 3_800_000];
    let began = world.now.0;
    for (n, after) in (1..=3).zip(cut_at) {
        world.now.0 = began + after;
        for n in n..=5 {
            world.hear(n);
        }
        world.cut(n);
    }
    let mut frozen = false;
    for _ in 0..200 {
        world.now.0 += 100_000;
        for n in 4..=5 {
            world.hear(n);
        }
        frozen |= world.watch() == Watch::Frozen { silent: 3, of: 5 };
        let lost = world.model.hosts.values().filter(|h| h.state == HostState::Lost).count();
        assert_eq!((lost, world.model.moves.len()), (0, 0), "{} us after the first", world.now.0 - began);
    }
    assert!(frozen);
}

#[test]
fn two_of_five_are_lost_and_a_third_that_follows_is_doubted_for_a_while() {
    let mut world = World::of(5);
    let count = |w: &World| w.model.hosts.values().filter(|h| h.state == HostState::Lost).count();
    world.cut(1);
    world.cut(2);
    world.pass(6);
    world.cut(3);
    world.pass(7);
    assert_eq!(world.watch(), Watch::Frozen { silent: 3, of: 5 }, "they followed each other within one window");
    assert_eq!(count(&world), 0);
    // With two of them back the third is on its own.
    world.hear(1);
    world.hear(2);
    world.pass(6);
    assert_eq!((world.watch(), count(&world)), (Watch::Calm, 1));
}

#[test]
fn a_database_older_than_the_fleet_gives_nothing_out_until_somebody_says_who_is_right() {
    let mut world = exclusive();
    let copy = owner(&world).unwrap();
    let later = [seen(copy, 41, Phase::Running)];
    for _ in 0..2 {
        world.step(|draft| observe(draft, host(1), &later));
    }
    assert_eq!(owner(&world), None);
    assert!(!world.lease(copy));
    assert!(world.service("notes").reason.contains("service move notes --to HOST"));
    let id = id(&world);
    let elsewhere = world.step(|draft| order_move(draft, id, Destination::Host(host(2)), "anna"));
    assert!(elsewhere.is_err());
    let done = world.step(|draft| order_move(draft, id, Destination::Host(host(1)), "anna")).unwrap();
    assert_eq!(world.model.moves[&done].phase, MovePhase::Done);
    assert_eq!(owner(&world), Some(copy));
    assert!(side(&world, Some(copy)).epoch > 41);
    assert!(world.lease(copy));
}
