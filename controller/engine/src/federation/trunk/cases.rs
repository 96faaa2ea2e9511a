//! Who may talk to whom through trunks, seen from the seller and from the buyer.

use chandler_protocol::way::Ways;
use chandler_protocol::{Micros, ServiceId, SiteId, Timestamp};

use super::*;
use crate::federation::lease::LeaseState;
use crate::federation::watch::Watch;
use crate::federation::word::Orders;
use crate::federation::{guest_ways, take_orders};
use crate::fleet::{Capacity, Host};
use crate::fulfilment::example::{World, host, stateful};
use crate::order::{Action, OwnerKind};
use crate::relocation::{Destination, order_move};
use crate::site::{Rates, Site};

const ALPHA: PartyId = PartyId::from_random([201; 10]);
const GAMMA: PartyId = PartyId::from_random([202; 10]);
/// A host of a buyer's, which the seller knows by its orders only.
const LAPTOP: HostId = HostId::from_random([77; 10]);

fn partner(party: PartyId, may_buy: bool, may_sell: bool) -> Partner {
    Partner {
        party,
        name: party.to_string(),
        address: Some("127.0.0.1:1".to_owned()),
        trust: vec![party.as_bytes().to_vec()],
        retired: Vec::new(),
        trust_domain: party.to_string(),
        may_buy,
        may_sell,
        state: PartnerState::Active,
        since: Timestamp(0),
        reason: String::new(),
        version: 1,
    }
}

fn copy(n: u8) -> AssignmentId {
    AssignmentId::from_random([n; 10])
}

fn lease(n: u8, side: Side, partner: PartyId, on: HostId) -> Lease {
    Lease {
        id: copy(n),
        side,
        partner,
        host: on,
        site: SiteId::from_random([1; 10]),
        service: ServiceId::from_random([n; 10]),
        label: "notes".to_owned(),
        capacity: Capacity::default(),
        rates: Rates {
            core_hour: chandler_protocol::MicroMoney(1),
            gib_hour: chandler_protocol::MicroMoney(1),
            gpu_hour: chandler_protocol::MicroMoney(0),
        },
        demand: [0; 32],
        state: LeaseState::Active,
        since: Timestamp(0),
        made_at: Timestamp(0),
        ends_at: None,
        touched_at: Timestamp(0),
        reason: String::new(),
        closed: None,
        idle: false,
        metered: Micros::ZERO,
        watch: Watch::default(),
    }
}

fn peer(id: HostId, key: u8, relay: bool, permits: Vec<Permit>) -> Grant {
    Grant { peer: id, key: [key; 32], addresses: Vec::new(), relay, permits }
}

fn order(world: &mut World, buyer: PartyId, on: HostId, grants: Vec<Grant>) {
    let generation = world.model.generation + 1;
    let ways = Ways { generation, grants, ..Ways::default() };
    // What runs is not the point here: a lease stands for each permit, or it does not.
    world.step(|draft| {
        let orders = Orders { generation, ways, ..Orders::default() };
        draft.put(Tenancy { host: on, buyer, orders, left: Vec::new(), said: None });
    });
}

/// A seller with three hosts: the first is leased by alpha and by gamma, the second by alpha, the third by nobody.
fn seller() -> World {
    let mut world = World::of(3);
    world.step(|draft| {
        for n in 1..=3 {
            let known = draft.model.hosts[&host(n)].as_ref().clone();
            draft.put(Host { key_fingerprint: [n; 32], ..known });
        }
        draft.put(partner(ALPHA, true, false));
        draft.put(partner(GAMMA, true, false));
        draft.put(lease(11, Side::Sold, ALPHA, host(1)));
        draft.put(lease(12, Side::Sold, ALPHA, host(2)));
        draft.put(lease(21, Side::Sold, GAMMA, host(1)));
    });
    order(&mut world, ALPHA, host(1), vec![peer(LAPTOP, 7, true, vec![Permit::Port(copy(11))])]);
    world
}

