//! Sites: places with computers of one owner.

use chandler_protocol::SiteId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::value::Money;

/// Whose computers a site has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum SiteRole {
    /// A customer's own computers, for that customer only.
    Customer,
    /// The provider's servers.
    Provider,
    /// Somebody's spare capacity.
    Remote,
}

/// What capacity of a site costs, and earns its owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rates {
    /// One core for one hour.
    pub core_hour: Money,
    /// One GiB of memory for one hour.
    pub gib_hour: Money,
}

/// Asks for a new site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SiteCreate {
    /// 1 to 64 of `a-z 0-9 . _ -`, unique.
    pub name: String,
    /// Name or id of the party that owns the computers.
    pub owner: String,
    /// Whose computers they are.
    pub role: SiteRole,
    /// ISO 3166-1 alpha-2 code of the country it is in.
    pub country: String,
    /// What its capacity costs.
    pub rates: Rates,
}

/// Changes a site. Fields left out stay.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SiteUpdate {
    /// New rates, for usage from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rates: Option<Rates>,
}

/// A place with computers of one owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Site {
    /// Its id.
    #[schema(value_type = String)]
    pub id: SiteId,
    /// Its name.
    pub name: String,
    /// Name of the party that owns the computers.
    pub owner: String,
    /// Whose computers they are.
    pub role: SiteRole,
    /// Country code.
    pub country: String,
    /// What its capacity costs.
    pub rates: Rates,
    /// How many hosts have joined.
    pub hosts: u32,
}
