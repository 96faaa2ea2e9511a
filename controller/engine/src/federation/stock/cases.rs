//! What becomes of an offer by itself, and of what was sold under it.

use chandler_protocol::{Bytes, MicroMoney, Micros, MilliCpu, ServiceId};

use super::*;
use crate::federation::repute::cases::{HOUR, Place, host, lease, partner, site};
use crate::federation::word::{Demand, Qualified};
use crate::federation::{Lease, LeaseState, Party, Unsold, close, lots, reserve, sweep};

/// One machine of four cores at an offer with these changes.
fn place(change: impl FnOnce(&mut Offer)) -> Place {
    let mut place = Place::of(&[1_000]);
    edit(&mut place, change);
    place
}

fn edit(place: &mut Place, change: impl FnOnce(&mut Offer)) {
    place.step(|draft| {
        let posted = draft.model.offers.values().next().unwrap().as_ref().clone();
        let mut offer = posted.offer.clone();
        change(&mut offer);
        draft.put(Posted { offer, ..posted });
    });
}

/// Buys these thousandths of a core; why not, else.
fn buy(place: &mut Place, n: u8, cpu: u32) -> Result<Lease, String> {
    let demand = Demand {
        service: ServiceId::from_random([4; 10]),
        label: "notes".to_owned(),
        wanted: Capacity { cpu: MilliCpu(cpu), memory: Bytes(1 << 20), gpus: 0 },
        cap: MicroMoney(1_000_000),
        candidates: vec![Qualified { host: host(1), extra: MicroMoney(0) }],
        epoch: 0,
        turn: 0,
    };
    let bought = place.step(|draft| {
        let bought = reserve(draft, &partner(), lease(n), &demand)?;
        let active = bought.0.to(LeaseState::Active, draft.now, "used").unwrap();
        draft.put(active.clone());
        Ok(active)
    });
    bought.map_err(|e: Unsold| format!("{e:?}"))
}

/// Sweeps; gives the states that the offer went through by the events of it.
fn swept(place: &mut Place) -> Vec<String> {
    place.step(|draft| {
        sweep(draft);
        let events = draft.changes.iter().filter_map(|change| match change {
            crate::model::Change::Event(event) if event.noun == Noun::Offer => Some(event.to.clone()),
            _ => None,
        });
        events.collect()
    })
}

fn state(place: &Place) -> OfferState {
    place.model.offers.values().next().unwrap().offer.state
}

fn why_closed(place: &Place) -> String {
    lots(&place.model, partner().party, place.now).first().and_then(|lot| lot.closed.clone()).unwrap_or_default()
}

#[test]
fn what_is_sold_out_is_exhausted_until_a_lease_ends() {
    let mut place = place(|_| ());
    buy(&mut place, 10, 3_000).unwrap();
    assert_eq!(swept(&mut place), [""; 0]);
    buy(&mut place, 11, 1_000).unwrap();
    assert_eq!((swept(&mut place), state(&place)), (vec!["exhausted".to_owned()], OfferState::Exhausted));
    assert_eq!(why_closed(&place), "the offer is exhausted");
    let refused = buy(&mut place, 12, 1).unwrap_err();
    assert!(refused.contains("closed"), "{refused}");
    assert_eq!(swept(&mut place), [""; 0], "it is said once");
    assert!([10, 11].iter().all(|n| place.model.leases[&lease(*n)].is_open()), "what was sold stays");

    place.step(|draft| close(draft, lease(10), Party::Buyer, "done"));
    assert_eq!(why_closed(&place), "", "it is on sale before anybody has looked");
    assert_eq!((swept(&mut place), state(&place)), (vec!["active".to_owned()], OfferState::Active));
    buy(&mut place, 13, 3_000).unwrap();
}

#[test]
fn all_of_the_share_that_is_offered_may_be_sold() {
    let share = Capacity { cpu: MilliCpu(1_000), memory: Bytes(1 << 30), gpus: 0 };
    let mut place = place(|o| o.capacity = Some(share));
    buy(&mut place, 10, 1_000).unwrap();
    assert_eq!(swept(&mut place), ["exhausted"]);
    edit(&mut place, |o| o.capacity = None);
    assert_eq!(swept(&mut place), ["active"], "more of it is offered");
    // A machine that its owner needs is closed, and nobody has bought it.
    let mut place = Place::of(&[1_000]);
    let known = place.model.hosts[&host(1)].as_ref().clone();
    let mut inventory = known.inventory.clone().unwrap();
    inventory.offered.cpu = MilliCpu(0);
    place.step(|draft| draft.put(crate::fleet::Host { inventory: Some(inventory), ..known }));
    assert_eq!((swept(&mut place), state(&place)), (vec![], OfferState::Active));
}

#[test]
fn an_offer_whose_time_is_over_takes_no_demand_and_is_left_with_notice() {
    let until = |place: &Place, time: i64| Some(Timestamp(place.now.0 + time));
    let mut place = place(|_| ());
    let end = until(&place, HOUR);
    edit(&mut place, |o| o.until = end);
    buy(&mut place, 10, 1_000).unwrap();
    assert_eq!(swept(&mut place), [""; 0]);
    // Its notice is ten minutes.
    place.pass(HOUR - 600_000_000);
    swept(&mut place);
    let told = place.model.leases[&lease(10)].as_ref().clone();
    assert_eq!((told.state, told.ends_at), (LeaseState::Reclaiming, end));
    assert_eq!(why_closed(&place), "the offer ends soon");
    assert!(buy(&mut place, 11, 1).is_err(), "there is not enough time left");
    place.pass(600_000_000);
    assert_eq!((swept(&mut place), state(&place)), (vec!["expired".to_owned()], OfferState::Expired));
    assert_eq!(place.model.leases[&lease(10)].state, LeaseState::Closed);
    let refused = buy(&mut place, 12, 1).unwrap_err();
    assert!(refused.contains("NothingFits"), "{refused}");
    assert_eq!(swept(&mut place), [""; 0], "nothing leaves it");
}

#[test]
fn what_was_sold_runs_on_while_its_offer_is_paused() {
    let mut place = place(|_| ());
    buy(&mut place, 10, 1_000).unwrap();
    edit(&mut place, |o| (o.state, o.asked.core_hour) = (OfferState::Paused, MicroMoney(9_000)));
    place.pass(HOUR);
    swept(&mut place);
    let known = place.model.leases[&lease(10)].as_ref().clone();
    assert_eq!((known.state, known.rates.core_hour), (LeaseState::Active, MicroMoney(1_000)));
    assert_eq!(why_closed(&place), "the offer is paused");
    assert!(buy(&mut place, 11, 1).unwrap_err().contains("closed"));
    // Nothing is on sale, so nothing runs out; but its time goes on.
    let now = place.now;
    edit(&mut place, |o| o.until = Some(now));
    assert_eq!(swept(&mut place), ["expired"]);
}

#[test]
fn an_offer_that_is_withdrawn_is_left_within_the_notice_that_was_agreed() {
    let mut place = place(|_| ());
    buy(&mut place, 10, 1_000).unwrap();
    // A shorter notice is for new leases.
    edit(&mut place, |o| (o.state, o.reclaim_notice) = (OfferState::Withdrawn, Micros::ZERO));
    swept(&mut place);
    let told = place.model.leases[&lease(10)].as_ref().clone();
    assert_eq!((told.state, told.ends_at), (LeaseState::Reclaiming, Some(Timestamp(place.now.0 + 600_000_000))));
    assert!(place.model.offers_of(site(1)).next().is_none());
}
