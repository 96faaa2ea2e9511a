//! Sites: places with computers of one owner, and what their capacity costs.

use chandler_protocol::{MicroMoney, PartyId, SiteId};
use serde::{Deserialize, Serialize};

/// Whose computers a site has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum SiteRole {
    /// A customer's own computers, for that customer only.
    Customer,
    /// The provider's servers.
    Provider,
    /// Somebody's spare capacity.
    Remote,
    /// Another provider's servers.
    Partner,
}

/// What a site's capacity costs, and earns its owner.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rates {
    /// One core for one hour.
    pub core_hour: MicroMoney,
    /// One GiB of memory for one hour.
    pub gib_hour: MicroMoney,
}

/// A place with computers of one owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Site {
    /// Its id.
    pub id: SiteId,
    /// Its unique name.
    pub name: String,
    /// Who owns the computers.
    pub owner: PartyId,
    /// Whose computers they are.
    pub role: SiteRole,
    /// ISO 3166-1 alpha-2 code of its country.
    pub country: String,
    /// What its capacity costs.
    pub rates: Rates,
    /// Counts changes: the ETag.
    pub version: u64,
    /// The partner whose controller its computers are at home at; absent: this one.
    #[serde(default)]
    pub home: Option<PartyId>,
}
