//! Sites: places with computers of one owner, and what their capacity costs.

use std::fmt;

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
    /// One GPU for one hour.
    #[serde(default)]
    pub gpu_hour: MicroMoney,
}

impl fmt::Display for Rates {
    /// For a sentence: `0.02 and 0.003 for a core-hour and a GiB-hour`. The GPU-hour is named only where it costs something.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { core_hour, gib_hour, gpu_hour } = self;
        if gpu_hour.0 == 0 {
            write!(f, "{core_hour} and {gib_hour} for a core-hour and a GiB-hour")
        } else {
            write!(f, "{core_hour}, {gib_hour} and {gpu_hour} for a core-hour, a GiB-hour and a GPU-hour")
        }
    }
}

impl Rates {
    /// The first that is below zero or above `most`, by its name in the API.
    pub fn out_of_range(&self, most: i64) -> Option<(&'static str, MicroMoney)> {
        let all = [("coreHour", self.core_hour), ("gibHour", self.gib_hour), ("gpuHour", self.gpu_hour)];
        all.into_iter().find(|(_, rate)| !(0..=most).contains(&rate.0))
    }
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
