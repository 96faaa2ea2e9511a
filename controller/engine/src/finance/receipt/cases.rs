//! Receipts in cases: a chain that holds, and every way in which one does not.

use proptest::prelude::*;

use super::*;
use crate::finance::example::{leased, parties};

fn chain(count: u64) -> Vec<Receipt> {
    let mut head = Head::start(&parties());
    let mut before = 0;
    (1..=count)
        .map(|n| {
            let receipt = append(&parties(), head, leased(n, before, 60)).unwrap();
            before += 60;
            head = Head { number: receipt.number, hash: receipt.hash };
            receipt
        })
        .collect()
}

#[test]
fn a_chain_is_believed_whole_and_in_pieces() {
    let start = Head::start(&parties());
    let links = chain(5);
    let end = verify(&parties(), start, &links).unwrap();
    assert_eq!((end.number, end.hash), (5, links[4].hash));
    let middle = verify(&parties(), start, &links[..2]).unwrap();
    assert_eq!(verify(&parties(), middle, &links[2..]), Ok(end));
    assert_eq!(verify(&parties(), end, &[]), Ok(end));
}

#[test]
fn every_kind_of_bad_link_is_found() {
    let start = Head::start(&parties());
    let check = |spoil: fn(&mut Vec<Receipt>), number, what| {
        let mut links = chain(4);
        spoil(&mut links);
        assert_eq!(verify(&parties(), start, &links), Err(ChainError { number, what }));
    };
    check(|l| drop(l.remove(1)), 3, Fault::Gap);
    check(|l| l.insert(2, l[1].clone()), 2, Fault::Repeat);
    check(|l| l.swap(1, 2), 3, Fault::Gap);
    check(|l| l[2].used.amount.0 += 1, 3, Fault::Changed);
    check(|l| l[2].parties.buyer = "other.example".to_owned(), 3, Fault::Parties);
    // The seller rewrites a link with all that follows from it: the next one no longer fits what was signed.
    check(
        |l| {
            l[1].used.running.0 += 1;
            l[1].hash = hash(&l[1]);
        },
        3,
        Fault::Previous,
    );
    check(
        |l| {
            l[3].used.amount.0 = -1;
            l[3].hash = hash(&l[3]);
        },
        4,
        Fault::Unsound("amount"),
    );
}

#[test]
fn a_chain_of_one_direction_is_none_of_the_other() {
    let turned = Parties { seller: parties().buyer, buyer: parties().seller };
    assert_ne!(Head::start(&turned), Head::start(&parties()));
    // Names run into each other nowhere: each has its length before it.
    let names = |seller: &str, buyer: &str| Parties { seller: seller.to_owned(), buyer: buyer.to_owned() };
    assert_ne!(Head::start(&names("ab", "c")), Head::start(&names("a", "bc")));
    let nobody = append(&names("", "c"), Head::start(&names("", "c")), leased(1, 0, 60));
    assert_eq!(nobody.unwrap_err().what, Fault::Parties);
}

#[test]
fn numbers_that_no_ledger_holds_get_no_receipt() {
    let check = |spoil: fn(&mut LeasedUse), field| {
        let mut used = leased(1, 0, 60);
        spoil(&mut used);
        let found = append(&parties(), Head::start(&parties()), used).unwrap_err();
        assert_eq!((found.number, found.what), (1, Fault::Unsound(field)));
    };
    check(|u| u.running.0 = -1, "running");
    check(|u| u.before.0 = i64::MAX, "running");
    check(|u| u.cpu.0 = -1, "cpu");
    check(|u| u.amount.0 = AMOUNT_MAX + 1, "amount");
    check(|u| u.rates.gib_hour.0 = -1, "rates");
    check(|u| u.rates.gpu_hour.0 = -1, "rates");
}

/// Receipts are kept for years: the hash of one that was made may never change.
#[test]
fn the_hash_is_the_same_for_ever() {
    let golden = "1e538ab02d0372745fc88b0ccca6a9dd8516fdc37ea981ab4560472cf9cfbcc1";
    assert_eq!(chain(1)[0].hash.to_string(), golden);
    assert_eq!(encode(&chain(1)[0]).len(), 236);
    // What came later is left out where it is nothing, and else stands at the end.
    let mut later = chain(1).remove(0);
    (later.used.reserved.gpus, later.used.rates.gpu_hour) = (2, MicroMoney(70_000));
    let bytes = encode(&later);
    assert_eq!(
        (&bytes[..236], &bytes[236..]),
        (&encode(&chain(1)[0])[..], &[0, 0, 0, 4, 0, 0, 0, 2, 0, 0, 0, 8, 0, 0, 0, 0, 0, 1, 0x11, 0x70][..])
    );
}

proptest! {
    /// Whatever is changed in one link, at any place, does not go unseen.
    #[test]
    fn no_change_goes_unseen(at in 0_usize..6, which in 0_usize..14, by in 1_i64..1_000_000_000) {
        let mut links = chain(6);
        let receipt = &mut links[at];
        let used = &mut receipt.used;
        let (small, large) = (u32::try_from(by).unwrap(), by.unsigned_abs());
        match which {
            0 => used.sequence += large,
            1 => used.epoch += large,
            2 => used.before.0 += by,
            3 => used.running.0 += by,
            4 => used.cpu.0 += by,
            5 => used.at.0 -= by,
            6 => used.reserved.cpu.0 += small,
            7 => used.reserved.memory.0 += large,
            8 => used.rates.core_hour.0 += by,
            9 => used.rates.gib_hour.0 += by,
            10 => used.amount.0 += by,
            11 => used.reserved.gpus += small,
            12 => used.rates.gpu_hour.0 += by,
            _ => used.lease = AssignmentId::from_random([77; 10]),
        }
        prop_assert!(verify(&parties(), Head::start(&parties()), &links).is_err());
    }
}
