//! Prices that fall, rise, return and flicker.

use super::*;

/// A number from 0 to 999 that looks like chance and is the same in every run.
fn noise(of: u64) -> i64 {
    let mut x = of.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x ^= x >> 29;
    x = x.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x ^= x >> 32;
    i64::try_from(x % 1_000).unwrap()
}

/// A price that takes a course of 30 % up and down each day, opposite at the two sites, with noise of 20 %.
fn course(n: u8, minutes: i64) -> i64 {
    let at = (minutes + i64::from(n) * 720) % 1_440 - 720;
    let noise = noise(u64::try_from(minutes).unwrap() * 2 + u64::from(n)) - 500;
    1_000 - 300 * (360 - at.abs()) / 360 + noise * 2 / 5
}

#[test]
fn row_31_price_noise_for_thirty_days_moves_it_at_most_twice_a_day() {
    let mut world = World::of(&[course(1, 0), course(2, 0)]);
    world.order("notes", |_| {});
    let start = world.now;
    let (mut paid, mut stayed) = (0_i64, 0_i64);
    let moves = world.run(Micros(30 * 24 * HOUR.0), Micros(10 * MINUTE.0), |world| {
        let minutes = world.now.since(start).0 / MINUTE.0;
        let prices = [1, 2].map(|n| course(n, minutes));
        world.price(1, prices[0]);
        world.price(2, prices[1]);
        paid += prices[usize::from(world.places()[0]) - 1];
        stayed += prices[0];
    });
    assert!((50..=60).contains(&moves.len()), "it follows the course of the day: {} moves in 30 days", moves.len());
    for few in moves.windows(3) {
        assert!(few[2].started_at.since(few[0].started_at) > world.rules.budget_window, "two in any day");
    }
    assert!(paid * 100 < stayed * 92, "it pays: {paid} instead of {stayed}");
    assert!(triggers(&moves).iter().all(|t| *t == Trigger::Price));
}

#[test]
fn row_32_it_does_not_go_back_for_less_than_a_fifth() {
    let mut world = World::of(&[1_000, 1_500]);
    world.order("notes", |_| {});
    assert_eq!(world.places(), [1]);
    world.price(1, 2_000);
    let away = world.run(Micros(6 * HOUR.0), MINUTE, |_| {});
    assert_eq!((triggers(&away), world.places()), (vec![Trigger::Price], vec![2]));
    // 15 % cheaper than where it is now: enough for a new place, not for one that was just left.
    world.price(1, 1_275);
    assert!(world.run(Micros(14 * HOUR.0), MINUTE, |_| {}).is_empty());
    let told = world.declined().into_iter().find(|m| m.reason.contains("20 %")).unwrap();
    assert!(told.reason.contains("it moves if h-1 falls by"), "{}", told.reason);
    // A day after it had left, the usual tenth is enough.
    let back = world.run(Micros(12 * HOUR.0), MINUTE, |_| {});
    assert_eq!((back.len(), world.places()), (1, vec![1]));
}

#[test]
fn row_32_it_goes_back_at_once_for_more_than_a_fifth_when_it_was_left_in_peace() {
    let mut world = World::of(&[1_000, 1_500]);
    world.order("notes", |_| {});
    world.price(1, 2_000);
    let away = world.run(Micros(4 * HOUR.0), MINUTE, |_| {});
    world.price(1, 1_000);
    let back = world.run(Micros(10 * HOUR.0), MINUTE, |_| {});
    assert_eq!((away.len(), back.len()), (1, 1));
    assert!(back[0].started_at.since(away[0].ended_at.unwrap()) >= world.rules.economic.cooldown);
}

#[test]
fn row_35_a_move_that_is_not_worth_it_is_told_once_with_what_is_missing() {
    let mut world = World::of(&[1_000, 2_000]);
    world.order("notes", |_| {});
    world.price(2, 950);
    assert!(world.run(Micros(12 * HOUR.0), MINUTE, |_| {}).is_empty());
    let declined = world.declined();
    assert_eq!(declined.len(), 1, "{declined:#?}");
    let told = declined[0];
    assert_eq!((told.trigger, told.from_host, told.to_host, told.to), (Trigger::Price, host(1), host(2), None));
    assert!(told.reason.starts_with("not worth it: "), "{}", told.reason);
    assert!(told.reason.contains("it moves if h-2 falls by 5."), "{}", told.reason);
    assert!(told.evidence.contains("5 % less"), "{}", told.evidence);
    assert!(told.predicted.0.gain.0 > 0 && told.predicted.0.cost.0 > 0, "{:?}", told.predicted);
    assert!((2..100).contains(&told.times), "written {} times in 12 hours", told.times);
    // What it said is true.
    world.price(2, 890);
    assert_eq!(world.run(Micros(12 * HOUR.0), MINUTE, |_| {}).len(), 1);
}

