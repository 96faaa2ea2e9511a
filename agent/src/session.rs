//! One session with a controller: what arrives is acted upon, what changes is said, and silence is broken in time.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;

use chandler_protocol::Micros;
use chandler_protocol::command::{Action, Command, CommandResult, Outcome};
use chandler_protocol::frame::{CONTROL_MAX, encode};
use chandler_protocol::handshake::{Refusal, VERSION_MOVES};
use chandler_protocol::message::{AgentMessage, ControllerMessage};
use chandler_protocol::state::ObservedState;
use tokio::sync::mpsc;

use crate::agent::Shared;
use crate::command::{LOG_MAX, Verdict};
use crate::identity::is_for;
use crate::link::control::Connected;
use crate::observed;
use crate::sync::lock;
use crate::ways::WaysReport;

/// Frames that wait for the network; what else is to be said is made when there is room, from the newest state.
const QUEUE: usize = 4;
/// Shortest time between two reports of the whole observed state: a little, and a little more for each assignment
/// in it, so that a thousand that start at once do not send a thousand times a thousand.
const OBSERVED_GAP: Micros = Micros::from_millis(1);
const OBSERVED_GAP_EACH: Micros = Micros(20);
/// Answers to commands that wait to be sent.
const ANSWERS_MAX: usize = 64;
/// Bounds on the heartbeat that a controller may ask for.
const HEARTBEAT_MIN: Micros = Micros::from_millis(100);
const HEARTBEAT_MAX: Micros = Micros::from_secs(60);
/// The soonest a certificate is asked for in a session: one that is too old from the start must not be asked for without end.
const RENEW_SOONEST: Micros = Micros::from_secs(1);
/// A controller of which nothing has arrived for this many heartbeats is gone, though nobody said so; each heartbeat is
/// acknowledged by its transport.
const SILENCE_BEATS: i64 = 3;
/// The shortest silence that means so, however quick the heartbeat.
const SILENCE_MIN: Micros = Micros::from_secs(5);
/// How long to wait before a certificate is asked for again.
const RENEW_AGAIN: Micros = Micros::from_secs(60);
/// How long to wait before usage is written down and sent again after the disk failed.
const USAGE_AGAIN: Micros = Micros::from_secs(10);

/// Why a session ended.
#[derive(Debug)]
pub(crate) enum End {
    /// The connection is gone.
    Lost(String),
    /// The controller does not want this agent (any more).
    Refused(Refusal),
    /// There is a new certificate, to be used at once.
    Renewed,
}

/// Holds the session until it ends.
pub(crate) async fn hold(shared: &Arc<Shared>, connected: Connected) -> End {
    let Connected { connection, mut send, mut reader, welcome, .. } = connected;
    let (queue, mut queued) = mpsc::channel::<Vec<u8>>(QUEUE);
    let writer = async {
        while let Some(bytes) = queued.recv().await {
            if let Err(error) = send.write_all(&bytes).await {
                return error.to_string();
            }
        }
        "nothing more is to be said".to_owned()
    };
    let mut writer = std::pin::pin!(writer);
    let heartbeat = Micros(welcome.heartbeat.0.clamp(HEARTBEAT_MIN.0, HEARTBEAT_MAX.0));
    let mut outbox = Outbox::new(shared.clone(), heartbeat, welcome.version);
    let _asking = Asking::begin(shared, welcome.version);
    let mut hearing = Hearing::new(heartbeat, shared.world.clock.boot());
    let end = loop {
        let now = shared.world.clock.boot();
        if let Some(silence) = hearing.is_silent(connection.stats().udp_rx.datagrams, now) {
            break End::Lost(format!("nothing was heard of the controller for {silence}"));
        }
        tokio::select! {
            biased;
            why = &mut writer => break End::Lost(why),
            permit = queue.reserve(), if outbox.is_due(now) => {
                let Ok(permit) = permit else { break End::Lost("the writer ended".into()) };
                if let Some(frame) = outbox.next(now) {
                    permit.send(frame);
                }
            }
            message = reader.next::<ControllerMessage>() => match message {
                Ok(Some(message)) => {
                    if let Some(end) = handle(shared, &mut outbox, message).await {
                        break end;
                    }
                }
                Ok(None) => break End::Lost("the controller ended the session".into()),
                Err(error) => break End::Lost(error.to_string()),
            },
            () = shared.wake.notified() => {}
            () = until(outbox.next_due(now), now) => {}
        }
    };
    // A controller that closes says why; the streams only know that they are gone.
    let end = match (end, connection.close_reason()) {
        (End::Lost(_), Some(reason)) => End::Lost(reason.to_string()),
        (end, _) => end,
    };
    connection.close(0_u32.into(), b"the session ends");
    end
}

/// Leases are asked for as long as this lives.
struct Asking<'a>(&'a Shared);

