//! A controller is restored from an older backup: what the other side still knows is not lost, and what only the lost
//! days knew is closed, not forgotten.

use super::super::Side;
use super::check;
use super::controller::party;
use super::vanish::plot;
use super::world::World;
use super::{SEEDS, ordered, stateful};
use crate::order::OnLoss;

fn story(seed: u64, who: usize) -> World {
    let mut world = World::new(seed);
    (world.seen.may_lose, world.seen.may_fork) = (true, true);
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
            world.seen.excused = if who == 0 { world.second + 20 } else { 0 };
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
        check::own_books(&world, 0, 1);
    }
}

#[test]
fn a_buyer_restored_from_a_backup_closes_what_it_does_not_know() {
    for seed in 0..SEEDS {
        let world = story(seed, 0);
        check::orphans(&world, 0, 1);
        let heads = [(0, 1, Side::Bought), (1, 0, Side::Sold)].map(|(at, with, side)| {
            world.controllers[at].model.chains.get(&(party(with), side)).map(|c| (c.head, c.sums.amount))
        });
        assert_eq!(heads[0], heads[1], "seed {seed}: it was given again what it had forgotten");
    }
}
