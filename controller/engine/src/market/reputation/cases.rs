//! Reputation in cases: newcomers, good and bad sellers, what counts and what does not, and what time does.

use chandler_protocol::{MicroMoney, Micros, Ppm, Timestamp};
use proptest::prelude::*;

use super::{Cause, Deed, Prior, Record, Standing, WEEK, WEEKS_MAX, WEIGHT_ONE, explain, risk, standing, weight};

const MONTH: Micros = Micros::from_secs(730 * 3_600);
const NOW: Timestamp = Timestamp(3_000 * WEEK);

fn served(down_minutes: i64) -> Deed {
    Deed::Served { leased: MONTH, down: Micros::from_secs(down_minutes * 60), promised: Ppm(995_000) }
}

fn record(deeds: &[(Deed, Cause)]) -> Record {
    deeds.iter().fold(Record::default(), |r, (deed, cause)| r.with(*deed, *cause, NOW))
}

fn stands(deeds: &[(Deed, Cause)]) -> Standing {
    standing(&record(deeds), &Prior::REMOTE, NOW)
}

#[test]
fn a_newcomer_is_between_a_good_and_a_bad_seller() {
    let newcomer = stands(&[]);
    assert_eq!((newcomer.breach, newcomer.loss, newcomer.observations), (Ppm(200_000), Ppm(240_000), 0));
    let good = stands(&[(served(0), Cause::Owner), (Deed::Delivered, Cause::Owner)].repeat(12));
    let bad = stands(&[(served(600), Cause::Owner), (Deed::Yielded { noticed: false }, Cause::Owner)].repeat(12));
    // 12 months kept against a prior of 2: (2 * 0.2) / 14.
    assert_eq!((good.breach, bad.breach), (Ppm(28_572), Ppm(885_715)));
    assert!(good.loss < newcomer.loss && newcomer.loss < bad.loss, "{} {}", good.text, bad.text);
    // A month in which the promise was broken does not speak for the seller in anything else.
    assert_eq!(stands(&[(served(600), Cause::Owner)].repeat(12)).loss, newcomer.loss);
    assert!(good.breach.0 > 0 && bad.breach.0 < 1_000_000, "nobody is trusted blindly or banned for ever");
    // Partners' servers are believed to be better, until they are known.
    assert!(standing(&Record::default(), &Prior::PARTNER, NOW).breach < newcomer.breach);
}

#[test]
fn only_what_the_seller_caused_counts() {
    let bad = [served(600), Deed::Yielded { noticed: false }, Deed::Yielded { noticed: true }, Deed::Failed];
    for deed in bad {
        for cause in [Cause::Owner, Cause::Provider] {
            let found = stands(&[(deed, cause)]);
            assert!(found.breach.0 > 200_000 || found.loss.0 > 240_000, "{deed:?} by {cause:?}");
        }
        for cause in [Cause::Buyer, Cause::Funds] {
            let found = stands(&[(deed, cause)]);
            assert!(found.breach.0 <= 200_000 && found.loss.0 <= 240_000, "{deed:?} by {cause:?}");
        }
    }
}

#[test]
fn what_was_promised_is_what_counts() {
    let breach = |minutes| stands(&[(served(minutes), Cause::Owner)]).breach;
    // 99.5 % of 730 hours leave 219 minutes.
    assert_eq!(breach(219), breach(0));
    assert!(breach(220) > breach(219));
    let loss = |deed| stands(&[(deed, Cause::Owner)]).loss;
    let (noticed, suddenly) = (loss(Deed::Yielded { noticed: true }), loss(Deed::Yielded { noticed: false }));
    assert!(Ppm(240_000) < noticed && noticed < suddenly, "notice makes a yield cheaper");
}

#[test]
fn a_quarter_halves_what_was_done_and_two_years_forget_it() {
    let check = |weeks, share: f64| {
        let found = weight(weeks) as f64 / WEIGHT_ONE as f64;
        assert!((found - share).abs() < 1e-5, "{weeks} weeks weigh {found}");
    };
    check(-5, 1.0);
    check(0, 1.0);
    check(1, 0.948_077);
    check(13, 0.5);
    check(20, 0.344_253);
    check(26, 0.25);
    check(i64::MAX, 0.0);

    let bad = record(&[(Deed::Failed, Cause::Owner)]);
    let after = |weeks: i64| standing(&bad, &Prior::REMOTE, Timestamp(NOW.0 + weeks * WEEK)).loss;
    assert!(after(0) > after(13) && after(13) > after(52) && after(52) > Ppm(240_000));
    assert_eq!(after(520), Ppm(240_000));
    let moved_on = bad.with(Deed::Delivered, Cause::Owner, Timestamp(NOW.0 + 104 * WEEK));
    assert_eq!(moved_on.weeks.len(), 1, "old weeks are dropped");
    // News about a time that is forgotten changes nothing.
    assert_eq!(moved_on.clone().with(Deed::Failed, Cause::Owner, NOW), moved_on);
}

#[test]
fn risk_is_probability_times_money() {
    let found = |breach, loss, credit, cost| {
        let standing = Standing { breach: Ppm(breach), loss: Ppm(loss), observations: 0, text: String::new() };
        risk(&standing, MicroMoney(credit), MicroMoney(cost)).0
    };
    // 10 % of 7.30 and 20 % of 3.65 a month, by the hour.
    assert_eq!(found(100_000, 200_000, 7_300_000, 3_650_000), 1_000 + 1_000);
    assert_eq!(found(100_000, 0, 1, 0), 1, "rounded up");
    assert_eq!(found(1_000_000, 1_000_000, -5, i64::MIN), 0);
    assert_eq!(found(u32::MAX, u32::MAX, i64::MAX, i64::MAX), i64::MAX / 365 + 1);
}

