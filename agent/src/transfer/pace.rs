//! How fast a state is received, and whether the last round would be short.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chandler_protocol::state::{Progress, Receive};
use chandler_protocol::transfer::Looked;
use chandler_protocol::{Bytes, Micros};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::sync::lock;

/// A last round of this length goes unnoticed.
const SHORT: Duration = Duration::from_millis(150);
/// A last round of this length is the longest that is called short, and only when waiting makes it no shorter.
const LONGEST: Duration = Duration::from_millis(400);
/// The next round is worth waiting for while it is below this share, in percent, of the one before.
const SHRINKS: u64 = 80;
/// So many bytes say something about the rate.
const TELLING: u64 = 256 << 10;
/// What a disk takes, in bytes a second, before one was measured.
const USUAL_RATE: u64 = 200 << 20;
/// Between two rounds.
const GAP_MIN: Duration = Duration::from_millis(100);
const GAP_MAX: Duration = Duration::from_secs(1);
/// Between two rounds in which nothing changed, the first and the longest.
const QUIET_GAP: Duration = Duration::from_millis(250);
const QUIET_GAP_MAX: Duration = Duration::from_secs(2);

/// Slows the streams of one round together.
#[derive(Debug)]
pub(super) struct Throttle {
    /// Bytes a second.
    rate: Option<u64>,
    /// Until when what was carried so far may take.
    until: Mutex<Instant>,
    slept: AtomicU64,
}

impl Throttle {
    pub(super) fn new(rate: Option<Bytes>) -> Self {
        let until = Mutex::new(Instant::now());
        Self { rate: rate.map(|r| r.0.max(1)), until, slept: AtomicU64::new(0) }
    }

    /// Waits for as long as these bytes may take, but no longer than the state is not sealed.
    pub(super) async fn wait(&self, bytes: u64, sealing: &watch::Receiver<bool>) {
        let Some(rate) = self.rate else { return };
        let now = Instant::now();
        let until = {
            let mut until = lock(&self.until);
            *until = (*until).max(now) + Duration::from_secs_f64(bytes as f64 / rate as f64);
            *until
        };
        let mut sealing = sealing.clone();
        tokio::select! {
            biased;
            _ = sealing.wait_for(|is| *is) => {}
            () = sleep_until(until) => {}
        }
        let slept = u64::try_from(now.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.slept.fetch_add(slept, Ordering::Relaxed);
    }

    /// How long the streams slept, together.
    pub(super) fn slept(&self) -> Duration {
        Duration::from_micros(self.slept.load(Ordering::Relaxed))
    }
}

/// What one round was like.
#[derive(Debug, Clone, Copy)]
pub(super) struct Round {
    pub(super) looked: Looked,
    /// Bytes that differed when it began.
    pub(super) total: u64,
    pub(super) took: Duration,
    /// Bytes that were fetched, and how long that took without being slowed.
    pub(super) fetched: u64,
    pub(super) fetching: Duration,
    /// Bytes here that are not written out yet.
    pub(super) unsynced: u64,
}

/// What all rounds so far say.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    pub(super) progress: Progress,
    /// What the disk takes, in bytes a second.
    disk: u64,
    /// Rounds in a row that did not shrink, and in which nothing changed.
    stuck: u32,
    quiet: u32,
}

impl Pace {
    pub(super) fn new(order: &Receive) -> Self {
        let progress = Progress { attempt: order.attempt, ..Progress::default() };
        Self { progress, disk: USUAL_RATE, stuck: 0, quiet: 0 }
    }

    /// Bytes were written out.
    pub(super) fn synced(&mut self, bytes: u64, took: Duration) {
        if bytes > TELLING * 16 {
            self.disk = rate(bytes, took).max(1 << 20);
        }
    }

