//! Orders from beginning to end on a small fleet that is stepped by hand, audited after every step.

use chandler_protocol::state::{Exit, Phase, Target};
use chandler_protocol::workload::WorkloadKind;
use chandler_protocol::{Micros, MilliCpu};

use super::example::{World, host, lose, seen, stateful};
use super::{admit, advance, cancel, observe};
use crate::assurance::{self, Patience, Watch};
use crate::fleet::{HostState, Pulse};
use crate::model::Change;
use crate::order::{Action, ItemSpec, OnLoss, OrderSpec, OrderState};
use crate::relocation;
use crate::service::{OperatingStatus, ServiceState, Trigger};

#[test]
fn an_order_runs_on_the_cheapest_host_and_is_given_back_when_deleted() {
    let mut world = World::of(3);
    let order = world.order("notes", Action::Add, |_| {});
    world.admit();
    assert_eq!(world.state(order), OrderState::InProgress);
    assert_eq!(world.service("notes").status, OperatingStatus::Starting);
    world.agents(&[]);
    assert_eq!(world.state(order), OrderState::Completed);
    assert_eq!(world.places("notes"), [1]);
    let service = world.service("notes").id;

    let delete = world.order("notes", Action::Delete, |_| {});
    world.admit();
    assert_eq!(world.state(delete), OrderState::InProgress, "not done before the agent has wiped it");
    world.agents(&[]);
    assert_eq!(world.state(delete), OrderState::Completed);
    assert_eq!(world.model.services[&service].state, ServiceState::Terminated);
    assert!(world.model.assignments.is_empty());
    assert_eq!(world.model.reserved[&host(1)], crate::fleet::Capacity::default());
}

#[test]
fn of_many_orders_for_the_last_unit_the_first_wins_and_the_others_hear_why() {
    let mut world = World::of(1);
    let whole = |spec: &mut OrderSpec| spec.workload.limits.cpu = Some(MilliCpu(3_000));
    let orders: Vec<_> = (0..50).map(|n| world.order(&format!("n{n}"), Action::Add, whole)).collect();
    world.admit();
    assert_eq!(world.state(orders[0]), OrderState::InProgress);
    for order in &orders[1..] {
        let order = &world.model.orders[order];
        assert_eq!((order.state, order.code.as_str()), (OrderState::Rejected, "E0302"));
        assert!(order.nearest.iter().any(|n| n.term == "software.limits.cpu"), "{:?}", order.nearest);
    }
}

#[test]
fn an_amended_sla_moves_the_service_and_the_old_copy_serves_until_the_new_one_does() {
    let mut world = World::of(2);
    world.order("notes", Action::Add, |_| {});
    world.admit();
    world.agents(&[]);
    world.step(|draft| {
        let known = draft.model.hosts[&host(1)].as_ref().clone();
        let history =
            crate::availability::History { up: Micros(0), down: Micros::from_secs(9_000_000), ..known.history };
        draft.put(crate::fleet::Host { history, ..known });
    });
    let amend = world
        .order("notes", Action::Modify, |spec| spec.terms.availability_min = Some(chandler_protocol::Ppm(900_000)));
    world.admit();
    assert_eq!(world.places("notes"), [1, 2], "both run while the new one is made ready");
    world.agents(&[]);
    assert_eq!(world.places("notes"), [2]);
    world.agents(&[]);
    assert_eq!(world.state(amend), OrderState::Completed);
    let [moved] = world.service("notes").replacements.as_slice() else { panic!("one change of place") };
    assert_eq!((moved.trigger, moved.from, moved.to), (Trigger::SlaAmended, host(1), host(2)));
    let agreement = world.model.agreements[&world.service("notes").agreement].clone();
    assert_eq!(agreement.versions.len(), 2);
}

#[test]
fn usage_of_before_a_change_keeps_the_tariff_of_then() {
    let mut world = World::of(1);
    world.order("notes", Action::Add, |_| {});
    world.admit();
    world.agents(&[]);
    world.order("notes", Action::Modify, |spec| spec.workload.limits.cpu = Some(MilliCpu(3_000)));
    world.admit();
    let a = world.model.assignments.values().next().unwrap();
    let before = a.previous.clone().unwrap();
    assert_eq!((before.epoch, before.reserved.cpu), (a.epoch - 1, MilliCpu(1_000)));
    assert_eq!(a.reserved.cpu, MilliCpu(3_000));
}

#[test]
fn an_amendment_that_cannot_be_met_changes_nothing() {
    let mut world = World::of(1);
    world.order("notes", Action::Add, |_| {});
    world.admit();
    world.agents(&[]);
    let before = world.model.assignments.clone();
    let amend = world.order("notes", Action::Modify, |spec| spec.terms.residency = vec!["FR".to_owned()]);
    world.admit();
    assert_eq!((world.state(amend), world.model.orders[&amend].code.as_str()), (OrderState::Rejected, "E0301"));
    assert_eq!(world.model.assignments, before);
    assert_eq!(world.model.agreements[&world.service("notes").agreement].versions.len(), 1);
}

