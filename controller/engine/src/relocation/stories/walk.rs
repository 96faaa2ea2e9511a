//! Anything in any order: whatever happens to three hosts, their doors and their controller, the audit holds after each
//! step, no two copies may write, and once the faults are over the service runs once and its state has one owner.

use chandler_protocol::MilliCpu;
use chandler_protocol::state::{Failure, Phase};
use proptest::prelude::*;

use super::*;
use crate::order::OnLoss;
use crate::relocation::tenure::Stage;
use crate::service::OperatingStatus;

/// Something that happens.
#[derive(Debug, Clone, Copy)]
enum Act {
    Report(u8),
    Fail(u8),
    Unwell(u8),
    Behind(u8),
    Well,
    Turn,
    Busy(u8),
    Cut(u8),
    Hear(u8),
    Pass(i64),
    Look,
    /// Everybody does the next thing.
    Go,
    Move(u8),
    Resize(u32),
    /// It shall keep running where nobody hears it, or stop.
    Keep(bool),
    Restart,
}

fn act() -> impl Strategy<Value = Act> {
    let n = 1..=3_u8;
    prop_oneof![
        8 => n.clone().prop_map(Act::Report),
        1 => n.clone().prop_map(Act::Fail),
        1 => n.clone().prop_map(Act::Unwell),
        1 => n.clone().prop_map(Act::Behind),
        3 => Just(Act::Well),
        6 => Just(Act::Turn),
        1 => n.clone().prop_map(Act::Busy),
        2 => n.clone().prop_map(Act::Cut),
        3 => n.clone().prop_map(Act::Hear),
        4 => prop_oneof![Just(1_i64), Just(3), Just(11), Just(40), Just(601)].prop_map(Act::Pass),
        4 => Just(Act::Look),
        8 => Just(Act::Go),
        4 => n.prop_map(Act::Move),
        1 => (1..=3_u32).prop_map(|n| Act::Resize(n * 500)),
        1 => any::<bool>().prop_map(Act::Keep),
        1 => Just(Act::Restart),
    ]
}

fn copies(world: &World, n: u8) -> Vec<(AssignmentId, Target)> {
    let id = id(world);
    world.model.assignments_of_host(host(n)).filter(|a| a.service == id).map(|a| (a.id, a.target)).collect()
}

fn says(world: &mut World, n: u8, phase: impl Fn(Target) -> Option<Phase>) {
    for (copy, target) in copies(world, n) {
        if let Some(phase) = phase(target) {
            world.says.insert(copy, phase);
        }
    }
}

/// What is ordered anew: another size, or whether it keeps running.
#[derive(Debug, Clone, Copy)]
enum Change {
    Cpu(u32),
    Keep(bool),
}

fn happen(world: &mut World, act: Act, change: &mut impl FnMut(&mut World, Change)) {
    let runs = |t: Target| matches!(t, Target::Running | Target::Own(_));
    match act {
        Act::Report(n) if world.model.pulse(host(n)).connected => world.report(n, false),
        Act::Fail(n) => says(world, n, |t| runs(t).then_some(Phase::Failed(Failure::Start))),
        Act::Unwell(n) => says(world, n, |t| runs(t).then_some(Phase::Unhealthy)),
        Act::Behind(n) => says(world, n, |t| match t {
            Target::Receive(order) => {
                Some(Phase::Receiving(Progress { attempt: order.attempt, ..Progress::default() }))
            }
            _ => None,
        }),
        Act::Well => world.says.clear(),
        Act::Turn => world.door(DOOR, "notes", &[], &[]),
        Act::Busy(n) => {
            let busy: Vec<_> = copies(world, n).into_iter().map(|(id, _)| (id, 1)).collect();
            world.door(DOOR, "notes", &busy, &[]);
        }
        Act::Cut(n) => world.cut(n),
        Act::Hear(n) => world.hear(n),
        Act::Pass(seconds) => world.pass(seconds),
        Act::Look => {
            world.watch();
        }
        Act::Go => {
            for n in (1..=3).filter(|n| world.model.pulse(host(*n)).connected).collect::<Vec<_>>() {
                world.report(n, false);
            }
            world.door(DOOR, "notes", &[], &[]);
        }
        Act::Move(n) => {
            let id = id(world);
            let _ = world.step(|draft| order_move(draft, id, Destination::Host(host(n)), "anna"));
        }
        Act::Resize(cpu) => change(world, Change::Cpu(cpu)),
        Act::Keep(keeps) => change(world, Change::Keep(keeps)),
        Act::Restart => {
            world.model.doors = Default::default();
            world.model.lease_given = Default::default();
            world.model.observable_since = world.now;
            world.model.leasing_since = world.boot();
        }
        Act::Report(_) => {}
    }
    // What is said of a copy holds for what it was told then.
    let told: Vec<_> = world.says.keys().copied().collect();
    for copy in told {
        let fits = |p: &Phase, t: Target| {
            matches!(p, Phase::Receiving(_)) == matches!(t, Target::Receive(_))
                && (runs(t) || matches!(t, Target::Receive(_)))
        };
        let is = world.model.assignments.get(&copy).map(|a| a.target);
        if !is.is_some_and(|t| world.says.get(&copy).is_some_and(|p| fits(p, t))) {
            world.says.remove(&copy);
        }
    }
}