impl<'a> Asking<'a> {
    /// A controller that does not know of leases is not asked: what needs one ends when it does.
    fn begin(shared: &'a Shared, version: u16) -> Self {
        if version >= VERSION_MOVES {
            shared.leases.connected(shared.world.clock.boot());
        }
        Self(shared)
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.leases.disconnected();
    }
}

/// Whether anything still arrives, be it only acknowledgements.
struct Hearing {
    datagrams: u64,
    since: Micros,
    patience: Micros,
}

impl Hearing {
    fn new(heartbeat: Micros, now: Micros) -> Self {
        let patience = Micros((heartbeat.0 * SILENCE_BEATS).max(SILENCE_MIN.0));
        Self { datagrams: 0, since: now, patience }
    }

    /// For how long nothing has arrived, when that is too long.
    fn is_silent(&mut self, datagrams: u64, now: Micros) -> Option<Micros> {
        if datagrams != self.datagrams {
            (self.datagrams, self.since) = (datagrams, now);
        }
        let silence = Micros(now.0 - self.since.0);
        (silence > self.patience).then_some(silence)
    }
}

fn until(at: Micros, now: Micros) -> impl Future<Output = ()> {
    tokio::time::sleep(Micros((at.0 - now.0).max(0)).to_std())
}

/// Acts upon one message.
async fn handle(shared: &Arc<Shared>, outbox: &mut Outbox, message: ControllerMessage) -> Option<End> {
    match message {
        ControllerMessage::Welcome(_) => {}
        ControllerMessage::Refused(refusal) => return Some(End::Refused(refusal)),
        ControllerMessage::Desired(desired) => shared.accept(desired),
        ControllerMessage::TelemetryAcknowledged(sequence) => lock(&shared.telemetry).acknowledge(sequence),
        ControllerMessage::UsageAcknowledged(sequence) => lock(&shared.journal).acknowledge(sequence),
        ControllerMessage::Ways(ways) => shared.ways.take(shared, ways),
        ControllerMessage::Lease(grant) => shared.leases.answered(&grant, shared.world.clock.boot()),
        ControllerMessage::LeasePart(part) => shared.leases.answered_in_part(&part, shared.world.clock.boot()),
        ControllerMessage::Command(command) => {
            let arrived = shared.world.clock.boot();
            let outcome = execute(shared, &command, arrived).await;
            // A controller that asks faster than it listens loses the oldest answers; it may ask again.
            if outbox.answers.len() >= ANSWERS_MAX {
                outbox.answers.pop_front();
            }
            outbox.answers.push_back(CommandResult { id: command.id, outcome });
        }
        ControllerMessage::Renewed(certificate) => {
            if !is_for(&certificate, &shared.key) {
                tracing::error!("the controller's new certificate is for another key and is not used");
                return None;
            }
            let mut renewed = lock(&shared.identity).clone();
            renewed.certificate = certificate;
            match renewed.save(shared.world.disk.as_ref()) {
                Ok(()) => {
                    *lock(&shared.identity) = renewed;
                    return Some(End::Renewed);
                }
                Err(error) => tracing::error!(%error, "the new certificate cannot be kept"),
            }
        }
    }
    None
}

/// Does a command, unless it was done before.
async fn execute(shared: &Arc<Shared>, command: &Command, arrived: Micros) -> Outcome {
    let now = shared.world.clock.boot();
    let verdict = lock(&shared.commands).judge(command, arrived, now);
    if let Verdict::Answer(outcome) = verdict {
        return outcome;
    }
    let outcome = match &command.action {
        Action::Inventory => {
            shared.inventory_wanted.notify_one();
            Outcome::Done
        }
        Action::ReadLog { assignment, stream, offset, limit } => {
            let limit = usize::try_from(*limit).unwrap_or(LOG_MAX).min(LOG_MAX);
            match shared.world.workspace.read_log(*assignment, *stream, *offset, limit).await {
                Ok(part) => Outcome::Log { offset: part.offset, bytes: part.bytes, end: part.end },
                Err(error) => Outcome::Failed(error.to_string()),
            }
        }
    };
    lock(&shared.commands).done(command.id, &outcome);
    outcome
}

/// What is to be said, made at the moment it can be said, most important first.
struct Outbox {
    shared: Arc<Shared>,
    heartbeat: Micros,
    answers: VecDeque<CommandResult>,
    /// The version that was reported last, and when another may be reported.
    observed: Option<(u64, Micros)>,
    inventory: u64,
    usage: u64,
    usage_not_before: Micros,
    renew_at: Micros,
    ways: WaysReport,
    spoke: Micros,
}

/// One thing to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Item {
    Lease,
    Answer,
    Observed,
    Ways,
    Usage,
    Inventory,
    Renew,
    Telemetry,
    Alive,
}