fn to(hop: Hop) -> BTreeSet<Hop> {
    [hop].into()
}

#[test]
fn a_buyers_host_talks_to_what_the_buyer_has_leased_and_to_nothing_else() {
    let world = seller();
    let model = &world.model;
    assert_eq!(heard(model, ALPHA, host(1)), [LAPTOP].into());
    assert_eq!(sends(model, host(1)), [(LAPTOP, to(Hop::Partner(ALPHA)))].into());
    assert_eq!(heard(model, GAMMA, host(1)), BTreeSet::new(), "another buyer's word is not gamma's");
    assert_eq!(heard(model, ALPHA, host(2)), BTreeSet::new(), "alpha did not say so of this one");
    assert_eq!(heard(model, ALPHA, host(3)), BTreeSet::new(), "nobody has leased it");
    assert_eq!(heard(model, ALPHA, LAPTOP), BTreeSet::new(), "it is no host of ours");
    assert_eq!(sends(model, LAPTOP), BTreeMap::new());
    let told = guest_ways(model, host(1), Ways::default());
    assert_eq!(told.grants.iter().map(|g| (g.peer, g.relay)).collect::<Vec<_>>(), [(LAPTOP, true)]);
}

#[test]
fn a_peer_that_is_not_to_be_relayed_or_whose_lease_is_over_is_not_heard() {
    let mut world = seller();
    order(&mut world, ALPHA, host(1), vec![peer(LAPTOP, 7, false, vec![Permit::Port(copy(11))])]);
    assert_eq!((heard(&world.model, ALPHA, host(1)), sends(&world.model, host(1))), Default::default());
    assert!(!guest_ways(&world.model, host(1), Ways::default()).grants[0].relay);
    // Under a permit, its own lease counts; without one, any lease of the buyer's there.
    for (permits, stands) in [(vec![Permit::Port(copy(12))], false), (vec![], true)] {
        order(&mut world, ALPHA, host(1), vec![peer(LAPTOP, 7, true, permits)]);
        assert_eq!(heard(&world.model, ALPHA, host(1)).contains(&LAPTOP), stands);
    }
    world.step(|draft| draft.put(lease(11, Side::Sold, ALPHA, host(1)).to(LeaseState::Closed, draft.now, "").unwrap()));
    assert_eq!((heard(&world.model, ALPHA, host(1)), sends(&world.model, host(1))), Default::default());
}

#[test]
fn nobody_speaks_in_the_name_of_the_sellers_own_hosts() {
    let mut world = seller();
    let both = |n: u8| vec![peer(host(n), n, true, vec![])];
    order(&mut world, ALPHA, host(1), both(2));
    assert_eq!(heard(&world.model, ALPHA, host(1)), BTreeSet::new());
    assert_eq!(sends(&world.model, host(1)), BTreeMap::new(), "of the other one it was not said");
    order(&mut world, ALPHA, host(2), both(1));
    assert_eq!(sends(&world.model, host(1)), [(host(2), to(Hop::Here))].into());
    order(&mut world, ALPHA, host(1), both(3));
    assert_eq!(sends(&world.model, host(1)), BTreeMap::new(), "alpha has not leased the third");
}

#[test]
fn two_buyers_that_name_one_host_are_both_sent_to_under_one_key_only() {
    let mut world = seller();
    for (key, expect) in [(7, vec![Hop::Partner(ALPHA), Hop::Partner(GAMMA)]), (8, vec![Hop::Partner(ALPHA)])] {
        order(&mut world, GAMMA, host(1), vec![peer(LAPTOP, key, true, vec![])]);
        assert_eq!(sends(&world.model, host(1))[&LAPTOP], expect.into_iter().collect(), "key {key}");
    }
}

#[test]
fn a_partner_that_is_cut_off_is_neither_heard_nor_sent_to() {
    let mut world = seller();
    world.step(|draft| {
        let known = draft.model.partners[&ALPHA].as_ref().clone();
        draft.put(known.becoming(PartnerState::Suspended, "", draft.now).unwrap());
    });
    assert_eq!((heard(&world.model, ALPHA, host(1)), sends(&world.model, host(1))), Default::default());
}

