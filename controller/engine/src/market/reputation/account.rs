//! Why a seller stands as it does, in sentences that it can check against its own books.

use chandler_protocol::{Ppm, Timestamp};

use super::{HALF_LIFE_WEEKS, MONTH, Prior, Record, Tally, WEEKS_MAX, standing};

impl Record {
    /// Number of deeds that count: each week in which leases were served is one, each yield and delivery too.
    pub(super) fn observations(&self) -> u64 {
        let served = self.count(|t| u32::from(t.kept.0 > 0 || t.broken.0 > 0));
        served
            + self.count(|t| t.yielded)
            + self.count(|t| t.noticed)
            + self.count(|t| t.delivered)
            + self.count(|t| t.failed)
    }

    fn total(&self, of: impl Fn(&Tally) -> i64) -> i128 {
        self.weeks.values().map(|t| i128::from(of(t))).sum()
    }
}

/// A standing in one sentence.
pub(super) fn sentence(breach: Ppm, loss: Ppm, observations: u64) -> String {
    let from = match observations {
        0 => "nothing is known of it yet".to_owned(),
        1 => "from 1 observation".to_owned(),
        n => format!("from {n} observations"),
    };
    format!(
        "in a month a broken promise is expected with {}, a loss of the work with {}: {from}",
        percent(breach),
        percent(loss)
    )
}

/// To a hundredth of a percent.
fn percent(share: Ppm) -> Ppm {
    Ppm(share.0.saturating_add(50) / 100 * 100)
}

/// Months of leases to a tenth: `12.4`.
fn months(time: i128) -> String {
    let tenths = (time * 10 + MONTH / 2) / MONTH;
    format!("{}.{}", tenths / 10, tenths % 10)
}

fn times(count: u64, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// Why a seller stands as it does at `now`: what counted, what did not, what was believed before, and what came of it.
pub fn explain(record: &Record, prior: &Prior, now: Timestamp) -> Vec<String> {
    let (kept, broken) = (record.total(|t| t.kept.0), record.total(|t| t.broken.0));
    let mut said = Vec::new();
    if kept + broken > 0 {
        let up = kept + broken - record.total(|t| t.down.0);
        let share = Ppm(u32::try_from(up.max(0) * 1_000_000 / (kept + broken)).unwrap_or(0));
        said.push(format!(
            "{} months of leases were measured, up for {share} of the time; in {} of them \
             less than the promised availability was kept",
            months(kept + broken),
            months(broken),
        ));
    }
    let (yielded, noticed) = (record.count(|t| t.yielded), record.count(|t| t.noticed));
    if yielded + noticed > 0 {
        said.push(format!(
            "the work had to go {} without the agreed notice, and {} with it, which weighs a quarter",
            times(yielded, "time"),
            times(noticed, "time"),
        ));
    }
    let (delivered, failed) = (record.count(|t| t.delivered), record.count(|t| t.failed));
    if delivered + failed > 0 {
        said.push(format!(
            "{} of {} delivered",
            delivered,
            if delivered + failed == 1 {
                "1 lease was".to_owned()
            } else {
                format!("{} leases were", delivered + failed)
            }
        ));
    }
    let excused = record.count(|t| t.excused);
    if excused > 0 {
        said.push(format!("{} that the seller did not cause do not count", times(excused, "incident")));
    }
    said.push(format!("what is {HALF_LIFE_WEEKS} weeks old weighs half, what is older than {WEEKS_MAX} weeks nothing"));
    said.push(format!(
        "before anything is known, a broken promise is expected with {} and a yield with {} in a month \
         (which weighs as much as {} months of leases), a failed delivery with {} (as much as {} deliveries)",
        prior.breach, prior.yields, prior.months, prior.failure, prior.deliveries
    ));
    said.push(standing(record, prior, now).text);
    said
}
