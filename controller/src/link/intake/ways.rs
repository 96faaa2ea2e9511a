//! What an agent says of its front doors, its tunnels and the notices it gave. Looked at with suspicion: it speaks for
//! its own doors and its own copies only.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use chandler_engine::draft::Draft;
use chandler_engine::fleet::Host;
use chandler_engine::{assurance, fulfilment, way};
use chandler_protocol::text::{NAME_MAX, TEXT_MAX, clean};
use chandler_protocol::way::{CLASSES, DoorCounters, Histogram, ObservedDoor, ObservedWays, STALLS_MAX, Told};
use chandler_protocol::{AssignmentId, HostId, ServiceId};

use super::Intake;
use crate::link::session::LinkError;

/// What is kept of a report, in the log.
const WHAT: &str = "ways";
/// Doors, hosts and notices in one report.
const REPORTED_MAX: usize = 4_096;
/// Copies that one door may name.
const COPIES_MAX: usize = 64;
/// Ports of one door.
const PORTS_MAX: usize = 32;
/// Addresses of one host that are kept.
const LISTENS_MAX: usize = 4;
/// Addresses of one host that are looked at.
const LISTENS_SEEN: usize = 64;

impl Intake {
    pub(super) async fn ways(&mut self, said: ObservedWays) -> Result<(), LinkError> {
        let longest = said.doors.len().max(said.paths.len()).max(said.told.len());
        if longest > REPORTED_MAX {
            return Err(LinkError::Protocol("too many doors, paths or notices reported"));
        }
        self.reported.ways.store(said.generation, Ordering::Relaxed);
        self.reported.changed.notify_one();
        let said = bounded(said, self.connection.remote_address());
        let named: BTreeSet<_> = said.doors.iter().map(|d| d.service).collect();
        let last = self.doors.replace(named);
        // What was not taken in yet says nothing of what is there.
        let before = last.filter(|_| !self.unkept.contains_key(WHAT));
        let (host, said) = (self.host, Arc::new(said));
        self.kept(WHAT, move |draft| enter(draft, host, &said, before.as_ref())).await;
        Ok(())
    }
}

/// Takes in what a partner says of one of its hosts, in its agent's words. Where the host is reached is not looked at here.
pub(crate) fn enter_ways(draft: &mut Draft<'_>, host: HostId, said: ObservedWays) {
    let longest = said.doors.len().max(said.paths.len()).max(said.told.len());
    if longest <= REPORTED_MAX {
        enter(draft, host, &cleaned(said), None);
    }
}

/// Takes in a report. `before` is what the same connection reported last, if it did.
fn enter(draft: &mut Draft<'_>, host: HostId, said: &ObservedWays, before: Option<&BTreeSet<ServiceId>>) {
    let Some(known) = draft.model.hosts.get(&host).cloned() else { return };
    if known.listens != said.listens {
        draft.put(Host { listens: said.listens.clone(), ..known.as_ref().clone() });
    }
    let mut concerned = BTreeSet::new();
    doors(draft, host, &said.doors, before, &mut concerned);
    paths(draft, host, said);
    if draft.model.tenancies_of(host).next().is_some() {
        draft.model.guest_ways.insert(host, Arc::new(said.clone()));
    }
    for told in &said.told {
        if is_news(draft, host, *told)
            && let Some(assignment) = draft.model.assignments.get(&told.assignment)
        {
            concerned.insert(assignment.service);
            draft.model.told.insert(told.assignment, *told);
        }
    }
    for service in concerned {
        fulfilment::advance(draft, service);
    }
}

fn doors(
    draft: &mut Draft<'_>,
    host: HostId,
    said: &[ObservedDoor],
    before: Option<&BTreeSet<ServiceId>>,
    concerned: &mut BTreeSet<ServiceId>,
) {
    let kept = way::services_at(&draft.model, host);
    let old: Vec<_> = match before {
        Some(before) => before.iter().copied().collect(),
        None => draft.model.doors.keys().filter(|(_, h)| *h == host).map(|(s, _)| *s).collect(),
    };
    for door in said.iter().filter(|d| kept.contains(&d.service)) {
        let key = (door.service, host);
        let last = draft.model.doors.get(&key);
        let is_on_the_move = draft.model.moves_of(door.service).next().is_some();
        if is_on_the_move || last.is_none_or(|last| stands(last) != stands(door)) {
            concerned.insert(door.service);
        }
        assurance::seen_door(draft, host, door);
        draft.model.doors.insert(key, Arc::new(door.clone()));
    }
    for service in old {
        let is_there = kept.contains(&service) && said.iter().any(|d| d.service == service);
        if !is_there && draft.model.doors.remove(&(service, host)).is_some() {
            concerned.insert(service);
        }
    }
}

