//! At which hours a host was up: 24 hours, on working days and at weekends.

use chandler_protocol::{Micros, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

const HOUR: i64 = 3_600_000_000;
const DAY: i64 = 24 * HOUR;
/// A stretch counts with its last five weeks: older ones say little of next week.
const REMEMBERED: i64 = 35 * DAY;
/// Seconds that one bin remembers: six weeks of working days. What is beyond fades in proportion.
const BIN_MOST: u32 = 30 * 3_600;

/// Seconds that were seen up and down in each of 48 bins. Hours are of UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bins([(u32, u32); 48]);

impl Default for Bins {
    fn default() -> Self {
        Self([(0, 0); 48])
    }
}

/// The bin of a moment.
const fn bin(at: i64) -> usize {
    let day = at.div_euclid(DAY);
    let hour = at.rem_euclid(DAY) / HOUR;
    // 1970-01-01 was a Thursday.
    let weekend = (day + 3).rem_euclid(7) >= 5;
    #[expect(clippy::cast_sign_loss, clippy::cast_possible_truncation, reason = "0 to 47")]
    let bin = hour as usize + if weekend { 24 } else { 0 };
    bin
}

impl Bins {
    /// Adds a stretch in which the host was up, or down.
    #[must_use]
    pub fn with(mut self, up: bool, from: Timestamp, to: Timestamp) -> Self {
        let mut at = from.0.max(to.0.saturating_sub(REMEMBERED));
        while at < to.0 {
            let end = (at.div_euclid(HOUR) + 1).saturating_mul(HOUR).min(to.0);
            let seconds = u32::try_from((end - at) / 1_000_000).unwrap_or(0);
            if let Some((ups, downs)) = self.0.get_mut(bin(at)) {
                let sum = if up { &mut *ups } else { &mut *downs };
                *sum = sum.saturating_add(seconds);
                fade(ups, downs);
            }
            at = end;
        }
        self
    }

    /// Time that was seen up and down at the hour of a moment.
    pub fn at(&self, at: Timestamp) -> (Micros, Micros) {
        let (up, down) = self.0.get(bin(at.0)).copied().unwrap_or_default();
        (Micros::from_secs(up.into()), Micros::from_secs(down.into()))
    }
}

fn fade(up: &mut u32, down: &mut u32) {
    let total = u64::from(*up) + u64::from(*down);
    if total > u64::from(BIN_MOST) {
        let scaled = |n: u32| u32::try_from(u64::from(n) * u64::from(BIN_MOST) / total).unwrap_or(0);
        (*up, *down) = (scaled(*up), scaled(*down));
    }
}

impl Serialize for Bins {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let is_empty = *self == Self::default();
        serializer.collect_seq(self.0.iter().take(if is_empty { 0 } else { 48 }))
    }
}

impl<'de> Deserialize<'de> for Bins {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let list = Vec::<(u32, u32)>::deserialize(deserializer)?;
        let mut bins = Self::default();
        for (to, from) in bins.0.iter_mut().zip(list) {
            *to = from;
        }
        Ok(bins)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stretch_is_counted_at_its_hours() {
        // From Friday 1970-01-02 22:30 to Saturday 00:30.
        let at = |hours: i64, minutes: i64| Timestamp(hours * HOUR + minutes * 60_000_000);
        let bins = Bins::default().with(false, at(46, 30), at(48, 30));
        let down = |hour| bins.at(at(hour, 0)).1;
        assert_eq!(down(46), Micros::from_secs(1_800));
        assert_eq!(down(47), Micros::from_secs(3_600));
        assert_eq!(down(48), Micros::from_secs(1_800), "Saturday has bins of its own");
        assert_eq!(down(24), Micros::ZERO);
        assert_eq!(down(46 + 72), Micros::from_secs(1_800), "Monday is as Friday");
    }

    #[test]
    fn what_is_old_fades() {
        let mut bins = Bins::default();
        for week in 0..52 {
            let from = week * 7 * DAY;
            bins = bins.with(week >= 44, Timestamp(from), Timestamp(from + HOUR));
        }
        let (up, down) = bins.at(Timestamp(0));
        assert_eq!((up.0 + down.0 + HOUR / 2) / HOUR, 30);
        assert!(up.0 > 5 * HOUR, "eight of the last weeks it was up: {up}");
        let endless = Bins::default().with(true, Timestamp(i64::MIN), Timestamp(i64::MAX));
        assert!(endless.at(Timestamp(0)).0.0 > 9 * HOUR);
    }
}
