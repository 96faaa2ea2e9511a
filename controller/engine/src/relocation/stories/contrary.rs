//! Orders against each other, and orders that cannot be.

use chandler_protocol::{Bytes, HostId, MilliCpu, SiteId};

use super::*;
use crate::order::{OrderState, OwnerKind};
use crate::relocation::{NotMoved, Plan, may_move, plan_move};
use crate::service::Trigger;

fn wants(world: &mut World, wanted: Destination) -> Result<MoveId, NotMoved> {
    let id = id(world);
    let before = (world.model.assignments.clone(), world.model.moves.clone());
    let done = world.step(|draft| order_move(draft, id, wanted, "bert"));
    if done.is_err() {
        assert_eq!(before, (world.model.assignments.clone(), world.model.moves.clone()), "a refusal changes nothing");
    }
    done
}

#[test]
fn of_two_contrary_orders_the_later_one_counts_while_nothing_is_held() {
    let mut world = exclusive();
    let first = order_to(&mut world, 2);
    drive(&mut world, MovePhase::Copying);
    let second = wants(&mut world, Destination::Host(host(3))).unwrap();
    let superseded = &world.model.moves[&first];
    assert_eq!(superseded.phase, MovePhase::RolledBack);
    assert!(superseded.reason.contains("bert ordered it elsewhere"), "{}", superseded.reason);
    assert_eq!(world.model.moves_of(id(&world)).map(|m| m.id).collect::<Vec<_>>(), [second]);
    assert_eq!(wants(&mut world, Destination::Host(host(3))), Ok(second), "said twice, done once");
    calm(&mut world);
    assert_eq!(world.places("notes"), [3]);
}

#[test]
fn an_order_that_comes_in_the_middle_of_the_switch_is_refused_and_disturbs_nothing() {
    let mut world = exclusive();
    let first = order_to(&mut world, 2);
    drive(&mut world, MovePhase::FinalCopy);
    let refused = wants(&mut world, Destination::Host(host(3))).unwrap_err();
    assert_eq!(refused.code, "E0311");
    calm(&mut world);
    assert_eq!((world.model.moves[&first].phase, world.places("notes")), (MovePhase::Done, vec![2]));
}

#[test]
fn an_amendment_waits_for_the_switch_and_then_counts() {
    let mut world = exclusive();
    order_to(&mut world, 2);
    drive(&mut world, MovePhase::Starting);
    let smaller = world.order("notes", Action::Modify, |spec| {
        stateful(true)(spec);
        spec.workload.limits.cpu = Some(MilliCpu(500));
    });
    world.admit();
    assert_eq!(world.state(smaller), OrderState::Acknowledged);
    drive(&mut world, MovePhase::Done);
    world.admit();
    calm(&mut world);
    assert_eq!(world.state(smaller), OrderState::Completed);
    assert_eq!(world.places("notes"), [2]);
}

#[test]
fn an_amendment_before_the_hold_takes_the_place_of_the_move() {
    let mut world = exclusive();
    let first = order_to(&mut world, 2);
    drive(&mut world, MovePhase::Copying);
    let amended = world.order("notes", Action::Modify, |spec| {
        stateful(true)(spec);
        spec.workload.limits.memory = Some(Bytes(2 << 30));
    });
    world.admit();
    assert_eq!(world.model.moves[&first].phase, MovePhase::RolledBack);
    calm(&mut world);
    assert_eq!(world.state(amended), OrderState::Completed);
    assert_eq!(world.places("notes"), [1], "state that may stay, stays");
}

#[test]
fn an_amendment_to_the_impossible_does_not_disturb_a_move() {
    let mut world = exclusive();
    let first = order_to(&mut world, 2);
    drive(&mut world, MovePhase::Copying);
    let before = (world.model.moves.clone(), world.model.assignments.clone());
    let impossible = world.order("notes", Action::Modify, |spec| {
        stateful(true)(spec);
        spec.terms.residency = vec!["FR".to_owned()];
    });
    world.admit();
    assert_eq!(world.state(impossible), OrderState::Rejected);
    assert_eq!(before, (world.model.moves.clone(), world.model.assignments.clone()));
    calm(&mut world);
    assert_eq!(world.model.moves[&first].phase, MovePhase::Done);
}

