//! Everything a supervisor does but watching: resting, fetching, starting, stopping, collecting, deleting.

use std::time::Duration;

use chandler_protocol::Micros;
use chandler_protocol::state::{Failure, Health, Phase, Sealed, Target};

use super::{Gone, Run, Supervisor};
use crate::artifact::DepotError;
use crate::artifact::fetch::{FetchError, Wanted};
use crate::custody::May;
use crate::driver::StartError;
use crate::health::Tracker;
use crate::link::bulk::BulkError;
use crate::results;
use crate::sync::lock;

/// Tries after which fetching, starting or collecting counts as failed. It is tried on, more slowly.
const TRIES: u32 = 5;
/// The first and the longest wait between tries.
const TRY_FIRST: Micros = Micros::from_millis(200);
const TRY_LONGEST: Micros = Micros::from_secs(30);
/// How often a full disk is looked at again.
const DISK_FULL_AGAIN: Micros = Micros::from_secs(5);
/// How often fetching is tried while no controller is connected; a new connection comes first.
const OFFLINE_AGAIN: Micros = Micros::from_secs(30);
/// How often progress is reported.
const PROGRESS: Duration = Duration::from_millis(250);

impl Supervisor {
    /// Waits for the next order.
    pub(super) async fn order(&mut self) -> Result<(), Gone> {
        self.orders.changed().await.map_err(|_| Gone)
    }

    /// All is as it should be.
    pub(super) async fn rest(&mut self) -> Result<(), Gone> {
        let custody = self.local.custody;
        match self.wanted.target {
            Target::Stopped | Target::Wiped => {
                self.shared.workloads.forget_source(self.id);
                // That it is fenced is kept before it is said.
                if !self.keep_custody() {
                    self.put_off(TRY_FIRST, TRY_LONGEST);
                    let again = self.local.retry_at.unwrap_or(Micros::ZERO);
                    return self.wait(again).await;
                }
                let is_gone = self.wanted.target == Target::Wiped && self.local.wiped;
                self.show_phase(if is_gone { Phase::Wiped } else { Phase::Stopped }, "");
            }
            Target::Seal { attempt } => match custody.sealed(attempt) {
                Some(sealed) => {
                    self.show_phase(Phase::Sealed(sealed), "");
                    self.settle_account();
                    return self.stay_sealed(sealed).await;
                }
                None => self.show_phase(Phase::Stopped, ""),
            },
            Target::Receive(_) if self.local.remembered => {
                self.show_phase(Phase::Stopped, "waits for its controller to say again that it receives a state");
            }
            Target::Receive(_) => {
                let phase = custody.received.map_or(Phase::Stopped, Phase::Verified);
                self.show_phase(phase, "");
            }
            Target::Running | Target::Own(_) => self.rest_unable(),
        }
        self.settle_account();
        self.order().await
    }

    /// It shall run and does not: it has completed, or cannot.
    fn rest_unable(&mut self) {
        if let Some(exit) = self.record.ended {
            let note = self.record.note.clone();
            self.show_record();
            return self.show_phase(Phase::Completed(exit), &note);
        }
        let Target::Own(own) = self.wanted.target else { return };
        let custody = self.local.custody;
        match (custody.may(&own, self.now()), custody.given_up) {
            (May::Never, Some(g)) => {
                let sealed = Sealed { attempt: g.attempt, root: g.root, lease: g.lease };
                self.show_phase(Phase::Sealed(sealed), "its state was given up");
            }
            (May::NotReceived, _) => {
                let message = "the state that it is to begin with is not here";
                self.show_phase(Phase::Failed(Failure::State), message);
            }
            // Why is on the board since it was given up.
            _ => {}
        }
    }

    /// Waits for a moment, an order, or a controller where that is what is missing.
    pub(super) async fn wait(&mut self, at: Micros) -> Result<(), Gone> {
        let bulk = self.shared.bulk.clone();
        let (is_offline, wait) = (self.is_offline, Micros((at.0 - self.now().0).max(0)));
        tokio::select! {
            biased;
            changed = self.orders.changed() => changed.map_err(|_| Gone)?,
            () = bulk.wait_up(), if is_offline => self.local.retry_at = None,
            () = tokio::time::sleep(wait.to_std()) => {}
        }
        Ok(())
    }

