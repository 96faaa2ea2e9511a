//! Places that fail, will fail, or failed too often are left.

use chandler_protocol::Ppm;

use super::each::only;
use super::*;
use crate::availability::History;

fn history(world: &mut World, n: u8, up_hours: i64, down_hours: i64) {
    world.step(|draft| {
        let known = draft.model.hosts[&host(n)].as_ref().clone();
        let history = History { up: Micros(HOUR.0 * up_hours), down: Micros(HOUR.0 * down_hours), ..known.history };
        draft.put(Host { history, ..known });
    });
}

#[test]
fn a_host_that_is_away_every_evening_is_left_before_it_goes() {
    let mut world = World::of(&[1_000, 1_500]);
    // Three weeks in which host 1 was away from 20:00 to 06:00, and host 2 was not.
    world.step(|draft| {
        let start = Timestamp(draft.now.0 - 21 * 24 * HOUR.0);
        for n in 1..=2 {
            let mut history = History::default().observe(true, start, Timestamp(0));
            for day in (0..21).filter(|_| n == 1) {
                let at = |hour: i64| Timestamp(start.0 + (day * 24 + hour) * HOUR.0);
                history = history.observe(false, at(20), Timestamp(0)).observe(true, at(30), Timestamp(0));
            }
            let known = draft.model.hosts[&host(n)].as_ref().clone();
            draft.put(Host { history, ..known });
        }
    });
    world.model.observable_since = Timestamp(0);
    world.now = Timestamp(MONDAY.0 + 9 * HOUR.0);
    world.pulse(1, |_| {});
    world.pulse(2, |_| {});
    world.order("notes", |_| {});
    assert_eq!(world.places(), [1]);
    let moves = world.run(Micros(11 * HOUR.0), MINUTE, |_| {});
    only(&world, &moves, Trigger::PredictedAvailability, 2, &["h-1 is usually away at the hour that begins in"]);
    let before = Timestamp(MONDAY.0 + 20 * HOUR.0).since(moves[0].started_at);
    assert!((1..=2 * HOUR.0).contains(&before.0), "it went {before} before");
}

#[test]
fn a_machine_whose_battery_ends_is_left() {
    let mut world = World::of(&[1_000, 1_500]);
    world.order("notes", |_| {});
    let battery = |percent| Readings { battery_percent: percent, on_mains: 0, ..Readings::default() };
    world.pulse(1, |p| p.readings = Some(battery(60)));
    assert!(world.run(Micros(10 * MINUTE.0), SECOND, |_| {}).is_empty());
    world.pulse(1, |p| p.readings = Some(battery(15)));
    let moves = world.run(Micros(5 * MINUTE.0), SECOND, |_| {});
    only(&world, &moves, Trigger::PredictedAvailability, 2, &["h-1 runs on battery with 15 % left"]);
}

/// The service was up for nine hours of ten, and on its host for so many of a hundred.
fn measured(world: &mut World, here: i64) {
    world.step(|draft| {
        let id = *draft.model.live.iter().next().unwrap();
        let known = draft.model.services[&id].as_ref().clone();
        let measured = crate::service::Measured { up: Micros(9 * HOUR.0), down: HOUR, ..known.measured };
        draft.put(Service { measured, ..known });
        let copy = draft.model.assignments_of(id).next().unwrap().as_ref().clone();
        let mut seen = copy.observed.clone().unwrap();
        seen.health = Health { up: Micros(here * MINUTE.0), down: Micros((100 - here) * MINUTE.0), ..seen.health };
        draft.put(crate::service::Assignment { observed: Some(seen), ..copy });
    });
}

#[test]
fn what_was_down_too_often_leaves_the_place_that_is_to_blame() {
    let mut world = World::of(&[1_000, 1_500, 2_000]);
    for n in 1..=3 {
        history(&mut world, n, 9_999, 1);
    }
    world.order("notes", |spec| spec.terms.availability_min = Some(Ppm(990_000)));
    measured(&mut world, 100);
    assert!(world.run(Micros(30 * MINUTE.0), MINUTE, |_| {}).is_empty(), "this place is not to blame");
    measured(&mut world, 80);
    let moves = world.run(Micros(5 * MINUTE.0), SECOND, |_| {});
    only(&world, &moves, Trigger::ActualAvailability, 2, &["it was up 90", "99 % were agreed; on h-1 80 %"]);
    // If it is no better there, then the software is to blame, and is not sent round.
    measured(&mut world, 80);
    assert!(world.run(Micros(5 * HOUR.0), MINUTE, |_| {}).is_empty());
}

#[test]
fn a_host_that_was_away_too_often_is_left() {
    let check = |down: bool, expect: Trigger| {
        let mut world = World::of(&[1_000, 1_500]);
        history(&mut world, 1, 9_999, 1);
        history(&mut world, 2, 9_999, 1);
        world.order("notes", |spec| spec.terms.availability_min = Some(Ppm(990_000)));
        if down {
            measured(&mut world, 100);
        }
        history(&mut world, 1, 970, 30);
        let moves = world.run(Micros(5 * MINUTE.0), SECOND, |_| {});
        only(&world, &moves, expect, 2, &["h-1 does not meet the SLA any more: up 96.9531 % of the time < 99 %"]);
    };
    check(false, Trigger::PredictedAvailability);
    check(true, Trigger::ActualAvailability);
}