#[test]
fn a_guests_peer_cannot_be_one_of_ours_under_another_key() {
    let mut world = seller();
    let ways = Ways { grants: vec![peer(host(2), 9, true, vec![])], ..Ways::default() };
    let orders = Orders { generation: 9_000, ways, ..Orders::default() };
    let taken = world.step(|draft| take_orders(draft, ALPHA, host(1), orders));
    assert!(taken.unwrap_err().contains("under its own key"));
}

/// A buyer: its customer's computer is the third host, a service with state goes from the first to the second.
fn buyer() -> World {
    let mut world = World::of(3);
    let far = |spec: &mut crate::order::OrderSpec| {
        stateful(true)(spec);
        spec.policy.owners = vec![OwnerKind::Remote];
        let port = chandler_protocol::workload::Port {
            name: "http".to_owned(),
            mode: chandler_protocol::workload::PortMode::Http,
            fixed: None,
        };
        spec.workload.ports = vec![port];
        spec.policy.front.on = vec!["h-3".to_owned()];
    };
    world.order("diary", Action::Add, far);
    world.admit();
    world.agents(&[]);
    assert_eq!(world.places("diary"), [1]);
    let diary = world.service("diary").id;
    world.step(|draft| order_move(draft, diary, Destination::Host(host(2)), "anna")).unwrap();
    world.step(|draft| {
        for (n, party) in [(1, ALPHA), (2, GAMMA)] {
            draft.put(partner(party, false, true));
            let known = draft.model.sites[&draft.model.hosts[&host(n)].site].as_ref().clone();
            draft.put(Site { home: Some(party), ..known });
        }
    });
    world
}

#[test]
fn a_buyer_decides_who_talks_to_whom_and_stands_between_its_sellers() {
    let mut world = buyer();
    let model = &world.model;
    let reached = sends(model, host(3));
    assert_eq!(reached[&host(1)], to(Hop::Partner(ALPHA)));
    assert_eq!(heard(model, ALPHA, host(3)), [host(1)].into(), "not what is gamma's");
    assert_eq!((heard(model, ALPHA, host(2)), hop(model, host(2))), ([host(1)].into(), Some(Hop::Partner(GAMMA))));
    assert_eq!((heard(model, GAMMA, host(1)), hop(model, host(1))), ([host(2)].into(), Some(Hop::Partner(ALPHA))));
    assert_eq!(heard(model, ALPHA, host(1)), BTreeSet::new(), "its own hosts need nobody else");
    assert_eq!(sends(model, host(1)), BTreeMap::new(), "a partner's host has no line here");
    assert_eq!(hop(model, LAPTOP), None);
    // A seller that may not sell any more is not heard as one.
    world.step(|draft| draft.put(partner(ALPHA, true, false)));
    assert_eq!((heard(&world.model, ALPHA, host(3)), hop(&world.model, host(1))), Default::default());
}

#[test]
fn a_trunk_is_kept_to_those_at_whom_something_is_leased() {
    let mut world = buyer();
    assert_eq!(trunks(&world.model), BTreeSet::new());
    world.step(|draft| {
        draft.put(lease(31, Side::Bought, ALPHA, host(1)));
        draft.put(lease(32, Side::Sold, GAMMA, host(3)));
    });
    assert_eq!(trunks(&world.model), [ALPHA].into());
    world.step(|draft| draft.put(Partner { address: None, ..partner(ALPHA, false, true) }));
    assert_eq!(trunks(&world.model), BTreeSet::new(), "it does not listen");
    world.step(|draft| {
        draft.put(partner(ALPHA, false, true));
        draft.put(lease(31, Side::Bought, ALPHA, host(1)).to(LeaseState::Closed, draft.now, "").unwrap());
    });
    assert_eq!(trunks(&world.model), BTreeSet::new(), "it was given back");
}
