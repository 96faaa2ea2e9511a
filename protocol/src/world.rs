//! The two things a program may not take from the air: the time and chance. They are passed in.
//!
//! Only the traits are here. The real ones live in `main` of each daemon, the simulated ones in the tests.

use crate::id::ID_BYTES;
use crate::{Micros, Timestamp};

/// Tells the time.
pub trait Clock: Send + Sync {
    /// The wall clock, UTC. May jump.
    fn now(&self) -> Timestamp;
    /// Time since boot, counting sleep. Never jumps, never goes back, starts anew with each boot.
    fn boot(&self) -> Micros;
}

/// Draws random bytes.
pub trait Random: Send + Sync {
    /// Fills `bytes`.
    fn fill(&self, bytes: &mut [u8]);
}

/// Random bytes for an id.
pub fn id_bytes(random: &dyn Random) -> [u8; ID_BYTES] {
    let mut bytes = [0; ID_BYTES];
    random.fill(&mut bytes);
    bytes
}

/// A number below `end` (0 when `end` is 0). The bias is below `end / 2^64`.
pub fn below(random: &dyn Random, end: u64) -> u64 {
    let mut bytes = [0; 8];
    random.fill(&mut bytes);
    let product = u128::from(u64::from_le_bytes(bytes)) * u128::from(end);
    (product >> 64) as u64
}
