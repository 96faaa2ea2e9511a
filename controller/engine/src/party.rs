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
    /// Runs this controller and has no computers of its own.
    VirtualServiceProvider,
    /// Runs this controller and sells others' capacity with its own.
    ValueAddedServiceProvider,
    /// Runs this controller and lets remote sites sell to its partners.
    Marketplace,
}

impl PartyRole {
    /// What the party that runs this controller may be, in any combination.
    pub const OWN: [Self; 4] =
        [Self::ServiceProvider, Self::VirtualServiceProvider, Self::ValueAddedServiceProvider, Self::Marketplace];

    /// As it stands in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::ServiceProvider => "serviceProvider",
            Self::SiteOwner => "siteOwner",
            Self::Partner => "partner",
            Self::VirtualServiceProvider => "virtualServiceProvider",
            Self::ValueAddedServiceProvider => "valueAddedServiceProvider",
            Self::Marketplace => "marketplace",
        }
    }

    /// Whether a party of this role runs this controller.
    pub fn is_own(self) -> bool {
        Self::OWN.contains(&self)
    }
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

/// Name of the party that runs this controller.
pub const PROVIDER: &str = "provider";

impl Party {
    /// Whether it runs this controller.
    pub fn is_provider(&self) -> bool {
        self.roles.iter().any(|r| r.is_own())
    }

    /// Whether it may have computers of its own.
    pub fn has_machines(&self) -> bool {
        let with = [PartyRole::ServiceProvider, PartyRole::ValueAddedServiceProvider];
        self.roles.iter().any(|r| with.contains(r))
    }

    /// Whether remote sites may sell to this controller's partners.
    pub fn is_marketplace(&self) -> bool {
        self.roles.contains(&PartyRole::Marketplace)
    }

    /// The same, running this controller in these roles. What else it is stays.
    #[must_use]
    pub fn acting_as(&self, own: &[PartyRole]) -> Self {
        let mut roles: Vec<_> = self.roles.iter().copied().filter(|r| !r.is_own()).collect();
        roles.extend(own.iter().filter(|r| r.is_own()));
        roles.sort_unstable();
        roles.dedup();
        Self { roles, ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_controller_acts_in_the_roles_that_it_was_given() {
        let party = Party {
            id: PartyId::from_random([1; 10]),
            name: PROVIDER.to_owned(),
            roles: vec![PartyRole::ServiceProvider, PartyRole::Customer],
        };
        let virtually = party.acting_as(&[PartyRole::VirtualServiceProvider, PartyRole::Partner]);
        assert_eq!(virtually.roles, [PartyRole::Customer, PartyRole::VirtualServiceProvider]);
        assert!(virtually.is_provider() && !virtually.has_machines() && !virtually.is_marketplace());
        let both = virtually.acting_as(&[PartyRole::Marketplace, PartyRole::ValueAddedServiceProvider]);
        assert!(both.has_machines() && both.is_marketplace());
        assert!(!party.acting_as(&[]).is_provider());
    }
}
