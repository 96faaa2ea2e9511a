//! How a service may be moved and what would be liked better, where its front doors are, and what it uses: parts of an
//! order.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::order::OwnerKind;
use crate::value::{Rate, Span};

/// How a service may be moved. What is left out has its default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MovePolicy {
    /// The longest that a request may wait while the service moves, 100 ms to 10 s (default 2 s).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "2 s")]
    pub hold: Option<Span>,
    /// How long requests under way may take before its state is sealed, up to 1 h (default 5 s). A longer one puts the move
    /// off, or is cut.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "5 s")]
    pub drain: Option<Span>,
    /// Whether requests and connections that last longer may be cut (default false).
    #[serde(default)]
    pub cut: bool,
    /// Most state a second that is copied while it serves, at least 64 KiB/s (default: no limit). The last copy, while
    /// requests wait, is never slowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "50 MiB/s")]
    pub rate: Option<Rate>,
    /// How long the old state is kept after a move, up to 365 d (default 24 h).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "24 h")]
    pub keep: Option<Span>,
}

impl MovePolicy {
    /// Whether nothing differs from the defaults.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What a copy does when it cannot hear the controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum OnPartition {
    /// It runs on; for a while there may be two of it, and then the better one is kept. With exclusive state there is never
    /// a second one: the service waits until the host is back, or is revoked.
    KeepRunning,
    /// It stops before another one is started.
    Stop,
}

/// What happens when the machine with the only copy of the state is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum OnLoss {
    /// The service waits for it: nothing that was written is given up without a person.
    Wait,
    /// It begins anew with no state, and says so.
    StartEmpty,
}

/// How software is told of a move. Exactly one of `http`, `tcp` and `exec`; a success says that it is at a good point now.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Prepare {
    /// `GET` this path; `?in=SECONDS` says how long it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<String>,
    /// Connect to the port (`tcp = true`).
    #[serde(default)]
    pub tcp: bool,
    /// Run this program; `CHANDLER_MOVE_IN` in its environment says how many seconds it has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exec: Vec<String>,
    /// The port's name, for `http` and `tcp` (default: the only port).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<String>,
    /// How long it has, 100 ms to 10 min (default 30 s). Then it is moved all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "30 s")]
    pub within: Option<Span>,
}

/// Where a service's front doors are, beside the customer's own computers and the hosts of services that use it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FrontPlaces {
    /// Names of hosts and sites: the customer's own, or the provider's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on: Vec<String>,
    /// Whether they also listen on the host's own network (default false: on loopback only).
    #[serde(default)]
    pub lan: bool,
}

impl FrontPlaces {
    /// Whether nothing differs from the defaults.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Another service of the same customer that this one uses, through a front door on its own host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Use {
    /// Its name.
    pub service: String,
    /// Environment variables that get an address of it, with the name of its port: `{ DB = "tcp" }`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
}

/// What the customer would rather have. It chooses among places that meet the SLA and never leads outside it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Criteria {
    /// Whether it moves to where it is cheaper. Left out: when it clearly pays. `true`: as soon as it pays at all. `false`:
    /// never for money alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cheaper: Option<bool>,
    /// Whose computers it rather runs on, the best first (default: all the same).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prefer: Vec<OwnerKind>,
    /// The most that it may cost more there than elsewhere, in percent (default: as much as the SLA allows).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub premium_percent: Option<u32>,
    /// What holds at certain hours. The first that covers a moment decides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub at: Vec<TimedCriterion>,
}

impl Criteria {
    /// Whether nothing is said.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What the customer would rather have at certain hours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TimedCriterion {
    /// When: days, times and a time zone, such as `Mon-Fri 12:00-14:00 Europe/Berlin`.
    pub when: String,
    /// Whose computers it rather runs on then.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prefer: Vec<OwnerKind>,
    /// How many copies shall run then, within `policy.replicas`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<u32>,
    /// Whether no move takes place then that can wait (default false).
    #[serde(default)]
    pub blackout: bool,
}
