//! Rates of capacity, as they are typed and shown: of a core, a GiB and a GPU for an hour.

use chandler_api::site::Rates;
use chandler_api::value::Money;
use clap::Args;

use super::Amount;

/// All of them, for something new.
#[derive(Debug, Args)]
pub(super) struct RateArgs {
    /// What one core costs for one hour, such as "0.012 EUR"
    #[arg(long, value_name = "MONEY")]
    core_hour: Amount,
    /// What one GiB of memory costs for one hour, such as "0.003 EUR"
    #[arg(long, value_name = "MONEY")]
    gib_hour: Amount,
    /// What one GPU costs for one hour, such as "0.50 EUR" [default: nothing, or as it was]
    #[arg(long, value_name = "MONEY")]
    gpu_hour: Option<Amount>,
}

impl From<RateArgs> for Rates {
    fn from(args: RateArgs) -> Self {
        Self { core_hour: args.core_hour.0, gib_hour: args.gib_hour.0, gpu_hour: args.gpu_hour.map(|a| a.0) }
    }
}

/// Those that change; the rest stays.
#[derive(Debug, Args)]
pub(super) struct RateChange {
    /// What one core costs for one hour, such as "0.012 EUR"
    #[arg(long, value_name = "MONEY")]
    core_hour: Option<Amount>,
    /// What one GiB of memory costs for one hour, such as "0.003 EUR"
    #[arg(long, value_name = "MONEY")]
    gib_hour: Option<Amount>,
    /// What one GPU costs for one hour, such as "0.50 EUR"
    #[arg(long, value_name = "MONEY")]
    gpu_hour: Option<Amount>,
}

impl RateChange {
    /// The rates after it; none when all stay.
    pub(super) fn of(self, before: &Rates) -> Option<Rates> {
        let Self { core_hour, gib_hour, gpu_hour } = self;
        let is_change = core_hour.is_some() || gib_hour.is_some() || gpu_hour.is_some();
        is_change.then(|| Rates {
            core_hour: core_hour.map_or_else(|| before.core_hour.clone(), |a| a.0),
            gib_hour: gib_hour.map_or_else(|| before.gib_hour.clone(), |a| a.0),
            gpu_hour: gpu_hour.map(|a| a.0).or_else(|| before.gpu_hour.clone()),
        })
    }
}

/// A rate that may be nothing, which is then not shown.
pub(super) fn costs(rate: Option<&Money>) -> Option<&Money> {
    rate.filter(|money| money.micros != 0)
}

/// Columns of what was metered and by which rates, as bills and statements show it; see [`metered`].
pub(super) const METERED: [&str; 6] = [">CORE-HOURS", ">AT", ">GIB-HOURS", ">AT", "?>GPU-HOURS", "?>AT"];

/// The cells of [`METERED`]: millionths of hours, each with its rate.
pub(super) fn metered(core: (i64, &Money), gib: (i64, &Money), gpu: (i64, Option<&Money>)) -> [String; 6] {
    let at = |money: &Money| money.amount().to_string();
    let (gpu_hours, gpu_rate) = match gpu {
        (0, _) => Default::default(),
        (used, rate) => (hours(used), rate.map(at).unwrap_or_default()),
    };
    [hours(core.0), at(core.1), hours(gib.0), at(gib.1), gpu_hours, gpu_rate]
}

/// Millionths of an hour with four digits, because a short run must not look like none.
fn hours(micros: i64) -> String {
    let (sign, n) = (if micros < 0 { "-" } else { "" }, micros.unsigned_abs());
    format!("{sign}{}.{:04}", n / 1_000_000, n % 1_000_000 / 100)
}

#[cfg(test)]
mod tests {
    #[test]
    fn short_runs_do_not_look_like_none() {
        assert_eq!(super::hours(1_500), "0.0015");
        assert_eq!(super::hours(12_345_678), "12.3456");
        assert_eq!(super::hours(-1_000_000), "-1.0000");
    }
}
