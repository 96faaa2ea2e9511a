//! Health of one run: when to look next, and what the looks add up to. Pure.

use std::collections::VecDeque;

use chandler_protocol::Micros;
use chandler_protocol::state::Health;
use chandler_protocol::workload::HealthCheck;

/// Successful tries whose times are kept.
const LATENCIES: usize = 64;
/// Time between two tries until the first success.
const EAGER: Micros = Micros::from_millis(10);
/// For how long after the start that is so; then tries are this far apart.
const EAGER_FOR: Micros = Micros::from_secs(10);
const PATIENT: Micros = Micros::from_millis(100);
/// Bounds on what an order may ask for.
const INTERVAL_MIN: Micros = Micros::from_millis(10);
const TIMEOUT_MAX: Micros = Micros::from_secs(300);

/// What a run looks like from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// Never answered yet.
    Starting,
    /// Answers.
    Healthy,
    /// Does not answer any more, or not in time after its start.
    Unhealthy,
}

/// Keeps count of one run.
#[derive(Debug)]
pub(crate) struct Tracker {
    check: Option<HealthCheck>,
    started: Micros,
    look: Look,
    health: Health,
    failures_in_row: u32,
    latencies: VecDeque<i64>,
    /// Up to where up and down time is counted.
    counted: Micros,
    next: Micros,
}

impl Tracker {
    /// A run that began at `started`. `before` is what an earlier agent counted of it; a run that answered before is
    /// taken to answer still until a try says otherwise.
    pub(crate) fn new(check: Option<HealthCheck>, started: Micros, before: Health, now: Micros) -> Self {
        let look = if check.is_none() || before.up.0 > 0 { Look::Healthy } else { Look::Starting };
        Self {
            check,
            started,
            look,
            health: before,
            failures_in_row: 0,
            latencies: VecDeque::new(),
            counted: if before == Health::default() { started } else { now },
            next: now,
        }
    }

    /// Another check from now on.
    pub(crate) fn set_check(&mut self, check: Option<&HealthCheck>, now: Micros) {
        if self.check.as_ref() != check {
            self.check = check.cloned();
            self.next = now;
            if check.is_none() {
                self.look = Look::Healthy;
            }
        }
    }

    pub(crate) fn look(&self) -> Look {
        self.look
    }

    /// When to try next; never, when there is nothing to try.
    pub(crate) fn due(&self) -> Option<Micros> {
        self.check.as_ref().map(|_| self.next)
    }

    /// The most a try may take.
    pub(crate) fn timeout(&self) -> Micros {
        self.check.as_ref().map_or(TIMEOUT_MAX, |c| Micros(c.timeout.0.clamp(1_000, TIMEOUT_MAX.0)))
    }

    /// A try that began at `from` came to an end.
    pub(crate) fn record(&mut self, from: Micros, now: Micros, ok: bool) {
        let Some(check) = &self.check else { return };
        let (interval, threshold, grace) = (check.interval, check.failures.max(1), check.grace);
        self.count(now);
        self.health.checks += 1;
        if ok {
            self.failures_in_row = 0;
            self.look = Look::Healthy;
            if self.latencies.len() >= LATENCIES {
                self.latencies.pop_front();
            }
            self.latencies.push_back((now.0 - from.0).max(0));
        } else {
            let was_well = self.look != Look::Starting;
            let in_grace = now.0 - self.started.0 < grace.0;
            if was_well {
                self.health.failures += 1;
            }
            if was_well || !in_grace {
                self.failures_in_row = self.failures_in_row.saturating_add(1);
            }
            if self.failures_in_row >= threshold {
                self.look = Look::Unhealthy;
            }
        }
        let wait = match self.look {
            Look::Starting if now.0 - self.started.0 < EAGER_FOR.0 => EAGER,
            Look::Starting => PATIENT,
            _ => Micros(interval.0.max(INTERVAL_MIN.0)),
        };
        self.next = now.max(from).0.checked_add(wait.0).map_or(self.next, Micros);
    }

    /// Adds the time since the last count to where it belongs.
    fn count(&mut self, now: Micros) {
        let passed = Micros((now.0 - self.counted.0).max(0));
        self.counted = now.max(self.counted);
        let grace = self.check.as_ref().map_or(Micros::ZERO, |c| c.grace);
        match self.look {
            Look::Healthy => self.health.up = Micros(self.health.up.0 + passed.0),
            Look::Unhealthy => self.health.down = Micros(self.health.down.0 + passed.0),
            // It is not expected to answer within its grace; what lies after counts.
            Look::Starting => {
                let owed = (now.0 - self.started.0 - grace.0).clamp(0, passed.0);
                self.health.down = Micros(self.health.down.0 + owed);
            }
        }
    }

