//! State that goes along.

use chandler_protocol::state::{Own, Phase, Progress, Received, Target};
use chandler_protocol::workload::Probe;
use chandler_protocol::{Bytes, Micros};

use super::*;
use crate::fleet::Capacity;
use crate::fulfilment::example::ROOT;
use crate::movement::MoveKind;
use crate::order::Prepare;
use crate::relocation::retire;
use crate::relocation::tenure::Stage;
use crate::service::{AllocationState, OperatingStatus};
use crate::way;

#[test]
fn state_goes_along_and_nobody_is_refused() {
    let mut world = exclusive();
    let source = owner(&world).unwrap();
    let before = world.service("notes").route.clone();
    order_to(&mut world, 2);
    let on = newest(&world);
    assert_eq!((on.kind, on.from, on.from_host, on.to_host), (MoveKind::Exclusive, Some(source), host(1), host(2)));
    drive(&mut world, MovePhase::Holding);
    let route = world.service("notes").route.clone();
    assert_eq!(
        (route.hold.unwrap().0, route.sequence, &route.backends),
        (on.id, before.sequence + 1, &before.backends)
    );
    assert!(matches!(side(&world, on.from).target, Target::Own(_)), "it serves until nothing is under way");

    drive(&mut world, MovePhase::FinalCopy);
    assert_eq!(side(&world, on.from).target, Target::Seal { attempt: 1 });
    drive(&mut world, MovePhase::Starting);
    let new = side(&world, on.to);
    let received = Received { attempt: 1, root: ROOT };
    assert_eq!(new.target, Target::Own(Own { leased: true, from: Some(received) }));
    assert_eq!(owner(&world), on.to);
    assert_eq!(world.service("notes").status, OperatingStatus::Running, "requests wait: nobody misses it");
    assert!(!world.lease(source), "what was sealed gets no lease");
    assert!(world.lease(new.id));

    drive(&mut world, MovePhase::Switching);
    let route = world.service("notes").route.clone();
    assert_eq!((route.hold, route.backends), (None, vec![new.id]));
    drive(&mut world, MovePhase::Done);
    let old = side(&world, on.from);
    assert_eq!(
        (old.target, old.state, old.reserved),
        (Target::Stopped, AllocationState::Releasing, Capacity::default())
    );
    let seen: Vec<_> = newest(&world).phases.iter().map(|p| p.phase).collect();
    assert!(seen.is_sorted() && seen.len() == 11, "{seen:?}");
    assert_eq!(world.service("notes").replacements.len(), 1);

    // The old state is kept for a day, then it goes; never that of the owner.
    world.step(retire);
    assert!(world.model.assignments.contains_key(&source));
    world.now.0 += 86_400_000_000;
    for n in 1..=3 {
        world.hear(n);
    }
    world.step(retire);
    world.agents(&[]);
    assert_eq!(world.model.assignments.keys().collect::<Vec<_>>(), [&new.id]);
}

#[test]
fn the_source_is_wiped_only_after_the_target_serves() {
    let mut world = exclusive();
    order_to(&mut world, 2);
    for to in [
        MovePhase::Preparing,
        MovePhase::Copying,
        MovePhase::Holding,
        MovePhase::FinalCopy,
        MovePhase::Starting,
        MovePhase::Verifying,
        MovePhase::Switching,
        MovePhase::Draining,
    ] {
        drive(&mut world, to);
        world.step(retire);
        let old = side(&world, newest(&world).from);
        assert!(!matches!(old.target, Target::Wiped | Target::Stopped), "{to:?}: {:?}", old.target);
    }
}

#[test]
fn row_18_a_request_that_does_not_end_puts_the_move_off() {
    let mut world = exclusive();
    order_to(&mut world, 2);
    let source = owner(&world).unwrap();
    for attempt in 1..=3 {
        drive(&mut world, MovePhase::Holding);
        world.door(DOOR, "notes", &[(source, 1)], &[]);
        assert_eq!(phase(&world), MovePhase::Holding);
        world.pass(2);
        world.watch();
        assert_eq!(world.service("notes").route.hold, None, "requests go on");
        assert_eq!(world.service("notes").route.backends, [source]);
        if attempt < 3 {
            assert_eq!(phase(&world), MovePhase::Standby);
            world.pass(599);
            world.look();
            assert_eq!(phase(&world), MovePhase::Standby, "not tried again at once");
            world.pass(2);
            world.look();
        }
    }
    let ended = newest(&world);
    assert_eq!(ended.phase, MovePhase::RolledBack);
    assert!(ended.reason.contains("tried 3 times"), "{}", ended.reason);
    world.agents(&[]);
    assert_eq!(world.places("notes"), [1]);
    assert_eq!(world.service("notes").tenure.unwrap().stage, Stage::Settled);
}

#[test]
fn long_lived_connections_are_cut_only_where_that_is_allowed() {
    for (allowed, expect) in [(false, MovePhase::Holding), (true, MovePhase::FinalCopy)] {
        let mut world = with(|spec| {
            stateful(true)(spec);
            spec.policy.mobility.cut_allowed = allowed;
        });
        let source = owner(&world).unwrap();
        order_to(&mut world, 2);
        drive(&mut world, MovePhase::Holding);
        world.door(DOOR, "notes", &[(source, 3)], &[(source, 3)]);
        assert_eq!(phase(&world), expect);
        assert_eq!(newest(&world).realised.1.cut, if allowed { 3 } else { 0 });
    }
}

