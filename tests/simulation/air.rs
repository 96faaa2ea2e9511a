//! What the simulated programs take from the air: simulated time, and chance from a seed.

use std::sync::{Arc, Mutex, PoisonError};

use chandler_protocol::world::{Clock, Random};
use chandler_protocol::{Micros, Timestamp};
use rand::rngs::StdRng;
use rand::{RngCore as _, SeedableRng as _};

/// When every simulation begins: an arbitrary day, 2026-09-21.
pub(crate) const EPOCH: Timestamp = Timestamp(1_790_000_000_000_000);

/// Simulated time, as a computer's clocks tell it. The wall clock may be set wrong; the other cannot be.
#[derive(Debug, Default)]
pub(crate) struct SimulatedClock {
    /// How far behind the wall clock is.
    pub(crate) behind: Micros,
    /// Shared with whoever freezes the program.
    pub(crate) stopped: Stopped,
}

/// When a frozen program was frozen, if it is: it sees no time pass.
pub(crate) type Stopped = Arc<Mutex<Option<Micros>>>;

/// How long the simulation has lasted, for what goes on whatever is frozen.
pub(crate) fn now() -> Micros {
    Micros::from_std(turmoil::sim_elapsed().unwrap_or_default())
}

impl Clock for SimulatedClock {
    fn now(&self) -> Timestamp {
        Timestamp(EPOCH.after(self.boot()).0 - self.behind.0)
    }

    fn boot(&self) -> Micros {
        self.stopped.lock().unwrap_or_else(PoisonError::into_inner).unwrap_or_else(now)
    }
}

/// Chance from a seed.
#[derive(Debug)]
pub(crate) struct Seeded(Mutex<StdRng>);

impl Seeded {
    /// Chance of its own for each `stream` of a seed, so that one program drawing more does not change another's.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        Self(Mutex::new(StdRng::seed_from_u64(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(stream))))
    }
}

impl Random for Seeded {
    fn fill(&self, bytes: &mut [u8]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(bytes);
    }
}
