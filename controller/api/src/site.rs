//! Sites: places with computers of one owner.

use chandler_protocol::SiteId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::drain::Draining;
use crate::value::{Money, Span, Time};

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
    /// Another provider's servers: sites of this kind come with what a partner offers.
    Partner,
}

/// What capacity of a site costs, and earns its owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rates {
    /// One core for one hour.
    pub core_hour: Money,
    /// One GiB of memory for one hour.
    pub gib_hour: Money,
    /// One GPU for one hour (default: nothing; of a change: as it was).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu_hour: Option<Money>,
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
    /// When the site is worked on: it is left before and takes no new work. Replaces the windows that there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maintenance: Option<Vec<Maintenance>>,
    /// When its computers are there, such as `Mon-Fri 08:00-18:00 Europe/Berlin`; an empty text for always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hours: Option<String>,
    /// How long before maintenance, or before the end of its hours, it is left, up to 7 d (default 30 min).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "30 min")]
    pub lead: Option<Span>,
}

/// A time in which a site is worked on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Maintenance {
    /// When it begins.
    #[schema(value_type = String)]
    pub from: Time,
    /// When it ends.
    #[schema(value_type = String)]
    pub to: Time,
    /// What is done; up to 512 characters.
    #[serde(default)]
    pub reason: String,
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
    /// That it shall be left, and why; absent when it need not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub draining: Option<Draining>,
    /// When it is worked on, those that are over left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub maintenance: Vec<Maintenance>,
    /// When its computers are there; absent: always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hours: Option<String>,
    /// How long before maintenance or the end of its hours it is left.
    #[serde(default)]
    #[schema(value_type = String)]
    pub lead: Span,
}
