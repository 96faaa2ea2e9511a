//! Every rule about moves and owners, broken on purpose.

use chandler_protocol::state::{Own, Receive, Received, Target};
use chandler_protocol::{Digest, HostId, MoveId, PartyId, Timestamp};

use super::{ORDER, SERVICE, SITE, State, assignment, broken, put, service};
use crate::model::Model;
use crate::movement::{Move, MoveKind, MovePhase};
use crate::order::Order;
use crate::relocation::tenure::Tenure;
use crate::service::{Assignment, Route, Service, ServiceState, Trigger};

const ROOT: Digest = Digest([7; 32]);
const OWN: Target = Target::Own(Own { leased: true, from: None });
const SEAL: Target = Target::Seal { attempt: 1 };

fn carrying(tenure: Tenure) -> Service {
    let mut service = service();
    service.spec.state = Some(State { path: "data".to_owned(), exclusive: true });
    service.route.backends = vec![assignment(1).id];
    Service { tenure: Some(tenure), ..service }
}

fn moving(n: u8, phase: MovePhase) -> Move {
    Move {
        id: MoveId::from_random([n; 10]),
        service: SERVICE,
        name: "notes".to_owned(),
        customer: PartyId::from_random([0; 10]),
        kind: MoveKind::Exclusive,
        trigger: Trigger::Operator,
        evidence: String::new(),
        by: String::new(),
        from: Some(assignment(1).id),
        from_host: HostId::from_random([1; 10]),
        to: Some(assignment(2).id),
        to_host: HostId::from_random([1; 10]),
        attempt: 1,
        phase,
        since: Timestamp(0),
        deadline: None,
        phases: Vec::new(),
        predicted: Default::default(),
        realised: Default::default(),
        reason: String::new(),
        times: 0,
        started_at: Timestamp(0),
        route: 0,
        ended_at: None,
    }
}

/// Copy 1 owns the state under epoch 1 and leaves; copy 2 comes under epoch 2.
fn with(model: &mut Model, tenure: Tenure, phase: MovePhase, targets: (Target, Target)) {
    put(model, carrying(tenure));
    put(model, Assignment { target: targets.0, leaving: true, ..assignment(1) });
    put(model, Assignment { target: targets.1, ..assignment(2) });
    put(model, moving(1, phase));
}

fn receive() -> Target {
    let source = assignment(1).id;
    Target::Receive(Receive { attempt: 1, host: HostId::from_random([1; 10]), source, rate_max: None })
}

fn settled() -> Tenure {
    Tenure::first(assignment(1).id, 1)
}

fn sealing() -> Tenure {
    settled().seal(assignment(2).id).unwrap()
}

fn committed() -> Tenure {
    let sealed = sealing().sealed(assignment(1).id, 1, 1, ROOT, 0).unwrap();
    sealed.verified(assignment(2).id, Received { attempt: 1, root: ROOT }).unwrap()
}

fn returning() -> Tenure {
    committed().give_back().unwrap()
}

fn copied(m: &mut Model) {
    with(m, settled(), MovePhase::Copying, (OWN, receive()));
}

fn handing_over(m: &mut Model) {
    with(m, sealing(), MovePhase::FinalCopy, (SEAL, receive()));
}

fn starting(m: &mut Model) {
    with(m, committed(), MovePhase::Starting, (SEAL, OWN));
}

fn going_back(m: &mut Model) {
    with(m, returning(), MovePhase::Starting, (SEAL, Target::Stopped));
}

fn told(m: &mut Model, n: u8, target: Target) {
    let known = m.assignments[&assignment(n).id].as_ref().clone();
    put(m, Assignment { target, ..known });
}

/// The rules that are broken when `change` comes after `before`.
fn after(before: fn(&mut Model), change: impl FnOnce(&mut Model)) -> Vec<&'static str> {
    broken(|m| {
        before(m);
        change(m);
    })
}

#[test]
fn a_hand_over_is_sound_at_every_stage() {
    for stage in [copied, handing_over, starting, going_back] {
        assert_eq!(broken(stage), [""; 0]);
    }
    let switched = |m: &mut Model| {
        with(m, committed().switched().unwrap(), MovePhase::Draining, (SEAL, OWN));
        put(m, Service { route: Route { backends: vec![assignment(2).id], ..Route::default() }, ..now(m) });
    };
    assert_eq!(broken(switched), [""; 0]);
    assert_eq!(after(switched, |m| told(m, 1, Target::Wiped)), [""; 0], "customers are served by the other");
}

fn now(m: &Model) -> Service {
    m.services[&SERVICE].as_ref().clone()
}

#[test]
fn only_the_owner_may_run() {
    assert_eq!(after(copied, |m| told(m, 2, OWN)), ["exclusive", "one-owner"]);
    // The old one was told to go, the new one was never given the state.
    assert_eq!(
        after(copied, |m| {
            told(m, 1, SEAL);
            told(m, 2, OWN)
        }),
        ["one-owner"]
    );
    // Told under an epoch of its own.
    let late = |m: &mut Model| put(m, Assignment { epoch: 9, target: OWN, leaving: true, ..assignment(1) });
    assert_eq!(after(copied, late), ["one-owner"]);
    assert_eq!(
        after(starting, |m| {
            told(m, 1, OWN);
            told(m, 2, SEAL)
        }),
        ["one-owner", "hand-over"]
    );
}

