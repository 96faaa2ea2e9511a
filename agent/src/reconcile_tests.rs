//! Tables for the pure planner.

use chandler_protocol::Bytes;
use chandler_protocol::Digest;
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
        (Wiped, &task, collected, Step::Wipe),
        (Running, &service, wiped, Step::Fetch),
    ];
    for (row, (target, spec, local, expect)) in table.into_iter().enumerate() {
        let wanted = Assignment { id: id(1), epoch: 1, target, spec: spec.clone() };
        assert_eq!(plan(&wanted, &local, now), expect, "row {row}: {target:?} {local:?}");
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
