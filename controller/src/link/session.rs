//! A control connection: hello, welcome, and then frames both ways until one side is gone.

use std::sync::Arc;
use std::time::Duration;

use chandler_api::problem;
use chandler_engine::fleet::{Host, HostState, Pulse};
use chandler_engine::fulfilment;
use chandler_engine::model::Model;
use chandler_protocol::command::{Action, LogStream};
use chandler_protocol::frame::{CONTROL_MAX, FrameDecoder, FrameError, encode};
use chandler_protocol::handshake::{Hello, Refusal, VERSION, VERSION_MIN, Welcome, negotiate};
use chandler_protocol::message::{AgentMessage, ControllerMessage};
use chandler_protocol::text::{NAME_MAX, clean};
use chandler_protocol::{AssignmentId, HostId, Micros, ServiceId};
use quinn::VarInt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use super::intake::Intake;
use super::listener::Shared;
use super::sessions::{Live, Sessions};
use super::speaker::Speaker;
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
                // A move that waited for a door there waits for it no longer.
                for service in moving_past(&draft.model, host) {
                    fulfilment::advance(draft, service);
                }
                Ok::<_, ()>(())
            })
            .await;
    }
}

/// Services that are on the move and have a front door on this host.
fn moving_past(model: &Model, host: HostId) -> Vec<ServiceId> {
    let moving = model.moving.iter().filter(|(_, moves)| !moves.is_empty()).map(|(service, _)| *service);
    moving.filter(|service| model.doors.contains_key(&(*service, host))).collect()
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
    let (welcome, was_lost) = match greet(host, &hello, connection, shared).await {
        Ok(greeted) => greeted,
        Err(refusal) => {
            send(&mut tx, &ControllerMessage::Refused(refusal), CONTROL_MAX).await?;
            let _ = tx.finish();
            let _ = tokio::time::timeout(HELLO_TIME, connection.closed()).await;
            return Ok(());
        }
    };
    let (commands, commands_in) = Sessions::channel();
    let (answers, answers_in) = mpsc::channel(ANSWERS);
    let live = Live { connection: connection.clone(), instance: hello.instance, commands, words: answers.clone() };
    shared.sessions.enter(host, live);
    if is_revoked(&shared.writer.snapshot(), host) {
        // Revoked since it was greeted: whoever cuts live connections may have looked before this one was there.
        shared.sessions.cut(host);
        return Ok(());
    }
    let version = welcome.version;
    send(&mut tx, &ControllerMessage::Welcome(welcome), CONTROL_MAX).await?;
    let mut intake = Intake::new(host, version, connection.clone(), shared.clone(), answers);
    let reported = intake.reported();
    let reading = async {
        while let Some(message) = frames.next::<AgentMessage>(&mut rx).await? {
            intake.take(message).await?;
        }
        Ok(())
    };
    let speaker = Speaker::new(host, version, shared, &reported);
    let writing = speaker.speak(&mut tx, was_lost, answers_in, commands_in);
    tokio::select! {
        biased;
        done = reading => done,
        done = writing => done,
    }
}

/// Decides whether the agent is welcome, and notes what its hello says. Says also whether the host was given up for lost.
async fn greet(
    host: HostId,
    hello: &Hello,
    connection: &quinn::Connection,
    shared: &Arc<Shared>,
) -> Result<(Welcome, bool), Refusal> {
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
            let starts = known.starts.max(starts);
            let new = Host { agent_version: version_text, starts, protocol: version, ..known.as_ref().clone() };
            if new != *known {
                draft.put(new);
            }
            let before = draft.model.pulse(host);
            let pulse = Pulse { seen_at: draft.now, connected: true, rtt: Some(rtt), ..before };
            draft.model.pulses.insert(host, pulse);
            let welcome = Welcome {
                version,
                controller_time: draft.now,
                telemetry_interval: config.telemetry_interval,
                heartbeat: config.heartbeat,
                reconnect_window: config.reconnect_window,
                usage_acknowledged: draft.model.usage_acknowledged(host),
            };
            Ok((welcome, known.state == HostState::Lost))
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
