//! Events: every change of state, append-only.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::value::Time;

/// Which events are wanted, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EventQuery {
    /// Only events with a higher id (default 0).
    #[serde(default)]
    pub after: u64,
    /// Most events wanted, 1 to 500 (default 100).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Only events about this thing (an id).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
}

/// One change of state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// Counts events, without gaps.
    pub id: u64,
    /// When.
    #[schema(value_type = String)]
    pub at: Time,
    /// Who: a token's id, an agent's id, or the name of the controller's task.
    pub by: String,
    /// The kind of thing: `order`, `service`, `host`, ...
    pub noun: String,
    /// Which one.
    pub subject: String,
    /// The name of the thing, where it has one.
    pub name: String,
    /// The state before; empty for a new thing.
    pub from: String,
    /// The state after.
    pub to: String,
    /// Why.
    pub reason: String,
}
