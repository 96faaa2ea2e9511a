//! What the provider would rather have of the whole fleet, within every SLA.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The provider's criteria. Whole: what is left out is not asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProviderCriteria {
    /// The least that shall be left to the provider of a price, in percent of it, 0 to 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub margin_floor_percent: Option<u32>,
    /// The provider's own computers come first where they cost at most this much more, in percent, 0 to 1,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_first_percent: Option<u32>,
    /// Whether computers that are nearly empty are emptied where others have room (default false).
    #[serde(default)]
    pub consolidate: bool,
}
