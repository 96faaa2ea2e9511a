//! Looking after a run: its health, its time limit, and its end.

use std::future::Future;
use std::pin::Pin;

use chandler_protocol::Micros;
use chandler_protocol::state::{Exit, Failure, Phase};
use chandler_protocol::workload::{RestartPolicy, WorkloadKind};

use super::{Gone, Supervisor};
use crate::driver::{Driver, Ended, Signal};
use crate::sync::lock;

/// A workload that has run for this many times its longest delay has run well.
const WELL_AFTER: i64 = 10;
/// How long a killed workload may take to be gone before that is said.
const KILL_PATIENCE: Micros = Micros::from_secs(10);
/// Longest grace that an order may ask for.
const GRACE_MAX: Micros = Micros::from_secs(3_600);
/// Longest sleep: the boot clock goes on while a computer sleeps, the timer may not.
const NAP_MAX: Micros = Micros::from_secs(3_600);

type Try<'a> = Pin<Box<dyn Future<Output = (Micros, bool)> + Send + 'a>>;

/// What ended the watch.
enum Event {
    Order(bool),
    Ended(Ended),
    Checked(Micros, bool),
    Lease,
    Time,
}

impl Supervisor {
    /// Watches until an order comes, it ends, or `until`.
    pub(super) async fn watch(&mut self, until: Option<Micros>) -> Result<(), Gone> {
        let driver = self.shared.world.driver.clone();
        let mut wait = driver.wait(self.id);
        let mut check: Option<Try<'_>> = None;
        let mut word = self.lease_word();
        self.show_run();
        loop {
            let now = self.now();
            // The planner knows what the end of a lease means.
            if [until, self.lease_deadline()].into_iter().flatten().any(|at| now >= at) {
                return Ok(());
            }
            if self.is_over_time(now) {
                drop((wait, check));
                return self.end_over_time().await;
            }
            self.forgive(now);
            if check.is_none() {
                check = self.next_try(driver.as_ref(), now);
            }
            let nap = self.nap(until, check.is_some(), now);
            let event = tokio::select! {
                biased;
                changed = self.orders.changed() => Event::Order(changed.is_ok()),
                ended = &mut wait => Event::Ended(ended),
                () = Self::lease_news(&mut word) => Event::Lease,
                (from, ok) = run(&mut check) => Event::Checked(from, ok),
                () = tokio::time::sleep(nap.to_std()) => Event::Time,
            };
            match event {
                Event::Order(true) => return Ok(()),
                Event::Order(false) => return Err(Gone),
                Event::Ended(ended) => {
                    drop((wait, check));
                    self.ended(&ended);
                    return Ok(());
                }
                Event::Checked(from, ok) => {
                    check = None;
                    let now = self.now();
                    if let Some(run) = &mut self.run {
                        run.tracker.record(from, now, ok);
                    }
                    self.show_run();
                }
                Event::Lease => self.hear_lease(),
                Event::Time => {}
            }
        }
    }

