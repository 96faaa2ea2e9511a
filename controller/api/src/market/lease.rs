//! Leases: capacity of one machine that was sold to or bought from a partner, for one assignment of the buyer.

use chandler_protocol::{AssignmentId, HostId, ServiceId};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::host::Capacity;
use crate::site::Rates;
use crate::value::{Span, Time};

/// On which side of a lease this controller is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum LeaseSide {
    /// The machine is at home here: it is paid.
    Sold,
    /// It runs something at a partner's and pays.
    Bought,
}

/// How a lease is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum LeaseState {
    /// The capacity is held for a while; nothing is told to run yet.
    Reserved,
    /// It is used.
    Active,
    /// It is used until it is taken back; the buyer was told when.
    Reclaiming,
    /// It is over.
    Closed,
}

/// Who ended a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum ClosedBy {
    /// Who pays for it.
    Buyer,
    /// Whose controller is the machine's home.
    Seller,
    /// Whose machine it is.
    Owner,
    /// Nobody touched it for too long.
    Time,
}

/// How a lease ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LeaseClosed {
    /// When.
    #[schema(value_type = String)]
    pub at: Time,
    /// Who ended it.
    pub by: ClosedBy,
    /// Why, in one sentence.
    pub reason: String,
}

/// Capacity of one machine, sold or bought.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Lease {
    /// Its id: that of the buyer's assignment, of the demand and of the record of its clearing.
    #[schema(value_type = String)]
    pub id: AssignmentId,
    /// On which side this controller is.
    pub side: LeaseSide,
    /// Name of the other side.
    pub partner: String,
    /// Name of the machine.
    pub host: String,
    /// Its id, the same on both sides.
    #[schema(value_type = String)]
    pub host_id: HostId,
    /// Name of its site.
    pub site: String,
    /// What runs there, in the buyer's words.
    pub label: String,
    /// Its service, in the buyer's words.
    #[schema(value_type = String)]
    pub service: ServiceId,
    /// How much.
    pub capacity: Capacity,
    /// What is paid, fixed when it was made.
    pub rates: Rates,
    /// How it is.
    pub state: LeaseState,
    /// Since when.
    #[schema(value_type = String)]
    pub since: Time,
    /// When it was made.
    #[schema(value_type = String)]
    pub made_at: Time,
    /// When its state ends by itself: a reservation that is not used, a machine that is taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub ends_at: Option<Time>,
    /// Why it is as it is.
    pub reason: String,
    /// How it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed: Option<LeaseClosed>,
    /// How long was metered.
    #[schema(value_type = String)]
    pub metered: Span,
}

/// Which leases are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct LeaseQuery {
    /// Only `sold` or only `bought` ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<String>)]
    pub side: Option<LeaseSide>,
    /// `open`, or a state such as `reclaiming` (default: all).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Only those with this partner (name or id).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partner: Option<String>,
    /// Most items wanted, 1 to 500 (default 100).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// The `nextPageToken` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page_token: Option<String>,
}
