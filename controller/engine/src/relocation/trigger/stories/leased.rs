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
