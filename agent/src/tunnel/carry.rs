//! Carrying bytes between a tunnel and a workload on this computer, each way to its own end.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use chandler_protocol::tunnel::{TunnelRefusal, TunnelRequest};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};

use super::OpenError;
use super::carried::{Carried, Stream};
use super::serve::Serve;

/// How long a workload on this computer may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(2);
/// Bytes taken from a workload at once: of one that says little, and of one that fills what it is given.
const READ_FEW: usize = 16 << 10;
const READ_MANY: usize = 128 << 10;
/// With less room than this left, there is to be a new buffer.
const READ_LEAST: usize = 4 << 10;
/// Bytes taken from a tunnel at once.
const CHUNK: usize = 256 << 10;
/// Bytes that wait between the two ends of a state that goes nowhere.
const PIPE: usize = 256 << 10;

/// Connects to a workload.
pub(super) async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let connecting = tokio::time::timeout(CONNECT, TcpStream::connect(address));
    let stream = connecting.await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// What is asked for is on this computer: no tunnel is needed, nor a grant.
pub(super) async fn to_this_host(serve: Arc<dyn Serve>, request: &TunnelRequest) -> Result<Carried, OpenError> {
    match request {
        TunnelRequest::Port { assignment, epoch, port } => {
            let refused = |(why, epoch)| OpenError::Refused { why, epoch };
            let address = serve.port(*assignment, *epoch, port).map_err(refused)?;
            let stream = connect(address).await.map_err(|_| refused((TunnelRefusal::Unreachable, *epoch)))?;
            Ok(Carried::Local(stream))
        }
        TunnelRequest::State { assignment, attempt } => {
            let (assignment, attempt) = (*assignment, *attempt);
            serve.gives_state(assignment, attempt).map_err(|(why, epoch)| OpenError::Refused { why, epoch })?;
            let (near, far) = tokio::io::duplex(PIPE);
            tokio::spawn(async move { serve.state(assignment, attempt, Carried::Pipe(far)).await });
            Ok(Carried::Pipe(near))
        }
        TunnelRequest::Ping => Ok(Carried::Pipe(tokio::io::duplex(1).0)),
    }
}

/// Carries bytes both ways until both ways have ended. When one is cut off, so is the other, on both sides; a way that
/// had ended well before that stays whole.
pub(super) async fn between(mut stream: Stream, mut workload: TcpStream) {
    let (from_workload, to_workload) = workload.split();
    let up = to_tunnel(from_workload, &mut stream.send, &mut stream.is_finished);
    let down = from_tunnel(&mut stream.receive, to_workload);
    if let Err(error) = tokio::try_join!(up, down) {
        tracing::debug!(%error, "a carried connection was cut off");
        // The workload is to see that it was cut off, not that it ended well.
        let _ = workload.set_zero_linger();
    }
}

async fn to_tunnel(mut from: ReadHalf<'_>, to: &mut quinn::SendStream, is_finished: &mut bool) -> io::Result<()> {
    let mut buffer = BytesMut::new();
    let mut size = READ_FEW;
    loop {
        // A connection that waits for its first byte holds no buffer, and one that says little a small one.
        from.readable().await?;
        if buffer.capacity() < READ_LEAST {
            buffer.reserve(size);
        }
        let room = buffer.capacity();
        let read = from.read_buf(&mut buffer).await?;
        if read == 0 {
            to.finish()?;
            *is_finished = true;
            return Ok(());
        }
        size = if read == room { READ_MANY } else { READ_FEW };
        to.write_chunk(buffer.split().freeze()).await?;
    }
}

async fn from_tunnel(from: &mut quinn::RecvStream, mut to: WriteHalf<'_>) -> io::Result<()> {
    while let Some(chunk) = from.read_chunk(CHUNK, true).await? {
        to.write_all(&chunk.bytes).await?;
    }
    to.shutdown().await
}
