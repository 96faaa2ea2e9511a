//! Tables for the pure planner.

use chandler_protocol::Bytes;
use chandler_protocol::Digest;
use chandler_protocol::state::Received;
use chandler_protocol::workload::*;

use super::*;

fn spec(kind: WorkloadKind) -> WorkloadSpec {
    WorkloadSpec {
        name: "x".into(),
        kind,
        driver: DriverKind::Process,
        software: Software::Artifact {
            name: "x".into(),
            version: "1".into(),
            digest: Digest([1; 32]),
            length: Bytes(1),
        },
        command: vec!["./x".into()],
        environment: Vec::new(),
        limits: Limits::default(),
        ports: Vec::new(),
        state: None,
        health: None,
        restart: RestartPolicy::default(),
        stop: StopPolicy::default(),
        inputs: Vec::new(),
        outputs: Vec::new(),
        time_limit: None,
    }
}

fn id(n: u8) -> AssignmentId {
    AssignmentId::from_random([n; 10])
}

fn order(n: u8, epoch: u64, target: Target) -> Assignment {
    Assignment { id: id(n), epoch, target, spec: spec(WorkloadKind::Service) }
}

fn desired(generation: u64, assignments: Vec<Assignment>) -> DesiredState {
    DesiredState { generation, assignments }
}

#[test]
fn plans() {
    use Target::{Running, Stopped, Wiped};
    let now = Micros::from_secs(100);
    let (service, task) = (spec(WorkloadKind::Service), spec(WorkloadKind::Task));
    let changed = WorkloadSpec { command: vec!["./y".into()], ..service.clone() };
    let watched = WorkloadSpec { stop: StopPolicy { grace: Micros(1), ..StopPolicy::default() }, ..service.clone() };
    let none = Local::default();
    let ready = Local { ready: true, ..Local::default() };
    let runs = |spec: &WorkloadSpec| Local { running: Some(spec.clone()), ready: true, ..Local::default() };
    let later = Micros::from_secs(101);
    let waits = |local: &Local| Local { retry_at: Some(later), ..local.clone() };
    let withheld = |local: &Local| Local { withheld: true, ..local.clone() };
    let remembered = |local: &Local| Local { remembered: true, ..local.clone() };
    let order =
        Receive { attempt: 1, source: id(2), host: chandler_protocol::HostId::from_random([3; 10]), rate_max: None };
    let (receive, receives) = (Target::Receive(order), Step::Receive(order));
    let due = Local { retry_at: Some(now), ..ready.clone() };
    let ended = Local { ended: Some(Exit::Code(1)), ready: true, ..Local::default() };
    let collected = Local { collected: true, ..ended.clone() };
    let wiped = Local { wiped: true, ..Local::default() };
    let given_up = Local { given_up: Some(Failure::Crashing), ..ready.clone() };
    let replaced = Local { ready: false, ..runs(&changed) };
    let table = [
        (Running, &service, none.clone(), Step::Fetch),
        (Running, &service, ready.clone(), Step::Start),
        (Running, &service, waits(&ready), Step::Wait(later)),
        (Running, &service, waits(&none), Step::Wait(later)),
        (Running, &service, due, Step::Start),
        (Running, &service, runs(&service), Step::Watch(None)),
        (Running, &service, runs(&watched), Step::Watch(None)),
        (Running, &service, runs(&changed), Step::Stop),
        (Running, &service, replaced.clone(), Step::Fetch),
        (Running, &service, waits(&replaced), Step::Watch(Some(later))),
        (Running, &service, given_up.clone(), Step::Rest),
        (Running, &task, none.clone(), Step::Fetch),
        (Running, &task, ended.clone(), Step::Collect),
        (Running, &task, waits(&ended), Step::Wait(later)),
        (Running, &task, collected.clone(), Step::Rest),
        (Stopped, &service, runs(&service), Step::Stop),
        (Stopped, &service, none.clone(), Step::Rest),
        (Stopped, &task, ended, Step::Rest),
        (Wiped, &service, runs(&service), Step::Stop),
        (Wiped, &service, none.clone(), Step::Wipe),
        (Wiped, &service, waits(&none), Step::Wait(later)),
        (Wiped, &service, wiped.clone(), Step::Rest),
        (Wiped, &task, collected.clone(), Step::Wipe),
        (Running, &service, wiped, Step::Fetch),
        (Running, &service, withheld(&runs(&service)), Step::Yield),
        (Running, &service, withheld(&ready), Step::Withhold),
        (Running, &service, withheld(&none), Step::Withhold),
        (Running, &service, withheld(&given_up), Step::Rest),
        (Running, &task, withheld(&runs(&task)), Step::Yield),
        (Running, &task, withheld(&collected), Step::Rest),
        (Stopped, &service, withheld(&runs(&service)), Step::Stop),
        (Wiped, &service, withheld(&none), Step::Wipe),
        (Wiped, &service, remembered(&none), Step::Rest),
        (Wiped, &service, remembered(&runs(&service)), Step::Stop),
        (receive, &service, remembered(&ready), Step::Rest),
        (receive, &service, ready.clone(), receives),
    ];
    for (row, (target, spec, local, expect)) in table.into_iter().enumerate() {
        let wanted = Assignment { id: id(1), epoch: 1, target, spec: spec.clone() };
        assert_eq!(plan(&wanted, &local, now), expect, "row {row}: {target:?} {local:?}");
    }
}

