//! What a copy may do with its state after each thing that can happen to it.

use chandler_protocol::state::{Own, Receive, Received, Sealed, Target};
use chandler_protocol::{AssignmentId, Digest, HostId, Micros};

use super::{Custody, GivenUp, Lease, May};

const ROOT: Digest = Digest([7; 32]);
const OTHER: Digest = Digest([8; 32]);
const RECEIVED: Received = Received { attempt: 1, root: ROOT };
const OWN: Own = Own { leased: true, from: None };
const TAKE_OVER: Own = Own { leased: true, from: Some(RECEIVED) };
const LASTS: Micros = Micros(13);

fn receive(attempt: u64) -> Target {
    let (host, source) = (HostId::from_random([1; 10]), AssignmentId::from_random([1; 10]));
    Target::Receive(Receive { attempt, host, source, rate_max: None })
}

/// Owns its state under epoch 5, and runs under its second lease, asked for at 100.
fn runs() -> Custody {
    Custody::default().ordered(5, &Target::Own(OWN)).leased(5, 2, Micros(100), LASTS).begun()
}

fn sealed() -> Custody {
    runs().ordered(5, &Target::Seal { attempt: 1 }).given_up(1, ROOT)
}

/// Has received the state in attempt 1 under epoch 5, and is to begin with it under epoch 6.
fn takes_over() -> Custody {
    Custody::default().ordered(5, &receive(1)).received(RECEIVED).ordered(6, &Target::Own(TAKE_OVER))
}

/// What is left of it when the agent is started: what is kept is written as JSON.
fn restarted(custody: Custody) -> Custody {
    serde_json::from_str(&serde_json::to_string(&custody).unwrap()).unwrap()
}

#[test]
fn it_runs_while_its_lease_lasts_and_not_a_moment_longer() {
    let check = |now, expect| assert_eq!(runs().may(&OWN, Micros(now)), expect);
    check(100, May::Run);
    check(112, May::Run);
    check(113, May::Ask);
    check(200, May::Ask);
    assert_eq!(Custody::default().ordered(5, &Target::Own(OWN)).may(&OWN, Micros(100)), May::Ask);
    let unleased = Own { leased: false, ..OWN };
    assert_eq!(runs().may(&unleased, Micros(200)), May::Run);
}

#[test]
fn a_lease_is_counted_from_when_it_was_asked_for() {
    let until = |c: Custody| c.lease.map(|l| l.until.0);
    assert_eq!(until(runs()), Some(113));
    assert_eq!(until(runs().leased(5, 2, Micros(105), LASTS)), Some(118), "renewed");
    assert_eq!(until(runs().leased(5, 2, Micros(95), LASTS)), Some(113), "an answer that came late shortens nothing");
    assert_eq!(until(runs().leased(5, 1, Micros(110), LASTS)), Some(113), "an older lease is not taken");
    assert_eq!(until(runs().leased(4, 3, Micros(110), LASTS)), Some(113), "nor one of another epoch");
    assert_eq!(until(runs().leased(6, 3, Micros(110), LASTS)), Some(113));
    let newer = runs().leased(5, 3, Micros(105), LASTS);
    let asks = |now| newer.lease.map(|l| l.asks(Micros(now)));
    assert_eq!((asks(117), asks(118), newer.last_lease), (Some(3), Some(0), 3), "what has ended is not renewed");
    assert_eq!(until(runs().leased(5, 2, Micros(i64::MAX), LASTS)), Some(i64::MAX));
}

#[test]
fn row_39_a_restart_ends_every_lease() {
    for custody in [restarted(runs()), runs().rebooted()] {
        assert_eq!(custody.may(&OWN, Micros(101)), May::Ask);
        assert_eq!(custody.last_lease, 2, "what it ran under last is not forgotten");
    }
}

#[test]
fn row_39_a_sealed_copy_never_runs_again_under_its_epoch() {
    let again = sealed().ordered(5, &Target::Own(OWN));
    let granted = again.leased(5, 3, Micros(100), LASTS);
    let unleased = Own { leased: false, ..OWN };
    for custody in [sealed(), again, granted, restarted(granted), sealed().rebooted()] {
        for own in [OWN, unleased, TAKE_OVER] {
            assert_eq!(custody.may(&own, Micros(100)), May::Never, "{custody:?}");
        }
        assert_eq!(custody.lease, None);
    }
}

#[test]
fn row_37_orders_that_are_repeated_or_late_change_nothing() {
    let own = Target::Own(OWN);
    let seal = Target::Seal { attempt: 1 };
    assert_eq!(runs().ordered(5, &own), runs());
    assert_eq!(sealed().ordered(5, &seal), sealed());
    assert_eq!(sealed().given_up(1, OTHER), sealed(), "what was said stays");
    let back = sealed().ordered(6, &own);
    for late in [own, seal, receive(1), Target::Stopped, Target::Wiped] {
        assert!(!back.obeys(5));
        assert_eq!(back.ordered(5, &late), back);
    }
    let begun = takes_over().begun();
    assert_eq!(begun.received(Received { attempt: 2, root: OTHER }), begun, "from here on the state is its own");
}

