//! Each trigger leads to a move, which says why.

use super::*;
use crate::criteria::Timed;
use crate::order::OwnerKind;

/// The one move of a story: its trigger, where it led, and its evidence.
pub(super) fn only(world: &World, moves: &[Move], trigger: Trigger, to: u8, words: &[&str]) {
    assert_eq!(triggers(moves), [trigger], "{moves:#?} {:#?}", world.declined());
    assert_eq!(moves[0].to_host, host(to));
    for word in words {
        assert!(moves[0].evidence.contains(word), "{:?} lacks {word:?}", moves[0].evidence);
    }
    assert_eq!(world.model.moves[&moves[0].id].phase, MovePhase::Done);
    assert_eq!(world.places(), [to]);
    assert_eq!(moves[0].by, "relocation");
}

#[test]
fn a_price_that_breaks_the_sla_moves_it_at_once() {
    let mut world = World::of(&[1_000, 1_500]);
    world.order("notes", |spec| spec.terms.cost_max = Some(MicroMoney(1_200_000_000)));
    world.price(1, 2_000);
    let moves = world.run(MINUTE, SECOND, |_| {});
    only(&world, &moves, Trigger::Price, 2, &["h-1 does not meet the SLA any more", "1460.00 EUR/month"]);
}

#[test]
fn answers_that_take_too_long_move_it_and_one_slow_answer_does_not() {
    let mut world = World::of(&[1_000, 1_500]);
    world.order("notes", |spec| spec.terms.p95_max = Some(Micros::from_millis(50)));
    world.run(Micros(5 * MINUTE.0), SECOND, |_| {});
    world.pulse(1, |p| p.rtt = Some(Micros::from_millis(200)));
    assert!(world.run(Micros(5 * SECOND.0), SECOND, |_| {}).is_empty(), "a single measurement");
    world.pulse(1, |p| p.rtt = Some(Micros::from_millis(10)));
    assert!(world.run(Micros(10 * MINUTE.0), SECOND, |_| {}).is_empty());
    world.pulse(1, |p| p.rtt = Some(Micros::from_millis(200)));
    let moves = world.run(Micros(2 * MINUTE.0), SECOND, |_| {});
    only(&world, &moves, Trigger::RoundTrip, 2, &["h-1", "> 50 ms"]);
}

#[test]
fn a_way_that_becomes_longer_is_left_before_it_is_too_long() {
    let mut world = World::of(&[1_000, 1_500]);
    world.order("notes", |spec| spec.terms.p95_max = Some(Micros::from_millis(50)));
    world.pulse(1, |p| p.rtt = Some(Micros::from_millis(46)));
    let moves = world.run(HOUR, Micros(5 * SECOND.0), |_| {});
    only(&world, &moves, Trigger::RoundTrip, 2, &["by way of h-1", "of at most 50 ms"]);
}

#[test]
fn a_machine_that_stays_too_full_is_left_by_one_after_the_other() {
    let mut world = World::of(&[1_000, 1_500]);
    world.load(2, 100);
    world.order("a", |_| {});
    world.order("b", |_| {});
    assert_eq!(world.places(), [1, 1]);
    world.load(1, 980);
    world.load(2, 100);
    let moves = world.run(HOUR, Micros(5 * SECOND.0), |_| {});
    assert!(moves.iter().all(|m| m.trigger == Trigger::Utilisation && m.to_host == host(2)), "{moves:#?}");
    assert!(moves[0].evidence.contains("the processor of h-1 is used to 9"), "{}", moves[0].evidence);
    assert_eq!(moves.len(), 1, "economic moves of a small fleet: one an hour");
    let next = world.run(Micros(2 * HOUR.0), Micros(5 * SECOND.0), |_| {});
    assert_eq!((next.len(), world.places()), (1, vec![2, 2]));
}

#[test]
fn memory_counts_as_the_processor_does() {
    let mut world = World::of(&[1_000, 1_500]);
    world.load(2, 100);
    world.order("notes", |_| {});
    world.pulse(1, |p| {
        p.readings = Some(Readings { memory_used_mib: 15_900, battery_percent: -1, ..Readings::default() })
    });
    let moves = world.run(HOUR, Micros(5 * SECOND.0), |_| {});
    only(&world, &moves, Trigger::Utilisation, 2, &["the memory of h-1 is used to 97 %"]);
}

#[test]
fn the_customers_own_premises_are_preferred_for_what_they_may_cost() {
    let check = |premium: Option<u32>, expect: &[u8]| {
        let mut world = World::of(&[1_000]);
        world.order("notes", |spec| {
            spec.policy.criteria.prefer = vec![OwnerKind::Customer];
            spec.policy.criteria.premium_percent = premium;
        });
        world.join(2, SiteRole::Customer, 1_400);
        let moves = world.run(HOUR, Micros(10 * SECOND.0), |_| {});
        assert_eq!(world.places(), expect, "premium {premium:?}: {:#?}", world.declined());
        if expect == [2] {
            only(
                &world,
                &moves,
                Trigger::CustomerCriterion,
                2,
                &["the customer prefers customer", "h-1 belongs to a remote"],
            );
        }
        // Neither money nor anything else pulls it back.
        assert!(world.run(Micros(48 * HOUR.0), Micros(10 * MINUTE.0), |_| {}).is_empty());
    };
    check(None, &[2]);
    check(Some(50), &[2]);
    check(Some(30), &[1]);
}

