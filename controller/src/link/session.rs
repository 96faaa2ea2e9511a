//! A control connection: hello, welcome, and then frames both ways until one side is gone.

use std::sync::Arc;
use std::time::Duration;

use chandler_api::problem;
use chandler_engine::fleet::{Host, HostState, Pulse};
use chandler_engine::model::Model;
use chandler_protocol::command::{Action, Command, LogStream};
use chandler_protocol::frame::{CONTROL_MAX, FrameDecoder, FrameError, encode};
use chandler_protocol::handshake::{Hello, Refusal, VERSION, VERSION_MIN, Welcome, negotiate};
use chandler_protocol::message::{AgentMessage, ControllerMessage};
use chandler_protocol::state::{Assignment, DesiredState};
use chandler_protocol::text::{NAME_MAX, clean};
use chandler_protocol::{AssignmentId, HostId, Micros};
use quinn::VarInt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use super::intake::{Intake, Reported};
use super::listener::Shared;
use super::sessions::{Live, Sessions};
use crate::store::Refused;

/// The peer broke the protocol.
pub(super) const CLOSE_PROTOCOL: VarInt = VarInt::from_u32(1);
/// The peer may not be here.
pub(super) const CLOSE_REFUSED: VarInt = VarInt::from_u32(2);
/// The same host has connected anew.
pub(super) const CLOSE_REPLACED: VarInt = VarInt::from_u32(3);
/// The controller is stopping.
pub(super) const CLOSE_STOPPING: VarInt = VarInt::from_u32(4);

/// How long an agent that is connected may take to say so, when another one comes with the same key.
const ANSWER_TIME: Duration = Duration::from_secs(1);
/// An agent that takes longer to introduce itself is cut off.
const HELLO_TIME: Duration = Duration::from_secs(10);
/// Bytes of assignments in one desired state: a frame less some room for its head.
const DESIRED_MAX: usize = CONTROL_MAX - (64 << 10);
/// Assignments in one desired state.
const ASSIGNMENTS_MAX: usize = 2_048;
/// Answers of the reading half that may wait for the writing half.
const ANSWERS: usize = 64;

