//! Placement: the cheapest hosts on which an SLA holds, and why not the others.
//!
//! `filter -> price -> choose`, each in a file of its own. Deterministic: candidates are ordered by (price, host
//! id), all numbers are integers. A host that is refused keeps the first rule that refused it, with its numbers.

mod alternatives;
#[cfg(test)]
mod cases;
mod choose;
#[cfg(test)]
pub(crate) mod example;
mod explain;
mod filter;
mod knob;
#[cfg(test)]
mod laws;
mod price;
mod search;
mod value;
mod view;
mod wording;

use chandler_protocol::workload::WorkloadSpec;
use chandler_protocol::{DecisionId, HostId, MicroMoney, Micros, PartyId, Ppm, ServiceId, SiteId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::fleet::{Capacity, Host, HostState};
use crate::order::Policy;
use crate::service::{PriceTerms, Trigger};
use crate::site::{Rates, SiteRole};
use crate::sla::{Alternative, Predicted, Terms};

pub use alternatives::{BOTH, around};
pub use choose::{Standing, is_placeable, place, standing};
pub use explain::decision;
pub use price::{HOURS_PER_MONTH, MonthlyPrice, monthly};
pub(crate) use view::is_overdrawn;
pub use view::{access_rtt, views, views_of};

/// Version of the rules below; kept with every decision.
pub const RULES: u32 = 1;
/// Most candidates and most refused hosts that a decision keeps.
pub const KEPT: usize = 100;

/// A host as placement sees it.
#[derive(Debug, Clone)]
pub struct HostView<'m> {
    /// The host itself.
    pub host: &'m Host,
    /// Name of its site.
    pub site_name: &'m str,
    /// Whose computer it is.
    pub role: SiteRole,
    /// The party that owns it.
    pub owner: PartyId,
    /// Country it is in.
    pub country: &'m str,
    /// What its capacity costs.
    pub rates: Rates,
    /// How it is, right now.
    pub state: HostState,
    /// Why it takes no new work and is left, if so.
    pub closed: Option<Closing>,
    /// Measured round-trip time between it and the controller.
    pub rtt: Option<Micros>,
    /// Predicted share of the time it is up.
    pub availability: Ppm,
    /// What its owner gives to the fleet.
    pub offered: Capacity,
    /// What is reserved on it.
    pub reserved: Capacity,
    /// What the service in question holds there now, where it is in [`Request::current`]; `None`: what is wanted.
    pub own: Option<Capacity>,
    /// How often software failed on it in the last hour.
    pub recent_failures: u32,
}

/// Why a host takes no new work and is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closing {
    /// It is drained.
    Host,
    /// Its site is drained.
    Site,
    /// Its site is worked on, or will be soon.
    Maintenance,
    /// Its site's hours are over, or will be soon.
    Hours,
    /// Its owner takes it back soon.
    Reclaimed,
    /// Its owner offers less now than is reserved on it.
    Owner,
}

impl Closing {
    /// In words, behind the name of the host.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Host => "is being drained",
            Self::Site => "is at a site that is being drained",
            Self::Maintenance => "is at a site that is worked on now or soon",
            Self::Hours => "is at a site whose hours are over now or soon",
            Self::Reclaimed => "is taken back by its owner soon",
            Self::Owner => "is needed by its owner now or soon",
        }
    }
}

/// What is to be placed.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Whose it is.
    pub customer: PartyId,
    /// What is run.
    pub spec: &'a WorkloadSpec,
    /// What the artifact runs on; empty or `any` for every host.
    pub platform: &'a str,
    /// The SLA.
    pub terms: &'a Terms,
    /// Who may serve it, how many copies.
    pub policy: &'a Policy,
    /// The provider's part of the price.
    pub price: &'a PriceTerms,
    /// The customer's own way to the controller: the shortest measured round-trip time of the customer's own
    /// hosts, zero when there are none.
    pub access_rtt: Micros,
    /// The software's own answer time (95th percentile) as measured so far; zero when it never ran.
    pub response_p95: Micros,
    /// Hosts that must not be taken (where it just failed).
    pub avoid: &'a [HostId],
    /// Hosts where it runs now: their share of `reserved` is its own, and it stays there when they are as cheap.
    pub current: &'a [HostId],
    /// ISO 4217 code that stands behind amounts of money.
    pub currency: &'a str,
}

