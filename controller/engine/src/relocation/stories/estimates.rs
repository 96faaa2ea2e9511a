//! What users are told that they will wait, against what came.

use chandler_protocol::{Bytes, Micros};

use super::*;
use crate::relocation::estimate::estimate;

/// Numbers that look random, the same every time.
struct Noise(u64);

impl Noise {
    /// About `median`: half of them within a fifth of it, one in twenty above one and a half of it, the longest about
    /// twice as long.
    fn about(&mut self, median: Micros) -> i64 {
        let mut sum = 0;
        for _ in 0..4 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            sum += i64::try_from(self.0 >> 40).unwrap();
        }
        // Four times uniform: a bell from 0 to 4 * 2^24; squared, it has a long end upwards.
        let share = sum * 1_000 / (2 << 24);
        median.0 * share * share / 1_000_000
    }
}

/// A move of the service to and fro whose drain, last copy, start and check take these times.
fn take(world: &mut World, to: u8, noise: &mut Noise) -> (Micros, Micros) {
    order_to(world, to);
    drive(world, MovePhase::Holding);
    let told = newest(world).predicted.1.hold;
    let parts = [
        (MovePhase::FinalCopy, Micros::from_millis(20)),
        (MovePhase::Starting, Micros::from_millis(120)),
        (MovePhase::Verifying, Micros::from_millis(15)),
        (MovePhase::Switching, Micros::from_millis(250)),
    ];
    for (next, median) in parts {
        world.now.0 += noise.about(median);
        drive(world, next);
    }
    drive(world, MovePhase::Done);
    (told, newest(world).realised.1.hold)
}

#[test]
fn row_25_of_twenty_estimates_at_least_eighteen_cover_what_comes() {
    for seed in 1..=20 {
        let (mut world, mut noise) = (exclusive(), Noise(seed));
        let came: Vec<_> = (0..20).map(|n| take(&mut world, if n % 2 == 0 { 2 } else { 1 }, &mut noise)).collect();
        let covered = came.iter().filter(|(told, came)| told >= came).count();
        assert!(covered >= 18, "seed {seed}: {covered} of 20 covered: {came:?}");
        let sum = |of: fn(&(Micros, Micros)) -> i64| came.iter().map(of).sum::<i64>();
        let (told, took) = (sum(|c| c.0.0), sum(|c| c.1.0));
        assert!(told < 4 * took, "seed {seed}: an estimate that is four times too long tells nothing: {came:?}");
    }
}

#[test]
fn before_its_first_move_and_before_anything_is_copied_something_is_told() {
    let mut world = exclusive();
    order_to(&mut world, 2);
    let planned = newest(&world).predicted.1;
    assert!(planned.hold >= Micros::from_millis(500), "never nothing: {planned:?}");
    assert_eq!(phase(&world), MovePhase::Planned);
}

#[test]
fn what_is_written_meanwhile_makes_the_hold_longer() {
    let mut world = exclusive();
    order_to(&mut world, 2);
    drive(&mut world, MovePhase::Done);
    let service = world.service("notes").clone();
    let mib = |n: u64| Bytes(n << 20);
    let of = |dirty| {
        let p = Progress { dirty: mib(dirty), rate: mib(100), took: Micros::from_secs(9), ..Progress::default() };
        estimate(&world.model, &service, Some(&p)).hold.0
    };
    assert!(of(100) > of(1) + 900_000, "a second of it: {} and {}", of(100), of(1));
}
