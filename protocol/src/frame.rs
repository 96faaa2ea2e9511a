//! Framing: a length of four bytes, little endian, then that many bytes of postcard. Sans-IO.
//!
//! ```
//! use chandler_protocol::frame::{FrameDecoder, encode, CONTROL_MAX};
//! let bytes = encode(&"hello", CONTROL_MAX).unwrap();
//! let mut decoder = FrameDecoder::new(CONTROL_MAX);
//! decoder.push(&bytes);
//! assert_eq!(decoder.decode::<String>().unwrap().as_deref(), Some("hello"));
//! assert_eq!(decoder.decode::<String>().unwrap(), None);
//! ```

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Largest frame on the control connection. A desired state of 1,000 assignments is about 300 KiB.
pub const CONTROL_MAX: usize = 4 << 20;
/// Largest frame before the other side has proved who it is.
pub const JOIN_MAX: usize = 64 << 10;
/// Largest frame on a bulk connection: the manifest of the largest blob, 65,536 hashes of 32 bytes and its head.
pub const BULK_MAX: usize = (2 << 20) + 1_024;

/// Bytes in front of each frame.
const HEAD: usize = 4;

/// Why bytes are not a frame. The stream they came from cannot be used any further.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The announced or encoded length is over the limit of this connection.
    #[error("frame of {length} bytes is over the limit of {max}")]
    TooLarge {
        /// The length announced.
        length: usize,
        /// The limit.
        max: usize,
    },
    /// The body is not a message of the expected type.
    #[error("frame is not a known message")]
    Malformed,
    /// The message ends before the frame does.
    #[error("frame has {0} bytes after its message")]
    Trailing(usize),
}

/// One message as a frame.
///
/// # Errors
/// [`FrameError::TooLarge`] when it does not fit in `max` bytes.
pub fn encode<T: Serialize + ?Sized>(message: &T, max: usize) -> Result<Vec<u8>, FrameError> {
    let mut bytes = vec![0; HEAD];
    bytes = postcard::to_extend(message, bytes).map_err(|_| FrameError::Malformed)?;
    let length = bytes.len() - HEAD;
    match u32::try_from(length) {
        Ok(head) if length <= max => bytes[..HEAD].copy_from_slice(&head.to_le_bytes()),
        _ => return Err(FrameError::TooLarge { length, max }),
    }
    Ok(bytes)
}

/// Collects bytes as they arrive and gives whole messages.
#[derive(Debug)]
pub struct FrameDecoder {
    max: usize,
    buffer: Vec<u8>,
    /// How much of `buffer` has been given out already.
    read: usize,
}

impl FrameDecoder {
    /// A decoder that refuses frames of more than `max` bytes before it keeps any of them.
    pub const fn new(max: usize) -> Self {
        Self { max, buffer: Vec::new(), read: 0 }
    }

    /// Bytes that arrived. Call [`Self::decode`] until it gives `None` after each push, so that no
    /// more than one frame is ever kept.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.read > 0 {
            self.buffer.drain(..self.read);
            self.read = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole message, or `None` until more bytes arrive.
    ///
    /// # Errors
    /// The bytes are not a frame; the stream must be closed.
    pub fn decode<T: DeserializeOwned>(&mut self) -> Result<Option<T>, FrameError> {
        let rest = &self.buffer[self.read..];
        let Some((head, body)) = rest.split_first_chunk::<HEAD>() else {
            return Ok(None);
        };
        let length = usize::try_from(u32::from_le_bytes(*head)).unwrap_or(usize::MAX);
        if length > self.max {
            return Err(FrameError::TooLarge { length, max: self.max });
        }
        let Some(body) = body.get(..length) else {
            return Ok(None);
        };
        let (message, trailing) = postcard::take_from_bytes(body).map_err(|_| FrameError::Malformed)?;
        if !trailing.is_empty() {
            return Err(FrameError::Trailing(trailing.len()));
        }
        self.read += HEAD + length;
        Ok(Some(message))
    }

    /// Takes out the bytes behind the last message: for a stream on which raw bytes follow a head frame.
    pub fn take_rest(&mut self) -> Vec<u8> {
        let rest = self.buffer.split_off(self.read);
        self.buffer.clear();
        self.read = 0;
        rest
    }

    /// Whether bytes of an unfinished frame are waiting.
    pub fn is_mid_frame(&self) -> bool {
        self.buffer.len() > self.read
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn split_anywhere_gives_the_same_messages() {
        let mut bytes = encode("one", 64).unwrap();
        bytes.extend(encode("two", 64).unwrap());
        for cut in 0..bytes.len() {
            let mut decoder = FrameDecoder::new(64);
            let mut got = Vec::new();
            for part in [&bytes[..cut], &bytes[cut..]] {
                decoder.push(part);
                while let Some(m) = decoder.decode::<String>().unwrap() {
                    got.push(m);
                }
            }
            assert_eq!(got, ["one", "two"]);
            assert!(!decoder.is_mid_frame());
        }
    }

    #[test]
    fn hostile_lengths_are_refused_before_they_are_kept() {
        let mut decoder = FrameDecoder::new(64);
        decoder.push(&u32::MAX.to_le_bytes());
        assert_eq!(decoder.decode::<String>(), Err(FrameError::TooLarge { length: 4_294_967_295, max: 64 }));
        assert!(matches!(encode(&"x".repeat(65), 64), Err(FrameError::TooLarge { .. })));
        let mut decoder = FrameDecoder::new(64);
        decoder.push(&[3, 0, 0, 0, 1, b'a', b'b']);
        assert_eq!(decoder.decode::<String>(), Err(FrameError::Trailing(1)));
    }
}
