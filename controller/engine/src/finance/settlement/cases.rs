//! Receipts that a buyer compares with its own view: honest ones, and each kind of lie.

use proptest::prelude::*;

use super::*;
use crate::finance::example::leased;

const HOUR: i64 = 3_600;

fn at(seconds: i64) -> Timestamp {
    Timestamp(seconds * 1_000_000)
}

/// The buyer's view after two hours of a lease, of which one hour was metered.
fn view() -> OwnView {
    let used = leased(1, 0, 1);
    OwnView {
        knows_lease: true,
        host: used.host,
        sequence: 4,
        epoch_oldest: 1,
        epoch_newest: 1,
        since: at(0),
        until: None,
        metered: Micros::from_secs(HOUR),
        metered_total: Micros::from_secs(HOUR),
        observed: Some(Micros::from_secs(2 * HOUR)),
        reserved: used.reserved,
        rates: used.rates,
    }
}

fn found(claim: &LeasedUse, own: &OwnView) -> Verdict {
    compare(claim, own, &Tolerance::default(), at(2 * HOUR))
}

#[test]
fn an_honest_receipt_is_agreed_whole() {
    let claim = leased(5, HOUR, HOUR);
    let verdict = found(&claim, &view());
    assert_eq!(verdict, Verdict::Agreed { amount: claim.amount, running: claim.running });
    assert_eq!((verdict.contested(), verdict.running()), (MicroMoney(0), Micros::from_secs(HOUR)));
    // What the buyer has not seen proves nothing; what ends with the clocks apart is no lie.
    assert_eq!(found(&claim, &OwnView { observed: None, ..view() }).contested().0, 0);
    assert_eq!(found(&leased(5, HOUR, HOUR + 60), &view()).contested().0, 0);
    assert_ne!(found(&leased(5, HOUR, HOUR + 61), &view()).contested().0, 0);
    // A machine that was off reports after the lease was closed.
    let closed = OwnView { until: Some(at(2 * HOUR)), ..view() };
    let late = LeasedUse { at: at(9 * HOUR), ..claim };
    assert_eq!(compare(&late, &closed, &Tolerance::default(), at(9 * HOUR)).contested().0, 0);
}

#[test]
fn what_is_not_the_buyers_is_contested_whole() {
    let check = |claim: fn(&mut LeasedUse), own: fn(&mut OwnView), reason| {
        let (mut receipt, mut view) = (leased(5, HOUR, HOUR), view());
        claim(&mut receipt);
        own(&mut view);
        let expect =
            Verdict::Contested { agreed: MicroMoney(0), contested: receipt.amount, running: Micros::ZERO, reason };
        assert_eq!(found(&receipt, &view), expect);
    };
    check(|_| (), |o| o.knows_lease = false, Reason::UnknownLease);
    check(|c| c.host = HostId::from_random([9; 10]), |_| (), Reason::OtherHost);
    check(|c| c.sequence = 4, |_| (), Reason::Duplicate);
    check(|c| c.sequence = 1, |_| (), Reason::Duplicate);
    check(|_| (), |o| (o.epoch_oldest, o.epoch_newest) = (2, 3), Reason::Epoch);
    check(|c| c.epoch = 2, |_| (), Reason::Epoch);
    check(|c| c.at = at(-61), |_| (), Reason::Time);
    check(|c| c.at = at(2 * HOUR + 61), |_| (), Reason::Time);
}

