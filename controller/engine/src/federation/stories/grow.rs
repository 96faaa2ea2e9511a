//! What runs at a partner is amended to want more, or less: its lease follows, or it goes elsewhere.

use chandler_protocol::{MilliCpu, OrderId};

use super::super::{Lease, Side};
use super::check;
use super::controller::host;
use super::vanish::plot;
use super::wire::Weather;
use super::world::World;
use super::{FEW, SEEDS, done, ordered, stateful};
use crate::fleet::Host;
use crate::order::{Action, OnLoss, Order, OrderState};

/// The service is amended to this many cores, in thousandths.
fn amended(world: &mut World, cpu: u32) -> OrderId {
    let (seed, may_lose) = (world.seed, world.seen.may_lose);
    world.controllers[0].order("notes", Action::Modify, |spec| {
        stateful(seed.is_multiple_of(2))(spec);
        if may_lose {
            spec.policy.mobility.on_loss = OnLoss::StartEmpty;
        }
        spec.workload.limits.cpu = Some(MilliCpu(cpu));
    })
}

fn order(world: &World, id: OrderId) -> &Order {
    &world.controllers[0].model.orders[&id]
}

fn lease(world: &World, who: usize) -> &Lease {
    let mut open = world.controllers[who].model.leases.values().filter(|l| l.is_open());
    let one = open.next().unwrap();
    assert!(open.next().is_none(), "seed {} second {}: more than one lease", world.seed, world.second);
    one
}

/// So many seconds pass, in each of which the software runs.
fn runs_for(world: &mut World, seconds: i64) {
    for _ in 0..seconds {
        world.tick(1);
        let now = world.now();
        let running: usize =
            world.machines.iter().map(|m| m.copies.keys().filter(|id| m.is_running(**id, now)).count()).sum();
        assert!(running > 0, "seed {} second {}: nothing runs", world.seed, world.second);
    }
}

/// What was paid for, in thousandths of a core, receipt by receipt, each once.
fn paid(world: &World) -> Vec<u32> {
    let all = world.controllers[0].disk.receipts.values().flat_map(|chain| chain.values());
    let mut cpu: Vec<_> = all.map(|r| r.used.reserved.cpu.0).collect();
    cpu.dedup();
    cpu
}

/// Nothing is in dispute: both knew at each moment what was leased.
fn undisputed(world: &World) {
    for controller in &world.controllers {
        assert!(controller.model.disputes.is_empty(), "seed {}: {:?}", world.seed, controller.model.disputes);
    }
}

#[test]
fn a_lease_follows_what_is_amended() {
    for seed in 0..FEW {
        let mut world = World::new(seed);
        ordered(&mut world, stateful(seed.is_multiple_of(2)));
        for _ in 0..12 {
            world.tick(1);
        }
        for cpu in [3_000, 500, 2_000] {
            let id = amended(&mut world, cpu);
            runs_for(&mut world, 30);
            assert_eq!(order(&world, id).state, OrderState::Completed, "seed {seed}: {}", order(&world, id).reason);
            for who in 0..2 {
                assert_eq!(lease(&world, who).capacity.cpu, MilliCpu(cpu), "seed {seed}: controller {who}");
            }
            let host = host(11);
            let (sold, bought) = (&world.controllers[1].model, &world.controllers[0].model);
            assert_eq!(sold.reserved[&host].cpu, MilliCpu(cpu), "seed {seed}: what is not wanted is free for others");
            assert_eq!(bought.reserved[&host].cpu, MilliCpu(cpu), "seed {seed}");
        }
        world.calm();
        done(&world);
        assert_eq!(world.controllers[0].service("notes").unwrap().replacements, [], "seed {seed}: it stayed");
        check::books(&world, 0, 1);
        check::orphans(&world, 0, 1);
        undisputed(&world);
        assert_eq!(paid(&world), [1_000, 3_000, 500, 2_000], "seed {seed}: each second by what was leased then");
    }
}

/// The seller has sold the room to somebody else, which its buyer does not know yet.
#[test]
fn what_a_seller_has_no_room_for_goes_elsewhere_and_runs_meanwhile() {
    for seed in 0..FEW {
        let mut world = World::new(seed);
        ordered(&mut world, stateful(seed.is_multiple_of(2)));
        for _ in 0..12 {
            world.tick(1);
        }
        world.controllers[1].order("others", Action::Add, |spec| spec.workload.limits.cpu = Some(MilliCpu(2_000)));
        world.controllers[1].tasks();
        let id = amended(&mut world, 3_000);
        runs_for(&mut world, 40);
        assert_eq!(order(&world, id).state, OrderState::Completed, "seed {seed}: {}", order(&world, id).reason);
        assert_eq!(world.places("notes"), [host(12)], "seed {seed}");
        world.calm();
        done(&world);
        check::books(&world, 0, 1);
        undisputed(&world);
    }
}

