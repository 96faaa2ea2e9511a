//! A controller is restored from an older backup: what the other side still knows is not lost, and what only the lost
//! days knew is closed, not forgotten.

use chandler_protocol::Micros;

use super::super::{Orders, Party, close, take_orders};
use super::check;
use super::controller::{host, party};
use super::vanish::plot;
use super::world::World;
use super::{FEW, SEEDS, done, ordered, stateful};
use crate::order::OnLoss;
use crate::service::OperatingStatus;

fn story(seed: u64, who: usize) -> World {
    let mut world = World::new(seed);
    world.seen.may_lose = true;
    let taken = i64::try_from(world.wire.dice.below(60)).unwrap();
    let lost = 2 + i64::try_from(world.wire.dice.below(30)).unwrap();
    let mut backup = None;
    ordered(&mut world, |spec| {
        stateful(seed.is_multiple_of(2))(spec);
        spec.policy.mobility.on_loss = OnLoss::StartEmpty;
    });
    for second in 0..taken + lost + 20 {
        if second == taken {
            backup = Some(world.controllers[who].disk.clone());
        }
        if second == taken + lost {
            world.restart(who, backup.as_ref());
            world.seen.restored = Some(who);
        }
        if second < 72 {
            plot(&mut world, second);
        }
        world.tick(1);
    }
    world.calm();
    world
}

#[test]
fn a_seller_restored_from_a_backup_finds_its_buyers_again() {
    for seed in 0..SEEDS {
        let world = story(seed, 1);
        check::orphans(&world, 0, 1);
        check::books(&world, 0, 1);
    }
}

#[test]
fn a_buyer_restored_from_a_backup_closes_what_it_does_not_know() {
    for seed in 0..SEEDS {
        let world = story(seed, 0);
        check::orphans(&world, 0, 1);
        check::books(&world, 0, 1);
    }
}

/// A buyer that was restored names a copy no more, and gives its lease back later, or never: it does not run on for nothing.
#[test]
fn what_a_buyer_names_no_more_ends_with_its_lease() {
    for by in [Party::Buyer, Party::Time] {
        let mut world = World::new(0);
        ordered(&mut world, |_| {});
        for _ in 0..10 {
            world.tick(1);
        }
        let (now, machine) = (world.now(), host(11));
        let runs = |world: &World| {
            let one = world.machines.iter().find(|m| m.id == machine).unwrap();
            one.copies.keys().copied().find(|id| one.is_running(*id, now))
        };
        let copy = runs(&world).unwrap();
        world.wire.cut.insert((0, 1));
        world.controllers[1].transact(|draft| {
            let orders = Orders { generation: 1_000_000, ..Orders::default() };
            take_orders(draft, party(0), machine, orders).unwrap();
        });
        world.tick(1);
        assert_eq!(runs(&world), Some(copy), "to say nothing of it is no order to stop it");
        world.controllers[1].transact(|draft| close(draft, copy, by, "over"));
        world.tick(1);
        world.tick(1);
        assert_eq!(runs(&world), None, "{by:?}");
    }
}

/// A buyer restored from before a move between two machines of its partner: the later epoch that is claimed is its own, as
/// its signature says, and who owns the state is not guessed.
#[test]
fn a_buyer_restored_from_a_backup_believes_its_own_epochs() {
    for seed in 0..FEW {
        let mut world = World::new(seed);
        ordered(&mut world, stateful(true));
        for _ in 0..10 {
            world.tick(1);
        }
        let (backup, tenure) =
            (world.controllers[0].disk.clone(), world.controllers[0].service("notes").unwrap().tenure);
        // There and back: the first machine's copy is another by then, or the same under later epochs.
        world.controllers[0].transact(|draft| {
            let service = draft.model.services.values().next().unwrap().id;
            let copy = draft.model.assignments_of(service).next().unwrap().clone();
            crate::relocation::freeze(draft, &copy, copy.epoch + 1, "knows another epoch");
        });
        assert!(world.moves("notes", 11), "seed {seed}: the operator says whose copy is right");
        for _ in 0..10 {
            world.tick(1);
        }
        assert!(world.controllers[0].service("notes").unwrap().tenure.unwrap().epoch > tenure.unwrap().epoch);
        world.restart(0, Some(&backup));
        world.seen.restored = Some(0);
        for _ in 0..10 {
            world.tick(1);
        }
        let notes = world.controllers[0].service("notes").unwrap();
        assert!(notes.reason.starts_with("frozen"), "seed {seed}: {}", notes.reason);
        assert!(world.moves("notes", 11), "seed {seed}");
        world.calm();
        done(&world);
        check::orphans(&world, 0, 1);
        check::books(&world, 0, 1);
    }
}

/// A buyer restored from before a move away from a partner's machine: the copy there says that it has handed its state
/// over, under the very epoch that the buyer knows, or its lease was given back. It is not begun anew.
#[test]
fn a_buyer_restored_from_before_a_move_asks_whose_state_counts() {
    for seed in 0..FEW {
        let mut world = World::new(seed);
        let long = seed.is_multiple_of(2);
        ordered(&mut world, |spec| {
            stateful(true)(spec);
            spec.policy.mobility.undo_kept = Micros::from_secs(if long { 5 } else { 3_600 });
        });
        for _ in 0..10 {
            world.tick(1);
        }
        let backup = world.controllers[0].disk.clone();
        assert!(world.moves("notes", 12), "seed {seed}");
        for _ in 0..30 {
            world.tick(1);
        }
        assert_eq!(world.places("notes"), [host(12)], "seed {seed}");
        world.restart(0, Some(&backup));
        world.seen.restored = Some(0);
        for _ in 0..15 {
            world.tick(1);
        }
        let notes = world.controllers[0].service("notes").unwrap();
        let why = if long { "its buyer has done with it" } else { "frozen" };
        assert!(notes.reason.contains(why), "seed {seed}: {:?} {}", notes.status, notes.reason);
        assert_ne!(notes.status, OperatingStatus::Running, "seed {seed}");
    }
}
