//! Promises held against promises: each gap and its price.

use proptest::prelude::*;

use super::*;

const CREDIT: i64 = 10_000_000;

fn seller(name: &str, availability: u32) -> SuppliedTerms {
    SuppliedTerms {
        name: name.to_owned(),
        availability: Ppm(availability),
        p95: Some(Micros::from_millis(30)),
        reclaim_notice: Micros::from_secs(600),
        residency: "DE".to_owned(),
        credit: MicroMoney(CREDIT),
        breach: Ppm(100_000),
        loss: Ppm(200_000),
    }
}

fn customer() -> Terms {
    Terms {
        availability_min: Some(Ppm(995_000)),
        p95_max: Some(Micros::from_millis(50)),
        residency: vec!["DE".to_owned(), "CH".to_owned()],
        ..Terms::default()
    }
}

fn exposure() -> Exposure {
    Exposure { credit: MicroMoney(CREDIT), relocation: Micros::from_secs(60) }
}

fn gaps(terms: &Terms, supplied: &[SuppliedTerms], replicas: u32) -> Vec<(Attribute, i64)> {
    let found = cover(terms, &exposure(), supplied, replicas);
    assert_eq!(found.covered, found.gaps.is_empty());
    assert!(found.risk(&exposure()).0 <= CREDIT);
    found.gaps.iter().map(|g| (g.attribute, g.risk.0)).collect()
}

#[test]
fn a_promise_is_covered_by_one_that_is_as_good() {
    assert_eq!(gaps(&customer(), &[seller("one", 995_000)], 1), []);
    assert_eq!(gaps(&Terms::default(), &[seller("one", 1)], 1), [], "nothing was promised");
    // Two PCs of 95 % are there for 99.7 % of the time together.
    let two = [seller("one", 950_000), seller("two", 950_000)];
    assert_eq!(gaps(&customer(), &two, 2), []);
    // Half of the 1 % in which it may be away is backed by nobody.
    assert_eq!(gaps(&customer(), &[seller("one", 990_000)], 1), [(Attribute::Availability, CREDIT / 2)]);
    // Of three, any two may be those that run.
    let three = [seller("best", 999_999), seller("one", 900_000), seller("two", 900_000)];
    assert_eq!(gaps(&customer(), &three, 2)[0].0, Attribute::Availability);
}

#[test]
fn each_other_gap_has_its_price() {
    let check = |spoil: fn(&mut SuppliedTerms), expect: (Attribute, i64)| {
        let mut one = seller("one", 999_000);
        spoil(&mut one);
        assert_eq!(gaps(&customer(), &[one], 1), [expect]);
    };
    check(|s| s.residency = "US".to_owned(), (Attribute::Residency, CREDIT));
    check(|s| s.p95 = Some(Micros::from_millis(100)), (Attribute::Interactivity, CREDIT / 2));
    check(|s| s.p95 = None, (Attribute::Interactivity, CREDIT / 10));
    // Who promises as much backs the promise, whatever it owes when it breaks its own.
    assert_eq!(gaps(&customer(), &[SuppliedTerms { credit: MicroMoney(0), ..seller("one", 995_000) }], 1), []);
    let weaker = SuppliedTerms { credit: MicroMoney(CREDIT / 2), ..seller("one", 990_000) };
    let expect = [(Attribute::Availability, CREDIT / 2), (Attribute::Credit, CREDIT / 2 / 10)];
    assert_eq!(gaps(&customer(), &[weaker], 1), expect);
    assert_eq!(
        gaps(&customer(), &[], 1),
        [(Attribute::Replicas, CREDIT), (Attribute::Availability, 9_950_000), (Attribute::Credit, CREDIT)]
    );
}

#[test]
fn too_short_a_notice_costs_what_the_month_does_not_allow() {
    let mut sudden = seller("one", 999_000);
    sudden.reclaim_notice = Micros::ZERO;
    // A minute is within what 99.5 % allow in a month; five hours are not.
    assert_eq!(gaps(&customer(), std::slice::from_ref(&sudden), 1), []);
    let slow = Exposure { relocation: Micros::from_secs(5 * 3_600), ..exposure() };
    let found = cover(&customer(), &slow, std::slice::from_ref(&sudden), 1);
    assert_eq!((found.gaps[0].attribute, found.gaps[0].risk.0), (Attribute::ReclaimNotice, CREDIT / 5));
    assert!(found.gaps[0].text.contains("takes the machine back 0 s after it says so"), "{}", found.gaps[0].text);
    let two = [sudden, seller("two", 999_000)];
    assert!(cover(&customer(), &slow, &two, 2).covered, "another copy serves meanwhile");
}

#[test]
fn a_gap_says_what_is_missing() {
    let found = cover(&customer(), &exposure(), &[seller("one", 990_000)], 1);
    assert_eq!(
        found.gaps[0].text,
        "99.5 % are promised, and the sellers of 1 copy promise 99 % together: for 3 h a month it may be \
         away without any of them owing anything"
    );
}

fn any_seller() -> impl Strategy<Value = SuppliedTerms> {
    (any::<u32>(), any::<Option<i64>>(), any::<i64>(), any::<bool>(), any::<i64>(), any::<u32>(), any::<u32>())
        .prop_map(|(availability, p95, notice, is_abroad, credit, breach, loss)| SuppliedTerms {
            availability: Ppm(availability % 1_100_000),
            p95: p95.map(Micros),
            reclaim_notice: Micros(notice),
            residency: if is_abroad { "US" } else { "DE" }.to_owned(),
            credit: MicroMoney(credit),
            breach: Ppm(breach),
            loss: Ppm(loss),
            ..seller("one", 0)
        })
}

proptest! {
    /// Whatever sellers say, no gap costs less than nothing, all together cost no more than the credit, and a seller
    /// that promises less availability never costs less.
    #[test]
    fn a_weaker_promise_never_lowers_risk(
        sellers in prop::collection::vec(any_seller(), 0..5), replicas in any::<u32>(), less in 0_u32..500_000,
        credit in any::<i64>(), relocation in any::<i64>(), min in any::<u32>(), at in any::<prop::sample::Index>(),
    ) {
        let terms = Terms { availability_min: Some(Ppm(min)), ..customer() };
        let exposure = Exposure { credit: MicroMoney(credit), relocation: Micros(relocation) };
        let risk = |sellers: &[SuppliedTerms], replicas| {
            let found = cover(&terms, &exposure, sellers, replicas);
            assert!(found.gaps.iter().all(|g| (0..=credit.max(0)).contains(&g.risk.0)));
            found.gaps.iter().filter(|g| g.attribute == Attribute::Availability).map(|g| g.risk.0).sum::<i64>()
        };
        risk(&sellers, replicas);
        if !sellers.is_empty() {
            let all = u32::try_from(sellers.len()).unwrap();
            let mut weaker = sellers.clone();
            let share = &mut weaker[at.index(sellers.len())].availability.0;
            *share = share.saturating_sub(less);
            prop_assert!(risk(&weaker, all) >= risk(&sellers, all));
        }
    }
}
