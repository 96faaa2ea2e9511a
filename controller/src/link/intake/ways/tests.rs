//! What hosts say of ways, believed and not.

use chandler_engine::fleet::HostState;
use chandler_engine::model::Model;
use chandler_protocol::way::{ObservedPath, Path};

use super::*;
use crate::api::tests::{World, host};

#[test]
fn addresses_are_looked_at() {
    let check = |remote: &str, said: &[&str], expect: &[&str]| {
        let parse = |list: &[&str]| list.iter().map(|a| a.parse().unwrap()).collect::<Vec<SocketAddr>>();
        assert_eq!(listens(&parse(said), remote.parse().unwrap()), parse(expect), "{said:?}");
    };
    check("192.0.2.7:5", &[], &[]);
    check("192.0.2.7:5", &["10.0.0.7:7444"], &["192.0.2.7:7444", "10.0.0.7:7444"]);
    check("192.0.2.7:5", &["0.0.0.0:7444", "[::]:7445"], &["192.0.2.7:7444", "192.0.2.7:7445"]);
    check("192.0.2.7:5", &["127.0.0.1:22", "[::1]:22"], &["192.0.2.7:22"]);
    check("127.0.0.1:5", &["127.0.0.1:7444"], &["127.0.0.1:7444"]);
    check("[::ffff:192.0.2.7]:5", &["192.0.2.7:1"], &["192.0.2.7:1"]);
    check("192.0.2.7:5", &["224.0.0.1:1", "255.255.255.255:1", "[ff02::1]:1", "[fe80::1]:1", "10.0.0.1:0"], &[]);
    let many = ["10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1", "10.0.0.4:1"];
    check("192.0.2.7:5", &many, &["192.0.2.7:1", "10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1"]);
}

/// What a host says, taken in, in a world where acme's computer has a door for acme's service.
async fn said(world: &World, host: HostId, said: ObservedWays, before: Option<BTreeSet<ServiceId>>) -> Arc<Model> {
    let work = move |draft: &mut Draft<'_>| {
        enter(draft, host, &said, before.as_ref());
        Ok::<_, ()>(())
    };
    world.writer.transact("test", work).await.unwrap();
    world.writer.snapshot()
}

fn door(service: ServiceId, sequence: u64) -> ObservedDoor {
    ObservedDoor {
        service,
        sequence,
        holding: false,
        waiting: 0,
        under_way: Vec::new(),
        long_lived: Vec::new(),
        addresses: Vec::new(),
        message: String::new(),
        opened: 1,
        counters: DoorCounters::default(),
    }
}

#[tokio::test]
async fn a_host_speaks_for_its_own_doors_and_copies_only() {
    let world = World::new().await;
    world.notes().await;
    let pc = HostId::from_random([1; 10]);
    let join = |draft: &mut Draft<'_>| {
        draft.put(host(1, "acme-pc", HostState::Active));
        Ok::<_, ()>(())
    };
    world.writer.transact("test", join).await.unwrap();
    let model = world.writer.snapshot();
    let (service, copy) = model.assignments.values().map(|a| (a.service, a.id)).next().unwrap();
    let (server, other) = (HostId::from_random([2; 10]), HostId::from_random([3; 10]));
    let none = ServiceId::from_random([77; 10]);
    let path = |peer| ObservedPath { peer, path: Path::Direct, rtt: None };
    let told = |assignment, attempt| Told { assignment, attempt, ready: true };
    let report = ObservedWays {
        listens: vec!["192.0.2.7:7444".parse().unwrap()],
        doors: vec![door(service, 3), door(none, 1)],
        paths: vec![path(server), path(pc), path(HostId::from_random([88; 10]))],
        told: vec![told(copy, 1)],
        ..ObservedWays::default()
    };
    let model = said(&world, pc, report.clone(), None).await;
    assert_eq!(model.doors.keys().copied().collect::<Vec<_>>(), [(service, pc)], "the door that it keeps");
    assert_eq!(model.paths.keys().copied().collect::<Vec<_>>(), [(pc, server)], "to hosts that there are");
    assert!(model.told.is_empty(), "the copy is on another host");
    assert_eq!(model.hosts[&pc].listens, report.listens);

    // A remote site's computer keeps no door of acme's: what it says of one counts for nothing.
    let model = said(&world, other, report.clone(), None).await;
    assert_eq!(model.doors.len(), 1);
    // The copy's own host says what became of its notice; an older attempt does not take it back.
    for (attempt, kept) in [(2, 2), (1, 2), (3, 3)] {
        let notice = ObservedWays { told: vec![told(copy, attempt)], ..ObservedWays::default() };
        assert_eq!(said(&world, server, notice, None).await.told[&copy].attempt, kept);
    }
    // What is not named any more is gone; so is what an earlier connection left.
    let empty = ObservedWays::default();
    assert!(said(&world, pc, empty.clone(), Some(BTreeSet::from([service]))).await.doors.is_empty());
    said(&world, pc, report, None).await;
    let model = said(&world, pc, empty, None).await;
    assert!(model.doors.is_empty() && model.paths.keys().all(|(from, _)| *from != pc));
}

#[test]
fn counters_are_put_in_order() {
    let mut wild = Histogram { counts: vec![(200, 1), (7, 2), (3, 0), (7, 9), (1, 4)] };
    histogram(&mut wild);
    assert_eq!(wild.counts, [(1, 4), (7, 2)]);
    let id = |n| AssignmentId::from_random([n; 10]);
    let mut list = vec![(id(2), 5), (id(1), 0), (id(2), 9)];
    counts(&mut list);
    assert_eq!(list, [(id(2), 5)]);
}
