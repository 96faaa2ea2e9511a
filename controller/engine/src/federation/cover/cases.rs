//! What a seller promises less than the customer was promised is a gap, and costs in the ranking.

use chandler_protocol::HostId;

use super::*;
use crate::fleet::LotTerms;
use crate::placement::example::spot;

fn sold(availability: u32, notice: i64) -> SuppliedTerms {
    let terms = LotTerms {
        offer: String::new(),
        version: 1,
        owner: crate::placement::example::OWNER,
        availability: Ppm(availability),
        notice: Micros::from_secs(notice),
        odds: Odds::default(),
        min_term: Micros::ZERO,
        closed: None,
        connected: true,
        reclaimed_at: None,
    };
    let machine = Host { id: HostId::from_random([1; 10]), terms: Some(terms), ..spot(1, 1).host };
    let odds = Odds { breach: Ppm(50_000), loss: Ppm(50_000) };
    supplied(&machine, "DE", Ppm(999_999), Some(Micros::from_millis(10)), odds)
}

fn terms(availability: u32) -> Terms {
    Terms { availability_min: Some(Ppm(availability)), ..Terms::default() }
}

const MONTH: MicroMoney = MicroMoney(100_000_000);

#[test]
fn a_promise_that_covers_the_customers_costs_nothing_and_a_smaller_one_does() {
    let risk = |promised, notice, copies| gaps_risk(&terms(990_000), MONTH, sold(promised, notice), copies).0;
    assert_eq!(risk(990_000, 600, 1), 0);
    let weaker = risk(950_000, 600, 1);
    // Of the 5 % that it may be away, 4 % are backed by nobody: four fifths of the tenth that is owed.
    assert_eq!(weaker, 8_000_000);
    assert_eq!(risk(950_000, 600, 2), 0, "two of them together are there often enough");
    assert!(risk(500_000, 0, 1) <= 10_000_000, "at most the credit");
    assert_eq!(gaps_risk(&Terms::default(), MONTH, sold(500_000, 0), 1).0, 0, "nothing was promised");
}

#[test]
fn a_short_notice_costs_a_single_copy_only() {
    let tight = Terms { availability_min: Some(Ppm(999_990)), ..Terms::default() };
    let risk = |notice, copies| gaps_risk(&tight, MONTH, sold(999_990, notice), copies).0;
    assert_eq!((risk(600, 1), risk(0, 2)), (0, 0));
    assert!(risk(0, 1) > 0);
}