#[test]
fn hours_of_the_week_say_where_it_runs() {
    let mut world = World::of(&[1_000]);
    world.join(2, SiteRole::Customer, 3_000);
    world.order("notes", |spec| {
        spec.policy.criteria.at = vec![Timed {
            when: "Mon-Fri 12:00-14:00 Europe/Berlin".parse().unwrap(),
            prefer: vec![OwnerKind::Customer],
            replicas: None,
            blackout: false,
        }];
    });
    assert_eq!(world.places(), [1]);
    let moves = world.run(Micros(12 * HOUR.0), MINUTE, |_| {});
    let begin = Timestamp(MONDAY.0 + 11 * HOUR.0);
    assert_eq!(triggers(&moves)[..1], [Trigger::CustomerCriterion], "{moves:#?}");
    assert!(moves[0].started_at.since(begin) < Micros(4 * MINUTE.0), "{}", moves[0].evidence);
    assert!(moves[0].evidence.contains("Mon,Tue,Wed,Thu,Fri 12:00-14:00 Europe/Berlin"), "{}", moves[0].evidence);
    assert_eq!((moves.len(), world.places()), (1, vec![2]));
    // Afterwards it is cheaper elsewhere, and it goes back for that when it was left in peace.
    let back = world.run(Micros(8 * HOUR.0), MINUTE, |_| {});
    assert_eq!((triggers(&back), world.places()), (vec![Trigger::Price], vec![1]));
}

#[test]
fn more_copies_run_at_the_hours_that_ask_for_them() {
    let mut world = World::of(&[1_000, 1_100, 1_200]);
    world.order("notes", |spec| {
        spec.policy.replicas_max = 3;
        spec.policy.criteria.at = vec![Timed {
            when: "daily 08:00-10:00 UTC".parse().unwrap(),
            prefer: Vec::new(),
            replicas: Some(3),
            blackout: false,
        }];
    });
    let mut most = 0;
    let look = |world: &World| world.places().len();
    world.run(Micros(7 * HOUR.0), MINUTE, |_| {});
    assert_eq!(look(&world), 1);
    world.run(Micros(2 * HOUR.0), MINUTE, |world| {
        world.agents();
        most = most.max(look(world));
    });
    assert_eq!(most, 3);
    world.run(Micros(3 * HOUR.0), MINUTE, World::agents);
    assert_eq!(world.places(), [1], "{:#?}", world.declined());
}

#[test]
fn the_providers_own_come_first_a_margin_is_kept_and_nearly_empty_machines_are_emptied() {
    let mut world = World::of(&[1_000]);
    world.order("notes", |_| {});
    world.join(2, SiteRole::Provider, 1_040);
    world.criteria(ProviderCriteria { own_first_percent: Some(5), ..ProviderCriteria::default() });
    let moves = world.run(HOUR, Micros(10 * SECOND.0), |_| {});
    only(
        &world,
        &moves,
        Trigger::ProviderCriterion,
        2,
        &["the provider puts its own resources first at up to 5 % more"],
    );

    let mut world = World::new();
    world.join(1, SiteRole::Provider, 1_000);
    world.order("notes", |_| {});
    world.join(2, SiteRole::Provider, 1_000);
    world.order("a", |spec| spec.workload.limits.cpu = Some(chandler_protocol::MilliCpu(3_000)));
    world.order("b", |spec| spec.workload.limits.cpu = Some(chandler_protocol::MilliCpu(1_900)));
    world.criteria(ProviderCriteria { consolidate: true, ..ProviderCriteria::default() });
    let places = world.places();
    let moves = world.run(Micros(3 * HOUR.0), Micros(30 * SECOND.0), |_| {});
    // Host 1 has 1 + 3 cores of 4 reserved, host 2 1.9: neither is nearly empty, and nothing moves.
    assert_eq!((moves.len(), world.places()), (0, places));
}

#[test]
fn a_nearly_empty_machine_is_emptied_once() {
    let mut world = World::new();
    world.join(1, SiteRole::Provider, 1_000);
    world.order("a", |spec| spec.workload.limits.cpu = Some(chandler_protocol::MilliCpu(2_000)));
    world.join(2, SiteRole::Provider, 900);
    world.order("b", |_| {});
    assert_eq!(world.places(), [1, 2]);
    world.price(2, 1_000);
    world.criteria(ProviderCriteria { consolidate: true, ..ProviderCriteria::default() });
    let moves = world.run(Micros(48 * HOUR.0), Micros(5 * MINUTE.0), |_| {});
    assert_eq!((triggers(&moves), world.places()), (vec![Trigger::ProviderCriterion], vec![1, 1]));
    assert!(moves[0].evidence.contains("h-2 is reserved to 25 % only"), "{}", moves[0].evidence);
}

#[test]
fn a_margin_below_the_floor_is_left_for_one_above() {
    let mut world = World::of(&[1_000, 1_000]);
    world.step(|draft| {
        draft.put(Offering {
            margin_percent: 0,
            management_hour: MicroMoney(100_000),
            ..Offering::standard(draft.now)
        });
    });
    world.order("notes", |_| {});
    world.price(2, 880);
    world.criteria(ProviderCriteria { margin_floor_percent: Some(10), ..ProviderCriteria::default() });
    let moves = world.run(Micros(12 * HOUR.0), Micros(MINUTE.0), |_| {});
    // 0.10 of 1.10 is 9 %, 0.10 of 0.98 is 10 %.
    only(&world, &moves, Trigger::ProviderCriterion, 2, &["9 % of what it costs on h-1 is left to the provider"]);
}