#[test]
fn a_sawtooth_price_does_not_drag_it_along() {
    let mut world = World::of(&[1_000, 1_000]);
    world.order("notes", |_| {});
    let start = world.now;
    let moves = world.run(Micros(7 * 24 * HOUR.0), MINUTE, |world| {
        let minute = world.now.since(start).0 / MINUTE.0 % 40;
        world.price(2, 600 + minute * 20);
    });
    assert!(moves.len() <= 1, "{} moves after a price that is the same on average", moves.len());
}

#[test]
fn a_spike_of_a_price_moves_nothing() {
    let mut world = World::of(&[1_000, 1_400]);
    world.order("notes", |_| {});
    world.price(1, 3_000);
    let spike = world.run(Micros(10 * MINUTE.0), SECOND, |_| {});
    world.price(1, 1_000);
    let after = world.run(Micros(6 * HOUR.0), MINUTE, |_| {});
    assert_eq!((spike.len(), after.len()), (0, 0));
}

#[test]
fn what_came_of_a_move_is_written_beside_what_was_expected() {
    let mut world = World::of(&[1_000, 1_500]);
    world.order("notes", |_| {});
    world.price(2, 500);
    let moves = world.run(Micros(6 * HOUR.0), MINUTE, |_| {});
    let done = &world.model.moves[&moves[0].id];
    let (predicted, realised) = (done.predicted.0, done.realised.0);
    assert_eq!(done.phase, MovePhase::Done);
    assert!(predicted.gain.0 > 0 && predicted.cost.0 > 0, "{predicted:?}");
    // 0.50 an hour for a day; the prediction was made with a smoothed price.
    assert!((11_900_000..12_100_000).contains(&realised.gain.0), "{realised:?}");
    assert!(realised.cost < predicted.cost, "nothing was measured when it was predicted, so that was taken high");
}

#[test]
fn new_rates_hold_for_what_runs_there_after_a_notice_and_not_above_the_sla() {
    let check = |cap: Option<i64>, price: i64, metered: Micros, wait: Micros, expect: i64| {
        let mut world = World::of(&[1_000]);
        world.order("notes", |spec| spec.terms.cost_max = cap.map(|c| MicroMoney(c * 1_000_000)));
        world.price(1, price);
        world.run(MINUTE, SECOND, |_| {});
        world.step(|draft| {
            let known = draft.model.assignments.values().next().unwrap().as_ref().clone();
            draft.put(crate::service::Assignment { metered, ..known });
        });
        world.run(wait, MINUTE, World::agents);
        let copy = world.model.assignments.values().next().unwrap();
        assert_eq!(copy.rates, rates(expect), "{cap:?} {price} {metered} {wait}");
        assert_eq!(copy.previous.is_some(), expect != 1_000, "what was used before is paid by the rates of then");
        assert_eq!(copy.epoch, if expect == 1_000 { 1 } else { 2 });
    };
    let long = Micros(2 * HOUR.0);
    check(None, 1_500, long, MINUTE, 1_000);
    check(None, 1_500, long, HOUR, 1_500);
    check(None, 500, long, MINUTE, 500);
    check(None, 500, MINUTE, HOUR, 1_000);
    check(Some(800), 1_500, long, long, 1_000);
    check(Some(1_200), 1_500, long, long, 1_500);
}

#[test]
fn a_customer_may_want_every_saving_or_none() {
    let check = |cheaper: Option<bool>, expect: usize| {
        let mut world = World::of(&[1_000, 2_000]);
        world.order("notes", |spec| spec.policy.criteria.cheaper = cheaper);
        world.price(2, 930);
        let moves = world.run(Micros(12 * HOUR.0), MINUTE, |_| {});
        assert_eq!(moves.len(), expect, "{cheaper:?}");
        assert!(moves.iter().all(|m| m.trigger == Trigger::CustomerCriterion));
    };
    check(None, 0);
    check(Some(true), 1);
    check(Some(false), 0);
}