    /// What it adds up to now.
    pub(crate) fn health(&mut self, now: Micros) -> Health {
        self.count(now);
        if !self.latencies.is_empty() {
            let mut sorted: Vec<i64> = self.latencies.iter().copied().collect();
            sorted.sort_unstable();
            let at = |percent: usize| Micros(sorted[(sorted.len() * percent).div_ceil(100).max(1) - 1]);
            self.health.latency_p50 = at(50);
            self.health.latency_p95 = at(95);
        }
        self.health
    }
}

#[cfg(test)]
mod tests {
    use chandler_protocol::workload::Probe;

    use super::*;

    fn ms(n: i64) -> Micros {
        Micros::from_millis(n)
    }

    fn tracker() -> Tracker {
        let check = HealthCheck {
            probe: Probe::Tcp { port: "p".into() },
            interval: ms(1_000),
            timeout: ms(500),
            failures: 2,
            grace: ms(100),
        };
        Tracker::new(Some(check), ms(0), Health::default(), ms(0))
    }

    #[test]
    fn eager_until_the_first_success_then_at_the_interval() {
        let mut t = tracker();
        assert_eq!(t.due(), Some(ms(0)), "the first try is at once");
        t.record(ms(0), ms(1), false);
        assert_eq!((t.due(), t.look()), (Some(ms(11)), Look::Starting));
        t.record(ms(11), ms(13), true);
        assert_eq!((t.due(), t.look()), (Some(ms(1_013)), Look::Healthy));
        let health = t.health(ms(13));
        assert_eq!((health.checks, health.failures, health.latency_p50), (2, 0, ms(2)));
        assert_eq!((health.up, health.down), (ms(0), ms(0)), "its grace is not held against it");
        let mut slow = tracker();
        slow.check.as_mut().unwrap().grace = Micros::from_secs(60);
        slow.record(ms(20_000), ms(20_000), false);
        assert_eq!(slow.due(), Some(ms(20_100)), "eagerness is bounded");
    }

    #[test]
    fn up_and_down_time_and_failures_are_counted() {
        let mut t = tracker();
        t.record(ms(50), ms(50), true);
        t.record(ms(1_050), ms(1_050), false);
        assert_eq!(t.look(), Look::Healthy, "one failure is not enough");
        t.record(ms(2_050), ms(2_050), false);
        assert_eq!(t.look(), Look::Unhealthy);
        t.record(ms(3_050), ms(3_050), true);
        let health = t.health(ms(3_550));
        assert_eq!((health.up, health.down, health.failures), (ms(2_500), ms(1_000), 2));
    }

    #[test]
    fn one_that_never_answers_is_unhealthy_after_its_grace() {
        let mut t = tracker();
        t.record(ms(90), ms(90), false);
        assert_eq!(t.look(), Look::Starting);
        t.record(ms(150), ms(150), false);
        t.record(ms(200), ms(200), false);
        assert_eq!(t.look(), Look::Unhealthy);
        assert_eq!(t.health(ms(300)).down, ms(200));
    }

    #[test]
    fn without_a_check_a_run_is_healthy_and_an_adopted_one_goes_on() {
        let mut t = Tracker::new(None, ms(0), Health::default(), ms(0));
        assert_eq!((t.due(), t.look(), t.health(ms(5)).up), (None, Look::Healthy, ms(5)));
        let before = Health { checks: 9, up: ms(100), ..Health::default() };
        let mut t = Tracker::new(tracker().check, ms(0), before, ms(500));
        assert_eq!(t.look(), Look::Healthy);
        t.record(ms(500), ms(500), true);
        assert_eq!(t.health(ms(600)).checks, 10);
        assert_eq!(t.health(ms(600)).up, ms(200), "what nobody saw counts neither way");
    }

    #[test]
    fn percentiles_are_of_the_last_64() {
        let mut t = tracker();
        for n in 1..=164 {
            t.record(ms(0), ms(n), true);
        }
        let health = t.health(ms(164));
        assert_eq!((health.latency_p50, health.latency_p95), (ms(132), ms(161)));
    }
}
