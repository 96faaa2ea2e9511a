//! Hosts and sites that shall be left: everything goes that can, and what cannot is named.

use super::*;
use crate::criteria::Maintenance;
use crate::fleet::Drain;
use crate::relocation::trigger::{Going, drain_report};

fn drained(draft: &Draft<'_>) -> Option<Drain> {
    Some(Drain { since: draft.now, by: "ops".to_owned(), reason: "new fans".to_owned() })
}

#[test]
fn a_drain_says_what_went_what_goes_and_what_cannot_and_why() {
    let mut world = World::of(&[1_000, 1_500]);
    for name in ["a", "b", "c"] {
        world.order(name, |_| {});
    }
    world.order("picky", |spec| spec.terms.cost_max = Some(MicroMoney(1_000_000_000)));
    assert_eq!(world.places(), [1, 1, 1, 1]);
    world.step(|draft| {
        let known = draft.model.hosts[&host(1)].as_ref().clone();
        draft.put(Host { drain: drained(draft), ..known });
    });
    let before = drain_report(&world.model, host(1));
    assert!(before.iter().all(|(_, going)| matches!(going, Going::Waits { .. })), "{before:?}");
    let moves = world.run(MINUTE, SECOND, |_| {});
    assert_eq!(triggers(&moves), [Trigger::ProviderCriterion; 3]);
    assert!(moves[0].evidence.contains("h-1 is being drained: new fans"), "{}", moves[0].evidence);
    assert_eq!(world.places(), [1, 2, 2, 2]);
    let report = drain_report(&world.model, host(1));
    let moved = report.iter().filter(|(_, g)| *g == Going::Moved { to: host(2) }).count();
    let cannot: Vec<_> = report
        .iter()
        .filter_map(|(id, g)| if let Going::Cannot { why } = g { Some((id, why)) } else { None })
        .collect();
    assert_eq!((report.len(), moved, cannot.len()), (4, 3, 1), "{report:?}");
    assert_eq!(world.model.services[cannot[0].0].name, "picky");
    assert!(cannot[0].1.contains("nearest h-2: 1095.00 EUR/month > 1000.00 EUR/month"), "{}", cannot[0].1);
    assert!(cannot[0].1.contains("sla.cost.max"), "{}", cannot[0].1);
    // What cannot go stays and runs.
    assert!(world.service_named().iter().all(|s| s.status == crate::service::OperatingStatus::Running));
}

#[test]
fn nothing_new_comes_to_a_host_that_is_drained() {
    let mut world = World::of(&[1_000, 1_500]);
    world.step(|draft| {
        let known = draft.model.hosts[&host(1)].as_ref().clone();
        draft.put(Host { drain: drained(draft), ..known });
    });
    world.order("notes", |_| {});
    assert_eq!(world.places(), [2]);
    assert!(world.run(Micros(48 * HOUR.0), Micros(10 * MINUTE.0), |_| {}).is_empty(), "not even for money");
}

#[test]
fn a_drain_never_moves_more_than_two_at_a_time() {
    let mut world = World::of(&[1_000, 1_500, 2_000]);
    for name in ["a", "b", "c", "d"] {
        world.order(name, |_| {});
    }
    // There is room for one of them on host 2: the others go to host 3.
    world.order("e", |spec| spec.workload.limits.cpu = Some(chandler_protocol::MilliCpu(3_000)));
    assert_eq!(world.places(), [1, 1, 1, 1, 2]);
    world.step(|draft| {
        let known = draft.model.hosts[&host(1)].as_ref().clone();
        draft.put(Host { drain: drained(draft), ..known });
    });
    let (mut senses, rules) = (Senses::default(), Rules::default());
    for _ in 0..5 {
        world.step(|draft| consider(draft, &mut senses, &rules, Patience::default()));
    }
    assert_eq!(world.model.moving.values().map(imbl::OrdSet::len).sum::<usize>(), 2);
    let report = drain_report(&world.model, host(1));
    assert_eq!(report.iter().filter(|(_, g)| matches!(g, Going::Moving(_))).count(), 2, "{report:?}");
}

#[test]
fn a_site_is_left_before_it_is_worked_on() {
    let mut world = World::of(&[1_000, 1_500]);
    world.order("notes", |_| {});
    let at = |hours: i64| Timestamp(MONDAY.0 + hours * HOUR.0);
    world.criteria(ProviderCriteria {
        site: Some(site(1)),
        maintenance: vec![Maintenance { from: at(10), to: at(12), reason: "new fans".to_owned() }],
        lead: HOUR,
        ..ProviderCriteria::default()
    });
    let moves = world.run(Micros(10 * HOUR.0), MINUTE, |_| {});
    assert_eq!((triggers(&moves), world.places()), (vec![Trigger::ProviderCriterion], vec![2]));
    assert!(moves[0].started_at >= at(9) && moves[0].started_at < at(10));
    assert!(moves[0].evidence.contains("h-1 is at a site that is worked on now or soon"), "{}", moves[0].evidence);
    // Afterwards it is cheaper there again: a third less, and long ago.
    let back = world.run(Micros(24 * HOUR.0), MINUTE, |_| {});
    assert_eq!((triggers(&back), world.places()), (vec![Trigger::Price], vec![1]));
}

#[test]
fn a_pc_is_left_before_its_owners_hours_are_over() {
    let mut world = World::of(&[1_000, 1_500]);
    world.now = Timestamp(MONDAY.0 + 9 * HOUR.0);
    world.pulse(1, |_| {});
    world.pulse(2, |_| {});
    world.criteria(ProviderCriteria {
        site: Some(site(1)),
        hours: Some("Mon-Fri 08:00-18:00 UTC".parse().unwrap()),
        ..ProviderCriteria::default()
    });
    world.order("notes", |_| {});
    let moves = world.run(Micros(9 * HOUR.0), MINUTE, |_| {});
    assert_eq!((triggers(&moves), world.places()), (vec![Trigger::ProviderCriterion], vec![2]));
    let left = Timestamp(MONDAY.0 + 18 * HOUR.0).since(moves[0].started_at);
    assert!(left > Micros(25 * MINUTE.0) && left <= Micros(30 * MINUTE.0), "{left} before the end");
}