/// What of a door others may wait for: everything but its counters.
fn stands(door: &ObservedDoor) -> ObservedDoor {
    ObservedDoor { counters: DoorCounters::default(), ..door.clone() }
}

/// How this host reaches others now; what it does not name any more is forgotten.
fn paths(draft: &mut Draft<'_>, host: HostId, said: &ObservedWays) {
    let first = (host, HostId::from_random([0; 10]));
    let old: Vec<_> = draft.model.paths.range(first..).take_while(|((h, _), _)| *h == host).map(|(k, _)| *k).collect();
    for key in old {
        draft.model.paths.remove(&key);
    }
    for path in &said.paths {
        if path.peer != host && draft.model.hosts.contains_key(&path.peer) {
            draft.model.paths.insert((host, path.peer), *path);
        }
    }
}

/// Whether a notice is about a copy on this host, and of no older attempt than is known.
fn is_news(draft: &Draft<'_>, host: HostId, told: Told) -> bool {
    let is_here = draft.model.assignments.get(&told.assignment).is_some_and(|a| a.host == host);
    let last = draft.model.told.get(&told.assignment);
    is_here && last.is_none_or(|last| *last != told && last.attempt <= told.attempt)
}

/// A report with every text cleaned, every list bounded and every address looked at.
fn bounded(mut said: ObservedWays, remote: SocketAddr) -> ObservedWays {
    said.listens = listens(&said.listens, remote);
    cleaned(said)
}

fn cleaned(mut said: ObservedWays) -> ObservedWays {
    for door in &mut said.doors {
        door.message = clean(&door.message, TEXT_MAX);
        door.addresses.truncate(PORTS_MAX);
        for (name, _) in &mut door.addresses {
            *name = clean(name, NAME_MAX);
        }
        counts(&mut door.under_way);
        counts(&mut door.long_lived);
        let counters = &mut door.counters;
        histogram(&mut counters.connect);
        histogram(&mut counters.first_byte);
        let old = counters.stalls.len().saturating_sub(STALLS_MAX);
        counters.stalls.drain(..old);
    }
    said
}

fn counts(list: &mut Vec<(AssignmentId, u32)>) {
    list.truncate(COPIES_MAX);
    list.retain(|(_, n)| *n > 0);
    list.sort_unstable();
    list.dedup_by_key(|(id, _)| *id);
}

/// Classes that there are, in order, each once.
fn histogram(histogram: &mut Histogram) {
    histogram.counts.truncate(usize::from(CLASSES));
    histogram.counts.retain(|(class, n)| *class < CLASSES && *n > 0);
    histogram.counts.sort_unstable();
    histogram.counts.dedup_by_key(|(class, _)| *class);
}

/// Where a host may be reached: first the address that it is seen under, then those it names. Never an address that
/// means many hosts, and this machine's own only for a host that is on this machine.
fn listens(said: &[SocketAddr], remote: SocketAddr) -> Vec<SocketAddr> {
    let remote = remote.ip().to_canonical();
    let mut list = Vec::new();
    let mut add = |address: SocketAddr| {
        if list.len() < LISTENS_MAX && !list.contains(&address) {
            list.push(address);
        }
    };
    let sound = |address: &&SocketAddr| {
        let ip = address.ip().to_canonical();
        let is_for_many = match ip {
            IpAddr::V4(v4) => v4.is_multicast() || v4.is_broadcast(),
            IpAddr::V6(v6) => v6.is_multicast() || v6.is_unicast_link_local(),
        };
        address.port() != 0 && !is_for_many
    };
    let sound: Vec<_> = said.iter().take(LISTENS_SEEN).filter(sound).collect();
    if let Some(first) = sound.first() {
        add(SocketAddr::new(remote, first.port()));
    }
    for address in sound {
        let ip = address.ip().to_canonical();
        match ip {
            ip if ip.is_unspecified() => add(SocketAddr::new(remote, address.port())),
            ip if ip.is_loopback() && !remote.is_loopback() => {}
            ip => add(SocketAddr::new(ip, address.port())),
        }
    }
    list
}

#[cfg(test)]
mod tests;