    /// A round is complete.
    pub(super) fn done(&mut self, round: &Round) {
        let Self { progress, .. } = self;
        if round.fetched >= TELLING {
            let now = rate(round.fetched, round.fetching);
            progress.rate = Bytes(if progress.rate.0 == 0 { now } else { (progress.rate.0 + now) / 2 });
        }
        let shrinks = round.total * 100 < progress.dirty.0 * SHRINKS;
        self.stuck = if progress.rounds == 0 || shrinks { 0 } else { self.stuck.saturating_add(1) };
        self.quiet = if round.total == 0 { self.quiet.saturating_add(1) } else { 0 };
        progress.rounds = progress.rounds.saturating_add(1);
        progress.size = round.looked.size;
        progress.dirty = Bytes(round.total);
        progress.took = Micros::from_std(round.took);
        // Of little, the time it took says more than any rate.
        let carrying = if round.fetched < TELLING { round.fetching } else { span(round.total, progress.rate.0) };
        let last = round.looked.took.to_std() + carrying + span(round.unsynced, self.disk) + Duration::from_millis(5);
        // The first round says how large the state is, not how quickly it changes.
        let is_known = progress.rounds > 1 || round.total == 0;
        progress.in_step = is_known && (last <= SHORT || (self.stuck >= 2 && last <= LONGEST));
    }

    /// How long to wait before the next round.
    pub(super) fn gap(&self) -> Duration {
        let took = self.progress.took.to_std();
        match self.quiet {
            0 if self.progress.in_step => (took * 2).clamp(GAP_MIN, GAP_MAX),
            // Waiting would only make the next round longer; but something is left for others.
            0 if self.stuck >= 2 => (took / 8).min(GAP_MIN),
            0 => Duration::ZERO,
            quiet => (QUIET_GAP * (1 << quiet.min(4)) / 2).min(QUIET_GAP_MAX),
        }
    }
}

fn rate(bytes: u64, took: Duration) -> u64 {
    let micros = took.as_micros().max(1);
    u64::try_from(u128::from(bytes) * 1_000_000 / micros).unwrap_or(u64::MAX)
}

fn span(bytes: u64, rate: u64) -> Duration {
    Duration::from_secs_f64(bytes as f64 / rate.max(1) as f64)
}

#[cfg(test)]
mod tests {
    use chandler_protocol::{AssignmentId, HostId};

    use super::*;

    fn rounds(totals: &[u64]) -> Pace {
        let order = Receive {
            attempt: 1,
            host: HostId::from_random([1; 10]),
            source: AssignmentId::from_random([2; 10]),
            rate_max: None,
        };
        let mut pace = Pace::new(&order);
        for total in totals {
            let looked = Looked {
                generation: 1,
                entries: 1,
                size: Bytes(1 << 30),
                took: Micros::from_millis(20),
                skipped: 0,
                sealed: None,
            };
            let fetching = span(*total, 100 << 20);
            let took = fetching + looked.took.to_std();
            pace.done(&Round { looked, total: *total, took, fetched: *total, fetching, unsynced: 0 });
        }
        pace
    }

    #[test]
    fn in_step_when_the_last_round_is_short_or_gets_no_shorter() {
        let mib = 1 << 20;
        assert!(!rounds(&[1024 * mib]).progress.in_step, "nobody knows yet how quickly it changes");
        assert!(!rounds(&[1024 * mib, 80 * mib]).progress.in_step, "that would take 800 ms");
        assert!(rounds(&[1024 * mib, 80 * mib, 6 * mib]).progress.in_step);
        assert!(!rounds(&[1024 * mib, 80 * mib, 25 * mib]).progress.in_step, "the next round will be shorter");
        assert!(rounds(&[1024 * mib, 80 * mib, 25 * mib, 25 * mib, 24 * mib]).progress.in_step, "it gets no shorter");
        let beaten = rounds(&[1024 * mib, 900 * mib, 900 * mib, 900 * mib, 900 * mib]);
        assert!(!beaten.progress.in_step, "the writer beats the link");
        assert!(beaten.gap() > Duration::ZERO, "something is left for others");
        assert!(rounds(&[5, 0]).progress.in_step);
        assert!(rounds(&[5, 0, 0, 0, 0, 0]).gap() > rounds(&[5, 0]).gap());
    }
}
