//! Bills: what a customer owes for a month, line by line from the same usage rows that pay the owners.

use chandler_protocol::{BillId, ServiceId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::value::{Money, Time};

/// Asks for a bill to be made, or made anew while its month is open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BillRun {
    /// Name or id of the customer; all customers when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer: Option<String>,
    /// The month, as `2026-11`; the current one when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub month: Option<String>,
}

/// A month's receivable of one customer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Bill {
    /// Its id.
    #[schema(value_type = String)]
    pub id: BillId,
    /// Name of the customer.
    pub customer: String,
    /// The month, as `2026-11`.
    pub month: String,
    /// `new` while the month is open, then `sent`.
    pub state: String,
    /// When it was made.
    #[schema(value_type = String)]
    pub made_at: Time,
    /// ISO 4217 code.
    pub currency: String,
    /// What is owed: the sum of the lines.
    pub total: Money,
    /// What it is for.
    pub lines: Vec<BillLine>,
}

/// One line of a bill: one service at one site under one price.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BillLine {
    /// Name of the service.
    pub service: String,
    /// Its id; of a task, that of the first item.
    #[schema(value_type = String)]
    pub service_id: ServiceId,
    /// Name of the site it ran at.
    pub site: String,
    /// Number of usage rows in this line.
    pub usage_rows: u64,
    /// How long it ran, in microseconds.
    pub running_micros: i64,
    /// Reserved processor time used up, in millionths of a core-hour.
    pub core_hours_micros: i64,
    /// Reserved memory time used up, in millionths of a GiB-hour.
    pub gib_hours_micros: i64,
    /// Reserved GPU time used up, in millionths of a GPU-hour.
    #[serde(default)]
    pub gpu_hours_micros: i64,
    /// Price of a core-hour to the customer.
    pub core_hour: Money,
    /// Price of a GiB-hour to the customer.
    pub gib_hour: Money,
    /// Price of a GPU-hour to the customer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu_hour: Option<Money>,
    /// Price of looking after it for an hour.
    pub management_hour: Money,
    /// What is owed for it.
    pub amount: Money,
}

/// Whether the books balance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LedgerCheck {
    /// Whether every check below holds.
    pub balanced: bool,
    /// Groups of entries checked.
    pub postings: u64,
    /// Groups whose entries do not sum to zero.
    pub unbalanced: u64,
    /// Usage rows that are not posted exactly once.
    pub unposted: u64,
    /// What customers owe.
    pub receivable: Money,
    /// What is owed to site owners.
    pub payable: Money,
    /// What is left for the provider.
    pub earnings: Money,
    /// What is contested with partners: what they may have to pay less what they may have to be paid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<Money>,
}
