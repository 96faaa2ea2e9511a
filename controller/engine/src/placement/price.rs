//! What one copy costs a month on a host: the same arithmetic that later rates its use.

use chandler_protocol::{MicroMoney, Micros};
use serde::{Deserialize, Serialize};

use crate::finance::rate;
use crate::fleet::Capacity;
use crate::service::PriceTerms;
use crate::site::Rates;

/// Hours that a month has in prices: a year has 8,760.
pub const HOURS_PER_MONTH: i64 = 730;

/// What one copy costs a month, in its parts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MonthlyPrice {
    /// What the site's owner earns.
    pub cost: MicroMoney,
    /// What the provider adds to that.
    pub margin: MicroMoney,
    /// What the provider takes for looking after it.
    pub management: MicroMoney,
}

impl MonthlyPrice {
    /// What the customer pays.
    pub const fn total(&self) -> MicroMoney {
        MicroMoney(self.cost.0.saturating_add(self.margin.0).saturating_add(self.management.0))
    }
}

/// The price of one copy for a month of [`HOURS_PER_MONTH`] hours.
pub fn monthly(rates: Rates, reserved: Capacity, price: &PriceTerms) -> MonthlyPrice {
    let charge = rate(Micros::from_secs(HOURS_PER_MONTH * 3_600), reserved, rates, price);
    MonthlyPrice { cost: charge.cost, margin: charge.margin, management: charge.management }
}

#[cfg(test)]
mod tests {
    use chandler_protocol::{Bytes, MilliCpu};

    use super::*;

    #[test]
    fn a_month_has_730_hours() {
        let price =
            PriceTerms { offering: ("standard".to_owned(), 1), margin_percent: 20, management_hour: MicroMoney(1_000) };
        let rates = Rates { core_hour: MicroMoney(10_000), gib_hour: MicroMoney(2_000), gpu_hour: MicroMoney(0) };
        let month = monthly(rates, Capacity { cpu: MilliCpu(500), memory: Bytes(1 << 30), gpus: 0 }, &price);
        assert_eq!(month.cost, MicroMoney(730 * 7_000));
        assert_eq!(month.margin, MicroMoney(730 * 1_400));
        assert_eq!(month.management, MicroMoney(730 * 1_000));
        assert_eq!(month.total(), MicroMoney(730 * 9_400));
    }
}