#[test]
fn row_24_a_writer_faster_than_the_way_leads_to_no_hold() {
    let mut world = exclusive();
    order_to(&mut world, 2);
    drive(&mut world, MovePhase::Copying);
    let new = newest(&world).to.unwrap();
    let behind = Progress { attempt: 1, rounds: 9, dirty: Bytes(5 << 20), rate: Bytes(1 << 20), ..Progress::default() };
    world.says.insert(new, Phase::Receiving(behind));
    world.report(2, false);
    assert_eq!(phase(&world), MovePhase::Copying, "it is given some time");
    world.pass(61);
    world.look();
    let ended = newest(&world);
    assert_eq!(ended.phase, MovePhase::RolledBack);
    assert!(ended.phases.iter().all(|p| p.phase != MovePhase::Holding));
    for choice in ["quieter time", "policy.move.rate", "policy.move.hold"] {
        assert!(ended.reason.contains(choice), "{}", ended.reason);
    }
}

#[test]
fn software_that_wants_to_be_told_is_told_once_for_each_try() {
    let mut world = with(|spec| {
        stateful(true)(spec);
        let tell = Probe::Exec { command: vec!["./ready".to_owned()] };
        spec.policy.mobility.prepare = Some(Prepare { tell, within: Micros::from_secs(30) });
    });
    let source = owner(&world).unwrap();
    order_to(&mut world, 2);
    assert_eq!(way::notices(&world.model, host(1)), []);
    drive(&mut world, MovePhase::Standby);
    let [notice] = <[_; 1]>::try_from(way::notices(&world.model, host(1))).unwrap();
    assert_eq!((notice.assignment, notice.within), (source, Micros::from_secs(30)));
    world.pass(20);
    world.look();
    assert_eq!(phase(&world), MovePhase::Standby, "it has not said that it is ready");
    drive(&mut world, MovePhase::Holding);
    assert_eq!(world.service("notes").route.hold.unwrap().1, notice.attempt);
    world.pass(3);
    world.look();
    assert_eq!(phase(&world), MovePhase::Standby);
    // No request was in the way, so the next try needs no pause: it is told of that one.
    let again = way::notices(&world.model, host(1));
    assert_eq!(again[0].attempt, notice.attempt + 1);
    // It never answers: its time is over.
    world.pass(36);
    world.look();
    assert_eq!(phase(&world), MovePhase::Holding);
}

#[test]
fn row_40_a_target_that_is_not_well_gives_the_state_back() {
    for committed in [MovePhase::Starting, MovePhase::Verifying] {
        let mut world = exclusive();
        let source = owner(&world).unwrap();
        order_to(&mut world, 2);
        drive(&mut world, committed);
        let new = newest(&world).to.unwrap();
        world.says.insert(new, Phase::Unhealthy);
        world.report(2, false);
        world.pass(31);
        assert!(world.lease(new), "it runs, though not well");
        world.look();
        assert_eq!(owner(&world), None, "nobody may write before the target surely does not");
        assert_eq!(side(&world, Some(new)).target, Target::Stopped);
        assert!(!world.lease(new) && !world.lease(source));
        world.says.clear();
        world.report(2, false);
        assert_eq!(phase(&world), MovePhase::RolledBack);
        assert_eq!(owner(&world), Some(source));
        assert!(matches!(side(&world, Some(source)).target, Target::Own(Own { from: None, .. })));
        assert!(world.lease(source));
        world.agents(&[]);
        world.agents(&[]);
        assert_eq!(world.service("notes").route.backends, [source]);
        assert_eq!(world.model.assignments.len(), 1, "what was copied is gone");
    }
}

#[test]
fn row_37_what_is_said_again_changes_nothing() {
    let mut world = exclusive();
    order_to(&mut world, 2);
    for to in [MovePhase::FinalCopy, MovePhase::Starting, MovePhase::Switching, MovePhase::Done] {
        drive(&mut world, to);
        let before = (world.model.moves.clone(), world.model.services.clone(), world.model.assignments.clone());
        let id = id(&world);
        let changes = world.step(|draft| {
            for _ in 0..3 {
                crate::fulfilment::advance(draft, id);
                crate::relocation::place_waiting(draft);
            }
            draft.changes.len()
        });
        assert_eq!(changes, 0, "{to:?}");
        assert_eq!(before, (world.model.moves.clone(), world.model.services.clone(), world.model.assignments.clone()));
    }
}

#[test]
fn a_move_that_is_resumed_after_a_restart_does_not_trust_doors_that_it_does_not_know() {
    let mut world = exclusive();
    order_to(&mut world, 2);
    drive(&mut world, MovePhase::Holding);
    // The controller is killed: what doors said is gone, and so is what they held.
    world.model.doors = Default::default();
    world.now.0 += 1_000_000;
    world.model.observable_since = world.now;
    world.look();
    assert!(matches!(phase(&world), MovePhase::Copying | MovePhase::Standby));
    assert_eq!(world.service("notes").route.hold, None);
    // That was nobody's fault: once doors and hosts are heard again it goes on, without a pause.
    world.now.0 += 30_000_000;
    let before = world.now;
    drive(&mut world, MovePhase::Done);
    assert!(world.now.since(before) < Micros::from_secs(60), "it took {}", world.now.since(before));
}