fn settle_down(world: &mut World) {
    for _ in 0..8 {
        calm(world);
        let moves = world.model.moves_of(id(world)).next().is_some();
        if !moves && world.service("notes").pending_order.is_none() {
            return;
        }
        world.pass(601);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn state_has_one_owner_whatever_happens(
        empty in any::<bool>(),
        keeps in any::<bool>(),
        acts in prop::collection::vec(act(), 20..80),
    ) {
        let order = |spec: &mut OrderSpec, keeps: bool| {
            stateful(true)(spec);
            spec.policy.mobility.unleased = keeps;
            spec.policy.mobility.on_loss = if empty && !keeps { OnLoss::StartEmpty } else { OnLoss::Wait };
        };
        let mut world = with(|spec| order(spec, keeps));
        let (mut cpu, mut keeps) = (None, keeps);
        for act in acts {
            happen(&mut world, act, &mut |world, change| {
                match change {
                    Change::Cpu(n) => cpu = Some(MilliCpu(n)),
                    Change::Keep(is) => keeps = is,
                }
                world.order("notes", Action::Modify, |spec| {
                    order(spec, keeps);
                    spec.workload.limits.cpu = cpu.or(spec.workload.limits.cpu);
                });
                world.admit();
            });
        }
        settle_down(&mut world);
        let tenure = world.service("notes").tenure.unwrap();
        let runs = world.model.assignments_of(id(&world)).filter(|a| a.is_to_run()).map(|a| a.id).collect::<Vec<_>>();
        prop_assert_eq!(tenure.stage, Stage::Settled, "{:?}", newest_or_none(&world));
        prop_assert_eq!(tenure.owner.into_iter().collect::<Vec<_>>(), runs);
        prop_assert_eq!(world.service("notes").status, OperatingStatus::Running);
        prop_assert_eq!(world.service("notes").route.backends.len(), 1);
        prop_assert_eq!(world.service("notes").route.hold, None);
        prop_assert!(world.model.moves_of(id(&world)).next().is_none(), "{:?}", newest_or_none(&world));
    }

    #[test]
    fn copies_without_state_end_up_once_each(acts in prop::collection::vec(act(), 20..80)) {
        let mut world = with(|_| {});
        for act in acts {
            happen(&mut world, act, &mut |world, change| {
                let Change::Cpu(cpu) = change else { return };
                world.order("notes", Action::Modify, |spec| spec.workload.limits.cpu = Some(MilliCpu(cpu)));
                world.admit();
            });
        }
        settle_down(&mut world);
        let runs = world.model.assignments_of(id(&world)).filter(|a| a.is_to_run()).map(|a| a.id).collect::<Vec<_>>();
        prop_assert_eq!(runs.len(), 1, "{:?}", newest_or_none(&world));
        prop_assert_eq!(world.service("notes").status, OperatingStatus::Running);
        prop_assert_eq!(&world.service("notes").route.backends, &runs);
        prop_assert!(world.model.moves_of(id(&world)).next().is_none(), "{:?}", newest_or_none(&world));
    }
}

fn newest_or_none(world: &World) -> Option<&Move> {
    let id = id(world);
    let all = world.model.moves.values().filter(|m| m.service == id);
    all.max_by_key(|m| (m.started_at, m.id)).map(AsRef::as_ref)
}