    /// A try of the health check, when one is due.
    fn next_try<'a>(&self, driver: &'a dyn Driver, now: Micros) -> Option<Try<'a>> {
        let run = self.run.as_ref()?;
        if run.tracker.due()? > now {
            return None;
        }
        let probe = self.wanted.spec.health.as_ref()?.probe.clone();
        let (id, timeout) = (self.id, run.tracker.timeout().to_std());
        Some(Box::pin(async move {
            let ok = tokio::time::timeout(timeout, driver.check(id, &probe)).await;
            (now, ok.unwrap_or(false))
        }))
    }

    /// How long nothing is due.
    fn nap(&self, until: Option<Micros>, is_checking: bool, now: Micros) -> Micros {
        let run = self.run.as_ref();
        let due = if is_checking { None } else { run.and_then(|r| r.tracker.due()) };
        let first = [until, due, self.time_limit(), self.well_at(), self.lease_deadline()].into_iter().flatten().min();
        first.map_or(NAP_MAX, |at| Micros((at.0 - now.0).clamp(0, NAP_MAX.0)))
    }

    fn time_limit(&self) -> Option<Micros> {
        let limit = self.wanted.spec.time_limit.filter(|_| self.wanted.spec.kind == WorkloadKind::Task)?;
        Some(Micros(self.run.as_ref()?.started.0.saturating_add(limit.0)))
    }

    fn is_over_time(&self, now: Micros) -> bool {
        self.time_limit().is_some_and(|at| now >= at)
    }

    /// When earlier failures are forgiven, if there are any.
    fn well_at(&self) -> Option<Micros> {
        let run = self.run.as_ref().filter(|_| self.record.failures > 0)?;
        Some(Micros(run.started.0.saturating_add(well_after(&self.wanted.spec.restart).0)))
    }

    fn forgive(&mut self, now: Micros) {
        if self.well_at().is_some_and(|at| now >= at) {
            self.record.failures = 0;
            self.save();
            self.show(|_| {});
        }
    }

    async fn end_over_time(&mut self) -> Result<(), Gone> {
        let ended = self.end().await;
        self.finish_run(&ended);
        self.account(&ended);
        self.record.ended = Some(Exit::TimeLimit);
        self.local.ended = Some(Exit::TimeLimit);
        self.save();
        Ok(())
    }

    /// It ended by itself.
    fn ended(&mut self, ended: &Ended) {
        self.finish_run(ended);
        self.account(ended);
        if ended.expired {
            // Not its fault: it is started again as soon as it may.
            self.keeping.is_expired = true;
            self.show_phase(Phase::Pending, "its lease ended");
            self.save();
            return;
        }
        if self.wanted.spec.kind == WorkloadKind::Task {
            self.record.ended = Some(ended.exit);
            self.local.ended = Some(ended.exit);
            self.show_phase(Phase::Stopping, "it ended; its results are collected");
            self.save();
            return;
        }
        let policy = self.wanted.spec.restart;
        let ran = ended.at.0 - ended.started.0;
        let before = if ran >= well_after(&policy).0 { 0 } else { self.record.failures };
        self.record.failures = before.saturating_add(1);
        self.save();
        let how = describe(ended.exit);
        match restart_delay(&policy, self.record.failures) {
            None => self.give_up(Failure::Crashing, &format!("it {how}, {} times in a row", self.record.failures)),
            Some(delay) => {
                self.local.retry_at = Some(Micros(self.now().0.saturating_add(delay.0)));
                self.show_phase(Phase::BackingOff, &format!("it {how}; started again in {delay}"));
            }
        }
    }

    /// It does not run any more.
    pub(super) fn finish_run(&mut self, ended: &Ended) {
        let now = self.now();
        self.ended_epoch = self.run.as_ref().map_or(ended.epoch, |r| r.epoch);
        if let Some(mut run) = self.run.take() {
            let health = run.tracker.health(now);
            self.show(|o| o.health = health);
        }
        (self.local.running, self.is_ending) = (None, false);
        self.use_artifact(None);
    }

    /// Bookkeeping for the end of any run.
    pub(super) fn account(&self, ended: &Ended) {
        let epoch = self.ended_epoch;
        lock(&self.shared.journal).close(self.id, epoch, ended.started, ended.at, ended.cpu);
        self.shared.save_journal();
    }

    /// Ends it: asks, waits, kills.
    pub(super) async fn end(&mut self) -> Ended {
        let (driver, stop) = (self.shared.world.driver.clone(), self.wanted.spec.stop);
        self.is_ending = true;
        self.show_phase(Phase::Stopping, "");
        driver.signal(self.id, Signal::Stop(stop.signal));
        let grace = Micros(stop.grace.0.clamp(0, GRACE_MAX.0)).to_std();
        let ended = tokio::select! {
            biased;
            ended = driver.wait(self.id) => Some(ended),
            // The owner does not wait for as long as it was promised.
            () = self.shared.owner.is_over(self.id) => None,
            () = tokio::time::sleep(grace) => None,
        };
        match ended {
            Some(ended) => ended,
            None => self.kill_until_gone().await,
        }
    }

    /// Killed until it is gone: there is no way around a process that the kernel will not let go.
    pub(super) async fn kill_until_gone(&mut self) -> Ended {
        let driver = self.shared.world.driver.clone();
        loop {
            driver.signal(self.id, Signal::Kill);
            if let Ok(ended) = tokio::time::timeout(KILL_PATIENCE.to_std(), driver.wait(self.id)).await {
                return ended;
            }
            self.show_phase(Phase::Stopping, "it was killed and is not gone yet");
        }
    }
}

async fn run(check: &mut Option<Try<'_>>) -> (Micros, bool) {
    match check {
        Some(check) => check.await,
        None => std::future::pending().await,
    }
}

fn well_after(policy: &RestartPolicy) -> Micros {
    Micros(policy.delay_max.0.max(0).saturating_mul(WELL_AFTER))
}

/// How long to wait before the restart after this many failures in a row; `None`: there is none.
fn restart_delay(policy: &RestartPolicy, failures: u32) -> Option<Micros> {
    if policy.attempts.is_some_and(|most| failures > most) {
        return None;
    }
    if failures <= 1 {
        return Some(Micros::ZERO);
    }
    let doubled = policy.delay.0.max(1_000).saturating_mul(1 << (failures - 2).min(40));
    Some(Micros(doubled.min(policy.delay_max.0.max(1_000))))
}

fn describe(exit: Exit) -> String {
    match exit {
        Exit::Code(code) => format!("ended with status {code}"),
        Exit::Signal(signal) => format!("was ended by signal {signal}"),
        Exit::Unknown => "ended, nobody saw how".to_owned(),
        Exit::TimeLimit => "ran out of time".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_restart_is_at_once_then_delays_double() {
        let policy =
            RestartPolicy { attempts: Some(6), delay: Micros::from_millis(200), delay_max: Micros::from_secs(1) };
        let delays: Vec<_> = (1..=7).map(|n| restart_delay(&policy, n).map(Micros::as_millis)).collect();
        assert_eq!(delays, [Some(0), Some(200), Some(400), Some(800), Some(1_000), Some(1_000), None]);
        let endless = RestartPolicy { attempts: None, ..policy };
        assert_eq!(restart_delay(&endless, u32::MAX), Some(Micros::from_secs(1)));
        let never = RestartPolicy { attempts: Some(0), ..policy };
        assert_eq!(restart_delay(&never, 1), None);
        let hostile = RestartPolicy { attempts: None, delay: Micros(i64::MAX), delay_max: Micros(-1) };
        assert_eq!(restart_delay(&hostile, 9), Some(Micros::from_millis(1)));
    }
}
