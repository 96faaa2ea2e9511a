//! Reputation, in money: how likely a seller is to break its promise or to lose the work, from what it did.
//!
//! Only what the seller caused counts. What it did counts by the week, so that news may come late, twice in another
//! order, and still give the same; a week that is a quarter old weighs half. Before anything is known a prior speaks:
//! a newcomer is neither banned nor trusted blindly, and who begins anew under another name gains nothing over a
//! seller that kept its promises.

mod account;
#[cfg(test)]
mod cases;

use std::collections::BTreeMap;

use chandler_protocol::{MicroMoney, Micros, Ppm, Timestamp};
use serde::{Deserialize, Serialize};

use crate::placement::HOURS_PER_MONTH;

pub use account::explain;

/// Weeks after which what was done weighs half: a quarter.
pub const HALF_LIFE_WEEKS: u32 = 13;
/// Weeks that are kept: what is older weighs less than 1/256.
pub const WEEKS_MAX: usize = 104;
/// The longest that one observation may be about.
const SERVED_MAX: Micros = Micros::from_secs(366 * 86_400);
const WEEK: i64 = 7 * 86_400_000_000;
const MONTH: i128 = HOURS_PER_MONTH as i128 * 3_600_000_000;
/// What happened in this week weighs.
const WEIGHT_ONE: i128 = 1 << 20;
/// `2^20 * 2^(-k/13)`, rounded: what a week weighs after so many weeks of a half-life. Whole half-lives are shifts.
const DECAY: [i128; HALF_LIFE_WEEKS as usize] = [
    1_048_576, 994_131, 942_514, 893_576, 847_179, 803_192, 761_488, 721_950, 684_464, 648_925, 615_231, 583_287,
    553_001,
];
/// A yield with the agreed notice weighs a quarter of one without: the work has to move, and can do so in time. Our
/// own choice.
const WITHOUT_NOTICE: i128 = 4;

/// Who caused what happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Cause {
    /// The owner of the computers.
    Owner,
    /// The controller that sells them.
    Provider,
    /// The buyer could not or did not pay.
    Funds,
    /// The buyer itself, or its software.
    Buyer,
}

impl Cause {
    /// Whether the seller caused it: the owner, or the controller that sells for it. A buyer cannot tell the two apart
    /// and is harmed by either.
    pub const fn is_sellers(self) -> bool {
        matches!(self, Self::Owner | Self::Provider)
    }
}

/// What a seller did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Deed {
    /// A lease was there for a calendar month, or for the part of one in which it was.
    Served {
        /// For how long; at most a year is believed.
        leased: Micros,
        /// How much of that it was away.
        down: Micros,
        /// The share of the time in which it was to be there.
        promised: Ppm,
    },
    /// The work had to go before the lease was over.
    Yielded {
        /// Whether the agreed notice was given.
        noticed: bool,
    },
    /// A lease was delivered: the work came to run.
    Delivered,
    /// A lease was not delivered.
    Failed,
}

/// What was done in one week.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Tally {
    /// Lease time for which the promised availability was kept.
    kept: Micros,
    /// Lease time for which it was not.
    broken: Micros,
    /// How long it was away, of both.
    down: Micros,
    yielded: u32,
    noticed: u32,
    delivered: u32,
    failed: u32,
    /// What others caused, and so does not count.
    excused: u32,
}

/// What is known of a seller: an owner, or a site.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// By the number of the week since 1970-01-01. At most [`WEEKS_MAX`].
    weeks: BTreeMap<i64, Tally>,
}

/// What is believed of a seller before anything is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prior {
    /// Probability that it breaks its promise in a month.
    pub breach: Ppm,
    /// Probability that the work has to go in a month.
    pub yields: Ppm,
    /// Probability that a lease is not delivered.
    pub failure: Ppm,
    /// How many months of leases weigh as much as the first two.
    pub months: u16,
    /// How many deliveries weigh as much as the third.
    pub deliveries: u16,
}

impl Prior {
    /// Somebody's spare capacity. Our own choice: PCs come and go, one in five each month.
    pub const REMOTE: Self =
        Self { breach: Ppm(200_000), yields: Ppm(200_000), failure: Ppm(50_000), months: 2, deliveries: 10 };
    /// A partner's servers. Our own choice.
    pub const PARTNER: Self =
        Self { breach: Ppm(50_000), yields: Ppm(30_000), failure: Ppm(20_000), months: 2, deliveries: 10 };
}

/// What to expect of a seller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Standing {
    /// Probability that it breaks its promise in a month.
    pub breach: Ppm,
    /// Probability that the work has to be provisioned anew in a month.
    pub loss: Ppm,
    /// Number of observations behind it.
    pub observations: u64,
    /// In one sentence.
    pub text: String,
}

impl Record {
    /// The record with one more deed. What others caused is counted apart; lease time in which others caused the
    /// downtime counts as kept.
    #[must_use]
    pub fn with(mut self, deed: Deed, cause: Cause, at: Timestamp) -> Self {
        let week = at.0.div_euclid(WEEK);
        let newest = self.weeks.last_key_value().map_or(week, |(last, _)| week.max(*last));
        let oldest = newest.saturating_sub(i64::try_from(WEEKS_MAX).unwrap_or(i64::MAX) - 1);
        self.weeks = self.weeks.split_off(&oldest);
        if week >= oldest {
            self.weeks.entry(week).or_default().add(deed, cause.is_sellers());
        }
        self
    }

