//! Trusted time: a machine's wall clock may be off by ten years, the controller's word is not.
//!
//! The wall clock is believed only when it is not before the last time a controller told and at most
//! [`BELIEVED_FOR`] after it; else the time is what the controller told plus what passed since, by the boot clock.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use chandler_protocol::world::Clock;
use chandler_protocol::{Micros, Timestamp};
use rustls::pki_types::UnixTime;
use serde::{Deserialize, Serialize};

use crate::disk::{self, Disk};
use crate::sync::lock;

/// How far after the last time told by a controller the wall clock is still believed.
pub const BELIEVED_FOR: Micros = Micros::from_secs(90 * 86_400);
/// Where the last time told is kept.
const KEY: &str = "time";

/// The last time a controller told, and when that was by the boot clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anchor {
    /// What the controller told.
    pub told: Timestamp,
    /// When, by the clock of this boot.
    pub at: Micros,
    /// The boot.
    pub boot_id: [u8; 16],
}

/// The time to check certificates with. Without an anchor (before joining) only the wall clock is left.
pub fn trusted(anchor: Option<&Anchor>, wall: Timestamp, boot: Micros) -> Timestamp {
    let Some(anchor) = anchor else { return wall };
    let passed = Micros((boot.0 - anchor.at.0).max(0));
    let estimate = anchor.told.after(passed);
    if wall >= anchor.told && wall <= estimate.after(BELIEVED_FOR) { wall } else { estimate }
}

/// Trusted time as a thing to share: also rustls' idea of the time.
pub struct TrustedTime {
    clock: Arc<dyn Clock>,
    anchor: Mutex<Option<Anchor>>,
    boot_id: [u8; 16],
}

impl std::fmt::Debug for TrustedTime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TrustedTime").field("anchor", &*lock(&self.anchor)).finish_non_exhaustive()
    }
}

impl TrustedTime {
    /// Trusted time that starts from what `disk` remembers.
    pub fn load(clock: Arc<dyn Clock>, boot_id: [u8; 16], disk: &dyn Disk) -> Self {
        let mut anchor = disk::load::<Anchor>(disk, KEY).ok().flatten();
        if let Some(anchor) = anchor.as_mut().filter(|a| a.boot_id != boot_id) {
            // How long the machine was off is unknown: it is at least as late as it was.
            *anchor = Anchor { told: anchor.told, at: clock.boot(), boot_id };
        }
        Self { clock, anchor: Mutex::new(anchor), boot_id }
    }

    /// A controller told the time. Goes back only when the controller itself does.
    pub fn told(&self, told: Timestamp, disk: &dyn Disk) {
        let anchor = Anchor { told, at: self.clock.boot(), boot_id: self.boot_id };
        *lock(&self.anchor) = Some(anchor);
        if let Err(error) = disk::save(disk, KEY, &anchor) {
            tracing::warn!(%error, "the controller's time is not kept");
        }
    }

    /// The time to check certificates with.
    pub fn now(&self) -> Timestamp {
        trusted(lock(&self.anchor).as_ref(), self.clock.now(), self.clock.boot())
    }
}

impl rustls::time_provider::TimeProvider for TrustedTime {
    fn current_time(&self) -> Option<UnixTime> {
        let micros = u64::try_from(self.now().0).unwrap_or(0);
        Some(UnixTime::since_unix_epoch(Duration::from_micros(micros)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLD: i64 = 1_800_000_000_000_000;
    const DAY: i64 = 86_400_000_000;

    /// `wall` and the answer are relative to what was told, in days; an hour has passed since.
    fn check(wall_days: i64, expect_micros: i64) {
        let anchor = Anchor { told: Timestamp(TOLD), at: Micros::from_secs(100), boot_id: [0; 16] };
        let got = trusted(Some(&anchor), Timestamp(TOLD + wall_days * DAY), Micros::from_secs(3_700));
        assert_eq!(got.0 - TOLD, expect_micros, "wall clock {wall_days} days off");
    }

    #[test]
    fn a_wrong_wall_clock_is_not_believed() {
        let hour = 3_600_000_000;
        check(0, 0);
        check(1, DAY);
        check(90, 90 * DAY);
        check(91, hour);
        check(-1, hour);
        check(3_650, hour);
        check(-3_650, hour);
        assert_eq!(trusted(None, Timestamp(5), Micros(9)), Timestamp(5), "before joining there is no other clock");
    }
}