#[test]
fn a_seller_can_see_why() {
    let deeds = [
        (served(0), Cause::Owner),
        (served(438), Cause::Owner),
        (Deed::Yielded { noticed: false }, Cause::Owner),
        (Deed::Yielded { noticed: true }, Cause::Owner),
        (Deed::Yielded { noticed: true }, Cause::Owner),
        (Deed::Delivered, Cause::Owner),
        (Deed::Failed, Cause::Provider),
        (Deed::Failed, Cause::Buyer),
    ];
    let said = explain(&record(&deeds), &Prior::REMOTE, NOW);
    let expected = [
        "2.0 months of leases were measured, up for 99.5 % of the time; in 1.0 of them less than the \
         promised availability was kept",
        "the work had to go 1 time without the agreed notice, and 2 times with it, which weighs a quarter",
        "1 of 2 leases were delivered",
        "1 incident that the seller did not cause do not count",
    ];
    assert_eq!(said[..4], expected);
    assert_eq!(said.last(), Some(&standing(&record(&deeds), &Prior::REMOTE, NOW).text));
    assert!(explain(&Record::default(), &Prior::REMOTE, NOW).last().unwrap().ends_with("nothing is known of it yet"));
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        (any::<i64>(), any::<i64>(), any::<u32>()).prop_map(|(leased, down, promised)| Deed::Served {
            leased: Micros(leased),
            down: Micros(down),
            promised: Ppm(promised)
        }),
        (0..3_000_i64).prop_map(served),
        any::<bool>().prop_map(|noticed| Deed::Yielded { noticed }),
        Just(Deed::Delivered),
        Just(Deed::Failed),
    ]
}

fn cause() -> impl Strategy<Value = Cause> {
    prop_oneof![Just(Cause::Owner), Just(Cause::Provider), Just(Cause::Funds), Just(Cause::Buyer)]
}

fn week() -> impl Strategy<Value = Timestamp> {
    (2_850..3_020_i64).prop_map(|week| Timestamp(week * WEEK))
}

fn history() -> impl Strategy<Value = Vec<(Deed, Cause, Timestamp)>> {
    prop::collection::vec((deed(), cause(), week()), 0..40)
}

fn of(history: &[(Deed, Cause, Timestamp)]) -> Record {
    history.iter().fold(Record::default(), |r, (deed, cause, at)| r.with(*deed, *cause, *at))
}

fn costs(record: &Record) -> i64 {
    risk(&standing(record, &Prior::REMOTE, NOW), MicroMoney(50_000_000), MicroMoney(3_000_000)).0
}

/// The same deed done worse.
fn worse(deed: Deed) -> Deed {
    match deed {
        Deed::Served { leased, promised, .. } => Deed::Served { leased, down: leased, promised },
        Deed::Yielded { .. } => Deed::Yielded { noticed: false },
        Deed::Delivered | Deed::Failed => Deed::Failed,
    }
}

proptest! {
    /// A worse record never costs less: neither when a deed is done worse, nor when a bad one is added.
    #[test]
    fn a_worse_record_never_lowers_risk(
        history in history(), at in any::<prop::sample::Index>(), bad in 0_usize..4, when in week(),
    ) {
        let before = costs(&of(&history));
        let bad = [served(600), Deed::Yielded { noticed: false }, Deed::Yielded { noticed: true }, Deed::Failed][bad];
        // A week that makes others be forgotten changes more than the deed.
        if history.iter().any(|(.., at)| *at >= when) {
            let more = of(&history).with(bad, Cause::Owner, when);
            prop_assert!(costs(&more) >= before, "{:?} made it cheaper", bad);
        }
        if !history.is_empty() {
            let mut changed = history.clone();
            let one = &mut changed[at.index(history.len())];
            one.1 = Cause::Owner;
            let same_cause = costs(&of(&changed));
            let one = &mut changed[at.index(history.len())];
            one.0 = worse(one.0);
            prop_assert!(costs(&of(&changed)) >= same_cause);
        }
    }

    /// News may come in any order, as long as nothing of it is forgotten by then.
    #[test]
    fn the_order_of_news_says_nothing(history in history().prop_shuffle(), other in any::<prop::sample::Index>()) {
        let recent: Vec<_> = history.into_iter().filter(|(.., at)| at.0 > NOW.0 - 80 * WEEK).collect();
        let mut turned = recent.clone();
        turned.reverse();
        if !turned.is_empty() {
            let middle = other.index(turned.len());
            turned.rotate_left(middle);
        }
        prop_assert_eq!(of(&recent), of(&turned));
    }

    /// Whatever is reported, shares stay shares and the record stays small.
    #[test]
    fn hostile_reports_are_held(
        deeds in prop::collection::vec((deed(), cause(), any::<i64>()), 0..200), now in any::<i64>(),
    ) {
        let record = deeds.iter().fold(Record::default(), |r, (d, c, at)| r.with(*d, *c, Timestamp(*at)));
        prop_assert!(record.weeks.len() <= WEEKS_MAX);
        let found = standing(&record, &Prior::PARTNER, Timestamp(now));
        prop_assert!(found.breach.0 <= 1_000_000 && found.loss.0 <= 1_000_000);
        prop_assert!(explain(&record, &Prior::PARTNER, Timestamp(now)).len() <= 8);
    }
}
