//! The canonical form of what the market hashes, so that anyone can compute the same BLAKE3.
//!
//! Numbers are 8 bytes, little-endian, two's complement. Ids are their 10 bytes, digests their 32. A text is the count
//! of its bytes as a number, then its UTF-8. What may be missing is the number 0, or 1 and then the value. A list is
//! its length as a number, then its entries. Everything begins with a text that says what it is, so that the hash of
//! one thing is never that of another. The form is append-only: fields that come later stand at the end.

use chandler_protocol::{Digest, MicroMoney};

use crate::fleet::Capacity;
use crate::site::Rates;

/// Something in canonical form.
#[derive(Debug)]
pub(super) struct Canon(Vec<u8>);

impl Canon {
    /// Begins with what it is.
    pub(super) fn new(kind: &str) -> Self {
        Self(Vec::with_capacity(256)).text(kind)
    }

    /// As many bytes as the type says: ids and digests.
    pub(super) fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub(super) fn number(self, value: u64) -> Self {
        self.raw(&value.to_le_bytes())
    }

    pub(super) fn count(self, value: usize) -> Self {
        self.number(u64::try_from(value).unwrap_or(u64::MAX))
    }

    pub(super) fn money(self, value: MicroMoney) -> Self {
        self.raw(&value.0.to_le_bytes())
    }

    pub(super) fn text(self, text: &str) -> Self {
        self.count(text.len()).raw(text.as_bytes())
    }

    pub(super) fn digest(self, value: Digest) -> Self {
        self.raw(&value.0)
    }

    pub(super) fn capacity(self, value: Capacity) -> Self {
        self.number(u64::from(value.cpu.0)).number(value.memory.0)
    }

    pub(super) fn rates(self, value: Rates) -> Self {
        self.money(value.core_hour).money(value.gib_hour)
    }

    pub(super) fn optional<T>(self, value: Option<T>, write: impl FnOnce(Self, T) -> Self) -> Self {
        match value {
            None => self.number(0),
            Some(value) => write(self.number(1), value),
        }
    }

    pub(super) fn list<T>(self, all: &[T], write: impl FnMut(Self, &T) -> Self) -> Self {
        all.iter().fold(self.count(all.len()), write)
    }

    /// BLAKE3 of it.
    pub(super) fn hash(&self) -> Digest {
        Digest(*blake3::hash(&self.0).as_bytes())
    }
}
