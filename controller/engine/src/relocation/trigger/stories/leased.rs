//! What runs under a lease of a partner's host: its rates are the lease's, whatever the partner asks of others.

use super::*;
use crate::federation::{Lease, LeaseState, Raise, Side, Term, Watch};
use crate::service::Assignment;

/// The service's copy is on host 1 under a lease at what it was bought for.
fn lease(world: &mut World) {
    world.step(|draft| {
        let known = draft.model.sites[&site(1)].as_ref().clone();
        draft.put(Site { home: Some(OWNER), role: SiteRole::Partner, ..known });
        let copy = draft.model.assignments.values().next().unwrap().clone();
        // It has run for long enough that new rates of a site of one's own would hold by now.
        draft.put(Assignment { metered: Micros(48 * HOUR.0), ..copy.as_ref().clone() });
        draft.put(Lease {
            id: copy.id,
            side: Side::Bought,
            partner: OWNER,
            host: copy.host,
            site: copy.site,
            service: copy.service,
            label: "notes".to_owned(),
            capacity: copy.reserved,
            rates: copy.rates,
            demand: [0; 32],
            state: LeaseState::Active,
            since: draft.now,
            made_at: draft.now,
            ends_at: None,
            touched_at: draft.now,
            reason: String::new(),
            closed: None,
            idle: false,
            metered: Micros::ZERO,
            watch: Watch::default(),
        });
    });
}

fn announce(world: &mut World, price: i64, notice: Micros) {
    world.step(|draft| {
        let known = draft.model.leases.values().next().unwrap().as_ref().clone();
        let next = Some(Raise { rates: rates(price), at: draft.now.after(notice) });
        let term = Term { next, ..known.watch.term.clone() };
        draft.put(Lease { watch: Watch { term, ..known.watch.clone() }, ..known });
    });
}

#[test]
fn a_raise_that_is_announced_is_left_while_the_old_rate_still_holds() {
    let mut world = World::of(&[1_000, 1_500]);
    world.order("notes", |_| {});
    lease(&mut world);
    world.price(1, 3_000);
    // The partner asks more of others: this lease goes on as it was agreed, and staying is cheapest.
    assert!(world.run(Micros(24 * HOUR.0), MINUTE, |_| {}).is_empty());
    assert!(world.model.assignments.values().all(|a| a.rates == rates(1_000)));
    announce(&mut world, 3_000, Micros(24 * HOUR.0));
    let told = world.now;
    let away = world.run(Micros(6 * HOUR.0), MINUTE, |_| {});
    assert_eq!((triggers(&away), world.places()), (vec![Trigger::Price], vec![2]));
    assert!(away[0].ended_at.unwrap().since(told) < Micros(24 * HOUR.0), "before it holds");
}

/// The most that a customer pays, as the price of a core-hour in thousandths.
fn at_most(world: &mut World, price: i64) {
    world.order("notes", |spec| spec.terms.cost_max = Some(MicroMoney(price * 1_000 * 730)));
}

fn cost(world: &World) -> (assurance::Status, String) {
    let service = world.model.services.values().next().unwrap();
    let terms = world.model.agreements[&service.agreement].terms();
    let all = assurance::objectives(&world.model, service, &terms, world.now, "EUR");
    let cost = all.into_iter().find(|o| o.name == "cost").unwrap();
    (cost.status, cost.measured)
}

#[test]
fn a_raise_above_what_the_customer_pays_is_left_at_once_though_elsewhere_is_dearer_than_here() {
    let mut world = World::of(&[1_000, 1_900]);
    at_most(&mut world, 2_000);
    lease(&mut world);
    // What the partner asks of others is no reason to go.
    world.price(1, 3_000);
    assert!(world.run(Micros(24 * HOUR.0), MINUTE, |_| {}).is_empty());
    assert_eq!(cost(&world).0, assurance::Status::Met);
    announce(&mut world, 3_000, Micros(2 * HOUR.0));
    let told = world.now;
    let away = world.run(HOUR, MINUTE, |_| {});
    assert_eq!((triggers(&away), world.places()), (vec![Trigger::Price], vec![2]));
    assert!(away[0].ended_at.unwrap().since(told) < HOUR, "before it holds");
    assert!(away[0].evidence.contains("asks more"), "{}", away[0].evidence);
    assert_eq!(cost(&world).0, assurance::Status::Met);
}

#[test]
fn a_raise_that_nothing_else_undercuts_is_shown_as_a_risk_and_then_as_broken() {
    let mut world = World::of(&[1_000, 5_000]);
    at_most(&mut world, 2_000);
    lease(&mut world);
    announce(&mut world, 3_000, Micros(2 * HOUR.0));
    assert!(world.run(HOUR, MINUTE, |_| {}).is_empty(), "nowhere else fits");
    let (status, why) = cost(&world);
    assert_eq!(status, assurance::Status::AtRisk, "{why}");
    assert!(why.contains("; 2190.00 EUR/month in ") && why.contains("raises its price for what runs on h-1"), "{why}");
    let told = world.declined().into_iter().find(|m| m.trigger == Trigger::Price).expect("it says why it stays");
    assert!(told.evidence.contains("2190.00 a month"), "{}", told.evidence);
    // The first receipt at the new rates is taken.
    world.step(|draft| {
        let known = draft.model.leases.values().next().unwrap().as_ref().clone();
        let copy = draft.model.assignments[&known.id].as_ref().clone();
        let term = Term { next: None, ..known.watch.term.clone() };
        draft.put(Assignment { rates: rates(3_000), ..copy });
        draft.put(Lease { rates: rates(3_000), watch: Watch { term, ..known.watch.clone() }, ..known });
    });
    let (status, why) = cost(&world);
    assert_eq!(status, assurance::Status::Violated);
    assert!(why.contains("2190.00 EUR/month at what is reserved now; 3.00 and 0.00 for a core-hour"), "{why}");
}
