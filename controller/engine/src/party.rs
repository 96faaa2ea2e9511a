//! Parties: organisations and persons.

use chandler_protocol::PartyId;
use serde::{Deserialize, Serialize};

/// What a party is to this controller (TMF669).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum PartyRole {
    /// Orders services.
    Customer,
    /// Runs this controller.
    ServiceProvider,
    /// Sells spare capacity of its computers.
    SiteOwner,
    /// Runs another controller: buys capacity here, sells some, or both.
    Partner,
}

/// An organisation or person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Party {
    /// Its id.
    pub id: PartyId,
    /// Its unique name.
    pub name: String,
    /// What it is to this controller.
    pub roles: Vec<PartyRole>,
}