#[test]
fn of_the_rest_as_much_is_agreed_as_the_lease_comes_to() {
    let honest = leased(5, HOUR, HOUR);
    let check = |spoil: fn(&mut LeasedUse), own: fn(&mut OwnView), agreed, reason| {
        let (mut receipt, mut view) = (honest, view());
        spoil(&mut receipt);
        own(&mut view);
        let Verdict::Contested { agreed: paid, contested, reason: found, .. } = found(&receipt, &view) else {
            panic!("{reason:?} went unseen");
        };
        assert_eq!((paid, found), (agreed, reason));
        assert_eq!(paid.0 + contested.0, receipt.amount.0);
    };
    let hours = |n: i64| rate_cost_next(Micros::from_secs(HOUR), Micros::from_secs(n), honest.reserved, honest.rates);
    // The price is raised after it was accepted.
    let dearer = |c: &mut LeasedUse| {
        c.rates.core_hour.0 *= 2;
        c.amount = c.rated();
    };
    check(dearer, |_| (), honest.amount, Reason::Rates);
    let larger = |c: &mut LeasedUse| {
        c.reserved.memory.0 *= 2;
        c.amount = c.rated();
    };
    check(larger, |_| (), honest.amount, Reason::Capacity);
    check(|c| c.amount.0 += 1, |_| (), honest.amount, Reason::Arithmetic);
    let longer = |c: &mut LeasedUse| {
        c.running = Micros::from_secs(3 * HOUR);
        c.amount = c.rated();
    };
    check(longer, |o| o.observed = None, hours(HOUR + 60), Reason::Life);
    check(|_| (), |o| o.observed = Some(Micros::from_secs(5_000)), hours(5_000 + 60 - HOUR), Reason::Unseen);
    check(|_| (), |o| o.until = Some(at(HOUR)), hours(60), Reason::Life);
    // The same hour under new numbers, after all that the lease can have run was paid.
    check(|_| (), |o| o.metered_total = Micros::from_secs(2 * HOUR + 60), MicroMoney(0), Reason::Life);
}

#[test]
fn a_seller_may_ask_for_less() {
    let mut cheaper = leased(5, HOUR, HOUR);
    cheaper.rates.core_hour.0 /= 2;
    cheaper.amount = cheaper.rated();
    assert_eq!(found(&cheaper, &view()).agreed(), cheaper.amount);
    let mut view = view();
    view.reserved.cpu.0 *= 2;
    assert_eq!(found(&cheaper, &view).contested().0, 0);
}

proptest! {
    /// Whatever a seller writes, agreed and contested sum to what it asks, and what is agreed over the life of a
    /// lease is never more than the lease's own terms come to for its whole life.
    #[test]
    fn no_seller_is_paid_for_more_than_the_life_of_its_lease(
        claims in prop::collection::vec((0..20_000_i64, 0..40_000_i64, 0..1_000_000_i64, 1..4_i64), 1..40),
    ) {
        let nothing = Micros::ZERO;
        let mut view = OwnView { sequence: 0, metered: nothing, metered_total: nothing, observed: None, ..view() };
        let (mut paid, mut now) = (0, 0);
        for ((step, running, extra, factor), n) in claims.into_iter().zip(1..) {
            now += step;
            let mut claim = leased(n, 0, running);
            claim.before = view.metered;
            claim.at = at(now);
            claim.rates.gib_hour.0 *= factor;
            claim.amount = MicroMoney(claim.rated().0 + extra);
            let verdict = compare(&claim, &view, &Tolerance::default(), at(now));
            prop_assert_eq!(verdict.agreed().0 + verdict.contested().0, claim.amount.0);
            prop_assert!(verdict.agreed().0 >= 0 && verdict.contested().0 >= 0);
            paid += verdict.agreed().0;
            view.sequence = n;
            view.metered.0 += claim.running.0;
            view.metered_total.0 += verdict.running().0;
        }
        let life = Micros::from_secs(now + 60);
        // Stretches that do not follow each other each lose or gain what is below a millionth.
        prop_assert!(paid <= rate_cost_next(Micros::ZERO, life, view.reserved, view.rates).0 + 2 * 40);
    }

    /// The worst numbers anybody can send neither wrap nor panic.
    #[test]
    fn hostile_numbers_are_held(
        a in any::<[i64; 8]>(), sequence in any::<u64>(), cpu in any::<u32>(), memory in any::<u64>(),
        share in any::<u32>(),
    ) {
        let mut claim = leased(5, 0, 1);
        (claim.before.0, claim.running.0, claim.at.0, claim.amount.0) = (a[0], a[1], a[2], a[3]);
        (claim.sequence, claim.reserved.cpu.0, claim.reserved.memory.0) = (sequence, cpu, memory);
        let (metered, metered_total, observed) = (Micros(a[5]), Micros(a[6]), Some(Micros(a[7])));
        let own = OwnView { since: Timestamp(a[4]), metered, metered_total, observed, ..view() };
        let tolerance = Tolerance { unseen: Ppm(share), clocks: Micros(a[3]), money: MicroMoney(a[2]) };
        for now in [Timestamp(i64::MIN), at(0), Timestamp(i64::MAX)] {
            let verdict = compare(&claim, &own, &tolerance, now);
            prop_assert_eq!(verdict.agreed().0 + verdict.contested().0, a[3].clamp(0, AMOUNT_MAX));
        }
    }
}
