//! Handing a state over: giving it up once the software has ended, and receiving it before the software is started.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chandler_protocol::state::{Failure, Phase, Progress, Receive, Received, Sealed};
use chandler_protocol::tunnel::TunnelRequest;
use chandler_protocol::{AssignmentId, HostId, Micros};
use tokio::sync::watch;

use super::{Gone, Supervisor};
use crate::agent::Shared;
use crate::states::{BoxedStream, OpenState, StateError};

/// The first and the longest wait between tries.
const TRY_FIRST: Micros = Micros::from_millis(20);
const TRY_LONGEST: Micros = Micros::from_secs(5);
/// How often a full disk is looked at again.
const DISK_FULL_AGAIN: Micros = Micros::from_secs(5);
/// How often a tree that was refused is looked at again: its owner may have mended it.
const REFUSED_AGAIN: Micros = Micros::from_secs(30);
/// Progress is reported this often, and at once when something changes that others wait for.
const PROGRESS: Duration = Duration::from_millis(250);

impl Supervisor {
    /// Writes the state out, measures it, and gives it up: kept first, then said.
    pub(super) async fn seal(&mut self, attempt: u64) -> Result<(), Gone> {
        self.show_phase(Phase::Stopping, "it has ended; its state is written out and measured");
        let source = self.shared.workloads.source(self.id);
        let result = tokio::select! {
            biased;
            changed = self.orders.changed() => return changed.map_err(|_| Gone),
            result = source.seal(attempt) => result,
        };
        match result {
            Ok(root) => {
                let before = self.local.custody;
                self.local.custody = before.given_up(attempt, root);
                if self.keep_custody() {
                    (self.tries, self.local.retry_at) = (0, None);
                } else {
                    self.local.custody = before;
                    self.put_off(TRY_FIRST, TRY_LONGEST);
                    self.show_phase(Phase::Stopping, "that its state is given up cannot be written down yet");
                }
            }
            Err(error) => {
                tracing::warn!(id = %self.id, %error, "a state could not be sealed");
                self.put_off(TRY_FIRST, TRY_LONGEST);
                self.show_phase(Phase::Stopping, &format!("its state cannot be measured yet: {error}"));
            }
        }
        Ok(())
    }

    /// Rests with a state that was given up. After a restart of the agent nobody knows any more what it is, and those who
    /// receive it wait: it is measured once more, and must be what was said.
    pub(super) async fn stay_sealed(&mut self, sealed: Sealed) -> Result<(), Gone> {
        let source = self.shared.workloads.source(self.id);
        let result = tokio::select! {
            biased;
            changed = self.orders.changed() => return changed.map_err(|_| Gone),
            result = source.seal(sealed.attempt) => result,
        };
        let message = match result {
            Ok(root) if root == sealed.root => return self.order().await,
            Ok(_) => "its state is not what it was when it was given up".to_owned(),
            Err(error) => format!("its state cannot be measured again: {error}"),
        };
        tracing::error!(id = %self.id, message, "a state that was given up cannot be given");
        self.show(|o| o.message = message);
        self.order().await
    }

    /// Receives until the whole state is here, kept before it is said.
    pub(super) async fn receive(&mut self, order: Receive) -> Result<(), Gone> {
        // What comes in replaces what was there: from here on that is no state to begin with.
        self.local.custody.begun = None;
        if !self.keep_custody() {
            self.put_off(TRY_FIRST, TRY_LONGEST);
            return Ok(());
        }
        let mut receiver = self.shared.world.states.receiver(self.id);
        let from = Arc::new(Peer {
            shared: self.shared.clone(),
            host: order.host,
            source: order.source,
            attempt: order.attempt,
        });
        let (sender, mut told) = watch::channel(Progress { attempt: order.attempt, ..Progress::default() });
        let tell = |progress| {
            sender.send_replace(progress);
        };
        let mut receiving = receiver.receive(&order, from, &tell);
        let mut shown: Option<Progress> = None;
        let mut not_before = tokio::time::Instant::now();
        let result = loop {
            let progress = Progress { attempt: order.attempt, ..*told.borrow_and_update() };
            let is_due = tokio::time::Instant::now() >= not_before;
            if shown != Some(progress) && (is_due || shown.is_none_or(|s| is_news(&s, &progress))) {
                self.show_phase(Phase::Receiving(progress), "");
                (shown, not_before) = (Some(progress), tokio::time::Instant::now() + PROGRESS);
            }
            tokio::select! {
                biased;
                changed = self.orders.changed() => {
                    // Whatever comes next may use the directory, or remove it.
                    drop(receiving);
                    receiver.settled().await;
                    return changed.map_err(|_| Gone);
                }
                result = &mut receiving => break result,
                _ = told.changed() => {}
                () = tokio::time::sleep_until(not_before), if shown != Some(progress) => {}
            }
        };
        drop(receiving);
        receiver.settled().await;
        match result {
            Ok(received) => self.received(order, received),
            Err(error) => self.receive_failed(&error),
        }
        Ok(())
    }

    fn received(&mut self, order: Receive, received: Received) {
        let before = self.local.custody;
        self.local.custody = before.received(Received { attempt: order.attempt, ..received });
        if self.keep_custody() {
            (self.tries, self.local.retry_at) = (0, None);
        } else {
            self.local.custody = before;
            self.put_off(TRY_FIRST, TRY_LONGEST);
        }
    }

    fn receive_failed(&mut self, error: &StateError) {
        let message = error.to_string();
        tracing::warn!(id = %self.id, %message, "a state could not be received");
        let again = |at: Micros, wait: Micros| Some(Micros(at.0.saturating_add(wait.0)));
        match error {
            StateError::Temporary(_) => {
                self.put_off(TRY_FIRST, TRY_LONGEST);
                self.show(|o| o.message = message);
            }
            StateError::Refused(_) => {
                self.local.retry_at = again(self.now(), REFUSED_AGAIN);
                self.show_phase(Phase::Failed(Failure::State), &message);
            }
            StateError::DiskFull(_) => {
                self.local.retry_at = again(self.now(), DISK_FULL_AGAIN);
                self.show_phase(Phase::Failed(Failure::DiskFull), &message);
            }
        }
    }
}

/// Whether somebody waits for what changed.
fn is_news(shown: &Progress, now: &Progress) -> bool {
    shown.in_step != now.in_step || shown.rounds != now.rounds
}

/// The copy that a state is received from.
struct Peer {
    shared: Arc<Shared>,
    host: HostId,
    source: AssignmentId,
    attempt: u64,
}

#[async_trait]
impl OpenState for Peer {
    async fn open(&self) -> std::io::Result<BoxedStream> {
        let request = TunnelRequest::State { assignment: self.source, attempt: self.attempt };
        let carried = self.shared.tunnels.open(self.host, &request).await.map_err(std::io::Error::other)?;
        Ok(Box::new(carried))
    }
}