#[test]
fn an_amended_sla_takes_the_state_along() {
    let mut world = exclusive();
    world.step(|draft| {
        let known = draft.model.sites[&SiteId::from_random([2; 10])].as_ref().clone();
        draft.put(crate::site::Site { country: "CH".to_owned(), ..known });
    });
    let amended = world.order("notes", Action::Modify, |spec| {
        stateful(true)(spec);
        spec.terms.residency = vec!["CH".to_owned()];
    });
    world.admit();
    assert_eq!(newest(&world).trigger, Trigger::SlaAmended);
    assert_eq!(world.places("notes"), [1], "it serves where it is until its state has arrived");
    // The first try fails; what was ordered is tried again.
    world.report(2, false);
    drive(&mut world, MovePhase::Starting);
    let new = newest(&world).to.unwrap();
    world.says.insert(new, Phase::Failed(chandler_protocol::state::Failure::Start));
    world.report(2, false);
    world.says.clear();
    world.report(2, false);
    assert_eq!(phase(&world), MovePhase::RolledBack);
    assert_eq!(world.state(amended), OrderState::InProgress);
    calm(&mut world);
    assert_eq!((world.places("notes"), world.state(amended)), (vec![2], OrderState::Completed));
}

#[test]
fn a_service_that_is_deleted_in_the_middle_of_its_move_is_gone() {
    for at in [MovePhase::Copying, MovePhase::Holding, MovePhase::FinalCopy, MovePhase::Starting, MovePhase::Draining] {
        let mut world = exclusive();
        order_to(&mut world, 2);
        drive(&mut world, at);
        let delete = world.order("notes", Action::Delete, |_| {});
        world.admit();
        for _ in 0..3 {
            world.agents(&[]);
        }
        assert_eq!(world.state(delete), OrderState::Completed, "{at:?}");
        assert!(world.model.assignments.is_empty(), "{at:?}");
        assert!(world.model.moving.values().all(|m| m.is_empty()));
    }
}

#[test]
fn a_move_that_cannot_be_says_why_and_what_could() {
    let mut world = exclusive();
    let check = |world: &mut World, wanted, code: &str, says: &str, nearest: Option<&str>| {
        let refused = wants(world, wanted).unwrap_err();
        assert_eq!(refused.code, code, "{refused:?}");
        assert!(refused.text.contains(says), "{refused:?} does not say {says:?}");
        assert_eq!(refused.nearest.as_deref(), nearest, "{refused:?}");
    };
    let nobody = HostId::from_random([99; 10]);
    check(&mut world, Destination::Host(nobody), "E0130", "no such destination", None);
    check(&mut world, Destination::Host(host(1)), "E0312", "runs there already", None);
    check(&mut world, Destination::Owner(OwnerKind::Partner), "E0130", "no such destination", None);
    // Another customer's own computer.
    world.step(|draft| {
        let known = draft.model.sites[&SiteId::from_random([3; 10])].as_ref().clone();
        draft.put(crate::site::Site { role: crate::site::SiteRole::Customer, ..known });
    });
    check(&mut world, Destination::Host(host(3)), "E0310", "owner", Some("h-2"));
    // Too small.
    world.step(|draft| {
        let mut known = draft.model.hosts[&host(2)].as_ref().clone();
        if let Some(inventory) = known.inventory.as_mut() {
            inventory.offered.cpu = MilliCpu(10);
        }
        draft.put(known);
    });
    check(&mut world, Destination::Host(host(2)), "E0310", "h-2", None);
    check(&mut world, Destination::Site(SiteId::from_random([2; 10])), "E0310", "site-2", None);
}

#[test]
fn one_move_at_a_time_and_none_for_what_is_not_in_use() {
    let mut world = exclusive();
    let service = id(&world);
    assert!(may_move(&world.model, service));
    order_to(&mut world, 2);
    assert!(!may_move(&world.model, service));
    let from = owner(&world).unwrap();
    let predicted = Default::default();
    let (trigger, evidence, by) = (Trigger::Price, "cheaper".to_owned(), "relocation".to_owned());
    let plan = Plan { trigger, evidence, by, predicted, only: &[], avoid: &[] };
    let before = world.model.assignments.clone();
    assert!(world.step(|draft| plan_move(draft, service, from, &plan)).is_err());
    assert_eq!(world.model.assignments, before);
}