#[test]
fn an_amendment_that_nobody_has_room_for_is_refused_and_changes_nothing() {
    for seed in 0..FEW {
        let mut world = World::new(seed);
        ordered(&mut world, stateful(seed.is_multiple_of(2)));
        for _ in 0..12 {
            world.tick(1);
        }
        world.controllers[0].transact(|draft| {
            let own = draft.model.hosts[&host(1)].as_ref().clone();
            let mut inventory = own.inventory.clone().unwrap();
            inventory.offered.cpu = MilliCpu(500);
            draft.put(Host { inventory: Some(inventory), ..own });
        });
        // The one on the other machine is known to the buyer by then, the one beside it not yet.
        for (name, cpu) in [("a", 4_000), ("b", 2_000)] {
            runs_for(&mut world, 8);
            world.controllers[1].order(name, Action::Add, |spec| spec.workload.limits.cpu = Some(MilliCpu(cpu)));
            world.controllers[1].tasks();
        }
        let before = world.controllers[0].service("notes").unwrap().clone();
        let id = amended(&mut world, 3_500);
        runs_for(&mut world, 40);
        let refused = order(&world, id);
        assert_eq!(refused.state, OrderState::Rejected, "seed {seed}: {}", refused.reason);
        assert!(!refused.nearest.is_empty(), "seed {seed}: {}", refused.reason);
        let after = world.controllers[0].service("notes").unwrap();
        assert_eq!((&after.spec, after.agreement), (&before.spec, before.agreement), "seed {seed}");
        world.calm();
        done(&world);
        for who in 0..2 {
            assert_eq!(lease(&world, who).capacity.cpu, MilliCpu(1_000), "seed {seed}");
        }
        check::books(&world, 0, 1);
    }
}

/// A later amendment takes the place of one that waits, and a deletion too.
#[test]
fn what_waits_for_room_gives_way_to_a_later_order() {
    for seed in 0..FEW {
        let mut world = World::new(seed);
        ordered(&mut world, stateful(seed.is_multiple_of(2)));
        for _ in 0..12 {
            world.tick(1);
        }
        world.wire.cut.insert((0, 1));
        let first = amended(&mut world, 3_000);
        world.controllers[0].tasks();
        assert_eq!(order(&world, first).state, OrderState::Acknowledged, "seed {seed}");
        assert!(order(&world, first).reason.contains("asks partner-1 for 3 cores"), "{}", order(&world, first).reason);
        let deletes = seed % 3 == 0;
        let second = if deletes {
            world.controllers[0].order("notes", Action::Delete, |_| {})
        } else {
            amended(&mut world, 2_000)
        };
        world.controllers[0].tasks();
        assert_eq!(order(&world, first).state, OrderState::Cancelled, "seed {seed}");
        world.tick(1);
        world.calm();
        assert_eq!(order(&world, second).state, OrderState::Completed, "seed {seed}");
        if !deletes {
            done(&world);
            assert_eq!(lease(&world, 1).capacity.cpu, MilliCpu(2_000), "seed {seed}");
        }
        check::books(&world, 0, 1);
        check::orphans(&world, 0, 1);
        undisputed(&world);
    }
}

/// Amended up and down again and again, on the way of the plot: words are lost, late and twice, controllers crash, the
/// seller is restored from a backup.
fn rough(seed: u64, weather: Weather, crashes: bool, restored: Option<usize>) {
    let mut world = World::new(seed);
    world.wire.weather = weather;
    ordered(&mut world, |spec| {
        stateful(seed.is_multiple_of(2))(spec);
        spec.policy.mobility.on_loss = OnLoss::StartEmpty;
    });
    world.seen.may_lose = true;
    let mut backup = None;
    for second in 0..72 {
        plot(&mut world, second);
        if second > 8 && second % 11 == 0 {
            let cpu = [500, 1_500, 2_500, 3_500][usize::try_from(world.wire.dice.below(4)).unwrap()];
            amended(&mut world, cpu);
        }
        if crashes && world.wire.dice.percent(4) {
            let who = usize::try_from(world.wire.dice.below(2)).unwrap();
            world.crash(who);
        }
        if let Some(who) = restored {
            if second == 20 {
                backup = Some(world.controllers[who].disk.clone());
            }
            if second == 21 + i64::try_from(seed % 30).unwrap() {
                world.restart(who, backup.as_ref());
                world.seen.restored = Some(who);
            }
        }
        world.tick(1);
        for who in 0..2 {
            if !world.controllers[who].up && world.wire.dice.percent(50) {
                world.restart(who, None);
            }
        }
    }
    world.calm();
    done(&world);
    let copy = world.controllers[0].model.assignments.values().find(|a| a.is_to_run()).unwrap().clone();
    for who in 0..2 {
        let known = world.controllers[who].model.leases.get(&copy.id).filter(|l| l.is_open());
        assert!(known.is_none_or(|l| l.capacity == copy.reserved), "seed {seed}: {known:?}, {:?}", copy.reserved);
        assert!(known.is_none_or(|l| l.watch.size.asked.is_none()), "seed {seed}: {known:?}");
        if let Some(sold) = known.filter(|l| l.side == Side::Sold) {
            assert_eq!(sold.watch.size.still, None, "seed {seed}");
        }
    }
    check::orphans(&world, 0, 1);
    check::books(&world, 0, 1);
    if restored.is_none() {
        undisputed(&world);
    }
}

#[test]
fn amendments_on_a_bad_wire_come_to_the_same_for_both() {
    for seed in 0..SEEDS {
        let lost = [0, 10, 40][usize::try_from(seed % 3).unwrap()];
        rough(seed, Weather { lost, twice: 30, late: 1 + seed % 7, replayed: seed % 2 == 1 }, false, None);
    }
}

#[test]
fn amendments_while_controllers_crash_come_to_the_same_for_both() {
    for seed in 0..SEEDS {
        rough(seed, Weather { lost: 10, twice: 10, late: seed % 4, replayed: false }, true, None);
    }
}

#[test]
fn a_seller_restored_from_a_backup_finds_the_sizes_again() {
    for seed in 0..SEEDS {
        rough(seed, Weather::default(), false, Some(1));
    }
}

#[test]
fn a_buyer_restored_from_a_backup_comes_to_the_same_size_again() {
    for seed in 0..SEEDS {
        rough(seed, Weather::default(), false, Some(0));
    }
}
