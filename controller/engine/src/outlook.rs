//! Outlook: what a site's capacity costs, smoothed, so that nothing moves for a price that is gone in a minute.
//!
//! Between two changes a rate is constant, and its exponentially weighted mean follows by arithmetic. So the record is
//! written when a rate changes and not at every look.

use chandler_protocol::{MicroMoney, Micros, SiteId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::site::Rates;

/// A site's rates and their smoothed value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outlook {
    /// Of which site.
    pub site: SiteId,
    /// The rates since `at`.
    pub rates: Rates,
    /// Their smoothed value at `at`.
    pub smooth: Rates,
    /// When they changed last.
    pub at: Timestamp,
}

impl Outlook {
    /// Of a site that was never looked at: its rates are taken as they are.
    pub const fn first(site: SiteId, rates: Rates, now: Timestamp) -> Self {
        Self { site, rates, smooth: rates, at: now }
    }

    /// The smoothed rates at a moment; `tau` is the time in which two thirds of a change are taken in.
    pub fn smoothed(&self, now: Timestamp, tau: Micros) -> Rates {
        let dt = now.since(self.at);
        let mix = |old: MicroMoney, new: MicroMoney| MicroMoney(towards(old.0, new.0, dt, tau));
        Rates {
            core_hour: mix(self.smooth.core_hour, self.rates.core_hour),
            gib_hour: mix(self.smooth.gib_hour, self.rates.gib_hour),
            gpu_hour: mix(self.smooth.gpu_hour, self.rates.gpu_hour),
        }
    }

    /// The outlook after the rates became `rates`.
    #[must_use]
    pub fn changed(&self, rates: Rates, now: Timestamp, tau: Micros) -> Self {
        Self { rates, smooth: self.smoothed(now, tau), at: now, ..*self }
    }
}

/// Where an exponentially weighted mean that stood at `from` is after a time `dt` at the constant value `to`.
pub fn towards(from: i64, to: i64, dt: Micros, tau: Micros) -> i64 {
    let left = decay(dt, tau);
    let apart = i128::from(from) - i128::from(to);
    i64::try_from(i128::from(to) + apart * left / ONE).unwrap_or(to)
}

/// One, in the fixed point numbers below.
const ONE: i128 = 1_000_000_000_000;

/// `e^(-dt/tau)`, in integers, so that it is the same on every machine.
fn decay(dt: Micros, tau: Micros) -> i128 {
    let mut x = i128::from(dt.0.max(0)) * ONE / i128::from(tau.0.max(1));
    if x > 40 * ONE {
        return 0;
    }
    let mut halved = 0;
    while x > ONE / 1_000 {
        x /= 2;
        halved += 1;
    }
    let mut value = ONE - x + x * x / (2 * ONE);
    for _ in 0..halved {
        value = value * value / ONE;
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decay_is_an_exponential() {
        let minute = Micros::from_secs(60);
        let check = |seconds: i64, expect: f64| {
            let found = decay(Micros::from_secs(seconds), minute);
            #[expect(clippy::cast_precision_loss, reason = "a test with a tolerance")]
            let found = found as f64 / ONE as f64;
            assert!((found - expect).abs() < 1e-4, "{seconds} s: {found} for {expect}");
        };
        check(0, 1.0);
        check(6, 0.904_84);
        check(60, 0.367_88);
        check(600, 0.000_045);
        check(i64::MAX / 2_000_000, 0.0);
    }

    #[test]
    fn looking_often_or_seldom_gives_the_same() {
        let tau = Micros::from_secs(3_600);
        let rates = |n| Rates { core_hour: MicroMoney(n), gib_hour: MicroMoney(0), gpu_hour: MicroMoney(0) };
        let first = Outlook::first(SiteId::from_random([1; 10]), rates(1_000_000), Timestamp(0));
        let raised = first.changed(rates(2_000_000), Timestamp(0), tau);
        let once = raised.smoothed(Timestamp(7_200_000_000), tau).core_hour.0;
        let mut often = raised;
        for minute in 1..=120 {
            often = often.changed(rates(2_000_000), Timestamp(minute * 60_000_000), tau);
        }
        assert!((often.smooth.core_hour.0 - once).abs() < 200, "{} and {once}", often.smooth.core_hour);
        assert!((1_860_000..1_870_000).contains(&once), "86 % of the change after two hours, not {once}");
    }
}
