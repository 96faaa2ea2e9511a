//! SLAs: chosen attribute values, the agreement that holds them, and what is measured.

use chandler_protocol::unit::{Micros, Ppm};
use chandler_protocol::{AgreementId, ServiceId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::value::{Money, MonthlyCost, Quantity, Span, Time};

/// Chosen attribute values. Any one alone, or any combination.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SlaTerms {
    /// What it may cost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<CostTerm>,
    /// How quickly it must answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interactivity: Option<InteractivityTerm>,
    /// How often it must be up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub availability: Option<AvailabilityTerm>,
    /// Countries (ISO 3166-1 alpha-2) it may run in; anywhere when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub residency: Vec<String>,
    /// How powerful the machine must be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<CapacityTerm>,
    /// By when a task must be done, counted from the order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<DeadlineTerm>,
}

/// What it may cost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CostTerm {
    /// At most, for all copies together.
    #[schema(value_type = String, example = "30 EUR/month")]
    pub max: MonthlyCost,
}

/// How quickly it must answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct InteractivityTerm {
    /// 95 of 100 answers within this time: round trip plus the software's own time.
    #[schema(value_type = String, example = "50 ms")]
    pub p95: Span,
}

/// How often it must be up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AvailabilityTerm {
    /// At least this share of the time, over a calendar month.
    #[schema(value_type = String, example = "99.5 %")]
    pub min: Quantity<Ppm>,
}

/// How powerful the machine must be, beyond what the limits reserve.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CapacityTerm {
    /// At least this many cores in the machine.
    #[serde(default)]
    pub cores: u32,
    /// So many GPUs of the machine, each whole: nobody else gets them, and they are billed by the GPU-hour.
    #[serde(default)]
    pub gpus: u32,
}

/// By when a task must be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeadlineTerm {
    /// At most this long after the order.
    #[schema(value_type = String, example = "2 h")]
    pub within: Span,
}

/// Changes an agreement. The terms replace the old ones whole; `policy` and `software` stay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SlaAmend {
    /// The new terms.
    pub sla: SlaTerms,
}

/// Whether an SLA holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum SlaStatus {
    /// Every measured term holds.
    Met,
    /// Every measured term holds, and one will not for long.
    AtRisk,
    /// A measured term does not hold.
    Violated,
    /// Not enough was measured yet.
    NotDetermined,
}

/// One term as measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SlaObjective {
    /// The attribute: `cost`, `interactivity`, `availability`, `residency`, `deadline`.
    pub name: String,
    /// What was agreed.
    pub target: String,
    /// What was promised when it was placed.
    pub predicted: String,
    /// What is measured; empty while nothing is.
    pub measured: String,
    /// Whether it holds.
    pub status: SlaStatus,
    /// How much of what it allows is left in this calendar month; absent where it allows nothing or nothing is measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<SlaBudget>,
}

/// The error budget of a term.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SlaBudget {
    /// What is left of it, in parts per million.
    pub left_ppm: u32,
    /// How quickly it was used up in the last hour, in thousandths: 1,000 is exactly as quickly as is allowed.
    pub burn_rate_milli: u64,
}

/// An SLA: the agreement and how it holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Sla {
    /// Id of the agreement.
    #[schema(value_type = String)]
    pub id: AgreementId,
    /// Counts amendments, from 1.
    pub version: u32,
    /// Name of the customer.
    pub customer: String,
    /// Name of the service.
    pub service: String,
    /// Its id; absent for a task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub service_id: Option<ServiceId>,
    /// `approved`, `terminated`.
    pub state: String,
    /// The terms in force.
    pub terms: SlaTerms,
    /// Whether all holds.
    pub status: SlaStatus,
    /// Each term as measured.
    pub objectives: Vec<SlaObjective>,
    /// Since when this version is in force.
    #[schema(value_type = String)]
    pub since: Time,
}

/// One version of an agreement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SlaVersion {
    /// Which.
    pub version: u32,
    /// Since when.
    #[schema(value_type = String)]
    pub since: Time,
    /// Who asked for it.
    pub by: String,
    /// The terms.
    pub terms: SlaTerms,
}

/// Attributes as predicted for a placement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Predicted {
    /// Price a month.
    pub monthly_cost: Money,
    /// 95th percentile of the answer time, in microseconds; absent when no path was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<i64>)]
    pub p95_micros: Option<Micros>,
    /// Share of the time it will be up, in parts per million.
    #[schema(value_type = u32)]
    pub availability_ppm: Ppm,
}
