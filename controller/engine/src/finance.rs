//! Finance: usage is rated once, and bill, payable and margin are posted from the same row.

mod bill;
mod calendar;
pub mod dispute;
#[cfg(test)]
mod example;
mod ledger;
pub mod netting;
mod rating;
pub mod receipt;
pub mod settlement;
pub mod statement;

use chandler_protocol::{AssignmentId, BillId, HostId, MicroMoney, Micros, PartyId, ServiceId, SiteId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::fleet::Capacity;
use crate::service::PriceTerms;
use crate::site::Rates;

pub use bill::bill;
pub use calendar::{month_of, month_range};
pub use ledger::{Account, Entry, LedgerCheck, check, check_with_held, postings};
pub(crate) use rating::{AMOUNT_MAX, round_div};
pub use rating::{rate, rate_cost_next, rate_next};

/// A stretch of use, measured, rated and posted. (host, sequence) is unique.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageRow {
    /// Where it was measured.
    pub host: HostId,
    /// The host's count of its records.
    pub sequence: u64,
    /// What ran.
    pub assignment: AssignmentId,
    /// The service it ran for.
    pub service: ServiceId,
    /// The service's name.
    pub service_name: String,
    /// Who pays.
    pub customer: PartyId,
    /// Where it ran.
    pub site: SiteId,
    /// Who is paid.
    pub owner: PartyId,
    /// When the stretch ended, by the controller's clock.
    pub at: Timestamp,
    /// How long it ran.
    pub running: Micros,
    /// Processor time it used (shown, not billed: what is reserved is billed).
    pub cpu: Micros,
    /// What was reserved for it.
    pub reserved: Capacity,
    /// The site's rates it is under.
    pub rates: Rates,
    /// The provider's part of the price it is under.
    pub price: PriceTerms,
    /// What it costs and is charged.
    pub charge: Charge,
}

/// How much of a host's usage is stored. A record of its own: it changes every few seconds, the host hardly ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meter {
    /// Whose.
    pub host: HostId,
    /// Records up to and with this sequence are stored.
    pub acknowledged: u64,
}

/// What a stretch of use costs and is charged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Charge {
    /// Reserved processor time, in millionths of a core-hour.
    pub core_hours_micros: i64,
    /// Reserved memory time, in millionths of a GiB-hour.
    pub gib_hours_micros: i64,
    /// Reserved GPU time, in millionths of a GPU-hour.
    #[serde(default)]
    pub gpu_hours_micros: i64,
    /// What the site's owner earns.
    pub cost: MicroMoney,
    /// What the provider adds to that.
    pub margin: MicroMoney,
    /// What the provider takes for looking after it.
    pub management: MicroMoney,
}

impl Charge {
    /// What the customer pays.
    pub const fn price(&self) -> MicroMoney {
        MicroMoney(self.cost.0.saturating_add(self.margin.0).saturating_add(self.management.0))
    }
}

/// A month's receivable of one customer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bill {
    /// Its id.
    pub id: BillId,
    /// Who pays.
    pub customer: PartyId,
    /// The month, as `2026-11`.
    pub month: String,
    /// Whether the month is over and the bill final.
    pub sent: bool,
    /// When it was made.
    pub made_at: Timestamp,
    /// What it is for.
    pub lines: Vec<BillLine>,
}

impl Bill {
    /// What is owed: the sum of the lines.
    pub fn total(&self) -> MicroMoney {
        MicroMoney(self.lines.iter().fold(0, |sum: i64, l| sum.saturating_add(l.amount.0)))
    }
}

/// One line of a bill: one service at one site under one price.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BillLine {
    /// The service; of a task, the first item by id.
    pub service: ServiceId,
    /// Its name.
    pub service_name: String,
    /// Where it ran.
    pub site: SiteId,
    /// The site's rates.
    pub rates: Rates,
    /// The provider's part of the price.
    pub price: PriceTerms,
    /// Number of usage rows in it.
    pub rows: u64,
    /// How long it ran.
    pub running: Micros,
    /// Reserved processor time, in millionths of a core-hour.
    pub core_hours_micros: i64,
    /// Reserved memory time, in millionths of a GiB-hour.
    pub gib_hours_micros: i64,
    /// Reserved GPU time, in millionths of a GPU-hour.
    #[serde(default)]
    pub gpu_hours_micros: i64,
    /// What is owed for it.
    pub amount: MicroMoney,
}