    /// Fetches what is missing, one file after the other. What runs meanwhile goes on running.
    pub(super) async fn fetch(&mut self) -> Result<(), Gone> {
        let shared = self.shared.clone();
        let missing = self.missing();
        let total: u64 = missing.iter().map(|w| w.length).sum();
        let mut done = 0;
        for wanted in &missing {
            let mut fetch = Box::pin(shared.fetcher.get(wanted));
            let result = loop {
                if self.run.is_none() {
                    let ppm = share(done, wanted, shared.fetcher.progress(wanted), total);
                    self.show(|o| o.phase = Phase::Fetching(ppm));
                }
                tokio::select! {
                    biased;
                    changed = self.orders.changed() => return changed.map_err(|_| Gone),
                    result = &mut fetch => break result,
                    () = tokio::time::sleep(PROGRESS) => {}
                }
            };
            if let Err(error) = result {
                drop(fetch);
                self.fetch_failed(&error);
                return Ok(());
            }
            done += wanted.length;
        }
        (self.tries, self.is_offline, self.local.retry_at) = (0, false, None);
        Ok(())
    }

    fn fetch_failed(&mut self, error: &FetchError) {
        let message = error.to_string();
        self.is_offline = matches!(error, FetchError::Bulk(BulkError::Offline));
        let phase = match error {
            FetchError::Bulk(BulkError::Offline) => {
                self.local.retry_at = Some(Micros(self.now().0 + OFFLINE_AGAIN.0));
                Phase::Pending
            }
            FetchError::Depot(DepotError::NoSpace { .. }) => {
                self.local.retry_at = Some(Micros(self.now().0 + DISK_FULL_AGAIN.0));
                Phase::Failed(Failure::DiskFull)
            }
            FetchError::Depot(_) | FetchError::Bulk(_) => {
                tracing::warn!(id = %self.id, %message, "a file could not be fetched");
                self.put_off(TRY_FIRST, TRY_LONGEST);
                if self.tries >= TRIES { Phase::Failed(Failure::Fetch) } else { Phase::Pending }
            }
        };
        match &mut self.run {
            // The old version goes on; that the new one cannot be had is said beside it.
            Some(run) => {
                run.note = message;
                self.show_run();
            }
            None => self.show_phase(phase, &message),
        }
    }

    /// Starts it. Nothing is written to disk between the order and the program.
    pub(super) async fn start(&mut self) -> Result<(), Gone> {
        self.show_phase(Phase::Starting, "");
        match self.wanted.target {
            Target::Own(own) => {
                self.local.custody = self.local.custody.begun();
                if !self.keep_custody() {
                    self.put_off(TRY_FIRST, TRY_LONGEST);
                    self.show_phase(Phase::BackingOff, "that it owns its state cannot be written down yet");
                    return Ok(());
                }
                if !own.leased {
                    self.guard(None);
                }
            }
            _ => self.guard(None),
        }
        let launch = self.launch();
        let started = match self.shared.world.driver.start(&launch).await {
            Ok(started) => started,
            Err(error) => {
                self.start_failed(&error);
                return Ok(());
            }
        };
        lock(&self.shared.journal).begin(self.id, launch.epoch, started.at);
        self.use_artifact(Some(&launch.spec));
        let check = launch.spec.health.clone();
        let tracker = Tracker::new(check, started.at, Health::default(), self.now());
        let (epoch, note) = (launch.epoch, started.note);
        self.run = Some(Run { epoch, since: epoch, started: started.at, tracker, note });
        (self.is_ending, self.keeping.is_expired) = (false, false);
        self.local.running = Some(launch.spec);
        (self.local.retry_at, self.tries) = (None, 0);
        self.local.wiped = false;
        let record = &mut self.record;
        record.ports = started.ports;
        record.starts = record.starts.saturating_add(1);
        record.started = started.at;
        record.wiped = false;
        self.show_record();
        self.show_run();
        self.save();
        Ok(())
    }

