//! Secrets that are handed out: API tokens and join strings. Each is shown once.

use chandler_protocol::TokenId;
use chandler_protocol::unit::Micros;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::value::{Span, Time};

/// What the holder of a token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum Role {
    /// Everything.
    Operator,
    /// What belongs to one customer.
    Customer,
    /// What belongs to one owner of sites.
    SiteOwner,
}

/// Asks for a new API token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TokenCreate {
    /// What its holder may do.
    pub role: Role,
    /// Name or id of the party it acts for; required unless the role is operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub party: Option<String>,
}

/// A new API token.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TokenCreated {
    /// Its name, to revoke it by.
    #[schema(value_type = String)]
    pub id: TokenId,
    /// The secret. Shown only here.
    pub secret: String,
}

impl std::fmt::Debug for TokenCreated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenCreated").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Asks for a join string.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JoinTokenCreate {
    /// Name or id of the site that the joining computers belong to.
    pub site: String,
    /// How many computers may join with it (default 1).
    #[serde(default = "one")]
    pub uses: u32,
    /// How long it is good for (default 1 h, at most 30 d).
    #[serde(default = "an_hour")]
    #[schema(value_type = String, example = "1 h")]
    pub expires: Span,
}

const fn one() -> u32 {
    1
}

const fn an_hour() -> Span {
    Span(Micros::from_secs(3_600))
}

/// A new join string.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct JoinTokenCreated {
    /// What `chandler-agent run --join` takes. Shown only here.
    pub join: String,
    /// When it ends.
    #[schema(value_type = String)]
    pub expires_at: Time,
    /// How many computers may join with it.
    pub uses: u32,
    /// The site they will belong to.
    pub site: String,
}

impl std::fmt::Debug for JoinTokenCreated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JoinTokenCreated").field("site", &self.site).finish_non_exhaustive()
    }
}
