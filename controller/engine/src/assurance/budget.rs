//! Error budgets: how much of what an SLA allows is used up, and how quickly.

use chandler_protocol::{Micros, Ppm, Timestamp};

use super::indicator::{Indicators, Reading};
use crate::finance::{month_of, month_range};

/// Windows and the burn rate, in tenths, that both must exceed: at 14.4 a month's budget is gone in two days.
/// "Alerting on SLOs", The Site Reliability Workbook, chapter 5.
const WINDOWS: [(Micros, Micros, u64); 2] = [
    (Micros::from_secs(3_600), Micros::from_secs(300), 144),
    (Micros::from_secs(6 * 3_600), Micros::from_secs(1_800), 60),
];
/// Below this share of the budget that is left, the SLA is at risk whatever the rate.
const LOW: Ppm = Ppm(100_000);

/// The error budget of one objective in this month.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// What is left of what is allowed.
    pub left: Ppm,
    /// How quickly it is used up, over the last hour: 1,000 is exactly as quickly as is allowed.
    pub burn: u64,
    /// Nothing is left.
    pub is_spent: bool,
    /// It will be gone soon.
    pub is_low: bool,
}

/// Of availability: time that may be down in this calendar month, from the service's beginning on.
pub(super) fn of_availability(own: &Indicators, min: Ppm, since: Timestamp, now: Timestamp) -> Budget {
    let allowed = 1_000_000_u64.saturating_sub(min.0.into());
    let whole = month_range(&month_of(now)).map_or(0, |(from, to)| to.since(from.max(since)).0).unsigned_abs();
    let used = own.month(now).bad.0.unsigned_abs();
    let budget = u128::from(whole) * u128::from(allowed) / 1_000_000;
    judge(own, now, allowed, (u128::from(used), budget), |r| r.bad_share())
}

/// Of interactivity: 5 of 100 answers may take longer.
pub(super) fn of_interactivity(own: &Indicators, now: Timestamp) -> Budget {
    const ALLOWED: u64 = 50_000;
    let month = own.month(now);
    let budget = u128::from(month.answers) * u128::from(ALLOWED) / 1_000_000;
    judge(own, now, ALLOWED, (u128::from(month.slow), budget), |r| r.slow_share())
}

fn judge(
    own: &Indicators,
    now: Timestamp,
    allowed: u64,
    (used, budget): (u128, u128),
    share: impl Fn(&Reading) -> Option<Ppm>,
) -> Budget {
    let burn = |window| {
        let bad = share(&own.last(window, now)).map_or(0, |p| u64::from(p.0));
        // A budget of nothing is burnt infinitely quickly by anything.
        (bad * 1_000).checked_div(allowed).unwrap_or(if bad > 0 { u64::MAX } else { 0 })
    };
    let is_spent = used > budget;
    let left = match budget {
        0 => 1_000_000 * u128::from(!is_spent),
        _ => (budget.saturating_sub(used)) * 1_000_000 / budget,
    };
    let left = Ppm(u32::try_from(left).unwrap_or(1_000_000));
    let is_burning = WINDOWS.iter().any(|(long, short, tenths)| burn(*long).min(burn(*short)) > tenths * 100);
    Budget { left, burn: burn(WINDOWS[0].0), is_spent, is_low: !is_spent && (is_burning || left < LOW) }
}
