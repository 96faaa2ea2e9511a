//! A machine is taken back, with notice, while a move to it or from it is under way.

use chandler_protocol::Micros;

use super::check;
use super::controller::host;
use super::vanish::plot;
use super::wire::Weather;
use super::world::World;
use super::{FEW, done, ordered, stateful};
use crate::relocation::trigger::{Rules, Senses};

/// How long before.
const NOTICE: Micros = Micros::from_secs(120);

#[test]
fn what_is_taken_back_is_left_in_time() {
    for seed in 0..FEW {
        let mut world = World::new(seed);
        world.controllers[0].rules = Some((Senses::default(), Rules::quick(60)));
        world.wire.weather = Weather { lost: seed % 20, late: seed % 2, ..Weather::default() };
        for n in [11, 12] {
            let price = i64::from(n - 10) * 10_000;
            world.controllers[1].offers(n, price, NOTICE);
        }
        let taken = if seed.is_multiple_of(2) { 11 } else { 12 };
        let when = i64::try_from(world.wire.dice.below(60)).unwrap();
        ordered(&mut world, stateful(seed % 4 != 3));
        for second in 0..200 {
            if second == when {
                world.controllers[1].withdraw(taken);
            }
            if second < 40 {
                plot(&mut world, second);
            }
            world.tick(1);
        }
        let now = world.now();
        let left = world.machines.iter().find(|m| m.id == host(taken)).unwrap();
        let runs: Vec<_> = left.copies.keys().filter(|id| left.is_running(**id, now)).collect();
        assert!(runs.is_empty(), "seed {seed}: {runs:?} run on a machine that was taken back at {when}");
        world.calm();
        done(&world);
        assert!(world.places("notes") != [host(taken)], "seed {seed}");
        check::orphans(&world, 0, 1);
        check::books(&world, 0, 1);
    }
}
