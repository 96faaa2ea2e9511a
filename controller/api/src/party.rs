//! Parties: organisations and persons.

use chandler_protocol::PartyId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a party is to this controller (TMF669).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum PartyRole {
    /// Orders services.
    Customer,
    /// Runs this controller.
    ServiceProvider,
    /// Sells spare capacity of its computers.
    SiteOwner,
    /// Runs another controller: `chandler partner invite` makes one.
    Partner,
    /// Runs this controller and has no computers of its own. Only a setting of the controller gives it.
    VirtualServiceProvider,
    /// Runs this controller and sells others' capacity with its own. Only a setting of the controller gives it.
    ValueAddedServiceProvider,
    /// Runs this controller and lets remote sites sell to its partners. Only a setting of the controller gives it.
    Marketplace,
}

/// Asks for a new party.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PartyCreate {
    /// 1 to 64 of `a-z 0-9 . _ -`, unique.
    pub name: String,
    /// What it is to this controller; at least one.
    pub roles: Vec<PartyRole>,
}

/// An organisation or person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Party {
    /// Its id.
    #[schema(value_type = String)]
    pub id: PartyId,
    /// Its name.
    pub name: String,
    /// What it is to this controller.
    pub roles: Vec<PartyRole>,
}
