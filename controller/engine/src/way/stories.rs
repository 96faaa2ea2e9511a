//! Doors and grants on a small fleet.

use std::collections::BTreeSet;

use chandler_protocol::way::Permit;
use chandler_protocol::workload::{Port, PortMode};
use chandler_protocol::{HostId, Micros, SiteId};

use super::{door_hosts, doors, grants, hosts_concerned, services_at};
use crate::fleet::Host;
use crate::fulfilment::example::{World, host, stateful};
use crate::order::{Action, OrderSpec, Use};
use crate::placement::example::CUSTOMER;
use crate::relocation::{Destination, order_move};
use crate::site::{Site, SiteRole};

fn ported(spec: &mut OrderSpec) {
    let port = |name: &str, mode| Port { name: name.to_owned(), mode, fixed: None };
    spec.workload.ports = vec![port("http", PortMode::Http), port("raw", PortMode::Tcp)];
    spec.policy.front.numbers = vec![("http".to_owned(), 18_080)];
    // The customer's own computers shall not be where it runs.
    spec.policy.owners = vec![crate::order::OwnerKind::Remote];
}

/// Four hosts, the third of which is the customer's own computer; a service runs on the first.
fn fleet() -> World {
    let mut world = World::of(4);
    world.step(|draft| {
        let known = draft.model.sites[&SiteId::from_random([3; 10])].as_ref().clone();
        draft.put(Site { role: SiteRole::Customer, owner: CUSTOMER, ..known });
        for n in 1..=4 {
            let known = draft.model.hosts[&host(n)].as_ref().clone();
            let listens = vec![format!("192.0.2.{n}:7000").parse().unwrap()];
            draft.put(Host { key_fingerprint: [n; 32], listens, ..known });
        }
    });
    world.order("notes", Action::Add, ported);
    world.admit();
    world.agents(&[]);
    assert_eq!(world.places("notes"), [1]);
    world
}

fn peers(world: &World, n: u8) -> Vec<(HostId, Vec<Permit>)> {
    grants(&world.model, host(n)).into_iter().map(|g| (g.peer, g.permits)).collect()
}

#[test]
fn the_customers_own_computer_has_a_door_and_nobody_else() {
    let world = fleet();
    let [door] = <[_; 1]>::try_from(doors(&world.model, host(3))).unwrap();
    let copy = world.model.assignments_of_host(host(1)).next().unwrap();
    assert_eq!(door.ports.iter().map(|p| p.number).collect::<Vec<_>>(), [Some(18_080), None]);
    assert_eq!(door.limits.wait, Micros::from_secs(2));
    let backends: Vec<_> = door.route.backends.iter().map(|b| (b.assignment, b.epoch, b.host)).collect();
    assert_eq!(backends, [(copy.id, copy.epoch, host(1))]);
    for n in [1, 2, 4] {
        assert_eq!(doors(&world.model, host(n)), []);
    }
    // The two may talk to each other, with each other's keys; only the copy's port may be asked for.
    assert_eq!(peers(&world, 3), [(host(1), vec![])]);
    assert_eq!(peers(&world, 1), [(host(3), vec![Permit::Port(copy.id)])]);
    assert_eq!(peers(&world, 2), []);
    let grant = &grants(&world.model, host(3))[0];
    assert_eq!((grant.key, grant.addresses[0].to_string().as_str()), ([1; 32], "192.0.2.1:7000"));
}

#[test]
fn doors_are_where_an_order_asks_for_them_but_never_at_anothers_computer() {
    let mut world = fleet();
    world.order("notes", Action::Modify, |spec| {
        ported(spec);
        spec.policy.front.on = vec!["h-2".to_owned(), "site-4".to_owned(), "nowhere".to_owned()];
        spec.policy.front.lan = true;
    });
    world.admit();
    assert_eq!(doors(&world.model, host(2)).len(), 1);
    assert_eq!(doors(&world.model, host(4))[0].ports[0].lan, Some("192.0.2.4".parse().unwrap()));
    world.step(|draft| {
        let known = draft.model.sites[&SiteId::from_random([4; 10])].as_ref().clone();
        draft.put(Site { role: SiteRole::Customer, ..known });
    });
    assert_eq!(doors(&world.model, host(4)), []);
}

#[test]
fn software_that_uses_a_service_has_a_door_of_it_beside_it() {
    let mut world = fleet();
    world.order("shop", Action::Add, |spec| {
        ported(spec);
        spec.policy.uses = vec![Use { service: "notes".to_owned(), environment: Vec::new() }];
    });
    world.admit();
    world.agents(&[]);
    let shop = world.service("shop").id;
    let on = world.step(|draft| order_move(draft, shop, Destination::Host(host(2)), "anna"));
    on.unwrap();
    world.agents(&[]);
    world.agents(&[]);
    assert_eq!(world.places("shop"), [2]);
    let notes = world.service("notes").id;
    assert_eq!(doors(&world.model, host(2)).iter().map(|d| d.service).collect::<Vec<_>>(), [notes]);
    assert!(peers(&world, 1).iter().any(|(peer, permits)| *peer == host(2) && permits.len() == 1));
}

#[test]
fn only_the_two_sides_of_a_move_pass_state_and_only_while_it_goes_on() {
    let mut world = fleet();
    world.order("diary", Action::Add, |spec| {
        stateful(true)(spec);
        spec.policy.owners = vec![crate::order::OwnerKind::Remote];
    });
    world.admit();
    world.agents(&[]);
    let diary = world.service("diary").id;
    let source = world.service("diary").tenure.unwrap().owner.unwrap();
    let state = |w: &World, n: u8| {
        peers(w, n).into_iter().filter(|(_, p)| p.iter().any(|p| matches!(p, Permit::State { .. }))).collect::<Vec<_>>()
    };
    assert_eq!(state(&world, 1), []);
    world.step(|draft| order_move(draft, diary, Destination::Host(host(2)), "anna")).unwrap();
    let permit = Permit::State { assignment: source, attempt: 1 };
    assert_eq!(state(&world, 1), [(host(2), vec![permit])]);
    assert!(peers(&world, 2).iter().any(|(peer, permits)| *peer == host(1) && permits.is_empty()));
    assert_eq!(state(&world, 4), []);
    let concerned: BTreeSet<_> = [host(1), host(2)].into();
    assert_eq!(hosts_concerned(&world.model, diary), concerned);
    for _ in 0..6 {
        world.agents(&[]);
    }
    assert_eq!(world.places("diary"), [2]);
    assert_eq!(state(&world, 1), []);
}

#[test]
fn doors_of_a_host_and_hosts_of_a_door_are_two_views_of_the_same() {
    let mut world = fleet();
    world.order("shop", Action::Add, |spec| {
        ported(spec);
        spec.policy.uses = vec![Use { service: "notes".to_owned(), environment: Vec::new() }];
        spec.policy.front.on = vec!["site-2".to_owned()];
    });
    world.admit();
    world.agents(&[]);
    let model = &world.model;
    for (host, _) in &model.hosts {
        for service in model.services.keys() {
            let (one, other) =
                (services_at(model, *host).contains(service), door_hosts(model, *service).contains(host));
            assert_eq!(one, other, "{service} at {host}");
        }
    }
}
