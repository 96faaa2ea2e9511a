//! Events: every change of state, append-only, written in the transaction of the change.

use chandler_protocol::Timestamp;
use serde::{Deserialize, Serialize};

/// What kind of thing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Noun {
    /// A party.
    Party,
    /// A site.
    Site,
    /// A host.
    Host,
    /// A join string or an API token.
    Token,
    /// An artifact.
    Artifact,
    /// An offering.
    Offering,
    /// An order.
    Order,
    /// An SLA.
    Sla,
    /// A service or task item.
    Service,
    /// A service on a host.
    Assignment,
    /// A bill.
    Bill,
    /// The controller itself.
    Controller,
    /// A change of place.
    Move,
    /// A partner.
    Partner,
    /// Capacity that was sold to or bought from a partner.
    Lease,
    /// A standing offer of capacity.
    Offer,
    /// A contested receipt.
    Dispute,
}

impl Noun {
    /// As it stands in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Party => "party",
            Self::Site => "site",
            Self::Host => "host",
            Self::Token => "token",
            Self::Artifact => "artifact",
            Self::Offering => "offering",
            Self::Order => "order",
            Self::Sla => "sla",
            Self::Service => "service",
            Self::Assignment => "assignment",
            Self::Bill => "bill",
            Self::Controller => "controller",
            Self::Move => "move",
            Self::Partner => "partner",
            Self::Lease => "lease",
            Self::Offer => "offer",
            Self::Dispute => "dispute",
        }
    }
}

/// One change of state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Counts events, from 1 without gaps. Given when it is committed; 0 before.
    pub id: u64,
    /// When.
    pub at: Timestamp,
    /// Who: a token, an agent, or one of the controller's tasks.
    pub by: String,
    /// The kind of thing.
    pub noun: Noun,
    /// Which one, by id.
    pub subject: String,
    /// Its name, where it has one.
    pub name: String,
    /// The state before; empty for a new thing.
    pub from: String,
    /// The state after.
    pub to: String,
    /// Why.
    pub reason: String,
}
