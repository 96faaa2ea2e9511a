//! What must not make it restless: hosts that flap, neighbours that are noisy, storms.

use super::*;
use crate::fleet::HostState;
use crate::relocation::trigger::storm::{Storm, storm};

#[test]
fn a_host_that_flaps_for_an_hour_is_left_once() {
    let mut world = World::of(&[1_000, 1_500, 2_000]);
    world.order("notes", |_| {});
    let start = world.now;
    let moves = world.run(HOUR, SECOND, |world| {
        // Two seconds of silence in each minute, far less than what would make it lost.
        let second = world.now.since(start).0 / SECOND.0 % 60;
        world.pulse(1, |p| p.connected = second < 58);
    });
    assert_eq!(triggers(&moves), [Trigger::PredictedAvailability], "{:#?}", world.declined());
    assert!(moves[0].evidence.contains("h-1 fell silent"), "{}", moves[0].evidence);
    assert_eq!(world.places(), [2]);
    // An hour of calm later money counts again, and its budget.
    let after = world.run(Micros(24 * HOUR.0), MINUTE, |world| world.pulse(1, |p| p.connected = true));
    assert!(after.len() <= 1, "{after:#?}");
}

#[test]
fn a_noisy_neighbour_that_goes_round_does_not_chase_it_round() {
    let mut world = World::of(&[1_000, 1_000, 1_000]);
    world.order("notes", |_| {});
    let start = world.now;
    let moves = world.run(HOUR, Micros(5 * SECOND.0), |world| {
        // Two minutes of full load, on another machine each time.
        let loud = u8::try_from(world.now.since(start).0 / MINUTE.0 / 2 % 3).unwrap() + 1;
        for n in 1..=3 {
            world.load(n, if n == loud { 1_000 } else { 100 });
        }
    });
    assert!(moves.is_empty(), "{moves:#?}");
    // One that stays where the service is makes it go, once.
    let moves = world.run(Micros(24 * HOUR.0), Micros(30 * SECOND.0), |world| {
        for n in 1..=3 {
            world.load(n, if n == 1 { 1_000 } else { 100 });
        }
    });
    assert_eq!(triggers(&moves), [Trigger::Utilisation]);
}

#[test]
fn a_full_fleet_moves_nothing_to_and_fro() {
    let mut world = World::of(&[1_000, 1_000]);
    world.order("notes", |_| {});
    let moves = world.run(Micros(24 * HOUR.0), Micros(30 * SECOND.0), |world| {
        world.load(1, 950);
        world.load(2, 900);
    });
    assert!(moves.is_empty());
    let told = world.declined();
    assert_eq!(told.len(), 1);
    assert!(
        told[0].reason.starts_with("nowhere to go: no host that meets the SLA would be better"),
        "{}",
        told[0].reason
    );
}

#[test]
fn row_33_in_a_storm_nothing_moves_for_money() {
    let mut world = World::of(&[1_000, 1_500, 1_500, 1_500, 1_500, 1_500, 1_500, 1_500]);
    world.order("notes", |_| {});
    world.price(8, 500);
    world.run(Micros(10 * MINUTE.0), Micros(5 * SECOND.0), |_| {});
    for n in 2..=4 {
        world.pulse(n, |p| p.connected = false);
        world.step(|draft| {
            let known = draft.model.hosts[&host(n)].as_ref().clone();
            assurance::host_to(draft, &known, HostState::Lost, "silent");
        });
    }
    assert!(matches!(storm(&world.model, world.now), Storm::Raging { lost: 3, of: 8, .. }));
    let during = world.run(Micros(10 * MINUTE.0), Micros(5 * SECOND.0), |_| {});
    assert!(during.is_empty(), "{during:#?}");
    assert!(world.declined().iter().any(|m| m.reason.starts_with("storm: 3 of 8 machines were lost")));
    let after = world.run(Micros(10 * MINUTE.0), Micros(5 * SECOND.0), |_| {});
    assert_eq!(triggers(&after), [Trigger::Price]);
}

#[test]
fn row_33_in_a_storm_one_service_at_a_time_is_started_elsewhere_the_most_important_first() {
    let mut world = World::of(&[1_000, 1_000, 1_000, 1_000, 9_000, 9_000, 9_000, 9_000, 9_000]);
    for (name, least) in [("low", 900_000), ("none", 0), ("high", 940_000), ("middle", 920_000)] {
        world.order(name, |spec| {
            spec.workload.limits.cpu = Some(chandler_protocol::MilliCpu(4_000));
            spec.terms.availability_min = Some(chandler_protocol::Ppm(least)).filter(|p| p.0 > 0);
        });
    }
    assert_eq!(world.places(), [1, 2, 3, 4]);
    for n in 1..=4 {
        world.pulse(n, |p| p.connected = false);
    }
    let mut begun: Vec<(i64, String)> = Vec::new();
    let start = world.now;
    for _ in 0..120 {
        world.now = world.now.after(SECOND);
        for n in 5..=9 {
            world.pulse(n, |_| {});
        }
        world.step(|draft| {
            assurance::watch(draft, Patience::default());
            let live: Vec<_> = draft.model.live.iter().copied().collect();
            for service in live {
                advance(draft, service);
            }
            relocation::place_waiting(draft);
        });
        world.agents();
        for m in world.model.moves_since(world.now) {
            begun.push((world.now.since(start).0 / SECOND.0, m.name.clone()));
        }
    }
    let names: Vec<_> = begun.iter().map(|(_, name)| name.as_str()).collect();
    assert_eq!(names, ["high", "middle", "low", "none"], "{begun:?}");
    assert!(begun.windows(2).all(|two| two[1].0 - two[0].0 >= 10), "{begun:?}");
}

#[test]
fn when_most_hosts_are_silent_nothing_moves() {
    let mut world = World::of(&[1_000, 1_500, 1_500, 1_500, 1_500]);
    world.order("notes", |_| {});
    world.step(|draft| {
        let known = draft.model.hosts[&host(1)].as_ref().clone();
        let drain = crate::fleet::Drain { since: draft.now, by: "ops".to_owned(), reason: "fans".to_owned() };
        draft.put(Host { drain: Some(drain), ..known });
    });
    for n in 3..=5 {
        world.pulse(n, |p| p.connected = false);
    }
    world.now = world.now.after(MINUTE);
    assert!(world.run(MINUTE, SECOND, |_| {}).is_empty(), "not even a drain");
    for n in 3..=5 {
        world.pulse(n, |p| p.connected = true);
    }
    assert_eq!(triggers(&world.run(MINUTE, SECOND, |_| {})), [Trigger::ProviderCriterion]);
}
