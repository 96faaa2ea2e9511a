//! How long to wait before the next try: exponential, jittered, so that a fleet never comes back all at once.

use chandler_protocol::Micros;
use chandler_protocol::world::{Random, below};

/// The first wait after a failed try.
const FIRST: Micros = Micros::from_millis(100);
/// The longest wait, whatever the controller says.
pub const LONGEST: Micros = Micros::from_secs(30);
/// Doublings after which the wait is the longest anyway.
const DOUBLINGS: u32 = 20;

/// Counts failed tries.
#[derive(Debug, Clone, Default)]
pub struct Backoff {
    failed: u32,
}

impl Backoff {
    /// It worked.
    pub fn reset(&mut self) {
        self.failed = 0;
    }

    /// Tries that failed in a row.
    pub fn failed(&self) -> u32 {
        self.failed
    }

    /// It failed: how long to wait now. Half of the wait is chance.
    pub fn next(&mut self, random: &dyn Random) -> Micros {
        let full = FIRST.0.saturating_mul(1 << self.failed.min(DOUBLINGS)).min(LONGEST.0);
        self.failed = self.failed.saturating_add(1);
        let half = full / 2;
        Micros(half + spread(random, Micros(half)).0)
    }
}

/// A random part of `window`.
pub fn spread(random: &dyn Random, window: Micros) -> Micros {
    let end = u64::try_from(window.0).unwrap_or(0).saturating_add(1);
    Micros(i64::try_from(below(random, end)).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Always(u8);
    impl Random for Always {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(self.0);
        }
    }

    #[test]
    fn waits_grow_to_the_longest_and_are_half_chance() {
        let (mut low, mut high) = (Backoff::default(), Backoff::default());
        let lows: Vec<i64> = (0..12).map(|_| low.next(&Always(0)).as_millis()).collect();
        let highs: Vec<i64> = (0..12).map(|_| high.next(&Always(255)).as_millis()).collect();
        assert_eq!(lows[..4], [50, 100, 200, 400]);
        assert_eq!(highs[..4], [100, 200, 400, 800]);
        assert_eq!((lows[11], highs[11]), (15_000, 30_000));
        assert_eq!(spread(&Always(255), Micros::from_secs(5)), Micros::from_secs(5));
        assert_eq!(spread(&Always(255), Micros(-1)), Micros(0));
    }
}