/// The rules in the order in which they are applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Rule {
    /// Not connected, lost or revoked.
    State,
    /// The policy or the site's owner does not allow it.
    Owner,
    /// It just failed there.
    Failed,
    /// Not in an allowed country.
    Residency,
    /// Wrong platform, driver missing, or a program that is not installed.
    Software,
    /// Limits that it cannot enforce.
    Limits,
    /// Too small even when empty: cores, GPUs, offered processor or memory.
    Size,
    /// Too far away.
    Interactivity,
    /// Up too rarely, even with the most copies allowed.
    Availability,
    /// Too expensive.
    Cost,
    /// Would fit, but is full now.
    Capacity,
}

impl Rule {
    /// As it stands in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::Owner => "owner",
            Self::Failed => "failed",
            Self::Residency => "residency",
            Self::Software => "software",
            Self::Limits => "limits",
            Self::Size => "size",
            Self::Interactivity => "interactivity",
            Self::Availability => "availability",
            Self::Cost => "cost",
            Self::Capacity => "capacity",
        }
    }
}

/// A host that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Which.
    pub host: HostId,
    /// Its name then.
    pub host_name: String,
    /// Name of its site.
    pub site_name: String,
    /// The first rule that refused it.
    pub rule: Rule,
    /// Why, with the numbers: `round trip 53 ms > 50 ms`.
    pub reason: String,
    /// What would have let it in, as it stands in an order file: `sla.interactivity.p95 = "53 ms"`; empty when
    /// nothing can.
    pub would_fit: String,
    /// How far off it was, in parts per million of what was asked; `u64::MAX` when no number tells.
    pub distance: u64,
    /// What it would cost a month.
    pub price_month: MicroMoney,
}

/// A host that met every rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// Which.
    pub host: HostId,
    /// Its name then.
    pub host_name: String,
    /// Its site.
    pub site: SiteId,
    /// Name of its site.
    pub site_name: String,
    /// Whose computer it is.
    pub role: SiteRole,
    /// What one copy there costs a month.
    pub price: MonthlyPrice,
    /// What to expect of one copy there.
    pub predicted: Predicted,
    /// The rates it is paid by.
    pub rates: Rates,
    /// Whether it was chosen.
    pub chosen: bool,
}

/// Why nothing was chosen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// No host could serve it even if all were empty.
    Infeasible {
        /// In one sentence, naming the rule that binds.
        text: String,
        /// The nearest that could be met, cheapest first.
        nearest: Vec<Alternative>,
    },
    /// Hosts could serve it, but they are full.
    NoCapacity {
        /// In one sentence, naming what is missing.
        text: String,
        /// What would fit now.
        nearest: Vec<Alternative>,
    },
}

/// The result of one placement: what was chosen or why nothing was, and every host's fate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Hosts that met every rule, cheapest first (ties by id). The chosen ones are marked.
    pub candidates: Vec<Candidate>,
    /// Refused hosts, in order of id.
    pub refused: Vec<Refused>,
    /// What to expect of all chosen copies together; `None` when nothing was chosen.
    pub predicted: Option<Predicted>,
    /// Why nothing was chosen.
    pub refusal: Option<Refusal>,
}

impl Outcome {
    /// The chosen hosts, cheapest first.
    pub fn chosen(&self) -> impl Iterator<Item = &Candidate> {
        self.candidates.iter().filter(|c| c.chosen)
    }
}

/// The immutable record of one placement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// Its id.
    pub id: DecisionId,
    /// The service it was taken for.
    pub service: ServiceId,
    /// When.
    pub at: Timestamp,
    /// [`RULES`] at the time.
    pub rules: u32,
    /// Generation of the model it was taken on.
    pub snapshot: u64,
    /// What set it off.
    pub trigger: Trigger,
    /// Hosts looked at.
    pub considered: u32,
    /// How many hosts each rule refused, in the order of the rules.
    pub funnel: Vec<(Rule, u32)>,
    /// At most [`KEPT`] candidates, cheapest first.
    pub candidates: Vec<Candidate>,
    /// At most [`KEPT`] refused hosts, nearest to fitting first.
    pub refused: Vec<Refused>,
    /// The smallest change that would have let in a cheaper host, in one sentence; empty when there is none.
    pub nearest_miss: String,
    /// In one sentence: where it runs and why there, or why nowhere.
    pub text: String,
}
