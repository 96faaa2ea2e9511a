//! Which faults a direction has and what becomes of one datagram. Pure: the chance is drawn by a seeded
//! generator, the same number of draws for every datagram, so that changing one fault leaves the others' pattern.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// How much later than its turn a reordered datagram leaves, at least; others overtake it meanwhile.
pub const REORDER_HOLD: Duration = Duration::from_millis(10);
/// Probabilities are in parts of this.
const PPM: u32 = 1_000_000;

/// What is wrong with the network. The default is nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Faults {
    /// Every datagram takes this long, in each direction.
    pub delay: Duration,
    /// And up to this much longer, evenly distributed. Order is kept only when this is zero.
    pub jitter: Duration,
    /// Share of datagrams that are lost.
    pub loss_ppm: u32,
    /// Share that arrive twice.
    pub duplicate_ppm: u32,
    /// Share that are held back by [`REORDER_HOLD`].
    pub reorder_ppm: u32,
    /// Share in which one bit is flipped.
    pub corrupt_ppm: u32,
    /// Nothing gets from clients to upstream.
    pub to_upstream_blocked: bool,
    /// Nothing gets from upstream to clients.
    pub to_client_blocked: bool,
}

/// The way a datagram goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From a client to upstream.
    ToUpstream,
    /// From upstream to a client.
    ToClient,
}

impl Faults {
    /// Whether nothing passes this way.
    pub(super) const fn blocks(&self, way: Way) -> bool {
        match way {
            Way::ToUpstream => self.to_upstream_blocked,
            Way::ToClient => self.to_client_blocked,
        }
    }
}

/// What becomes of one datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fate {
    /// It never arrives.
    pub(super) lost: bool,
    /// It arrives twice.
    pub(super) duplicated: bool,
    /// Others overtake it.
    pub(super) reordered: bool,
    /// The bit that is flipped, if any.
    pub(super) flipped_bit: Option<usize>,
    /// How long it is under way.
    pub(super) latency: Duration,
}

/// Decides what becomes of the datagrams of one direction.
#[derive(Debug)]
pub(super) struct Chance(StdRng);

impl Chance {
    /// The same seed and the same sequence of datagrams have the same fates.
    pub(super) fn new(seed: u64, way: Way) -> Self {
        let stream = match way {
            Way::ToUpstream => 0,
            Way::ToClient => 1,
        };
        Self(StdRng::seed_from_u64(seed.wrapping_mul(2).wrapping_add(stream)))
    }

    /// The fate of the next datagram, which has `length` bytes.
    pub(super) fn next(&mut self, faults: &Faults, length: usize) -> Fate {
        let draws: [u64; 6] = self.0.random();
        let hit = |draw: u64, ppm: u32| scale(draw, u64::from(PPM)) < u64::from(ppm);
        let reordered = hit(draws[2], faults.reorder_ppm);
        let bits = length.saturating_mul(8);
        let bit = usize::try_from(scale(draws[4], bits as u64)).unwrap_or(0);
        let jitter_us = scale(draws[5], u64::try_from(faults.jitter.as_micros()).unwrap_or(u64::MAX));
        let hold = if reordered { REORDER_HOLD + faults.delay / 2 } else { Duration::ZERO };
        Fate {
            lost: hit(draws[0], faults.loss_ppm),
            duplicated: hit(draws[1], faults.duplicate_ppm),
            reordered,
            flipped_bit: (bits > 0 && hit(draws[3], faults.corrupt_ppm)).then_some(bit),
            latency: faults.delay + Duration::from_micros(jitter_us) + hold,
        }
    }
}

/// `draw` as a number below `end`.
fn scale(draw: u64, end: u64) -> u64 {
    ((u128::from(draw) * u128::from(end)) >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fates(seed: u64, faults: Faults) -> Vec<Fate> {
        let mut chance = Chance::new(seed, Way::ToClient);
        (0..10_000).map(|_| chance.next(&faults, 100)).collect()
    }

    #[test]
    fn shares_are_as_asked_and_repeat_with_the_seed() {
        let faults = Faults { loss_ppm: 50_000, duplicate_ppm: 10_000, corrupt_ppm: 20_000, ..Faults::default() };
        let some = fates(7, faults);
        let count = |f: fn(&Fate) -> bool| some.iter().filter(|x| f(x)).count();
        assert!((400..600).contains(&count(|f| f.lost)));
        assert!((60..140).contains(&count(|f| f.duplicated)));
        assert!((140..260).contains(&count(|f| f.flipped_bit.is_some())));
        assert_eq!(count(|f| f.reordered), 0);
        assert_eq!(some, fates(7, faults));
        assert_ne!(some, fates(8, faults));
    }

    #[test]
    fn one_fault_does_not_shift_another() {
        let loss = Faults { loss_ppm: 50_000, ..Faults::default() };
        let both = Faults { jitter: Duration::from_millis(9), reorder_ppm: 500_000, ..loss };
        let lost = |f| fates(3, f).iter().map(|x| x.lost).collect::<Vec<_>>();
        assert_eq!(lost(loss), lost(both));
        let all = Faults { loss_ppm: PPM, ..Faults::default() };
        assert!(fates(3, all).iter().all(|f| f.lost));
    }
}
