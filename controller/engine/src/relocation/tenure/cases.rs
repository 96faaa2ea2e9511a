//! Every step of a tenure: what it leads to, and what it refuses.

use super::{Denied, Stage, Tenure};
use chandler_protocol::state::Received;
use chandler_protocol::{AssignmentId, Digest};

const S: AssignmentId = AssignmentId::from_random([1; 10]);
const T: AssignmentId = AssignmentId::from_random([2; 10]);
const U: AssignmentId = AssignmentId::from_random([3; 10]);
const ROOT: Digest = Digest([7; 32]);
const OTHER: Digest = Digest([8; 32]);
const RECEIVED: Received = Received { attempt: 1, root: ROOT };

/// S owns it under epoch 5 and runs under its second lease.
fn settled() -> Tenure {
    Tenure { lease: 2, ..Tenure::first(S, 5) }
}

fn sealing() -> Tenure {
    settled().seal(T).unwrap()
}

fn sealed() -> Tenure {
    sealing().sealed(S, 5, 1, ROOT, 2).unwrap()
}

fn committed() -> Tenure {
    sealed().verified(T, RECEIVED).unwrap()
}

fn returning() -> Tenure {
    committed().give_back().unwrap()
}

/// Every stage there is.
fn stages() -> [(&'static str, Tenure); 5] {
    [
        ("settled", settled()),
        ("sealing", sealing()),
        ("sealed", sealed()),
        ("committed", committed()),
        ("returning", returning()),
    ]
}

/// The stages in which `step` is not refused for the stage.
fn taken_in<A>(step: impl Fn(Tenure) -> Result<A, Denied>) -> Vec<&'static str> {
    stages().into_iter().filter(|(_, t)| !matches!(step(*t), Err(Denied::Stage))).map(|(name, _)| name).collect()
}

#[test]
fn a_hand_over_ends_with_the_new_owner_one_epoch_on() {
    assert_eq!(sealing().stage, Stage::Sealing { to: T, root: None });
    assert_eq!((sealing().attempt, sealing().epoch, sealing().owner), (1, 5, Some(S)), "S owns it until the commit");
    assert_eq!(sealed().stage, Stage::Sealing { to: T, root: Some(ROOT) });
    let expected =
        Tenure { epoch: 6, owner: Some(T), lease: 0, attempt: 1, stage: Stage::Committed { from: S, root: ROOT } };
    assert_eq!(committed(), expected);
    assert_eq!(committed().switched(), Ok(Tenure { stage: Stage::Settled, ..expected }));
}

#[test]
fn before_the_commit_it_is_given_up_at_once() {
    let expected = Tenure { epoch: 6, owner: Some(S), lease: 0, attempt: 1, stage: Stage::Settled };
    assert_eq!(sealing().cancel(), Ok(expected));
    assert_eq!(sealed().cancel(), Ok(expected));
}

#[test]
fn row_40_after_the_commit_it_is_taken_from_the_new_owner_first() {
    let nobody = Tenure { epoch: 7, owner: None, lease: 0, attempt: 1, stage: Stage::Returning { from: T, to: S } };
    assert_eq!(returning(), nobody);
    let back = Tenure { epoch: 8, owner: Some(S), stage: Stage::Settled, ..nobody };
    assert_eq!(nobody.fenced(T, 7), Ok(back));
    assert_eq!(nobody.lease_over(T), Ok(back));
    assert_eq!(nobody.fenced(S, 7), Err(Denied::Copy));
    assert_eq!(nobody.fenced(T, 6), Err(Denied::Epoch), "what it said before it was told to stop");
    assert_eq!(nobody.lease_over(S), Err(Denied::Copy), "the lease of the one that shall own it again says nothing");
}

#[test]
fn each_step_has_its_stages() {
    assert_eq!(taken_in(|t| t.seal(U)), ["settled"]);
    assert_eq!(taken_in(|t| t.sealed(S, 5, 1, ROOT, 2)), ["sealing", "sealed"]);
    assert_eq!(taken_in(|t| t.verified(T, RECEIVED)), ["sealed"]);
    assert_eq!(taken_in(Tenure::switched), ["committed"]);
    assert_eq!(taken_in(Tenure::cancel), ["sealing", "sealed"]);
    assert_eq!(taken_in(Tenure::give_back), ["committed"]);
    assert_eq!(taken_in(|t| t.fenced(T, t.epoch)), ["returning"]);
    assert_eq!(taken_in(|t| t.lease_over(T)), ["returning"]);
}

#[test]
fn a_state_is_not_handed_to_its_owner() {
    assert_eq!(settled().seal(S), Err(Denied::Copy));
}

#[test]
fn a_seal_counts_only_as_the_owners_newest_word() {
    let check = |(by, epoch, attempt, root, lease), why| {
        assert_eq!(sealing().sealed(by, epoch, attempt, root, lease).map(|_| ()), why);
    };
    check((S, 5, 1, ROOT, 2), Ok(()));
    check((T, 5, 1, ROOT, 2), Err(Denied::Copy));
    check((S, 4, 1, ROOT, 2), Err(Denied::Epoch));
    check((S, 6, 1, ROOT, 2), Err(Denied::Epoch));
    check((S, 5, 0, ROOT, 2), Err(Denied::Attempt));
    check((S, 5, 2, ROOT, 2), Err(Denied::Attempt));
    // It ran, and may have written, under a newer lease since.
    check((S, 5, 1, ROOT, 1), Err(Denied::Lease));
    check((S, 5, 1, ROOT, 3), Err(Denied::Lease));
    assert_eq!(sealed().sealed(S, 5, 1, OTHER, 2), Err(Denied::Root), "what it said first counts");
}

