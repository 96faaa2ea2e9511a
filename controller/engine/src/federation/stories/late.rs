//! Answers are late, come twice, or in another order than they were given; words are lost; controllers crash.

use super::check;
use super::vanish::plot;
use super::wire::Weather;
use super::world::World;
use super::{SEEDS, done, ordered, stateful};

fn story(seed: u64, weather: Weather, crashes: bool) {
    let mut world = World::new(seed);
    world.wire.weather = weather;
    ordered(&mut world, stateful(seed % 4 != 3));
    for second in 0..110 {
        plot(&mut world, second);
        if crashes && world.wire.dice.percent(4) {
            let who = usize::try_from(world.wire.dice.below(2)).unwrap();
            world.crash(who);
        }
        world.tick(1);
        for who in 0..2 {
            if !world.controllers[who].up && world.wire.dice.percent(50) {
                world.restart(who, None);
            }
        }
    }
    world.calm();
    if world.controllers[0].service("notes").is_some() {
        done(&world);
    }
    check::orphans(&world, 0, 1);
    check::books(&world, 0, 1);
}

#[test]
fn words_that_are_late_twice_or_out_of_order_change_nothing() {
    for seed in 0..SEEDS {
        let lost = [0, 10, 40][usize::try_from(seed % 3).unwrap()];
        story(seed, Weather { lost, twice: 30, late: 1 + seed % 7, replayed: seed % 2 == 1 }, false);
    }
}

#[test]
fn controllers_that_crash_on_a_bad_wire_come_to_the_same_end() {
    for seed in 0..SEEDS {
        story(seed, Weather { lost: 10, twice: 10, late: seed % 4, replayed: false }, true);
    }
}
