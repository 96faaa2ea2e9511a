//! Quotes: price and predicted attributes at once, for what was asked and for the options around it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::sla::Predicted;

/// A change to an SLA and what it leads to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Alternative {
    /// The change, for instance `sla.cost.max`.
    pub term: String,
    /// The value that makes it feasible, as it stands in an order file.
    pub value: String,
    /// The host it would run on.
    pub host: String,
    /// That host's site.
    pub site: String,
    /// What to expect then.
    pub predicted: Predicted,
    /// In one sentence.
    pub text: String,
}

/// The answer to a request for a quote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Quote {
    /// Whether the order can be served now.
    pub feasible: bool,
    /// What to expect; absent when it cannot be served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predicted: Option<Predicted>,
    /// Where it would run.
    pub hosts: Vec<String>,
    /// Other choices around it: what one changed term would cost or save; for an infeasible order, what would fit.
    pub options: Vec<Alternative>,
    /// Why, in one sentence.
    pub reason: String,
}
