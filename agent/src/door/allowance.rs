//! How many requests may be sent again: a fifth of all, and ten a second. Else a copy in trouble gets twice the load. Pure.

use chandler_protocol::Micros;

/// What one repetition costs.
const COST: i64 = 1_000_000;
/// What each request brings: a fifth of a repetition.
const SHARE: i64 = COST / 5;
/// What is kept of that at most: the share of 500 requests.
const SHARE_MAX: i64 = 100 * COST;
/// What each microsecond brings: ten repetitions a second. One second's worth is kept at most.
const RATE: i64 = 10;
const RATE_MAX: i64 = 10 * COST;

/// What is left.
#[derive(Debug)]
pub(crate) struct Allowance {
    of_requests: i64,
    of_time: i64,
    at: Micros,
}

impl Allowance {
    /// A second's worth to begin with.
    pub(crate) fn new(now: Micros) -> Self {
        Self { of_requests: 0, of_time: RATE_MAX, at: now }
    }

    /// A request came in.
    pub(crate) fn request(&mut self) {
        self.of_requests = (self.of_requests + SHARE).min(SHARE_MAX);
    }

    /// Takes one repetition, if there is one.
    pub(crate) fn take(&mut self, now: Micros) -> bool {
        let passed = (now.0 - self.at.0).clamp(0, 1_000_000);
        self.at = now.max(self.at);
        self.of_time = (self.of_time + passed * RATE).min(RATE_MAX);
        for purse in [&mut self.of_time, &mut self.of_requests] {
            if *purse >= COST {
                *purse -= COST;
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_10_repetitions_stay_within_a_fifth_and_ten_a_second() {
        for (requests, seconds) in [(0, 5), (100, 1), (10_000, 10)] {
            let mut allowance = Allowance::new(Micros::ZERO);
            let (mut taken, steps) = (0, 1_000);
            for step in 1..=steps {
                for _ in 0..requests / steps {
                    allowance.request();
                }
                let now = Micros(seconds * 1_000_000 * step / steps);
                taken += (0..20).filter(|_| allowance.take(now)).count();
            }
            let most = usize::try_from(requests / 5 + 10 * (seconds + 1)).unwrap();
            assert!(taken <= most, "{taken} of {requests} in {seconds} s");
            assert!(taken >= most * 9 / 10 - 20, "only {taken} of {most}");
        }
    }
}