#[test]
fn a_frozen_state_is_run_by_nobody_new_and_that_is_sound() {
    assert_eq!(
        after(copied, |m| put(m, Service { tenure: Some(Tenure { owner: None, ..settled() }), ..now(m) })),
        [""; 0]
    );
}

#[test]
fn the_owner_is_a_copy_of_the_service() {
    let nobody = Tenure::first(assignment(7).id, 1);
    let change = |m: &mut Model| {
        told(m, 1, Target::Stopped);
        put(m, Service { tenure: Some(nobody), ..now(m) });
    };
    assert_eq!(after(copied, change), ["owner"]);
}

#[test]
fn what_may_be_needed_is_not_removed() {
    let wiped = |n| move |m: &mut Model| told(m, n, Target::Wiped);
    assert_eq!(after(copied, wiped(1)), ["kept"]);
    assert_eq!(after(handing_over, wiped(1)), ["kept", "hand-over", "kept"]);
    assert_eq!(after(starting, wiped(1)), ["kept", "hand-over", "kept"]);
    assert_eq!(after(going_back, wiped(1)), ["kept", "hand-over", "kept"]);
    // The copy that came may go at any time but while it owns the state.
    assert_eq!(after(copied, wiped(2)), [""; 0]);
    assert_eq!(after(handing_over, wiped(2)), [""; 0]);
    assert_eq!(after(starting, wiped(2)), ["kept"]);
    assert_eq!(after(going_back, wiped(2)), [""; 0]);
}

#[test]
fn both_copies_are_told_what_goes_on() {
    let check = |before: fn(&mut Model), n, target, rules: &[&str]| {
        assert_eq!(after(before, |m| told(m, n, target)), rules, "{target:?}");
    };
    check(handing_over, 1, OWN, &["hand-over"]);
    check(handing_over, 1, Target::Seal { attempt: 2 }, &["hand-over"]);
    check(starting, 1, Target::Stopped, &["hand-over"]);
    check(starting, 1, OWN, &["exclusive", "one-owner", "hand-over"]);
    check(going_back, 1, OWN, &["one-owner", "hand-over"]);
    check(going_back, 2, OWN, &["one-owner", "hand-over"]);
}

#[test]
fn customers_come_after_the_switch() {
    let to_the_new = |m: &mut Model| {
        put(m, Service { route: Route { backends: vec![assignment(2).id], ..Route::default() }, ..now(m) });
    };
    for stage in [handing_over, starting, going_back] {
        assert_eq!(after(stage, to_the_new), ["early-traffic"]);
    }
}

#[test]
fn a_route_names_copies_of_the_service_and_moves_under_way() {
    let routed = |backends: &[u8], hold: Option<u8>| {
        let backends = backends.iter().map(|n| assignment(*n).id).collect();
        let hold = hold.map(|n| (MoveId::from_random([n; 10]), 1));
        move |m: &mut Model| put(m, Service { route: Route { sequence: 1, hold, backends }, ..now(m) })
    };
    assert_eq!(after(copied, routed(&[1], Some(1))), [""; 0]);
    assert_eq!(after(copied, routed(&[7], None)), ["backend"]);
    assert_eq!(after(copied, routed(&[2, 1], None)), ["backend"]);
    assert_eq!(after(copied, routed(&[1], Some(7))), ["hold"]);
    let ended = |m: &mut Model| {
        put(m, moving(1, MovePhase::RolledBack));
        routed(&[1], Some(1))(m);
    };
    assert_eq!(after(copied, ended), ["hold"]);
}

#[test]
fn a_state_is_moved_once_at_a_time() {
    assert_eq!(after(copied, |m| put(m, moving(2, MovePhase::Planned))), ["one-move"]);
    assert_eq!(after(copied, |m| put(m, moving(2, MovePhase::RolledBack))), [""; 0]);
    // One that is as good as over does not stand in the way of the next.
    assert_eq!(after(copied, |m| put(m, moving(2, MovePhase::Draining))), [""; 0]);
}

#[test]
fn a_move_is_of_what_is_there() {
    let elsewhere = chandler_protocol::ServiceId::from_random([8; 10]);
    assert_eq!(
        after(copied, |m| put(m, Move { service: elsewhere, ..moving(2, MovePhase::Planned) })),
        ["move-service"]
    );
    let to = |n| move |m: &mut Model| put(m, Move { to: Some(assignment(n).id), ..moving(1, MovePhase::Planned) });
    assert_eq!(after(copied, to(7)), ["move-copy"]);
    let from = |kind| {
        move |m: &mut Model| put(m, Move { from: Some(assignment(7).id), kind, ..moving(1, MovePhase::Planned) })
    };
    assert_eq!(after(copied, from(MoveKind::Exclusive)), ["move-copy"]);
    assert_eq!(after(copied, from(MoveKind::Failover)), [""; 0], "it is gone: that is why");
    // Another service's copy is none of this one's.
    let foreign = |m: &mut Model| {
        let other = Service { id: elsewhere, name: "other".to_owned(), ..service() };
        put(m, Order { service: Some(SERVICE), ..m.orders[&ORDER].as_ref().clone() });
        put(m, Service { state: ServiceState::Active, ..other });
        put(m, Assignment { id: assignment(7).id, service: elsewhere, site: SITE, ..assignment(7) });
        to(7)(m);
    };
    assert_eq!(after(copied, foreign), ["move-copy"]);
}
