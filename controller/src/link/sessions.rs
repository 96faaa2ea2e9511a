//! Who is connected right now, and how to ask them for something.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chandler_protocol::command::{Action, Command, CommandResult, Outcome};
use chandler_protocol::message::ControllerMessage;
use chandler_protocol::{HostId, Micros};
use tokio::sync::{mpsc, oneshot};

/// Commands that may wait to be sent to one agent.
const COMMANDS: usize = 64;
/// Commands whose results are waited for, of all agents together.
const WAITING: usize = 4_096;

/// Why a command has no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The host is not connected.
    #[error("the host is not connected")]
    NotConnected,
    /// It did not answer in time.
    #[error("the host did not answer in time")]
    TimedOut,
    /// Too many commands are waiting.
    #[error("too many commands are waiting; try again")]
    Busy,
}

/// One live control connection.
#[derive(Debug, Clone)]
pub(super) struct Live {
    pub(super) connection: quinn::Connection,
    pub(super) instance: [u8; 16],
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) words: mpsc::Sender<ControllerMessage>,
}

/// The live control connections, by host.
#[derive(Debug, Default)]
pub struct Sessions {
    live: Mutex<BTreeMap<HostId, Live>>,
    waiting: Mutex<BTreeMap<u64, (HostId, oneshot::Sender<Outcome>)>>,
    last_command: AtomicU64,
}

impl Sessions {
    /// Asks an agent for something and waits for the result.
    ///
    /// # Errors
    /// See [`CommandError`].
    pub async fn command(&self, host: HostId, action: Action, within: Duration) -> Result<Outcome, CommandError> {
        let id = self.last_command.fetch_add(1, Ordering::Relaxed) + 1;
        let commands = self.live().get(&host).map(|l| l.commands.clone()).ok_or(CommandError::NotConnected)?;
        let (tell, told) = oneshot::channel();
        {
            let mut waiting = self.waiting();
            if waiting.len() >= WAITING {
                return Err(CommandError::Busy);
            }
            waiting.insert(id, (host, tell));
        }
        let command = Command { id, expires_in: Micros::from_std(within), action };
        if commands.try_send(command).is_err() {
            self.waiting().remove(&id);
            return Err(CommandError::Busy);
        }
        let result = tokio::time::timeout(within, told).await;
        self.waiting().remove(&id);
        match result {
            Ok(Ok(outcome)) => Ok(outcome),
            Ok(Err(_)) => Err(CommandError::NotConnected),
            Err(_) => Err(CommandError::TimedOut),
        }
    }

    /// Says something to a host, if it is connected and takes it now: what is said must be of the kind that may be lost.
    pub fn say(&self, host: HostId, word: ControllerMessage) -> bool {
        let words = self.live().get(&host).map(|l| l.words.clone());
        words.is_some_and(|words| words.try_send(word).is_ok())
    }

    /// Closes a host's connection, for instance because its identity was revoked.
    pub fn cut(&self, host: HostId) {
        if let Some(live) = self.live().remove(&host) {
            live.connection.close(super::session::CLOSE_REFUSED, b"revoked");
        }
    }

    /// Whether a host has a live connection.
    pub fn is_connected(&self, host: HostId) -> bool {
        self.live().contains_key(&host)
    }

    /// Commands begin at a number that no earlier run of the controller has used: an agent remembers ids.
    pub fn start_commands_at(&self, id: u64) {
        self.last_command.store(id, Ordering::Relaxed);
    }

    pub(super) fn current(&self, host: HostId) -> Option<Live> {
        self.live().get(&host).cloned()
    }

    /// Room for commands on their way to one agent.
    pub(super) fn channel() -> (mpsc::Sender<Command>, mpsc::Receiver<Command>) {
        mpsc::channel(COMMANDS)
    }

    pub(super) fn enter(&self, host: HostId, live: Live) {
        if let Some(old) = self.live().insert(host, live) {
            old.connection.close(super::session::CLOSE_REPLACED, b"replaced by a newer connection");
        }
    }

    /// Leaves, unless a newer connection has taken the place already. Says whether it left.
    pub(super) fn leave(&self, host: HostId, connection: &quinn::Connection) -> bool {
        let mut live = self.live();
        let mine = live.get(&host).is_some_and(|l| l.connection.stable_id() == connection.stable_id());
        if mine {
            live.remove(&host);
        }
        mine
    }

    /// A result arrived. One that nobody asked this host for is dropped.
    pub(super) fn result(&self, host: HostId, result: CommandResult) {
        let mut waiting = self.waiting();
        if waiting.get(&result.id).is_some_and(|(h, _)| *h == host)
            && let Some((_, tell)) = waiting.remove(&result.id)
        {
            let _ = tell.send(result.outcome);
        }
    }

    fn live(&self) -> MutexGuard<'_, BTreeMap<HostId, Live>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<u64, (HostId, oneshot::Sender<Outcome>)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