    fn start_failed(&mut self, error: &StartError) {
        let message = error.to_string();
        tracing::warn!(id = %self.id, %message, "a program could not be started");
        match error {
            StartError::Unsupported(_) => self.give_up(Failure::Unsupported, &message),
            StartError::Failed(_) => self.give_up(Failure::Start, &message),
            StartError::DiskFull(_) => {
                self.local.retry_at = Some(Micros(self.now().0 + DISK_FULL_AGAIN.0));
                self.show_phase(Phase::Failed(Failure::DiskFull), &message);
            }
            StartError::Temporary(_) => {
                self.put_off(TRY_FIRST, TRY_LONGEST);
                let phase = if self.tries >= TRIES { Phase::Failed(Failure::Start) } else { Phase::BackingOff };
                self.show_phase(phase, &message);
            }
        }
    }

    /// Stops it, because it shall not run or shall run as something else.
    pub(super) async fn stop(&mut self) -> Result<(), Gone> {
        let ended = self.end().await;
        self.finish_run(&ended);
        (self.tries, self.local.retry_at) = (0, None);
        if matches!(self.wanted.target, Target::Seal { .. }) {
            // Others wait for the seal: what it used is written down after.
            self.unaccounted = Some(ended);
            return Ok(());
        }
        self.account(&ended);
        self.save();
        Ok(())
    }

    /// Writes down what was put off.
    pub(super) fn settle_account(&mut self) {
        if let Some(ended) = self.unaccounted.take() {
            self.account(&ended);
            self.save();
        }
    }

    /// Collects a task's results and hands them to the controller.
    pub(super) async fn collect(&mut self) -> Result<(), Gone> {
        let shared = self.shared.clone();
        let (id, epoch, outputs) = (self.id, self.wanted.epoch, self.wanted.spec.outputs.clone());
        self.show_phase(Phase::Stopping, "it ended; its results are collected");
        let is_last_try = self.tries + 1 >= TRIES;
        let result = tokio::select! {
            biased;
            changed = self.orders.changed() => return changed.map_err(|_| Gone),
            result = results::hand_over(&shared, id, epoch, &outputs, is_last_try) => result,
        };
        match result {
            Ok(handed) => {
                self.record.note = handed.notes.join("; ");
                self.record.outputs = Some(handed.stored);
                self.local.collected = true;
                (self.tries, self.is_offline, self.local.retry_at) = (0, false, None);
                self.save();
            }
            Err(BulkError::Offline) => {
                self.is_offline = true;
                self.local.retry_at = Some(Micros(self.now().0 + OFFLINE_AGAIN.0));
                self.show_phase(Phase::Stopping, "it ended; its results wait for a controller");
            }
            Err(error) => {
                // A lost connection is no fault of the results: only a refusal uses a try up.
                self.is_offline = false;
                let tries = self.tries;
                self.put_off(TRY_FIRST, TRY_LONGEST);
                if matches!(error, BulkError::Lost { .. }) {
                    self.tries = (tries + 1).min(TRIES - 2);
                }
                self.show_phase(Phase::Stopping, &format!("its results are not handed over yet: {error}"));
            }
        }
        Ok(())
    }

    /// Deletes its files.
    pub(super) async fn wipe(&mut self) -> Result<(), Gone> {
        match self.shared.world.workspace.wipe(self.id).await {
            Ok(()) => {
                lock(&self.shared.journal).forget(self.id);
                self.record.wiped = true;
                (self.local.custody.begun, self.local.custody.received) = (None, None);
                (self.record.ended, self.record.outputs) = (None, None);
                (self.local.wiped, self.local.ended, self.local.collected) = (true, None, false);
                self.local.retry_at = None;
                self.save();
            }
            Err(error) => {
                self.put_off(TRY_FIRST, TRY_LONGEST);
                self.show_phase(Phase::Stopped, &format!("its files cannot be deleted yet: {error}"));
            }
        }
        Ok(())
    }
}

/// How much of everything is here, in parts per million.
fn share(done: u64, now: &Wanted, ppm: u32, total: u64) -> u32 {
    let here = u128::from(done) * 1_000_000 + u128::from(now.length) * u128::from(ppm);
    u32::try_from(here / u128::from(total.max(1))).unwrap_or(1_000_000).min(1_000_000)
}
