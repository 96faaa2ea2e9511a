//! Ways: which front doors each host keeps, whom it may talk to for them, and which workloads are told of their move.
//! Pure functions of the model; an agent is told whenever the answer changes.

mod notices;
mod reach;
#[cfg(test)]
mod stories;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use chandler_protocol::state::Target;
use chandler_protocol::way::{Backend, Door, DoorLimits, DoorPort, Grant, Hold, Permit, Route, Ways};
use chandler_protocol::{HostId, ServiceId};

use crate::fleet::{Host, HostState};
use crate::model::Model;
use crate::service::{AllocationState, Assignment, Service, ServiceState};

pub use notices::notices;
pub use reach::{door_hosts, hosts_concerned, services_at};

/// Most doors of one host.
pub const DOORS_MAX: usize = 1_024;
/// Most hosts that one host may talk to.
pub const GRANTS_MAX: usize = 4_096;

/// Everything that a host shall know about ways, without a generation.
pub fn ways(model: &Model, host: HostId) -> Ways {
    Ways { generation: 0, doors: doors(model, host), grants: grants(model, host), notices: notices(model, host) }
}

/// The front doors that a host keeps, in order of service.
pub fn doors(model: &Model, host: HostId) -> Vec<Door> {
    let Some(known) = model.hosts.get(&host).filter(|h| h.state != HostState::Revoked) else { return Vec::new() };
    let services = reach::services_at(model, host);
    services.iter().take(DOORS_MAX).filter_map(|id| Some(door(model, known, model.services.get(id)?))).collect()
}

fn door(model: &Model, host: &Host, service: &Service) -> Door {
    let front = &service.policy.front;
    let lan = front.lan.then(|| lan_address(host)).flatten();
    let number = |name: &str| front.numbers.iter().find(|(port, _)| port == name).map(|(_, number)| *number);
    let port = |p: &chandler_protocol::workload::Port| DoorPort {
        name: p.name.clone(),
        mode: p.mode,
        number: number(&p.name),
        lan,
    };
    let limit = service.policy.mobility.hold_max;
    let hold = service.route.hold.map(|(on, attempt)| Hold { r#move: on, attempt, limit });
    let backend = |a: &Assignment| Backend { assignment: a.id, epoch: a.epoch, host: a.host };
    let backends = service.route.backends.iter().filter_map(|id| model.assignments.get(id)).map(|a| backend(a));
    Door {
        service: service.id,
        name: service.name.clone(),
        ports: service.spec.ports.iter().map(port).collect(),
        route: Route { sequence: service.route.sequence, hold, backends: backends.collect() },
        limits: DoorLimits { wait: limit, ..DoorLimits::default() },
    }
}

/// An address of the host on its own network: the first that its agent is reached at and that is no loopback.
fn lan_address(host: &Host) -> Option<IpAddr> {
    host.listens.iter().map(|a| a.ip()).find(|ip| !ip.is_loopback() && !ip.is_unspecified())
}

/// Whom a host may talk to, and what each of them may ask of it; in order of host.
///
/// A door's host and the hosts of its service's copies may talk to each other, and so may the two sides of a move that
/// carries state. Nobody else.
pub fn grants(model: &Model, host: HostId) -> Vec<Grant> {
    let mut peers: BTreeMap<HostId, BTreeSet<Permit>> = BTreeMap::new();
    if model.hosts.get(&host).is_none_or(|h| h.state == HostState::Revoked) {
        return Vec::new();
    }
    // What this host's doors reach.
    for service in reach::services_at(model, host) {
        for copy in model.assignments_of(service).filter(|a| serves(a)) {
            peers.entry(copy.host).or_default();
        }
    }
    // Who reaches the copies here.
    for copy in model.assignments_of_host(host) {
        if serves(copy) {
            for door in door_hosts(model, copy.service) {
                peers.entry(door).or_default().insert(Permit::Port(copy.id));
            }
        }
        transfers(model, copy, &mut peers);
    }
    peers.remove(&host);
    peers.into_iter().take(GRANTS_MAX).filter_map(|(peer, permits)| grant(model, peer, permits)).collect()
}

/// Whether doors may reach this copy now or soon: the tunnel to one that is being prepared stands before it is needed.
fn serves(a: &Assignment) -> bool {
    a.state != AllocationState::Releasing && a.target != Target::Wiped
}

/// Between the two sides of a move that carries state: the new one reads, the old one lets it.
fn transfers(model: &Model, copy: &Assignment, peers: &mut BTreeMap<HostId, BTreeSet<Permit>>) {
    for on in model.moves_of(copy.service) {
        let new = on.to.and_then(|id| model.assignments.get(&id));
        let Some((new, Target::Receive(order))) = new.map(|a| (a, a.target)) else { continue };
        if new.id == copy.id {
            peers.entry(order.host).or_default();
        } else if order.source == copy.id {
            let permit = Permit::State { assignment: copy.id, attempt: order.attempt };
            peers.entry(new.host).or_default().insert(permit);
        }
    }
}

fn grant(model: &Model, peer: HostId, permits: BTreeSet<Permit>) -> Option<Grant> {
    let host = model.hosts.get(&peer).filter(|h| h.state != HostState::Revoked)?;
    Some(Grant {
        peer,
        key: host.key_fingerprint,
        addresses: host.listens.clone(),
        relay: true,
        permits: permits.into_iter().collect(),
    })
}

/// Whether a service has front doors at all.
fn has_doors(service: &Service) -> bool {
    let goes_on = !matches!(service.state, ServiceState::Terminating | ServiceState::Terminated);
    goes_on && !service.is_task() && !service.spec.ports.is_empty()
}

/// The services of `ids` that have front doors.
fn with_doors<'m>(
    model: &'m Model,
    ids: impl Iterator<Item = ServiceId> + 'm,
) -> impl Iterator<Item = &'m Service> + 'm {
    ids.filter_map(|id| model.services.get(&id)).map(AsRef::as_ref).filter(|s| has_doors(s))
}