/// What is known of a state, step by step as it would come to be.
fn custody(epoch: u64) -> Custody {
    Custody::default().ordered(epoch, &Target::Own(Own { leased: true, from: None }))
}

#[test]
fn plans_of_an_owner() {
    let now = Micros::from_secs(100);
    let (before, after) = (Micros::from_secs(99), Micros::from_secs(101));
    let service = spec(WorkloadKind::Service);
    let received = Received { attempt: 3, root: Digest([7; 32]) };
    let leased = Own { leased: true, from: None };
    let free = Own { leased: false, from: None };
    let heir = Own { leased: true, from: Some(received) };
    let none = Local { ready: true, custody: custody(1), ..Local::default() };
    let held = |local: &Local, until: Micros| Local {
        custody: local.custody.leased(1, 1, Micros::ZERO, until),
        guarded: Some(until),
        ..local.clone()
    };
    let runs = |local: &Local| Local { running: Some(service.clone()), ..local.clone() };
    let with = |custody: Custody| Local { custody, ..none.clone() };
    let later = Local { retry_at: Some(after), ..none.clone() };
    let given_up = held(&none, after).custody.begun().given_up(2, Digest([9; 32]));
    let table = [
        ("without a lease it waits for one", leased, none.clone(), Step::Ask),
        ("with one it starts", leased, held(&none, after), Step::Start),
        ("one that is over is none", leased, held(&none, before), Step::Ask),
        ("without needing one it starts", free, none.clone(), Step::Start),
        ("its files come first", leased, Local { ready: false, ..none.clone() }, Step::Fetch),
        ("its address comes first", leased, Local { lacks_front: true, ..held(&none, after) }, Step::Front),
        ("it backs off without asking", leased, later.clone(), Step::Wait(after)),
        ("it runs on under its lease", leased, runs(&held(&none, after)), Step::Watch(None)),
        ("it is killed when that is over", leased, runs(&held(&none, before)), Step::Kill),
        ("it is killed when it never had one", leased, runs(&none), Step::Kill),
        ("it runs on until its first one", leased, Local { guarded: Some(after), ..runs(&none) }, Step::Watch(None)),
        ("it runs on without needing one", free, runs(&none), Step::Watch(None)),
        ("what was not received is not begun with", heir, held(&none, after), Step::Rest),
        ("nor with another state", heir, with(custody(1).received(Received { attempt: 2, ..received })), Step::Rest),
        ("what was received is, with a lease", heir, with(custody(1).received(received)), Step::Ask),
        ("and started", heir, held(&with(custody(1).received(received)), after), Step::Start),
        ("what was given up never runs again", leased, with(given_up), Step::Rest),
        ("nor without a lease", free, with(given_up), Step::Rest),
        ("not even what runs", leased, runs(&with(given_up)), Step::Stop),
        ("but under a higher epoch", leased, with(given_up.ordered(2, &Target::Own(leased))), Step::Ask),
    ];
    for (what, own, local, expect) in table {
        let wanted = Assignment { id: id(1), epoch: 1, target: Target::Own(own), spec: service.clone() };
        assert_eq!(plan(&wanted, &local, now), expect, "{what}");
    }
}

