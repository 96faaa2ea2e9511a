//! Asking for leases: at once, then in time; answers that are lost, repeated, late or in another order.

use chandler_protocol::lease::LeasePart;

use super::*;

fn id(n: u8) -> AssignmentId {
    AssignmentId::from_random([n; 10])
}

fn ms(n: i64) -> Micros {
    Micros::from_millis(n)
}

fn leases() -> Leases {
    let leases = Leases::new(Arc::default());
    leases.connected(ms(0));
    leases
}

fn wanted(n: u8, epoch: u64, generation: u64) -> LeaseWanted {
    LeaseWanted { assignment: id(n), epoch, generation }
}

/// A lease lasts 9 s and is renewed after 3 s.
fn grant(nonce: u64, given: &[LeaseWanted]) -> LeaseGrant {
    LeaseGrant { nonce, lasts: ms(9_000), renew: ms(3_000), given: given.to_vec() }
}

fn until(word: &watch::Receiver<Word>) -> Option<(u64, Micros)> {
    word.borrow().given.map(|g| (g.generation, g.until()))
}

#[test]
fn a_lease_is_asked_for_at_once_counts_from_its_request_and_is_renewed_in_time() {
    let leases = leases();
    let word = leases.want(id(1), 5, None, ms(100));
    let asked = leases.request(ms(100)).unwrap();
    assert_eq!(asked.wanted, [wanted(1, 5, 0)]);
    assert_eq!(leases.request(ms(101)), None, "it is asked for once");
    leases.answered(&grant(asked.nonce, &[wanted(1, 5, 7)]), ms(900));
    assert_eq!(until(&word), Some((7, ms(9_100))), "it counts from the request, not from the answer");
    assert_eq!(leases.next_due(), Some(ms(3_100)));
    let renewal = leases.request(ms(3_100)).unwrap();
    assert_eq!(renewal.wanted, [wanted(1, 5, 7)], "what is held is renewed");
    leases.answered(&grant(renewal.nonce, &[wanted(1, 5, 7)]), ms(3_200));
    assert_eq!(until(&word), Some((7, ms(12_100))));
}

#[test]
fn lost_repeated_late_and_foreign_answers_do_no_harm() {
    let leases = leases();
    let word = leases.want(id(1), 5, None, ms(0));
    let first = leases.request(ms(0)).unwrap();
    // Its answer is late, so it is asked again.
    assert_eq!(leases.request(ms(999)), None);
    let second = leases.request(ms(1_000)).unwrap();
    assert_eq!(second.wanted, [wanted(1, 5, 0)]);
    leases.answered(&grant(second.nonce, &[wanted(1, 5, 2)]), ms(1_100));
    leases.answered(&grant(first.nonce, &[wanted(1, 5, 1)]), ms(1_200));
    assert_eq!(until(&word), Some((2, ms(10_000))), "the newest generation counts, whatever arrives last");
    assert_eq!(leases.next_due(), Some(ms(4_000)));
    // The same answer again, much later: its request is not known any more.
    leases.answered(&grant(second.nonce, &[wanted(1, 5, 9)]), ms(3_000));
    leases.answered(&grant(77, &[wanted(1, 5, 9)]), ms(3_000));
    assert_eq!(until(&word), Some((2, ms(10_000))));
    // For another epoch, for what nobody asked for, of no generation.
    let third = leases.request(ms(4_000)).unwrap();
    leases.answered(&grant(third.nonce, &[wanted(1, 4, 3), wanted(2, 5, 3)]), ms(4_010));
    assert_eq!(until(&word), Some((2, ms(10_000))));
    assert!(word.borrow().is_refused);
}

#[test]
fn what_is_refused_is_asked_for_anew_and_what_is_held_runs_on() {
    let leases = leases();
    let word = leases.want(id(1), 5, None, ms(0));
    let asked = leases.request(ms(0)).unwrap();
    leases.answered(&grant(asked.nonce, &[wanted(1, 5, 3)]), ms(1));
    let asked = leases.request(ms(3_000)).unwrap();
    leases.answered(&grant(asked.nonce, &[]), ms(3_001));
    assert_eq!(until(&word), Some((3, ms(9_000))), "a refusal takes nothing away that was given");
    assert!(word.borrow().is_refused);
    assert_eq!(leases.request(ms(3_100)), None, "not at once");
    let asked = leases.request(ms(3_251)).unwrap();
    assert_eq!(asked.wanted, [wanted(1, 5, 0)], "a new one, not the one that was refused");
    leases.answered(&grant(asked.nonce, &[wanted(1, 5, 4)]), ms(3_252));
    assert_eq!((until(&word), word.borrow().is_refused), (Some((4, ms(12_251))), false));
}