#[test]
fn it_says_what_it_gave_up_and_under_which_lease() {
    assert_eq!(sealed().sealed(1), Some(Sealed { attempt: 1, root: ROOT, lease: 2 }));
    assert_eq!(restarted(sealed()).sealed(1), sealed().sealed(1));
    assert_eq!(sealed().sealed(2), None, "another attempt");
    assert_eq!(runs().sealed(1), None);
    // It was stopped for the seal by a restart: it did not run since, but it did before.
    let stopped = runs().rebooted().ordered(5, &Target::Seal { attempt: 1 }).given_up(1, ROOT);
    assert_eq!(stopped.sealed(1).map(|s| s.lease), Some(2));
}

#[test]
fn a_lease_that_comes_after_the_seal_lets_nothing_run_and_is_told() {
    let late = sealed().leased(5, 3, Micros(100), LASTS);
    assert_eq!(late.given_up, Some(GivenUp { epoch: 5, attempt: 1, root: ROOT, lease: 3 }));
    assert_eq!((late.lease, late.may(&OWN, Micros(100))), (None, May::Never));
    assert_eq!(late.sealed(1).map(|s| s.lease), Some(3));
    assert_eq!(late.leased(5, 2, Micros(100), LASTS), late, "an older one says nothing");
}

#[test]
fn a_state_that_is_given_back_runs_under_a_new_lease() {
    let back = sealed().ordered(6, &Target::Own(OWN));
    assert_eq!(back.may(&OWN, Micros(100)), May::Ask);
    assert_eq!(back.leased(6, 1, Micros(100), LASTS).may(&OWN, Micros(100)), May::Run);
    // Handed over again before it ran: nothing was written since, under no lease.
    let again = back.ordered(6, &Target::Seal { attempt: 2 }).given_up(2, ROOT);
    assert_eq!(again.sealed(2), Some(Sealed { attempt: 2, root: ROOT, lease: 0 }));
}

#[test]
fn what_runs_runs_on_when_only_the_epoch_changes() {
    let on = runs().ordered(6, &Target::Own(OWN));
    assert_eq!(on.lease, Some(Lease { generation: 0, until: Micros(113) }));
    assert_eq!(on.may(&OWN, Micros(112)), May::Run);
    assert_eq!(on.may(&OWN, Micros(113)), May::Ask, "and not longer without a new one");
    assert_eq!(on.lease.map(|l| l.asks(Micros(112))), Some(0));
    let seal = runs().ordered(6, &Target::Seal { attempt: 1 });
    assert!(seal.lease.is_some(), "it may take its time to stop");
    assert_eq!(seal.given_up(1, ROOT).lease, None);
}

#[test]
fn a_copy_that_is_told_not_to_run_loses_its_lease_and_what_it_received() {
    for target in [Target::Stopped, Target::Wiped, receive(2)] {
        let stopped = takes_over().leased(6, 1, Micros(100), LASTS).begun().ordered(7, &target);
        assert_eq!((stopped.lease, stopped.received), (None, None), "{target:?}");
        assert_eq!(stopped.ordered(8, &Target::Own(TAKE_OVER)).may(&TAKE_OVER, Micros(100)), May::NotReceived);
        assert_eq!(stopped.ordered(8, &Target::Own(OWN)).may(&OWN, Micros(100)), May::Ask);
    }
}

#[test]
fn it_begins_with_exactly_what_was_committed_or_not_at_all() {
    assert_eq!(takes_over().may(&TAKE_OVER, Micros(0)), May::Ask);
    let check = |received: Option<Received>| {
        let custody = Custody { received, ..takes_over() };
        assert_eq!(custody.may(&TAKE_OVER, Micros(0)), May::NotReceived, "{received:?}");
    };
    check(None);
    check(Some(Received { attempt: 2, root: ROOT }));
    check(Some(Received { attempt: 1, root: OTHER }));
    // Once it has begun the state is its own.
    let begun = Custody { received: None, ..takes_over().begun() };
    assert_eq!(restarted(begun).may(&TAKE_OVER, Micros(0)), May::Ask);
}

#[test]
fn a_copy_that_receives_again_keeps_nothing_of_an_earlier_attempt() {
    let received = Custody::default().ordered(5, &receive(1)).received(RECEIVED);
    assert_eq!(received.ordered(5, &receive(1)).received, Some(RECEIVED));
    assert_eq!(received.ordered(6, &receive(2)).received, None);
}