#[test]
fn plans_of_a_hand_over() {
    let now = Micros::from_secs(100);
    let service = spec(WorkloadKind::Service);
    let order =
        Receive { attempt: 3, host: chandler_protocol::HostId::from_random([1; 10]), source: id(9), rate_max: None };
    let (seal, receive) = (Target::Seal { attempt: 3 }, Target::Receive(order));
    let none = Local { ready: true, custody: custody(1), ..Local::default() };
    let runs = Local { running: Some(service.clone()), guarded: Some(now), ..none.clone() };
    let with = |custody: Custody| Local { custody, ..none.clone() };
    let sealed = |attempt| with(custody(1).given_up(attempt, Digest([1; 32])));
    let received = |attempt| with(custody(1).received(Received { attempt, root: Digest([1; 32]) }));
    let table = [
        ("what runs is stopped before it is sealed", seal, runs.clone(), Step::Stop),
        ("what does not run is sealed", seal, none.clone(), Step::Seal(3)),
        ("row 37: once", seal, sealed(3), Step::Rest),
        ("for each attempt", seal, sealed(2), Step::Seal(3)),
        ("after a while, when it did not work", seal, Local { retry_at: Some(Micros(now.0 + 1)), ..none.clone() }, {
            Step::Wait(Micros(now.0 + 1))
        }),
        ("what runs is stopped before a state comes in", receive, runs, Step::Stop),
        ("its software first", receive, Local { ready: false, ..none.clone() }, Step::Fetch),
        ("then its state", receive, none.clone(), Step::Receive(order)),
        ("row 37: once", receive, received(3), Step::Rest),
        ("for each attempt", receive, received(2), Step::Receive(order)),
    ];
    for (what, target, local, expect) in table {
        let wanted = Assignment { id: id(1), epoch: 1, target, spec: service.clone() };
        assert_eq!(plan(&wanted, &local, now), expect, "{what}");
    }
}

#[test]
fn newer_replaces_older_and_absence_deletes_nothing() {
    let first = desired(1, vec![order(1, 5, Target::Running), order(2, 1, Target::Running)]);
    let Merged { next: one, stale, .. } = merge(&Accepted::default(), &first, |_| false).unwrap();
    assert!(stale.is_empty());
    assert_eq!(merge(&one, &first, |_| false), None, "the same again changes nothing");
    assert_eq!(merge(&one, &desired(0, vec![]), |_| false), None, "an older one changes nothing");

    let lower = desired(2, vec![order(1, 4, Target::Wiped)]);
    let Merged { next: two, stale, .. } = merge(&one, &lower, |_| false).unwrap();
    assert_eq!(stale, [Stale { assignment: id(1), ordered: 4, seen: 5 }]);
    assert_eq!(two.assignments[&id(1)].assignment.target, Target::Running, "a lower epoch is refused");
    assert!(!two.assignments[&id(2)].named, "not named, but still there");
    assert_eq!(two.assignments[&id(2)].assignment.target, Target::Running);

    let same_epoch = desired(3, vec![order(1, 5, Target::Stopped)]);
    let three = merge(&two, &same_epoch, |_| false).unwrap().next;
    assert_eq!(three.assignments[&id(1)].assignment.target, Target::Stopped);

    let four = merge(&three, &desired(4, vec![]), |w| w == id(2)).unwrap().next;
    assert_eq!(four.assignments.keys().collect::<Vec<_>>(), [&id(1)], "only what is wiped is forgotten");
}

#[test]
fn a_flood_of_assignments_is_bounded_and_what_has_no_room_is_named() {
    let count = u32::try_from(ASSIGNMENTS_MAX).unwrap();
    let numbered = |n: u32| {
        let mut bytes = [0; 10];
        bytes[..4].copy_from_slice(&n.to_be_bytes());
        AssignmentId::from_random(bytes)
    };
    let order = |n: u32, target| Assignment { id: numbered(n), ..order(1, 1, target) };
    let many: Vec<_> = (0..count + 10).map(|n| order(n, Target::Running)).collect();
    let first = merge(&Accepted::default(), &desired(1, many.clone()), |_| false).unwrap();
    assert_eq!(first.next.assignments.len(), ASSIGNMENTS_MAX);
    assert_eq!(first.refused, (count..count + 10).map(numbered).collect::<Vec<_>>());

    // What is known is heard, however many unknown ones are named before it.
    let mut unknown_first: Vec<_> = many[ASSIGNMENTS_MAX..].to_vec();
    unknown_first.extend((0..count).map(|n| order(n, Target::Wiped)));
    let second = merge(&first.next, &desired(2, unknown_first), |_| false).unwrap();
    assert_eq!(second.refused.len(), 10);
    assert!(second.next.assignments.values().all(|k| k.assignment.target == Target::Wiped && k.named));

    // What is wiped and no longer named makes room at once.
    let third = merge(&second.next, &desired(3, many[ASSIGNMENTS_MAX..].to_vec()), |id| id < numbered(10)).unwrap();
    assert_eq!((third.refused.len(), third.next.assignments.len()), (0, ASSIGNMENTS_MAX));
    assert!(third.next.assignments.contains_key(&numbered(count + 9)));
}
