//! Trials of the rules on markets that nobody thought of: whether an owner gains by a false rate, and how quickly a
//! large market is cleared. Deterministic: the same seed gives the same markets.

mod lies;
mod sample;

pub use lies::{Findings, profitable_lies};
pub use sample::Sample;

/// Numbers that look random, from a seed (splitmix64, Steele and others 2014).
#[derive(Debug, Clone)]
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let a = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let b = (a ^ (a >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        b ^ (b >> 31)
    }

    /// From 0 to below `end`, which is positive. That small numbers are a little likelier does not matter here.
    fn below(&mut self, end: u32) -> u32 {
        u32::try_from(self.next() % u64::from(end.max(1))).unwrap_or(0)
    }

    fn money(&mut self, end: u32) -> chandler_protocol::MicroMoney {
        chandler_protocol::MicroMoney(i64::from(self.below(end)))
    }

    fn digest(&mut self) -> chandler_protocol::Digest {
        let mut bytes = [0; 32];
        bytes.chunks_mut(8).for_each(|chunk| chunk.copy_from_slice(&self.next().to_le_bytes()));
        chandler_protocol::Digest(bytes)
    }

    fn id(&mut self) -> [u8; 10] {
        let mut bytes = [0; 10];
        bytes.chunks_mut(8).for_each(|chunk| chunk.copy_from_slice(&self.next().to_le_bytes()[..chunk.len()]));
        bytes
    }
}
