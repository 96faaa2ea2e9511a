//! Everything at one glance, consistent as of one instant.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::value::{Money, Time};

/// What a controller is to the others. Any combination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum ControllerRole {
    /// It has computers of its own.
    Provider,
    /// It owns nothing and sells what others have.
    Virtual,
    /// It sells what others have with its own.
    ValueAdded,
    /// Remote sites sell through it to its partners.
    Marketplace,
}

/// The whole system at one instant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The instant.
    #[schema(value_type = String)]
    pub at: Time,
    /// What this controller is to others.
    #[serde(default)]
    pub roles: Vec<ControllerRole>,
    /// Counts committed changes: two answers with the same number are of the same instant.
    pub generation: u64,
    /// Orders by state.
    pub orders: BTreeMap<String, u64>,
    /// Services and task items by operating status.
    pub services: BTreeMap<String, u64>,
    /// Hosts by state.
    pub hosts: BTreeMap<String, u64>,
    /// Hosts by allocation status.
    pub inventory: BTreeMap<String, u64>,
    /// What a person must look at, worst first.
    pub attention: Vec<String>,
    /// Rated usage since the month began.
    pub rated_this_month: Money,
}
