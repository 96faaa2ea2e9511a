//! What holds a move back that is wanted.

use super::*;
use crate::criteria::Timed;
use crate::fleet::Drain;
use crate::order::OwnerKind;

fn drain(world: &mut World, n: u8) {
    world.step(|draft| {
        let known = draft.model.hosts[&host(n)].as_ref().clone();
        let drain = Drain { since: draft.now, by: "ops".to_owned(), reason: "new fans".to_owned() };
        draft.put(Host { drain: Some(drain), ..known });
    });
}

#[test]
fn a_blackout_holds_back_what_can_wait_and_nothing_else() {
    let blackout = |spec: &mut OrderSpec| {
        spec.policy.criteria.at = vec![Timed {
            when: "daily 00:00-06:00 UTC".parse().unwrap(),
            prefer: Vec::new(),
            replicas: None,
            blackout: true,
        }];
    };
    let mut world = World::of(&[1_000, 1_500]);
    world.order("notes", blackout);
    world.price(2, 500);
    assert!(world.run(Micros(5 * HOUR.0), MINUTE, |_| {}).is_empty());
    let told = world.declined().into_iter().find(|m| m.reason.starts_with("not at this hour")).unwrap();
    assert!(told.reason.contains("the customer wants no move daily 00:00-06:00 UTC"), "{}", told.reason);
    let after = world.run(Micros(2 * HOUR.0), MINUTE, |_| {});
    assert_eq!(triggers(&after), [Trigger::Price]);

    let mut world = World::of(&[1_000, 1_500]);
    world.order("notes", blackout);
    drain(&mut world, 1);
    assert_eq!(triggers(&world.run(MINUTE, SECOND, |_| {})), [Trigger::ProviderCriterion]);
}

#[test]
fn no_criterion_leads_outside_the_sla() {
    let mut world = World::new();
    world.join(1, SiteRole::Provider, 1_000);
    world.order("notes", |spec| {
        spec.terms.residency = vec!["DE".to_owned()];
        spec.terms.cost_max = Some(MicroMoney(1_500_000_000));
        spec.terms.p95_max = Some(Micros::from_millis(50));
        spec.policy.criteria.prefer = vec![OwnerKind::Customer];
        spec.policy.criteria.cheaper = Some(true);
    });
    // The customer's own are too dear, too far (its way is its own) or abroad; the cheap ones as well.
    world.join(2, SiteRole::Customer, 3_000);
    world.join(3, SiteRole::Remote, 100);
    world.join(4, SiteRole::Remote, 100);
    world.pulse(4, |p| p.rtt = Some(Micros::from_millis(49)));
    world.step(|draft| {
        let known = draft.model.sites[&site(3)].as_ref().clone();
        draft.put(Site { country: "US".to_owned(), ..known });
        draft.put(ProviderCriteria {
            own_first_percent: Some(100),
            consolidate: true,
            margin_floor_percent: Some(50),
            ..ProviderCriteria::default()
        });
    });
    drain(&mut world, 1);
    let moves = world.run(Micros(24 * HOUR.0), MINUTE, |_| {});
    assert!(moves.is_empty(), "{moves:#?}");
    assert_eq!(world.places(), [1], "a drain does not lead outside it either");
    let told = world.declined().into_iter().find(|m| m.trigger == Trigger::ProviderCriterion).unwrap();
    assert!(told.reason.starts_with("nowhere to go: no other host meets the SLA (nearest h-"), "{}", told.reason);
}

#[test]
fn after_failed_attempts_it_waits_longer_each_time_and_then_for_a_person() {
    let mut world = World::of(&[1_000, 1_500]);
    world.order("notes", |_| {});
    drain(&mut world, 1);
    // The new copy cannot be had: every attempt is rolled back.
    let start = world.now;
    let mut begun = Vec::new();
    while world.now.since(start) < Micros(72 * HOUR.0) {
        world.now = world.now.after(MINUTE);
        world.pulse(1, |_| {});
        world.pulse(2, |_| {});
        let (mut senses, rules) = (std::mem::take(&mut world.senses), world.rules.clone());
        let done = world.step(|draft| consider(draft, &mut senses, &rules, Patience::default()));
        world.senses = senses;
        for id in done.planned {
            begun.push(world.now.since(start).0 / HOUR.0);
            world.step(|draft| {
                let planned = draft.model.moves[&id].as_ref().clone();
                for copy in [planned.from, planned.to].into_iter().flatten() {
                    let known = draft.model.assignments[&copy].as_ref().clone();
                    if Some(copy) == planned.from {
                        draft.put(crate::service::Assignment { leaving: false, ..known });
                    } else {
                        draft.put(crate::model::Change::RemoveAssignment(copy));
                    }
                }
                let ended_at = Some(draft.now);
                draft.put(Move {
                    phase: MovePhase::RolledBack,
                    reason: "no room on its disk".to_owned(),
                    ended_at,
                    ..planned
                });
            });
        }
    }
    assert_eq!(begun, [0, 1, 3], "at once, an hour later, two hours later, and then no more");
    let told = world.declined();
    let person = told.iter().find(|m| m.reason.starts_with("needs a person")).unwrap();
    assert!(person.reason.contains("3 attempts failed in a row (no room on its disk)"), "{}", person.reason);
    let report = crate::relocation::trigger::drain_report(&world.model, host(1));
    assert!(
        matches!(&report[0].1, crate::relocation::trigger::Going::Cannot { why } if why.contains("needs a person")),
        "{report:?}"
    );
}

#[test]
fn records_of_moves_that_were_not_made_are_few() {
    let mut world = World::of(&[1_000, 2_000, 2_000]);
    world.order("notes", |_| {});
    for round in 0..60 {
        // Another reason each time: prices that are nearly worth it, at places that take turns.
        world.price(2 + round % 2, 950);
        world.price(3 - round % 2, 2_000);
        world.load(1, if round % 3 == 0 { 990 } else { 100 });
        world.run(Micros(2 * HOUR.0), Micros(5 * MINUTE.0), |_| {});
    }
    let told = world.declined();
    assert!(told.len() <= crate::relocation::trigger::DECLINED_KEPT, "{} records", told.len());
}