impl Outbox {
    fn new(shared: Arc<Shared>, heartbeat: Micros, version: u16) -> Self {
        let now = shared.world.clock.boot();
        let renew_at = lock(&shared.identity).renew_at().map_or(RENEW_AGAIN, |at| at.since(shared.time.now()));
        let renew_at = renew_at.max(RENEW_SOONEST);
        Self {
            heartbeat,
            answers: VecDeque::new(),
            observed: None,
            inventory: 0,
            usage: 0,
            usage_not_before: now,
            renew_at: Micros(now.0.saturating_add(renew_at.0)),
            spoke: now,
            ways: WaysReport::new(version, heartbeat),
            shared,
        }
    }

    /// The most important thing that is to be said now.
    fn item(&self, now: Micros) -> Option<Item> {
        let shared = &self.shared;
        let observed_due = || match self.observed {
            None => true,
            Some((version, from)) => version != shared.board.version() && now >= from,
        };
        if shared.leases.next_due().is_some_and(|at| at <= now) {
            // What waits for a lease, or is killed without one, comes first.
            Some(Item::Lease)
        } else if !self.answers.is_empty() {
            Some(Item::Answer)
        } else if observed_due() {
            Some(Item::Observed)
        } else if self.ways.is_due(shared, now) {
            Some(Item::Ways)
        } else if now >= self.usage_not_before && lock(&shared.journal).has_after(self.usage) {
            Some(Item::Usage)
        } else if lock(&shared.inventory).0 != self.inventory {
            Some(Item::Inventory)
        } else if now >= self.renew_at {
            Some(Item::Renew)
        } else if lock(&shared.telemetry).is_waiting() {
            Some(Item::Telemetry)
        } else {
            (now.0 >= self.spoke.0 + self.heartbeat.0).then_some(Item::Alive)
        }
    }

    fn is_due(&self, now: Micros) -> bool {
        self.item(now).is_some()
    }

    /// When something may be due by the passing of time alone.
    fn next_due(&self, now: Micros) -> Micros {
        let mut at = self.renew_at.0.min(self.spoke.0 + self.heartbeat.0).min(self.ways.next_due(&self.shared).0);
        if let Some(lease) = self.shared.leases.next_due() {
            at = at.min(lease.0);
        }
        if let Some((version, from)) = self.observed
            && version != self.shared.board.version()
        {
            at = at.min(from.0);
        }
        // What is due already waits for room in the queue, not for time.
        if at <= now.0 { Micros(now.0 + self.heartbeat.0) } else { Micros(at) }
    }

    /// Makes the next frame.
    fn next(&mut self, now: Micros) -> Option<Vec<u8>> {
        let item = self.item(now)?;
        let frame = match item {
            Item::Inventory => {
                let (version, frame) = lock(&self.shared.inventory).clone();
                self.inventory = version;
                (!frame.is_empty()).then(|| frame.as_ref().clone())
            }
            _ => self.message(item, now).and_then(|m| match encode(&m, CONTROL_MAX) {
                Ok(frame) => Some(frame),
                Err(error) => {
                    tracing::error!(%error, ?item, "a message is too large to be sent");
                    None
                }
            }),
        };
        if frame.is_some() {
            self.spoke = now;
        }
        frame
    }

    fn message(&mut self, item: Item, now: Micros) -> Option<AgentMessage> {
        match item {
            Item::Lease => self.shared.leases.request(now).map(AgentMessage::Lease),
            Item::Answer => self.answers.pop_front().map(AgentMessage::CommandResult),
            Item::Observed => {
                let (version, assignments) = self.shared.board.snapshot();
                let count = i64::try_from(assignments.len()).unwrap_or(i64::MAX);
                let gap = OBSERVED_GAP_EACH.0.saturating_mul(count).saturating_add(OBSERVED_GAP.0);
                self.observed = Some((version, Micros(now.0 + gap)));
                let state = ObservedState { generation: self.shared.generation(), assignments };
                Some(AgentMessage::Observed(observed::fit(state)))
            }
            Item::Ways => self.ways.take(&self.shared, now).map(AgentMessage::Ways),
            Item::Usage => {
                let taken = lock(&self.shared.journal).take_after(self.usage, now, self.shared.world.disk.as_ref());
                match taken {
                    Ok(records) => {
                        self.usage = records.last()?.sequence;
                        Some(AgentMessage::Usage(records))
                    }
                    Err(error) => {
                        tracing::error!(%error, "usage is not sent before it is on disk");
                        self.usage_not_before = Micros(now.0 + USAGE_AGAIN.0);
                        None
                    }
                }
            }
            Item::Renew => {
                self.renew_at = Micros(now.0 + RENEW_AGAIN.0);
                match self.shared.key.request() {
                    Ok(request) => Some(AgentMessage::Renew(request)),
                    Err(error) => {
                        tracing::error!(%error, "no new certificate can be asked for");
                        None
                    }
                }
            }
            Item::Telemetry => Some(AgentMessage::Telemetry(lock(&self.shared.telemetry).take(now))),
            Item::Alive => Some(AgentMessage::Alive),
            Item::Inventory => None,
        }
    }
}
