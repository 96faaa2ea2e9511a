//! The partner vanishes at every step of reserve, lease, assign, move and close, for a while or for good.

use super::check;
use super::controller::host;
use super::world::{How, World};
use super::{SEEDS, done, ordered, stateful};
use crate::order::{Action, OnLoss};

/// What happens in the story without faults: bought, run, moved between the two machines of the partner, to an own one and
/// back.
pub(super) fn plot(world: &mut World, second: i64) {
    match second {
        12 => {
            world.moves("notes", 12);
        }
        32 => {
            world.moves("notes", 1);
        }
        52 => {
            world.moves("notes", 11);
        }
        72 => {
            world.controllers[0].order("notes", Action::Delete, |_| {});
        }
        _ => {}
    }
}

/// The words of the plot, roughly: the partner vanishes after each of them in turn.
const WORDS: u64 = 480;

fn story(seed: u64, deletes: bool) {
    let hows = [How::Cut, How::Crash, How::Power];
    let how = hows[usize::try_from(seed % 3).unwrap()];
    let mut world = World::new(seed);
    let after = world.wire.delivered + seed * WORDS / SEEDS + world.wire.dice.below(WORDS / SEEDS);
    let lasts = [1, 4, 11, 40, 90][usize::try_from(world.wire.dice.below(5)).unwrap()];
    world.vanishes = Some((after, how));
    ordered(&mut world, stateful(seed % 4 != 3));
    let mut back = None;
    for second in 0..100 + lasts {
        if world.vanishes.is_none() && back.is_none() {
            back = Some(second + lasts);
        }
        if back == Some(second) {
            world.vanish(how, true);
        }
        if second < 72 || deletes {
            plot(&mut world, second);
        }
        world.tick(1);
    }
    assert!(back.is_some(), "seed {seed}: nothing vanished, after {} words", world.wire.delivered);
    world.calm();
    if deletes {
        assert!(world.controllers[0].service("notes").is_none(), "seed {seed}: it was to be deleted");
        let left: Vec<_> = world.controllers[0].model.assignments.values().map(|a| (a.host, a.target)).collect();
        assert_eq!(left, [], "seed {seed}");
    } else {
        done(&world);
    }
    check::orphans(&world, 0, 1);
    check::books(&world, 0, 1);
}

#[test]
fn a_partner_that_comes_back_finds_everything_as_it_should_be() {
    for seed in 0..SEEDS {
        story(seed, false);
    }
}

#[test]
fn what_is_deleted_while_a_partner_is_away_is_closed_on_both_sides() {
    for seed in 0..SEEDS {
        story(seed, true);
    }
}

/// Gone for good: the buyer goes on elsewhere, where it may; the seller, were it only cut off, closes what nobody touches.
#[test]
fn a_partner_that_never_comes_back_is_not_waited_for() {
    for seed in 0..SEEDS {
        let mut world = World::new(seed);
        world.seen.may_lose = true;
        let after = world.wire.delivered + seed * WORDS / SEEDS;
        world.vanishes = Some((after, How::Cut));
        ordered(&mut world, |spec| {
            stateful(seed.is_multiple_of(2))(spec);
            spec.policy.mobility.on_loss = OnLoss::StartEmpty;
        });
        for second in 0..130 {
            if second < 72 {
                plot(&mut world, second);
            }
            world.tick(1);
        }
        assert_eq!(world.places("notes"), [host(1)], "seed {seed}");
        done(&world);
        for days in [1, 1, 1, 1, 1, 1, 1, 1] {
            world.tick(days * 86_400);
            world.tick(1);
        }
        let open = world.controllers[1].model.leases.values().filter(|l| l.is_open()).count();
        assert_eq!(open, 0, "seed {seed}: sold and never closed");
        let now = world.now();
        let runs = world.machines.iter().filter(|m| m.home == 1);
        let runs: Vec<_> = runs.flat_map(|m| m.copies.keys().filter(|id| m.is_running(**id, now))).collect();
        assert!(runs.is_empty(), "seed {seed}: {runs:?} run and nobody pays");
    }
}
