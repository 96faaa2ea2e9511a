//! One connection to another host: who uses it, and how a stream of it is asked for.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use chandler_protocol::tunnel::{FRAME_MAX, TunnelAnswer, TunnelRequest};
use chandler_protocol::way::Path;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::carried::{Carried, RESET, Stream};
use super::{CLOSE_IDLE, OpenError};
use crate::link::framed::{self, StreamError};
use crate::sync::lock;

/// How long to wait for room among the streams of a connection.
const ROOM: Duration = Duration::from_secs(5);
/// How long the other host may take to answer: it connects to the workload meanwhile.
const ANSWER: Duration = Duration::from_secs(5);
/// A connection that nobody uses for this long is closed, and opened again when somebody asks.
pub(super) const IDLE: Duration = Duration::from_secs(30);

/// One connection to another host.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) connection: quinn::Connection,
    pub(super) path: Path,
    /// Whether this side opened it, and so closes it when it is idle.
    pub(super) is_dialled: bool,
    /// The key that the other side has proved to have.
    pub(super) key: [u8; 32],
    usage: Mutex<Usage>,
}

#[derive(Debug)]
struct Usage {
    streams: u32,
    since: Instant,
}

/// Somebody uses the connection as long as this is there.
#[derive(Debug)]
pub(super) struct Use(Arc<Link>);

impl Drop for Use {
    fn drop(&mut self) {
        let mut usage = lock(&self.0.usage);
        *usage = Usage { streams: usage.streams.saturating_sub(1), since: Instant::now() };
    }
}

impl Link {
    pub(super) fn new(connection: quinn::Connection, path: Path, is_dialled: bool, key: [u8; 32]) -> Arc<Self> {
        let usage = Mutex::new(Usage { streams: 0, since: Instant::now() });
        Arc::new(Self { connection, path, is_dialled, key, usage })
    }

    pub(super) fn is_closed(&self) -> bool {
        self.connection.close_reason().is_some()
    }

    pub(super) fn in_use(self: &Arc<Self>) -> Use {
        lock(&self.usage).streams += 1;
        Use(self.clone())
    }

    /// Closes it when nobody has used it for a while.
    pub(super) fn close_if_idle(&self) {
        let usage = lock(&self.usage);
        if self.is_dialled && usage.streams == 0 && usage.since.elapsed() >= IDLE {
            self.connection.close(CLOSE_IDLE.into(), b"nobody uses it");
        }
    }
}

/// Asks for a stream of this connection.
pub(super) async fn ask(link: &Arc<Link>, request: &TunnelRequest) -> Result<Carried, OpenError> {
    let in_use = link.in_use();
    let (send, receive) = match tokio::time::timeout(ROOM, link.connection.open_bi()).await {
        Ok(opened) => opened.map_err(|e| OpenError::NoPath(e.to_string()))?,
        Err(_) => return Err(OpenError::NoPath("too many streams are open to that host".into())),
    };
    let mut stream = Stream::new(send, receive, in_use);
    let lost = |error: StreamError| OpenError::Lost(error.to_string());
    framed::write(&mut stream.send, request, FRAME_MAX).await.map_err(lost)?;
    match tokio::time::timeout(ANSWER, read_frame(&mut stream.receive)).await {
        Ok(Ok(TunnelAnswer::Open)) => Ok(Carried::Tunnel(stream)),
        Ok(Ok(TunnelAnswer::Refused { why, epoch })) => Err(OpenError::Refused { why, epoch }),
        Ok(Err(error)) => Err(lost(error)),
        Err(_) => Err(lost(StreamError::Stalled(ANSWER))),
    }
}

/// Reads exactly one frame: what follows it belongs to somebody else.
pub(super) async fn read_frame<T: DeserializeOwned>(receive: &mut quinn::RecvStream) -> Result<T, StreamError> {
    let failed = |error: quinn::ReadExactError| match error {
        quinn::ReadExactError::FinishedEarly(_) => StreamError::Ended,
        quinn::ReadExactError::ReadError(error) => StreamError::Lost(error.to_string()),
    };
    let mut decoder = chandler_protocol::frame::FrameDecoder::new(FRAME_MAX);
    let mut head = [0; 4];
    receive.read_exact(&mut head).await.map_err(failed)?;
    let length = usize::try_from(u32::from_le_bytes(head)).unwrap_or(usize::MAX);
    decoder.push(&head);
    if length <= FRAME_MAX {
        let mut body = vec![0; length];
        receive.read_exact(&mut body).await.map_err(failed)?;
        decoder.push(&body);
    }
    // A length over the limit is an error here, before any of it is read.
    decoder.decode()?.ok_or(StreamError::Ended)
}

/// Says no and gives the stream up.
pub(super) fn abandon(send: &mut quinn::SendStream, receive: &mut quinn::RecvStream) {
    let _ = send.finish();
    let _ = receive.stop(RESET.into());
}
