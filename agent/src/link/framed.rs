//! Whole messages over a QUIC stream.

use std::time::Duration;

use chandler_protocol::frame::{FrameDecoder, FrameError, encode};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Most bytes taken from the stream at once.
const READ: usize = 64 << 10;

/// Why a stream gave or took no more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// The connection or stream is gone.
    #[error("the connection was lost: {0}")]
    Lost(String),
    /// The peer ended the stream in the middle.
    #[error("the stream ended early")]
    Ended,
    /// Nothing arrived for too long.
    #[error("nothing arrived for {} s", .0.as_secs())]
    Stalled(Duration),
    /// What arrived is not what is spoken here.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

/// Reads messages. [`Self::next`] may be dropped at any await without losing bytes.
#[derive(Debug)]
pub struct Reader {
    stream: quinn::RecvStream,
    decoder: FrameDecoder,
}

impl Reader {
    /// Messages of at most `max` bytes.
    pub fn new(stream: quinn::RecvStream, max: usize) -> Self {
        Self { stream, decoder: FrameDecoder::new(max) }
    }

    /// The next message; `None` at the clean end.
    ///
    /// # Errors
    /// The stream cannot be used any further.
    pub async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, StreamError> {
        loop {
            if let Some(message) = self.decoder.decode()? {
                return Ok(Some(message));
            }
            match self.stream.read_chunk(READ, true).await {
                Ok(Some(chunk)) => self.decoder.push(&chunk.bytes),
                Ok(None) if self.decoder.is_mid_frame() => return Err(StreamError::Ended),
                Ok(None) => return Ok(None),
                Err(e) => return Err(StreamError::Lost(e.to_string())),
            }
        }
    }

    /// Like [`Self::next`], but the end is an error, and so is each stretch of `stall` without a byte and a
    /// message that takes longer than `whole`.
    ///
    /// # Errors
    /// See [`StreamError`].
    pub async fn expect<T: DeserializeOwned>(&mut self, stall: Duration, whole: Duration) -> Result<T, StreamError> {
        let deadline = tokio::time::Instant::now() + whole;
        loop {
            if let Some(message) = self.decoder.decode()? {
                return Ok(message);
            }
            let limit = (tokio::time::Instant::now() + stall).min(deadline);
            match tokio::time::timeout_at(limit, self.stream.read_chunk(READ, true)).await {
                Ok(Ok(Some(chunk))) => self.decoder.push(&chunk.bytes),
                Ok(Ok(None)) => return Err(StreamError::Ended),
                Ok(Err(e)) => return Err(StreamError::Lost(e.to_string())),
                Err(_) => return Err(StreamError::Stalled(stall)),
            }
        }
    }
}

/// Writes one message.
///
/// # Errors
/// It is too large or the stream is gone.
pub async fn write<T: Serialize + ?Sized>(
    stream: &mut quinn::SendStream,
    message: &T,
    max: usize,
) -> Result<(), StreamError> {
    let bytes = encode(message, max)?;
    stream.write_all(&bytes).await.map_err(|e| StreamError::Lost(e.to_string()))
}