#[test]
fn several_controllers_answer_one_request_each_for_its_own() {
    let leases = leases();
    let (own, guest) = (leases.want(id(1), 5, None, ms(0)), leases.want(id(2), 7, None, ms(0)));
    let asked = leases.request(ms(0)).unwrap();
    let part = |about: &[u8], given: &[LeaseWanted]| LeasePart {
        grant: grant(asked.nonce, given),
        about: about.iter().map(|n| id(*n)).collect(),
    };
    leases.answered_in_part(&part(&[1], &[wanted(1, 5, 3)]), ms(1));
    assert_eq!((until(&own), until(&guest)), (Some((3, ms(9_000))), None));
    assert!(!guest.borrow().is_refused, "nobody has answered for it yet");
    // Its owner answers later, by way of the home: it counts from when it was asked for all the same.
    leases.answered_in_part(&part(&[2], &[wanted(2, 7, 4)]), ms(700));
    assert_eq!((until(&own), until(&guest)), (Some((3, ms(9_000))), Some((4, ms(9_000)))));
    // A controller gives nothing that it does not answer for.
    leases.answered_in_part(&part(&[2], &[wanted(1, 5, 9)]), ms(800));
    assert_eq!(until(&own), Some((3, ms(9_000))));
}

#[test]
fn without_a_session_nobody_is_asked_and_a_new_one_asks_for_everything_at_once() {
    let leases = leases();
    let word = leases.want(id(1), 5, None, ms(0));
    let asked = leases.request(ms(0)).unwrap();
    leases.disconnected();
    assert_eq!((leases.next_due(), leases.request(ms(9_000))), (None, None));
    let _other = leases.want(id(2), 1, Some(Lease { generation: 8, until: ms(11_000) }), ms(9_000));
    leases.connected(ms(10_000));
    // An answer to a question of the old session means nothing in the new one.
    leases.answered(&grant(asked.nonce, &[wanted(1, 5, 1)]), ms(10_000));
    assert_eq!(until(&word), None);
    assert_eq!(leases.request(ms(10_000)).unwrap().wanted, [wanted(1, 5, 0), wanted(2, 1, 8)]);
    // It ended while nobody answered: it is not renewed, a new one is asked for.
    assert_eq!(leases.request(ms(11_000)).unwrap().wanted, [wanted(1, 5, 0), wanted(2, 1, 0)]);
}

#[test]
fn renewals_go_together_and_a_new_epoch_begins_anew() {
    let leases = leases();
    for n in 1..=3 {
        let _ = leases.want(id(n), 1, None, ms(i64::from(n) * 100));
        let asked = leases.request(ms(i64::from(n) * 100)).unwrap();
        assert_eq!(asked.wanted.len(), 1, "what has its lease is not asked for again");
        leases.answered(&grant(asked.nonce, &[wanted(n, 1, 1)]), ms(i64::from(n) * 100));
    }
    let asked = leases.request(ms(3_100)).unwrap();
    assert_eq!(asked.wanted.len(), 3, "one message renews what is due soon");
    let word = leases.want(id(2), 2, None, ms(3_150));
    assert_eq!(leases.request(ms(3_150)).unwrap().wanted, [wanted(2, 2, 0)]);
    leases.answered(&grant(asked.nonce, &[wanted(1, 1, 1), wanted(2, 1, 1), wanted(3, 1, 1)]), ms(3_160));
    assert_eq!(until(&word), None, "a lease of the old epoch is none of the new");
    leases.forget(id(1));
    leases.forget(id(3));
    assert_eq!(leases.next_due(), Some(ms(4_150)));
}

#[test]
fn absurd_times_of_a_controller_are_bounded() {
    let leases = leases();
    let word = leases.want(id(1), 1, None, ms(0));
    let asked = leases.request(ms(0)).unwrap();
    let absurd = LeaseGrant { lasts: Micros(i64::MAX), renew: Micros(-5), ..grant(asked.nonce, &[wanted(1, 1, 1)]) };
    leases.answered(&absurd, ms(1));
    assert_eq!(until(&word), Some((1, LASTS_MAX)));
    assert_eq!(leases.next_due(), Some(RENEW_MIN));
    let asked = leases.request(ms(60)).unwrap();
    let absurd = LeaseGrant { lasts: Micros(-1), renew: Micros(i64::MAX), ..grant(asked.nonce, &[wanted(1, 1, 2)]) };
    leases.answered(&absurd, ms(61));
    assert_eq!(until(&word), Some((2, ms(60))), "one that is over at once");
}
