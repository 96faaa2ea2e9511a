//! Standing: what has to be expected of a site as a seller, and why.

use chandler_protocol::SiteId;
use chandler_protocol::unit::Ppm;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::value::{Money, Quantity};

/// What has to be expected of a site in a month, as this controller knows it: of its own sites as their seller, of a
/// partner's as its buyer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Standing {
    /// Name of the site.
    pub site: String,
    /// Its id.
    #[schema(value_type = String)]
    pub site_id: SiteId,
    /// The partner that sells it; absent for a site of this controller's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partner: Option<String>,
    /// Probability that it breaks its promise in a month.
    #[schema(value_type = String, example = "20 %")]
    pub breach: Quantity<Ppm>,
    /// Probability that the work has to be provisioned anew in a month.
    #[schema(value_type = String, example = "24 %")]
    pub loss: Quantity<Ppm>,
    /// How many observations are behind it.
    pub observations: u64,
    /// What both cost where a month costs 100: it counts beside the rate when somebody chooses, and nobody pays it.
    pub risk_of_hundred: Money,
    /// What counted, what did not, and what came of it; each in one sentence.
    pub reasons: Vec<String>,
}
