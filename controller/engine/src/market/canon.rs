//! The canonical form of what the market hashes, so that anyone can compute the same BLAKE3.
//!
//! Numbers are 8 bytes, little-endian, two's complement. Ids are their 10 bytes, digests their 32. A text is the count
//! of its bytes as a number, then its UTF-8. What may be missing is the number 0, or 1 and then the value. A list is
//! its length as a number, then its entries. Everything begins with a text that says what it is, so that the hash of
//! one thing is never that of another. The form is append-only: fields that come later stand at the end.
//!
//! GPUs came later. A thing with no GPU and no GPU-hour in it is written as before, and its text ends in 1. Any other is
//! written with the number of GPUs behind each capacity and the GPU-hour behind each pair of rates, and its text ends in 2.

use chandler_protocol::{Digest, MicroMoney};

use crate::fleet::Capacity;
use crate::site::Rates;

/// Something in canonical form.
#[derive(Debug)]
pub(super) struct Canon {
    bytes: Vec<u8>,
    /// Whether GPUs are written.
    gpus: bool,
}

impl Canon {
    /// Begins with what it is.
    pub(super) fn new(kind: &str) -> Self {
        Self { bytes: Vec::with_capacity(256), gpus: false }.text(kind)
    }

    /// Begins with what it is: the first text, or the second if GPUs are in it.
    pub(super) fn of([plain, with_gpus]: [&str; 2], gpus: bool) -> Self {
        Self { gpus, ..Self::new(if gpus { with_gpus } else { plain }) }
    }

    /// As many bytes as the type says: ids and digests.
    pub(super) fn raw(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend_from_slice(bytes);
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
        let to = self.number(u64::from(value.cpu.0)).number(value.memory.0);
        if to.gpus { to.number(u64::from(value.gpus)) } else { to }
    }

    pub(super) fn rates(self, value: Rates) -> Self {
        let to = self.money(value.core_hour).money(value.gib_hour);
        if to.gpus { to.money(value.gpu_hour) } else { to }
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
        Digest(*blake3::hash(&self.bytes).as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use chandler_protocol::{Bytes, MilliCpu};

    use super::*;

    /// Records are kept for years: one without GPUs is written as it was before there were any.
    #[test]
    fn what_has_no_gpus_is_written_as_before() {
        let capacity = Capacity { cpu: MilliCpu(1), memory: Bytes(2), gpus: 0 };
        let rates = Rates { core_hour: MicroMoney(3), gib_hour: MicroMoney(4), gpu_hour: MicroMoney(0) };
        let before = Canon::new("a.1").number(1).number(2).number(3).number(4).hash();
        assert_eq!(Canon::of(["a.1", "a.2"], false).capacity(capacity).rates(rates).hash(), before);
        let after = Canon::new("a.2").number(1).number(2).number(0).number(3).number(4).number(0).hash();
        assert_eq!(Canon::of(["a.1", "a.2"], true).capacity(capacity).rates(rates).hash(), after);
    }
}