#[test]
fn only_what_was_sealed_is_committed() {
    let check = |by, attempt, root, why| {
        assert_eq!(sealed().verified(by, Received { attempt, root }).map(|_| ()), why);
    };
    check(T, 1, ROOT, Ok(()));
    check(S, 1, ROOT, Err(Denied::Copy));
    check(U, 1, ROOT, Err(Denied::Copy));
    check(T, 0, ROOT, Err(Denied::Attempt));
    check(T, 1, OTHER, Err(Denied::Root));
    assert_eq!(sealing().verified(T, RECEIVED), Err(Denied::Stage), "nothing is known of what was sealed");
}

#[test]
fn row_37_what_is_said_again_changes_nothing() {
    assert_eq!(sealed().sealed(S, 5, 1, ROOT, 2), Ok(sealed()));
    // Each of these leaves what is committed as it is.
    assert_eq!(committed().sealed(S, 5, 1, ROOT, 2), Err(Denied::Stage));
    assert_eq!(committed().verified(T, RECEIVED), Err(Denied::Stage));
    let back = returning().fenced(T, 7).unwrap();
    assert_eq!(back.fenced(T, 7), Err(Denied::Stage));
    assert_eq!(back.lease_over(T), Err(Denied::Stage));
    let switched = committed().switched().unwrap();
    assert_eq!(switched.switched(), Err(Denied::Stage));
    assert_eq!(switched.verified(T, RECEIVED), Err(Denied::Stage));
}

#[test]
fn what_was_said_in_an_earlier_attempt_does_not_count_in_the_next() {
    let again = sealed().cancel().unwrap().seal(T).unwrap();
    assert_eq!((again.attempt, again.epoch), (2, 6));
    assert_eq!(again.sealed(S, 5, 1, ROOT, 2), Err(Denied::Epoch));
    let again = again.sealed(S, 6, 2, OTHER, 0).unwrap();
    assert_eq!(again.verified(T, RECEIVED), Err(Denied::Attempt));
    assert!(again.verified(T, Received { attempt: 2, root: OTHER }).is_ok());
}

#[test]
fn leases_are_given_to_the_owner_alone() {
    let check = |tenure: Tenure, by, epoch, generation, expect| {
        assert_eq!(tenure.grant(by, epoch, generation).map(|(t, g)| (t.lease, g)), expect);
    };
    check(settled(), S, 5, 0, Ok((3, 3)));
    check(settled(), S, 5, 2, Ok((2, 2)));
    check(settled(), S, 5, 1, Err(Denied::Lease));
    check(settled(), S, 5, 3, Err(Denied::Lease));
    check(settled(), S, 4, 0, Err(Denied::Epoch));
    check(settled(), S, 6, 0, Err(Denied::Epoch));
    check(settled(), T, 5, 0, Err(Denied::Copy));
    // It may take its time to stop.
    check(sealing(), S, 5, 2, Ok((2, 2)));
    check(sealing(), T, 5, 0, Err(Denied::Copy));
    check(sealed(), S, 5, 2, Err(Denied::Stage));
    check(committed(), S, 5, 2, Err(Denied::Copy));
    check(committed(), T, 6, 0, Ok((1, 1)));
    check(returning(), S, 7, 0, Err(Denied::Copy));
    check(returning(), T, 6, 1, Err(Denied::Copy));
}

#[test]
fn row_39_after_its_seal_was_accepted_the_owner_gets_no_lease_whatever_it_asks() {
    let asks = (0..=8).flat_map(|epoch| (0..=3).map(move |generation| (epoch, generation)));
    for (epoch, generation) in asks {
        for tenure in [sealed(), committed(), committed().switched().unwrap(), returning()] {
            let answer = tenure.grant(S, epoch, generation);
            assert!(answer.is_err(), "{tenure:?} gives {answer:?} for epoch {epoch} and generation {generation}");
        }
    }
}

#[test]
fn leases_are_counted_anew_under_each_epoch() {
    for tenure in
        [sealed().cancel(), returning().lease_over(T), settled().fail_over(S, U), sealed().verified(T, RECEIVED)]
    {
        assert_eq!(tenure.unwrap().lease, 0);
    }
    // A copy that got its state back and has not run since can hand it over again.
    let again = sealed().cancel().unwrap().seal(T).unwrap();
    assert!(again.sealed(S, 6, 2, ROOT, 0).is_ok());
}

#[test]
fn the_owner_is_given_up_by_name() {
    let to_u = |t: Tenure, gone| t.fail_over(gone, U).map(|t| (t.owner, t.stage, t.epoch));
    assert_eq!(to_u(settled(), S), Ok((Some(U), Stage::Settled, 6)));
    assert_eq!(to_u(sealed(), S), Ok((Some(U), Stage::Settled, 6)));
    assert_eq!(to_u(committed(), T), Ok((Some(U), Stage::Settled, 7)));
    assert_eq!(to_u(committed(), S), Err(Denied::Copy), "the old owner does not run");
    // Nobody owns it, and who owned it last may still run.
    assert_eq!(to_u(returning(), T), Ok((Some(U), Stage::Settled, 8)));
    assert_eq!(to_u(returning(), S), Err(Denied::Copy));
    assert_eq!(settled().fail_over(S, S), Err(Denied::Copy));
    assert_eq!(
        [settled(), sealed(), committed(), returning()].map(|t| t.holder()),
        [Some(S), Some(S), Some(T), Some(T)]
    );
}