/// Why a connection ends.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkError {
    #[error("connection lost")]
    Connection(#[from] quinn::ConnectionError),
    #[error("stream lost")]
    Read(#[from] quinn::ReadError),
    #[error("stream lost")]
    Write(#[from] quinn::WriteError),
    #[error("the peer sent what is no message")]
    Frame(#[from] FrameError),
    #[error("the peer broke the protocol: {0}")]
    Protocol(&'static str),
}

/// Reads whole messages from a stream.
pub(super) struct Frames(FrameDecoder);

/// A reader of frames up to `max` bytes.
pub(super) fn receive(max: usize) -> Frames {
    Frames(FrameDecoder::new(max))
}

impl Frames {
    /// The bytes behind the last message that have arrived already.
    pub(super) fn take_rest(&mut self) -> Vec<u8> {
        self.0.take_rest()
    }

    /// The next message; `None` when the peer has finished.
    pub(super) async fn next<T: DeserializeOwned>(
        &mut self,
        stream: &mut quinn::RecvStream,
    ) -> Result<Option<T>, LinkError> {
        loop {
            if let Some(message) = self.0.decode()? {
                return Ok(Some(message));
            }
            match stream.read_chunk(64 << 10, true).await? {
                Some(chunk) => self.0.push(&chunk.bytes),
                None if self.0.is_mid_frame() => return Err(LinkError::Protocol("stream ended inside a frame")),
                None => return Ok(None),
            }
        }
    }
}

/// Sends one message.
pub(super) async fn send<T: Serialize>(
    stream: &mut quinn::SendStream,
    message: &T,
    max: usize,
) -> Result<(), LinkError> {
    stream.write_all(&encode(message, max)?).await?;
    Ok(())
}

/// Serves one control connection until it ends.
pub(super) async fn serve(connection: quinn::Connection, shared: Arc<Shared>) {
    let Some(host) = authenticate(&connection, &shared) else { return };
    if let Err(error) = converse(&connection, host, &shared).await {
        tracing::debug!(%host, error = %chain(&error), "control connection ended");
        if matches!(error, LinkError::Frame(_) | LinkError::Protocol(_)) {
            connection.close(CLOSE_PROTOCOL, error.to_string().as_bytes());
        }
    }
    if shared.sessions.leave(host, &connection) {
        let _ = shared
            .writer
            .transact("link", move |draft| {
                if let Some(pulse) = draft.model.pulses.get_mut(&host) {
                    pulse.connected = false;
                }
                Ok::<_, ()>(())
            })
            .await;
    }
}

fn chain(error: &LinkError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// Who is at the other end, by certificate alone; closes the connection when it may not be here.
pub(super) fn authenticate(connection: &quinn::Connection, shared: &Shared) -> Option<HostId> {
    let refuse = |code: problem::Code| {
        connection.close(CLOSE_REFUSED, format!("{}: {}", code.code, code.title).as_bytes());
    };
    let chain =
        connection.peer_identity().and_then(|i| i.downcast::<Vec<rustls::pki_types::CertificateDer<'_>>>().ok());
    let Some((host, key)) = chain.and_then(|c| shared.authority.agent_of(c.first()?)) else {
        tracing::warn!("a connection without an agent's certificate was refused");
        refuse(problem::WRONG_ROLE);
        return None;
    };
    let model = shared.writer.snapshot();
    let known = model.hosts.get(&host).filter(|h| h.key_fingerprint == key && h.state != HostState::Revoked);
    if known.is_none() {
        tracing::warn!(%host, "a revoked or unknown identity was refused");
        refuse(problem::REVOKED);
        return None;
    }
    Some(host)
}

async fn converse(connection: &quinn::Connection, host: HostId, shared: &Arc<Shared>) -> Result<(), LinkError> {
    let opened = tokio::time::timeout(HELLO_TIME, async {
        let (tx, mut rx) = connection.accept_bi().await?;
        let mut frames = receive(CONTROL_MAX);
        let first = frames.next(&mut rx).await?;
        Ok::<_, LinkError>((tx, rx, frames, first))
    });
    let (mut tx, mut rx, mut frames, first) = opened.await.map_err(|_| LinkError::Protocol("no hello in time"))??;
    let Some(AgentMessage::Hello(hello)) = first else {
        return Err(LinkError::Protocol("the first message was no hello"));
    };
    let welcome = match greet(host, &hello, connection, shared).await {
        Ok(welcome) => welcome,
        Err(refusal) => {
            send(&mut tx, &ControllerMessage::Refused(refusal), CONTROL_MAX).await?;
            let _ = tx.finish();
            let _ = tokio::time::timeout(HELLO_TIME, connection.closed()).await;
            return Ok(());
        }
    };
    let (commands, commands_in) = Sessions::channel();
    shared.sessions.enter(host, Live { connection: connection.clone(), instance: hello.instance, commands });
    if is_revoked(&shared.writer.snapshot(), host) {
        // Revoked since it was greeted: whoever cuts live connections may have looked before this one was there.
        shared.sessions.cut(host);
        return Ok(());
    }
    send(&mut tx, &ControllerMessage::Welcome(welcome), CONTROL_MAX).await?;
    let (answers, answers_in) = mpsc::channel(ANSWERS);
    let mut intake = Intake::new(host, connection.clone(), shared.clone(), answers);
    let reported = intake.reported();
    let reading = async {
        while let Some(message) = frames.next::<AgentMessage>(&mut rx).await? {
            intake.take(message).await?;
        }
        Ok(())
    };
    let writing = speak(&mut tx, host, shared, &reported, answers_in, commands_in);
    tokio::select! {
        biased;
        done = reading => done,
        done = writing => done,
    }
}

/// Decides whether the agent is welcome, and notes what its hello says.
async fn greet(
    host: HostId,
    hello: &Hello,
    connection: &quinn::Connection,
    shared: &Arc<Shared>,
) -> Result<Welcome, Refusal> {
    let refuse = |code: problem::Code, message: String, retry_after| Refusal {
        code: code.code.to_owned(),
        message,
        retry_after,
    };
    let theirs = (hello.version_min, hello.version_max);
    let Some(version) = negotiate((VERSION_MIN, VERSION), theirs) else {
        let message = format!(
            "the controller speaks versions {VERSION_MIN} to {VERSION}, the agent {} to {}: upgrade the {}",
            theirs.0,
            theirs.1,
            if theirs.1 < VERSION_MIN { "agent" } else { "controller" }
        );
        return Err(refuse(problem::VERSION, message, None));
    };
    if is_in_two_places(host, hello, shared).await {
        flag_copy(host, shared).await;
        let message =
            "this identity is connected from another place: a disk was copied. Join this computer anew".to_owned();
        return Err(refuse(problem::DUPLICATE_IDENTITY, message, Some(Micros::from_secs(60))));
    }
    let (version_text, starts) = (clean(&hello.agent_version, NAME_MAX), hello.starts);
    let rtt = Micros::from_std(connection.rtt());
    let config = shared.config;
    let welcome = shared
        .writer
        .transact("link", move |draft| {
            let Some(known) = draft.model.hosts.get(&host).cloned() else { return Err(()) };
            if known.agent_version != version_text || known.starts < starts {
                let starts = known.starts.max(starts);
                draft.put(Host { agent_version: version_text, starts, ..known.as_ref().clone() });
            }
            let before = draft.model.pulse(host);
            let pulse = Pulse { seen_at: draft.now, connected: true, rtt: Some(rtt), ..before };
            draft.model.pulses.insert(host, pulse);
            Ok(Welcome {
                version,
                controller_time: draft.now,
                telemetry_interval: config.telemetry_interval,
                heartbeat: config.heartbeat,
                reconnect_window: config.reconnect_window,
                usage_acknowledged: draft.model.usage_acknowledged(host),
            })
        })
        .await;
    welcome.map_err(|e| match e {
        Refused::By(()) => refuse(problem::REVOKED, problem::REVOKED.title.to_owned(), None),
        Refused::Store(_) => {
            refuse(problem::UNAVAILABLE, problem::UNAVAILABLE.title.to_owned(), Some(Micros::from_secs(5)))
        }
    })
}

/// Whether another start of an agent with this key is alive. A copied disk counts its starts as the original does, so
/// the other one is asked: of an agent that was restarted nobody answers any more.
async fn is_in_two_places(host: HostId, hello: &Hello, shared: &Shared) -> bool {
    let Some(other) = shared.sessions.current(host) else { return false };
    if other.instance == hello.instance || other.connection.close_reason().is_some() {
        return false;
    }
    // It has no log of that name, and says so: any answer will do.
    let nothing = AssignmentId::from_random([0; 10]);
    let question = Action::ReadLog { assignment: nothing, stream: LogStream::Stdout, offset: None, limit: 0 };
    shared.sessions.command(host, question, ANSWER_TIME).await.is_ok()
}

fn is_revoked(model: &Model, host: HostId) -> bool {
    model.hosts.get(&host).is_none_or(|h| h.state == HostState::Revoked)
}

/// The same key is used from two places: said on the host and in the events, once.
async fn flag_copy(host: HostId, shared: &Arc<Shared>) {
    use chandler_engine::event::Noun;
    const NOTE: &str = "its identity is used from two places: a disk was copied";
    let _ = shared
        .writer
        .transact("link", move |draft| {
            let Some(known) = draft.model.hosts.get(&host).cloned() else { return Err(()) };
            if known.note != NOTE {
                let state = known.state.as_str();
                draft.event((Noun::Host, host.to_string(), &known.name), state, state, NOTE);
                draft.put(Host { note: NOTE.to_owned(), ..known.as_ref().clone() });
            }
            Ok(())
        })
        .await;
}

/// The writing half: answers, commands, and the desired state whenever it has changed. What the agent does not say it
/// has stored is sent again: it may have had no room on its disk, or have heard a later controller before.
async fn speak(
    tx: &mut quinn::SendStream,
    host: HostId,
    shared: &Arc<Shared>,
    reported: &Reported,
    mut answers: mpsc::Receiver<ControllerMessage>,
    mut commands: mpsc::Receiver<Command>,
) -> Result<(), LinkError> {
    let changed = shared.writer.wake_of_host(host);
    let mut told: Option<(u64, Vec<Assignment>)> = None;
    loop {
        let model = shared.writer.snapshot();
        let wanted = desired(&model, host);
        if told.as_ref().is_none_or(|(_, before)| *before != wanted) {
            // An agent listens to higher generations only, also when our store is an older copy of what it knows.
            let after = reported.generation().max(told.as_ref().map_or(0, |(generation, _)| *generation));
            let generation = model.generation.max(after.saturating_add(1));
            let state = DesiredState { generation, assignments: wanted.clone() };
            send(tx, &ControllerMessage::Desired(state), CONTROL_MAX).await?;
            told = Some((generation, wanted));
        }
        tokio::select! {
            biased;
            answer = answers.recv() => match answer {
                Some(answer) => send(tx, &answer, CONTROL_MAX).await?,
                None => return Ok(()),
            },
            command = commands.recv() => match command {
                Some(command) => send(tx, &ControllerMessage::Command(command), CONTROL_MAX).await?,
                None => return Ok(()),
            },
            () = changed.notified() => {}
            // It knows a later state than ours: ours goes above it.
            () = reported.changed() => {
                if told.as_ref().is_some_and(|(generation, _)| reported.generation() > *generation) {
                    told = told.map(|(generation, _)| (generation, Vec::new()));
                }
            }
            // A wake-up may have gone to a session that was ending; what was said may not have been stored.
            () = tokio::time::sleep(shared.config.heartbeat.to_std()) => {
                if told.as_ref().is_some_and(|(generation, _)| reported.generation() < *generation) {
                    told = None;
                }
            }
        }
    }
}

/// What a host shall run, from its assignments. Beyond what a frame holds, the rest waits until others are done: what is
/// not named is left as it is, so that holding back is safe. What gives resources back goes first.
fn desired(model: &Model, host: HostId) -> Vec<Assignment> {
    let mut all: Vec<_> = model.assignments_of_host(host).collect();
    all.sort_by_key(|a| (a.is_to_run(), a.observed.is_none(), a.id));
    let mut size = 0;
    let mut wanted: Vec<_> = all
        .into_iter()
        .map(|a| Assignment { id: a.id, epoch: a.epoch, target: a.target, spec: a.spec.clone() })
        .take_while(|a| {
            size += encode(a, CONTROL_MAX).map_or(CONTROL_MAX, |frame| frame.len());
            size <= DESIRED_MAX
        })
        .take(ASSIGNMENTS_MAX)
        .collect();
    wanted.sort_by_key(|a| a.id);
    wanted
}
