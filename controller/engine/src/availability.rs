//! How often a host will be up: a Beta posterior over what was seen of it, shrunk towards its kind.

mod bins;
mod forecast;

use chandler_protocol::{Micros, Ppm, Timestamp};
use serde::{Deserialize, Serialize};

use crate::site::SiteRole;

pub use bins::Bins;
pub use forecast::{Forecast, forecast};

/// How often a host was there, in its life so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// Time it was seen up, closed stretches only.
    pub up: Micros,
    /// Time it was not, closed stretches only.
    pub down: Micros,
    /// Ends of up stretches.
    pub outages: u32,
    /// The stretch that is going on: whether it is up, and since when. `None` before the first connection.
    pub current: Option<(bool, Timestamp)>,
    /// At which hours it was there, closed stretches only.
    #[serde(default)]
    pub hours: Bins,
}

impl History {
    /// The history after the host was found up or down at `now`. Time in which the controller could not see
    /// (before `observable_since`) counts as neither.
    #[must_use]
    pub fn observe(mut self, up: bool, now: Timestamp, observable_since: Timestamp) -> Self {
        if let Some((was_up, since)) = self.current {
            let from = since.max(observable_since);
            let seen = now.since(from);
            self.hours = self.hours.with(was_up, from, now);
            if was_up {
                self.up.0 = self.up.0.saturating_add(seen.0);
            } else {
                self.down.0 = self.down.0.saturating_add(seen.0);
            }
            self.outages = self.outages.saturating_add(u32::from(was_up && !up));
        }
        self.current = Some((up, now));
        self
    }
}

/// What is believed of a host of this kind before anything was seen, and how many hours of observation weigh
/// as much. Our own choice; remote PCs as in the desktop trace of Bolosky et al. (mean about 0.8, here with the
/// owner's offer in mind), servers as in LANL's failure logs.
const fn prior(kind: SiteRole) -> (Ppm, i64) {
    match kind {
        SiteRole::Provider => (Ppm(999_000), 24),
        SiteRole::Customer => (Ppm(980_000), 24),
        SiteRole::Remote => (Ppm(950_000), 24),
        SiteRole::Partner => (Ppm(995_000), 24),
    }
}

/// Predicted share of the time that a host is up: the posterior mean of a Beta distribution whose counts are
/// hours seen up and down plus the prior of its kind.
pub fn estimate(history: &History, kind: SiteRole, now: Timestamp, observable_since: Timestamp) -> Ppm {
    let open = history.current.map(|(up, since)| (up, now.since(since.max(observable_since)).0));
    let extra = |of: bool| open.filter(|(up, _)| *up == of).map_or(0, |(_, time)| i128::from(time));
    let (seen_up, seen_down) = (i128::from(history.up.0) + extra(true), i128::from(history.down.0) + extra(false));
    let (mean, hours) = prior(kind);
    let weight = i128::from(Micros::from_secs(hours * 3_600).0);
    let up = seen_up + weight * i128::from(mean.0) / 1_000_000;
    let total = seen_up + seen_down + weight;
    Ppm(u32::try_from(up * 1_000_000 / total.max(1)).unwrap_or(1_000_000))
}

/// Share of the time that at least one of several hosts is up, when their failures are independent.
///
/// Real joint downtime of desktop PCs is 5, 10 and 22 % above the independent product for 2, 3 and 4 hosts
/// (measured on the trace of desktop PCs by Bolosky et al., SIGMETRICS 2000), so the product is raised by that.
pub fn of_any(hosts: &[Ppm]) -> Ppm {
    const CORRELATION_PERCENT: [u64; 5] = [100, 100, 105, 110, 122];
    let mut down: u64 = 1_000_000;
    for host in hosts {
        down = (down * (1_000_000 - u64::from(host.0.min(1_000_000)))).div_ceil(1_000_000);
    }
    let factor = CORRELATION_PERCENT[hosts.len().min(4)];
    let down = (down * factor / 100).min(1_000_000);
    Ppm(u32::try_from(1_000_000 - down).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hours(n: i64) -> Micros {
        Micros::from_secs(n * 3_600)
    }

    #[test]
    fn new_hosts_are_believed_to_be_like_their_kind_and_then_like_themselves() {
        let check = |up, down, kind| {
            let history = History { up: hours(up), down: hours(down), ..History::default() };
            estimate(&history, kind, Timestamp(0), Timestamp(0)).0
        };
        assert_eq!(check(0, 0, SiteRole::Provider), 999_000);
        assert_eq!(check(0, 0, SiteRole::Remote), 950_000);
        assert_eq!(check(600, 400, SiteRole::Remote) / 1_000, 608);
        assert!(check(10_000, 1, SiteRole::Remote) > 999_500);
    }

    #[test]
    fn a_blind_controller_sees_no_downtime() {
        let history = History::default().observe(true, Timestamp(0), Timestamp(0));
        let back = Timestamp(hours(10).0);
        assert_eq!(history.observe(false, back, back).up, Micros::ZERO);
        assert_eq!(history.observe(false, back, Timestamp(0)).up, hours(10));
    }

    #[test]
    fn more_hosts_are_up_more_often_but_not_as_often_as_if_independent() {
        assert_eq!(of_any(&[Ppm(950_000)]), Ppm(950_000));
        assert_eq!(of_any(&[Ppm(950_000), Ppm(950_000)]), Ppm(997_375));
        assert_eq!(of_any(&[]), Ppm(0));
    }
}
