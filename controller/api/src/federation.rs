//! What controllers say to each other under `/federation/v1`.

use serde::{Deserialize, Serialize};

use crate::partner::Scope;
use crate::value::Time;

/// Where every call of partners begins.
pub const BASE: &str = "/federation/v1";

/// Shows an invitation's secret, and says who shows it. The caller's client certificate proves that the bundle is its own.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Accept {
    /// The secret, in hexadecimal.
    pub secret: String,
    /// The caller's CA certificates (PEM).
    pub bundle: String,
    /// `HOST:PORT` of the caller's federation listener, if it listens.
    #[serde(default)]
    pub address: Option<String>,
}

impl std::fmt::Debug for Accept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Accept").field("address", &self.address).finish_non_exhaustive()
    }
}

/// The invitation is accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Accepted {
    /// The CA certificates (PEM) of who invited.
    pub bundle: String,
    /// What the caller may do there.
    pub may: Vec<Scope>,
}

/// How a controller sees the partner who asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Standing {
    /// What the caller is called there.
    pub name: String,
    /// What the caller may do there.
    pub may: Vec<Scope>,
    /// The clock there.
    pub now: Time,
}
