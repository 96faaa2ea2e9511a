//! The rounds of one run.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chandler_protocol::Bytes;
use chandler_protocol::state::{Progress, Receive, Received};
use chandler_protocol::transfer::{Ask, Looked};
use futures_util::future::try_join_all;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::{Instant, interval, sleep, timeout};

use super::error::{ReceiveError, shown};
use super::fetch::{Errand, SILENCE, heard, unreachable};
use super::intake::Intake;
use super::local::Ground;
use super::pace::{Pace, Round, Throttle};
use super::plan::Plan;
use super::receiver::{TELL, blocking};
use super::wire::Wire;
use crate::sync::lock;

/// Streams that fetch, at most.
const STREAMS: usize = 4;
/// So many bytes are worth a further stream.
const STREAM_WORTH: u64 = 2 << 20;
/// Between two notes of what is here, at least.
const NOTE_EVERY: Duration = Duration::from_secs(2);
/// How often the last round is repeated for what arrives damaged.
const TRIES: u32 = 3;

/// The rounds of one run.
#[derive(Debug)]
pub(super) struct Rounds<S> {
    ground: Arc<Ground>,
    order: Receive,
    /// Becomes true when the source is being sealed.
    sealing: watch::Receiver<bool>,
    pace: Pace,
    /// Streams that fetch.
    idle: Vec<Wire<S>>,
    /// When what is here may be noted again.
    note_after: Instant,
    syncing: Option<tokio::task::JoinHandle<Result<(u64, Duration), ReceiveError>>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Rounds<S> {
    pub(super) fn new(ground: Arc<Ground>, order: Receive, sealing: watch::Receiver<bool>) -> Self {
        Self {
            ground,
            order,
            sealing,
            pace: Pace::new(&order),
            idle: Vec::new(),
            note_after: Instant::now(),
            syncing: None,
        }
    }

    /// Rounds until the source is sealed and all of it is here.
    pub(super) async fn run<O, F>(mut self, open: &O, tell: &impl Fn(Progress)) -> Result<Received, ReceiveError>
    where
        O: Fn() -> F,
        F: Future<Output = io::Result<S>>,
    {
        let mut control = Wire::new(open().await.map_err(|e| unreachable(&e))?);
        let mut tries = 0;
        loop {
            let began = Instant::now();
            let looked = self.look(&mut control).await?;
            let is_last = looked.sealed.is_some();
            let plan = blocking(&self.ground, move |ground| ground.plan(tries > 0)).await?;
            self.pace.progress.size = looked.size;
            self.pace.progress.total = Bytes(plan.total);
            self.pace.progress.done = Bytes(0);
            tell(self.pace.progress);
            let (total, fetching) = (plan.total, Instant::now());
            let errand = self.fetch(plan, is_last, open, tell).await?;
            let slept = errand.throttle.slept() / u32::try_from(self.idle.len().max(1)).unwrap_or(1);
            let fetching = fetching.elapsed().saturating_sub(slept);
            let sealing = self.sealing.clone();
            blocking(&self.ground, move |ground| ground.finish(&sealing, is_last)).await?;
            if let Some(root) = looked.sealed {
                if let Some(path) = self.missing() {
                    tries += 1;
                    if tries == TRIES {
                        return Err(ReceiveError::Damaged { path });
                    }
                    continue;
                }
                return self.last(root).await;
            }
            // A round that was broken off says nothing.
            if !*self.sealing.borrow() {
                let fetched = errand.done.load(Ordering::Relaxed);
                let unsynced = lock(&self.ground.state).local.unsynced_bytes;
                self.pace.done(&Round { looked, total, took: began.elapsed(), fetched, fetching, unsynced });
                tell(self.pace.progress);
                self.sync_in_background().await?;
                self.note().await?;
                self.wait().await;
            }
        }
    }

    /// Learns what is there now.
    async fn look(&mut self, control: &mut Wire<S>) -> Result<Looked, ReceiveError> {
        let known = lock(&self.ground.state).want.known;
        control.send(&Ask::Look { known }).await.map_err(|e| unreachable(&e))?;
        let mut intake = Intake::default();
        loop {
            let said = match timeout(SILENCE, control.next()).await {
                Err(_) => return Err(ReceiveError::Unreachable("it says nothing any more".into())),
                Ok(said) => heard(said)?,
            };
            let looked = intake.take(&mut lock(&self.ground.state).want, &self.ground.limits, said)?;
            if let Some(looked) = looked {
                self.pace.progress.sent.0 += control.take_carried();
                return Ok(looked);
            }
        }
    }

    /// Fetches what is missing, on several streams.
    async fn fetch<O, F>(
        &mut self,
        plan: Plan,
        is_last: bool,
        open: &O,
        tell: &impl Fn(Progress),
    ) -> Result<Arc<Errand>, ReceiveError>
    where
        O: Fn() -> F,
        F: Future<Output = io::Result<S>>,
    {
        let streams = match (plan.needs.len(), plan.rebuilds.len()) {
            (0, 0) => 0,
            _ => usize::try_from(plan.total / STREAM_WORTH).unwrap_or(STREAMS).clamp(1, STREAMS),
        };
        let errand = Arc::new(Errand {
            ground: Arc::clone(&self.ground),
            needs: Mutex::new(plan.needs.into()),
            rebuilds: Mutex::new(VecDeque::from(plan.rebuilds)),
            done: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            throttle: Throttle::new(self.order.rate_max.filter(|_| !is_last)),
        });
        while self.idle.len() < streams {
            self.idle.push(Wire::new(open().await.map_err(|e| unreachable(&e))?));
        }
        let sealing = &self.sealing;
        let sent = self.pace.progress.sent.0;
        let shared = &errand;
        let work = self.idle.iter_mut().take(streams).map(|wire| shared.run(wire, sealing));
        let mut work = Box::pin(try_join_all(work));
        let mut tick = interval(TELL);
        tick.reset();
        loop {
            tokio::select! {
                biased;
                done = &mut work => {
                    done?;
                    break;
                }
                _ = tick.tick() => {
                    self.pace.progress.done = Bytes(errand.done.load(Ordering::Relaxed));
                    self.pace.progress.sent = Bytes(sent + errand.sent.load(Ordering::Relaxed));
                    tell(self.pace.progress);
                }
            }
        }
        drop(work);
        self.pace.progress.done = Bytes(errand.done.load(Ordering::Relaxed));
        self.pace.progress.sent = Bytes(sent + errand.sent.load(Ordering::Relaxed));
        Ok(errand)
    }

    /// Something that is not as it shall be, though nothing changes any more.
    fn missing(&self) -> Option<String> {
        lock(&self.ground.state).want.dirty.first().map(|path| shown(path))
    }

    /// Everything is here: writes it out and compares the whole with what was sealed.
    async fn last(&mut self, root: chandler_protocol::Digest) -> Result<Received, ReceiveError> {
        let synced = blocking(&self.ground, |ground| ground.sync());
        let is_same = blocking(&self.ground, move |ground| Ok(lock(&ground.state).local.root() == root));
        let (synced, is_same) = tokio::join!(synced, is_same);
        synced?;
        if is_same? {
            return Ok(Received { attempt: self.order.attempt, root });
        }
        Err(ReceiveError::Differs)
    }

    /// Writes out what has arrived while the next round goes on.
    async fn sync_in_background(&mut self) -> Result<(), ReceiveError> {
        if let Some(syncing) = self.syncing.take_if(|s| s.is_finished()) {
            let (bytes, took) = syncing.await.unwrap_or(Ok((0, Duration::ZERO)))?;
            self.pace.synced(bytes, took);
        }
        if self.syncing.is_none() && !lock(&self.ground.state).local.unsynced.is_empty() {
            let ground = Arc::clone(&self.ground);
            self.syncing = Some(tokio::spawn(async move { blocking(&ground, |ground| ground.sync()).await }));
        }
        Ok(())
    }

    /// Notes what is here now and then, a twentieth of the time at most.
    async fn note(&mut self) -> Result<(), ReceiveError> {
        let began = Instant::now();
        if began >= self.note_after && !*self.sealing.borrow() {
            blocking(&self.ground, |ground| ground.note()).await?;
            self.note_after = Instant::now() + (began.elapsed() * 20).max(NOTE_EVERY);
        }
        Ok(())
    }

    /// Waits for the next round, or for the seal.
    async fn wait(&mut self) {
        let gap = self.pace.gap();
        tokio::select! {
            biased;
            _ = self.sealing.wait_for(|is| *is) => {}
            () = sleep(gap) => {}
        }
    }
}