    /// The sum over the weeks of what `of` gives, each weighed by its age at `now`. A week in the future is new.
    fn weighed(&self, now: Timestamp, of: impl Fn(&Tally) -> i128) -> i128 {
        let this = now.0.div_euclid(WEEK);
        self.weeks.iter().map(|(week, tally)| weight(this.saturating_sub(*week)) * of(tally)).sum()
    }

    fn count(&self, of: impl Fn(&Tally) -> u32) -> u64 {
        self.weeks.values().map(|t| u64::from(of(t))).sum()
    }
}

impl Tally {
    fn add(&mut self, deed: Deed, is_sellers: bool) {
        match deed {
            Deed::Served { leased, down, promised } => self.serve(leased, down, promised, is_sellers),
            Deed::Delivered => self.delivered = self.delivered.saturating_add(1),
            _ if !is_sellers => self.excused = self.excused.saturating_add(1),
            Deed::Yielded { noticed: true } => self.noticed = self.noticed.saturating_add(1),
            Deed::Yielded { noticed: false } => self.yielded = self.yielded.saturating_add(1),
            Deed::Failed => self.failed = self.failed.saturating_add(1),
        }
    }

    fn serve(&mut self, leased: Micros, down: Micros, promised: Ppm, is_sellers: bool) {
        let leased = leased.0.clamp(0, SERVED_MAX.0);
        let down = down.0.clamp(0, leased);
        let allowed = i128::from(leased) * i128::from(1_000_000 - promised.0.min(1_000_000)) / 1_000_000;
        let is_over = i128::from(down) > allowed;
        if is_over && !is_sellers {
            self.excused = self.excused.saturating_add(1);
        }
        if is_sellers {
            self.down.0 = self.down.0.saturating_add(down);
        }
        let sum = if is_over && is_sellers { &mut self.broken } else { &mut self.kept };
        sum.0 = sum.0.saturating_add(leased);
    }
}

/// What a week weighs after so many weeks, in parts of [`WEIGHT_ONE`].
fn weight(age: i64) -> i128 {
    let age = u32::try_from(age.max(0)).unwrap_or(u32::MAX);
    let part = DECAY[(age % HALF_LIFE_WEEKS) as usize];
    part.checked_shr(age / HALF_LIFE_WEEKS).unwrap_or(0)
}

/// Mean of a Beta posterior, rounded up: `bad` and `good` weigh against a prior of `mean` that weighs `strength`.
fn posterior(bad: i128, good: i128, mean: Ppm, strength: i128) -> Ppm {
    let mean = i128::from(mean.0.min(1_000_000));
    let total = (bad + good + strength).max(1);
    let above = bad * 1_000_000 + strength * mean;
    Ppm(u32::try_from((above + total - 1) / total).unwrap_or(1_000_000).min(1_000_000))
}

/// What to expect of a seller in the next month.
///
/// `breach` is the mean of a Beta posterior whose counts are months of leases with a broken and with a kept promise.
/// `loss` is that the work yields, or was never delivered: for the first each yield stands as a month that went badly
/// against the months that were kept, for the second deliveries count. All are rounded up, and no deed that is worse
/// than another, or than none, lowers any of them.
pub fn standing(record: &Record, prior: &Prior, now: Timestamp) -> Standing {
    let strength = i128::from(prior.months) * MONTH * WEIGHT_ONE;
    let kept = record.weighed(now, |t| t.kept.0.into());
    let broken = record.weighed(now, |t| t.broken.0.into());
    let breach = posterior(broken, kept, prior.breach, strength);

    let yields = record.weighed(now, |t| WITHOUT_NOTICE * i128::from(t.yielded) + i128::from(t.noticed));
    let yields = posterior(yields * MONTH / WITHOUT_NOTICE, kept, prior.yields, strength);
    let failed = record.weighed(now, |t| t.failed.into());
    let delivered = record.weighed(now, |t| t.delivered.into());
    let failure = posterior(failed, delivered, prior.failure, i128::from(prior.deliveries) * WEIGHT_ONE);
    let stays = u64::from(1_000_000 - yields.0) * u64::from(1_000_000 - failure.0) / 1_000_000;
    let loss = Ppm(1_000_000 - u32::try_from(stays).unwrap_or(0));

    let observations = record.observations();
    let text = account::sentence(breach, loss, observations);
    Standing { breach, loss, observations, text }
}

/// What it costs an hour, on average, to buy from a seller of this standing, beside its rate: probability of a breach
/// times the credit that is owed to the customer for it, plus probability of a loss times what it costs to provision
/// anew (clearing rules of the market: risk = P(breach) x credit + P(loss) x cost of re-provisioning).
/// Rounded up to the millionth: no risk is free. Negative amounts count as nothing.
pub fn risk(standing: &Standing, credit: MicroMoney, reprovision: MicroMoney) -> MicroMoney {
    let part = |share: Ppm, amount: MicroMoney| i128::from(share.0.min(1_000_000)) * i128::from(amount.0.max(0));
    let month = part(standing.breach, credit) + part(standing.loss, reprovision);
    let per_hour = 1_000_000 * i128::from(HOURS_PER_MONTH);
    MicroMoney(i64::try_from((month + per_hour - 1) / per_hour).unwrap_or(i64::MAX))
}