#[test]
fn a_silent_host_is_lost_after_the_grace_and_its_service_runs_elsewhere() {
    let mut world = World::of(3);
    world.order("notes", Action::Add, |_| {});
    world.admit();
    world.agents(&[]);
    for _ in 0..13 {
        world.now.0 += 1_000_000;
        world.hear(2);
        world.hear(3);
    }
    assert_eq!(world.step(|draft| assurance::watch(draft, Patience::default())), Watch::Calm);
    assert_eq!(world.model.hosts[&host(1)].state, HostState::Lost);
    world.step(relocation::place_waiting);
    world.model.pulses.insert(host(1), Pulse::default());
    world.agents(&[]);
    assert_eq!(world.places("notes"), [2]);
    assert_eq!(world.service("notes").replacements[0].trigger, Trigger::HostFailed);

    // It comes back: it is told to wipe its old copy, and nothing else changes.
    world.hear(1);
    world.agents(&[]);
    assert_eq!(world.model.assignments.len(), 1);
    assert_eq!(world.places("notes"), [2]);
}

#[test]
fn a_blind_controller_declares_nobody_lost() {
    let mut world = World::of(5);
    world.now.0 += 100_000_000;
    world.model.observable_since = world.now;
    assert_eq!(world.step(|draft| assurance::watch(draft, Patience::default())), Watch::Calm);
    assert!(world.model.hosts.values().all(|h| h.state == HostState::Active), "it has only just opened its eyes");
    world.now.0 += 100_000_000;
    world.hear(1);
    let found = world.step(|draft| assurance::watch(draft, Patience::default()));
    assert_eq!(found, Watch::Frozen { silent: 4, of: 5 });
    assert!(world.model.hosts.values().all(|h| h.state == HostState::Active));
}

#[test]
fn an_order_is_not_refused_while_it_is_unknown_whether_a_host_is_there() {
    let mut world = World::of(1);
    world.model.pulses = Default::default();
    let order = world.order("notes", Action::Add, |_| {});
    world.admit();
    assert_eq!(world.state(order), OrderState::Acknowledged);
    world.hear(1);
    world.admit();
    assert_eq!(world.state(order), OrderState::InProgress);
}

#[test]
fn software_that_fails_on_one_host_is_tried_on_another() {
    let mut world = World::of(2);
    world.order("notes", Action::Add, |_| {});
    world.admit();
    world.agents(&[1]);
    assert_eq!(world.places("notes"), [2]);
    world.agents(&[1]);
    assert_eq!(world.service("notes").status, OperatingStatus::Running);
    assert_eq!(world.service("notes").replacements[0].trigger, Trigger::ProcessFailed);
    assert_eq!(world.model.hosts[&host(1)].failures.len(), 1);
}

#[test]
fn a_task_runs_each_item_once_and_waits_for_room() {
    let mut world = World::of(2);
    let order = world.order("count", Action::Add, |spec| {
        spec.workload.kind = WorkloadKind::Task;
        spec.items = (0..30).map(|n| ItemSpec { name: format!("i{n}"), inputs: Vec::new() }).collect();
    });
    world.admit();
    assert_eq!(world.model.assignments.len(), 8, "four cores each on two hosts");
    let mut rounds = 0;
    while world.state(order) == OrderState::InProgress {
        world.agents(&[]);
        rounds += 1;
        assert!(rounds < 40, "the task makes no progress");
    }
    assert_eq!(world.state(order), OrderState::Completed);
    let items: Vec<_> = world.model.services_of(order).collect();
    assert_eq!(items.len(), 30);
    assert!(items.iter().all(|i| i.attempts == 1 && i.exit == Some(Exit::Code(0))));
}

#[test]
fn a_result_counts_once_and_another_hosts_word_counts_never() {
    let mut world = World::of(2);
    let order = world.order("count", Action::Add, |spec| {
        spec.workload.kind = WorkloadKind::Task;
        spec.items = vec![ItemSpec { name: "one".to_owned(), inputs: Vec::new() }];
    });
    world.admit();
    let a = world.model.assignments.values().next().unwrap().clone();
    let other = if a.host == host(1) { host(2) } else { host(1) };
    let lie = [seen(a.id, a.epoch, Phase::Completed(Exit::Code(0)))];
    assert!(world.step(|draft| observe(draft, other, &lie)).is_empty(), "not its assignment");
    let future = [seen(a.id, a.epoch + 7, Phase::Running)];
    assert!(world.step(|draft| observe(draft, a.host, &future)).is_empty(), "an epoch that was never given out");
    let cut_off = [seen(a.id, a.epoch, Phase::Completed(Exit::Unknown))];
    world.step(|draft| {
        for service in observe(draft, a.host, &cut_off) {
            advance(draft, service);
        }
        relocation::place_waiting(draft);
    });
    assert_eq!(world.state(order), OrderState::InProgress, "a run that was cut off is no result");
    for _ in 0..4 {
        world.agents(&[]);
    }
    assert_eq!(world.state(order), OrderState::Completed);
}

