//! SLAs: the attribute values a customer chose, as terms, and the versioned agreement that holds them.

use chandler_protocol::{AgreementId, MicroMoney, Micros, PartyId, Ppm, Timestamp};
use serde::{Deserialize, Serialize};

/// Chosen attribute values. Each may be absent; all that are present hold together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// Most it may cost a month, all copies together.
    pub cost_max: Option<MicroMoney>,
    /// 95 of 100 answers within this time.
    pub p95_max: Option<Micros>,
    /// Smallest share of a month in which at least one copy is healthy.
    pub availability_min: Option<Ppm>,
    /// Countries it may be in; anywhere when empty.
    pub residency: Vec<String>,
    /// Least cores of the machine.
    pub cores_min: u32,
    /// GPUs of the machine that one copy has for itself.
    pub gpus_min: u32,
    /// Longest time from the order to the end of a task.
    pub deadline: Option<Micros>,
}

/// One version of an agreement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgreementVersion {
    /// Counts amendments, from 1.
    pub version: u32,
    /// The terms.
    pub terms: Terms,
    /// Since when.
    pub since: Timestamp,
    /// Who asked for it.
    pub by: String,
}

/// A signed SLA.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agreement {
    /// Its id.
    pub id: AgreementId,
    /// Whose.
    pub customer: PartyId,
    /// Name of the service it is for.
    pub service: String,
    /// Versions, oldest first; the last is in force. Never empty.
    pub versions: Vec<AgreementVersion>,
    /// Whether it has ended.
    pub terminated: bool,
}

impl Agreement {
    /// The version in force.
    pub fn current(&self) -> Option<&AgreementVersion> {
        self.versions.last()
    }

    /// The terms in force.
    pub fn terms(&self) -> Terms {
        self.current().map(|v| v.terms.clone()).unwrap_or_default()
    }
}

/// Attributes as predicted for a placement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Predicted {
    /// Price a month.
    pub monthly_cost: MicroMoney,
    /// 95th percentile of the answer time; `None` when no path was measured.
    pub p95: Option<Micros>,
    /// Share of the time at least one copy is up.
    pub availability: Ppm,
}

/// An alternative to an SLA: one changed term and what it leads to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alternative {
    /// The term, as in an order file: `sla.cost.max`.
    pub term: String,
    /// The value that makes it feasible, as in an order file: `11.20 EUR/month`.
    pub value: String,
    /// Name of the host it would run on.
    pub host: String,
    /// Name of that host's site.
    pub site: String,
    /// What to expect then.
    pub predicted: Predicted,
}
