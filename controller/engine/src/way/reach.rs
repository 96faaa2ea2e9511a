//! Reach: which services have a door at which hosts.

use std::collections::BTreeSet;

use chandler_protocol::{HostId, ServiceId};

use super::{has_doors, serves, with_doors};
use crate::fleet::{Host, HostState};
use crate::model::Model;
use crate::service::{AllocationState, Service};
use crate::site::SiteRole;

/// The services that have a door at a host: those of the customer whose computer it is, those that ask for one there,
/// and those that software on this host uses.
pub fn services_at(model: &Model, host: HostId) -> BTreeSet<ServiceId> {
    let Some(known) = model.hosts.get(&host) else { return BTreeSet::new() };
    let mut found = BTreeSet::new();
    let site = model.sites.get(&known.site);
    if let Some(site) = site.filter(|s| s.role == SiteRole::Customer) {
        let first = (site.owner, String::new());
        let own = model.by_name.range(first..).take_while(|((customer, _), _)| *customer == site.owner);
        found.extend(with_doors(model, own.map(|(_, id)| *id)).map(|s| s.id));
    }
    let asks = with_doors(model, model.fronted.iter().copied());
    found.extend(asks.filter(|s| is_asked(model, s, known)).map(|s| s.id));
    for copy in model.assignments_of_host(host).filter(|a| a.state != AllocationState::Releasing) {
        let Some(user) = model.services.get(&copy.service) else { continue };
        let used = user.policy.uses.iter().filter_map(|u| model.by_name.get(&(user.customer, u.service.clone())));
        found.extend(with_doors(model, used.copied()).map(|s| s.id));
    }
    found
}

/// Whether a service asks for a door at this host, by its name or its site's. Another customer's computers take none.
fn is_asked(model: &Model, service: &Service, host: &Host) -> bool {
    let Some(site) = model.sites.get(&host.site) else { return false };
    let foreign = site.role == SiteRole::Customer && site.owner != service.customer;
    !foreign && service.policy.front.on.iter().any(|name| *name == host.name || *name == site.name)
}

/// The hosts at which a service has a door, in order of id. Inverse of [`services_at`].
pub fn door_hosts(model: &Model, service: ServiceId) -> BTreeSet<HostId> {
    let Some(known) = model.services.get(&service).filter(|s| has_doors(s)) else { return BTreeSet::new() };
    let mut found = BTreeSet::new();
    for site in model.sites_of(known.customer).filter(|s| s.role == SiteRole::Customer) {
        found.extend(model.hosts_of(site.id).map(|h| h.id));
    }
    for name in &known.policy.front.on {
        let of_site = model.site_named(name).map(|s| s.id);
        let named = model.host_named(name).into_iter().chain(of_site.into_iter().flat_map(|s| model.hosts_of(s)));
        found.extend(named.filter(|h| is_asked(model, known, h)).map(|h| h.id));
    }
    // A task's item may use a service as well; its name in the index is that of its order.
    let users = model.using.get(&known.customer).into_iter().flatten().filter_map(|id| model.services.get(id));
    for user in users.filter(|u| u.policy.uses.iter().any(|n| n.service == known.name)) {
        let copies = model.assignments_of(user.id).filter(|a| a.state != AllocationState::Releasing);
        found.extend(copies.map(|a| a.host));
    }
    found.retain(|id| model.hosts.get(id).is_some_and(|h| h.state != HostState::Revoked));
    found
}

/// The hosts whose ways may be others when this service, a copy of it, or a move of it changes: those with a door of it,
/// those with a copy of it, and those with doors of what it uses.
pub fn hosts_concerned(model: &Model, service: ServiceId) -> BTreeSet<HostId> {
    let mut found = door_hosts(model, service);
    found.extend(model.assignments_of(service).map(|a| a.host));
    let Some(known) = model.services.get(&service) else { return found };
    for used in &known.policy.uses {
        let Some(id) = model.by_name.get(&(known.customer, used.service.clone())) else { continue };
        found.extend(model.assignments_of(*id).filter(|a| serves(a)).map(|a| a.host));
    }
    found
}