#[test]
fn a_cancelled_order_gives_everything_back() {
    let mut world = World::of(1);
    let order = world.order("notes", Action::Add, |_| {});
    world.admit();
    world.step(|draft| {
        let order = draft.model.orders[&order].clone();
        cancel(draft, &order, "changed my mind");
    });
    world.agents(&[]);
    assert_eq!(world.state(order), OrderState::Cancelled);
    assert!(world.model.assignments.is_empty());
    assert!(world.model.live.is_empty());
}

#[test]
fn every_step_is_idempotent() {
    let mut world = World::of(2);
    world.order("notes", Action::Add, |_| {});
    world.admit();
    world.agents(&[]);
    let service = world.service("notes").id;
    let changes = world.step(|draft| {
        admit(draft);
        relocation::place_waiting(draft);
        advance(draft, service);
        draft.changes.clone()
    });
    assert_eq!(changes, Vec::<Change>::new());
}

#[test]
fn state_is_never_removed_because_a_host_was_silent() {
    let mut world = World::of(2);
    world.order("notes", Action::Add, |spec| {
        stateful(false)(spec);
        spec.policy.mobility.on_loss = OnLoss::StartEmpty;
    });
    world.admit();
    world.agents(&[]);
    lose(&mut world, 1, &[2]);
    world.agents(&[]);
    assert_eq!(world.places("notes"), [2]);
    let old = world.model.assignments_of_host(host(1)).next().unwrap().clone();
    assert_eq!(old.target, Target::Stopped, "kept, not wiped");

    world.hear(1);
    world.agents(&[]);
    assert_eq!(world.model.reserved[&host(1)], crate::fleet::Capacity::default(), "only its files are kept");
    lose(&mut world, 2, &[1]);
    world.agents(&[]);
    assert_eq!(world.places("notes"), [1]);
    let again = world.model.assignments_of_host(host(1)).next().unwrap();
    assert_eq!(again.id, old.id, "it goes on where its state is");

    world.hear(2);
    world.order("notes", Action::Delete, |_| {});
    world.admit();
    world.agents(&[]);
    assert!(world.model.assignments.is_empty(), "a delete removes every copy");
}

#[test]
fn exclusive_state_gets_no_second_writer_on_silence_alone() {
    let mut world = World::of(2);
    world.order("notes", Action::Add, stateful(true));
    world.admit();
    world.agents(&[]);
    lose(&mut world, 1, &[2]);
    assert_eq!(world.places("notes"), [1]);
    world.step(|draft| {
        let known = draft.model.hosts[&host(1)].clone();
        assurance::host_to(draft, &known, HostState::Revoked, "sold");
        relocation::displace(draft, host(1));
        relocation::place_waiting(draft);
    });
    assert_eq!(world.places("notes"), [2], "an operator has said that the host is gone");
}

#[test]
fn the_only_host_takes_its_service_again_when_it_is_back() {
    let mut world = World::of(1);
    world.order("notes", Action::Add, |_| {});
    world.admit();
    world.agents(&[]);
    lose(&mut world, 1, &[]);
    assert_eq!(world.places("notes"), [0; 0]);
    world.hear(1);
    for _ in 0..2 {
        world.agents(&[]);
    }
    assert_eq!(world.service("notes").status, OperatingStatus::Running);
}

#[test]
fn software_that_runs_nowhere_is_given_up_and_not_sent_round_for_ever() {
    let mut world = World::of(2);
    let order = world.order("notes", Action::Add, |_| {});
    world.admit();
    for _ in 0..50 {
        world.now.0 += 60_000_000;
        world.agents(&[1, 2]);
    }
    assert_eq!(world.state(order), OrderState::Failed);
    assert!(
        world.model.orders[&order].reason.contains("given up after 8 tries"),
        "{}",
        world.model.orders[&order].reason
    );
    assert!(world.model.assignments.is_empty());
    let failures: usize = world.model.hosts.values().map(|h| h.failures.len()).sum();
    assert_eq!(failures, 8);
}

#[test]
fn a_host_that_has_seen_later_epochs_is_overtaken() {
    let mut world = World::of(1);
    world.order("notes", Action::Add, |_| {});
    world.admit();
    let a = world.model.assignments.values().next().unwrap().clone();
    let later = [seen(a.id, 41, Phase::Running)];
    world.step(|draft| observe(draft, a.host, &later));
    assert_eq!(world.model.assignments[&a.id].epoch, 42);
    world.agents(&[]);
    assert_eq!(world.service("notes").status, OperatingStatus::Running);
}
