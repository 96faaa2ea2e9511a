//! Frames and raw bytes on a state stream.

use std::io;

use chandler_protocol::frame::{FrameDecoder, encode};
use chandler_protocol::transfer::FRAME_MAX;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// A state stream. A call that was dropped half way leaves the stream unusable.
#[derive(Debug)]
pub(super) struct Wire<S> {
    stream: S,
    /// Bytes that went through, both ways.
    carried: u64,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(super) const fn new(stream: S) -> Self {
        Self { stream, carried: 0 }
    }

    /// Bytes that went through since the last call, both ways.
    pub(super) fn take_carried(&mut self) -> u64 {
        std::mem::take(&mut self.carried)
    }

    /// Sends a message.
    pub(super) async fn send<T: Serialize + Sync>(&mut self, message: &T) -> io::Result<()> {
        self.send_with(message, &[]).await
    }

    /// Sends a message and raw bytes behind it.
    pub(super) async fn send_with<T: Serialize + Sync>(&mut self, message: &T, raw: &[u8]) -> io::Result<()> {
        let frame = encode(message, FRAME_MAX).map_err(io::Error::other)?;
        self.carried += (frame.len() + raw.len()) as u64;
        self.stream.write_all(&frame).await?;
        self.stream.write_all(raw).await?;
        self.stream.flush().await
    }

    /// The next message; `None` at the clean end.
    pub(super) async fn next<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        let mut head = [0; 4];
        if self.stream.read(&mut head[..1]).await? == 0 {
            return Ok(None);
        }
        self.stream.read_exact(&mut head[1..]).await?;
        let length = u32::from_le_bytes(head);
        let mut decoder = FrameDecoder::new(FRAME_MAX);
        decoder.push(&head);
        // Refuses a length that is too large before anything is kept.
        let early = decoder.decode::<T>().map_err(bad)?;
        if early.is_none() {
            decoder.push(&self.raw(length).await?);
        }
        let message = match early {
            Some(message) => Some(message),
            None => decoder.decode().map_err(bad)?,
        };
        message.map(Some).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    /// Exactly that many raw bytes.
    pub(super) async fn raw(&mut self, length: u32) -> io::Result<Vec<u8>> {
        // Grows with what arrives, not with what was announced.
        let mut bytes = Vec::new();
        (&mut self.stream).take(u64::from(length)).read_to_end(&mut bytes).await?;
        self.carried += bytes.len() as u64;
        if bytes.len() == usize::try_from(length).unwrap_or(usize::MAX) {
            Ok(bytes)
        } else {
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }

    /// Says that nothing more is sent.
    pub(super) async fn finish(&mut self) -> io::Result<()> {
        self.stream.shutdown().await
    }
}

fn bad(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
