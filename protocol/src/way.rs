//! Ways: the front doors that an agent keeps, the hosts it may talk to for them, and what became of both.
//!
//! Level-triggered like the desired state: each message is whole and carries a generation; one that is lost or repeated
//! changes nothing. Counters count since the door was opened, so that a lost report loses nothing either.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::id::ID_BYTES;
use crate::workload::{PortMode, Probe};
use crate::{AssignmentId, Bytes, HostId, Micros, MoveId, ServiceId};

/// Everything an agent shall know about ways. Replaces what was said before when `generation` is higher.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ways {
    /// Grows with every change for this agent.
    pub generation: u64,
    /// The front doors it keeps, in order of service. One that is not named any more is closed.
    pub doors: Vec<Door>,
    /// Whom it may talk to, in order of host. A connection to a host that is not named any more is closed.
    pub grants: Vec<Grant>,
    /// Workloads that are to be told of their move, in order of assignment.
    pub notices: Vec<Notice>,
}

/// One stable local address of a service, for each of its ports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Door {
    /// Whose.
    pub service: ServiceId,
    /// The service's name, for people.
    pub name: String,
    /// In the order of the workload's ports.
    pub ports: Vec<DoorPort>,
    /// Where requests go now.
    pub route: Route,
    /// What may wait here.
    pub limits: DoorLimits,
}

/// One port of a door.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoorPort {
    /// The workload's name for it.
    pub name: String,
    /// What is spoken on it.
    pub mode: PortMode,
    /// The number it has here. Absent: the agent chooses one and keeps it.
    pub number: Option<u16>,
    /// An address beside loopback that it also listens on, for others on the same network.
    pub lan: Option<IpAddr>,
}

/// Where a door's requests go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Grows with every change; a door never goes back.
    pub sequence: u64,
    /// Requests wait instead of going anywhere.
    pub hold: Option<Hold>,
    /// The copies that serve, in order of assignment. None: requests wait as in a hold, then fail.
    pub backends: Vec<Backend>,
}

/// Requests wait while a copy hands over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// For which move.
    pub r#move: MoveId,
    /// Which attempt of it.
    pub attempt: u64,
    /// The longest a request waits, from when the door hears of the hold. Requests then go to the copies of the
    /// route; those refuse what they may not serve any more.
    pub limit: Micros,
}

/// A copy that serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Backend {
    /// The copy.
    pub assignment: AssignmentId,
    /// Its epoch.
    pub epoch: u64,
    /// Where it is; may be the door's own host.
    pub host: HostId,
}

/// What may wait at a door. Beyond it the door reads no more: the senders feel it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoorLimits {
    /// The longest a request waits where no hold says another time.
    pub wait: Micros,
    /// Requests and new connections.
    pub requests: u32,
    /// Bytes of them.
    pub bytes: Bytes,
}

impl Default for DoorLimits {
    fn default() -> Self {
        Self { wait: Micros::from_secs(2), requests: 4_096, bytes: Bytes(64 << 20) }
    }
}

/// One host that this agent may talk to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Which.
    pub peer: HostId,
    /// SHA-256 of the public key (SubjectPublicKeyInfo, DER) that it proves to have.
    pub key: [u8; 32],
    /// Where it may be reached, best first. Empty while it is not known: a connection that stands is kept.
    pub addresses: Vec<SocketAddr>,
    /// Whether the controller relays where no address works.
    pub relay: bool,
    /// What the peer may ask of this agent.
    pub permits: Vec<Permit>,
}

/// Something that a peer may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Permit {
    /// Connections to any port of this copy.
    Port(AssignmentId),
    /// The state of this copy, for this attempt to hand it over.
    State {
        /// The copy.
        assignment: AssignmentId,
        /// The attempt.
        attempt: u64,
    },
}

/// A workload that asked to be told before it is moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// The copy.
    pub assignment: AssignmentId,
    /// For which move.
    pub r#move: MoveId,
    /// Which attempt of it: told once for each.
    pub attempt: u64,
    /// How it is told: a success says that it is at a good point now. `CHANDLER_MOVE_IN` (a program) or the query
    /// `?in=` (HTTP) gives the seconds it has.
    pub tell: Probe,
    /// How long it may take.
    pub within: Micros,
}

/// What became of the ways. Whole.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedWays {
    /// The generation of the ways that the agent acts on.
    pub generation: u64,
    /// Where it accepts tunnels: addresses of its own networks. Looked at with suspicion.
    pub listens: Vec<SocketAddr>,
    /// In order of service.
    pub doors: Vec<ObservedDoor>,
    /// Hosts that were talked to lately, in order of id.
    pub paths: Vec<ObservedPath>,
    /// Workloads that were told, in order of assignment.
    pub told: Vec<Told>,
}

/// How a door does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedDoor {
    /// Whose.
    pub service: ServiceId,
    /// The route it acts on.
    pub sequence: u64,
    /// Whether requests wait.
    pub holding: bool,
    /// Requests and connections that wait now.
    pub waiting: u32,
    /// Requests and connections that are under way, by copy, in order of id; also to copies that are in the route no more.
    pub under_way: Vec<(AssignmentId, u32)>,
    /// Of these, those that end only when a side closes them: tcp connections, WebSockets, streams.
    pub long_lived: Vec<(AssignmentId, u32)>,
    /// Where it listens, by name of port.
    pub addresses: Vec<(String, SocketAddr)>,
    /// What a person should know, for instance that a port is taken.
    pub message: String,
    /// Drawn when the door was opened: with another value the counters begin anew.
    pub opened: u64,
    /// What it counted since then.
    pub counters: DoorCounters,
}

/// What a door counted since it was opened.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoorCounters {
    /// HTTP requests and tcp connections that were taken in.
    pub requests: u64,
    /// Of these, how many got no answer of the service: no copy could be reached, or it went away in the middle.
    pub failed: u64,
    /// HTTP answers of the service with a status of 500 or above. They are passed on.
    pub errors: u64,
    /// How many waited for a hold or for a copy.
    pub held: u64,
    /// Of these, how many waited longer than allowed, and failed.
    pub held_too_long: u64,
    /// How many were sent again, safely.
    pub retried: u64,
    /// Long-lived connections that were ended because their copy moved.
    pub cut: u64,
    /// How long it took to reach the copy.
    pub connect: Histogram,
    /// How long from the whole request until the first byte of the answer, waiting included.
    pub first_byte: Histogram,
    /// The longest wait of a request for a hold, of each of the last holds, newest last; at most [`STALLS_MAX`].
    pub stalls: Vec<Stall>,
}

/// How many holds a door remembers.
pub const STALLS_MAX: usize = 16;

/// What one move did to those at one door; or what an outage did, in which no copy could be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stall {
    /// The move; of an outage [`Stall::outage`].
    pub r#move: MoveId,
    /// Requests that waited.
    pub held: u64,
    /// The longest wait.
    pub longest: Micros,
    /// Requests that failed while it held.
    pub failed: u64,
    /// Connections that it cut.
    pub cut: u64,
}

impl Stall {
    /// What stands for the move where none held anybody: requests waited for a copy that could be reached, until the route
    /// of this sequence. Ids of moves are drawn at random: none looks like this.
    pub fn outage(until: u64) -> MoveId {
        let mut id = [0; ID_BYTES];
        id[2..].copy_from_slice(&until.to_be_bytes());
        MoveId::from_random(id)
    }
}

/// Times in classes: class `n` holds times from [`Histogram::floor`]`(n)` up to that of `n + 1`. Four classes an octave:
/// a quantile is at most 19 % off.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Histogram {
    /// (class, count) for each class that has any, in order of class.
    pub counts: Vec<(u8, u64)>,
}

/// The first class begins here.
const FIRST: f64 = 16.0;
/// Classes: up to about 1,100 seconds.
pub const CLASSES: u8 = 104;

impl Histogram {
    /// Where a class begins.
    pub fn floor(class: u8) -> Micros {
        let micros = if class == 0 { 0.0 } else { FIRST * 2_f64.powf(f64::from(class) / 4.0) };
        #[expect(clippy::cast_possible_truncation, reason = "at most 2^31")]
        Micros(micros as i64)
    }

    /// The class of a time.
    pub fn class(time: Micros) -> u8 {
        (1..CLASSES).take_while(|n| Self::floor(*n) <= time).last().unwrap_or(0)
    }

    /// Counts one time.
    pub fn record(&mut self, time: Micros) {
        let class = Self::class(time);
        match self.counts.binary_search_by_key(&class, |(c, _)| *c) {
            Ok(at) => self.counts[at].1 = self.counts[at].1.saturating_add(1),
            Err(at) => self.counts.insert(at, (class, 1)),
        }
    }

    /// How many times were counted.
    pub fn total(&self) -> u64 {
        self.counts.iter().fold(0, |sum, (_, n)| sum.saturating_add(*n))
    }

    /// The upper end of the class that holds the given share (parts per million) of all times; `None` when there are none.
    pub fn quantile(&self, ppm: u32) -> Option<Micros> {
        let total = u128::from(self.total());
        let rank = (total * u128::from(ppm)).div_ceil(1_000_000).max(1);
        let mut seen = 0_u128;
        for (class, n) in &self.counts {
            seen += u128::from(*n);
            if seen >= rank {
                return Some(Self::floor(class.saturating_add(1)));
            }
        }
        None
    }

    /// What was counted since `before`; what was counted less often than before has begun anew and counts whole.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let old = |class: u8| before.counts.iter().find(|(c, _)| *c == class).map_or(0, |(_, n)| *n);
        let counts = self.counts.iter().map(|(c, n)| (*c, n.checked_sub(old(*c)).unwrap_or(*n)));
        Self { counts: counts.filter(|(_, n)| *n > 0).collect() }
    }

    /// Both together.
    pub fn add(&mut self, other: &Self) {
        for (class, n) in &other.counts {
            match self.counts.binary_search_by_key(class, |(c, _)| *c) {
                Ok(at) => self.counts[at].1 = self.counts[at].1.saturating_add(*n),
                Err(at) => self.counts.insert(at, (*class, *n)),
            }
        }
    }
}

/// How another host is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedPath {
    /// Which.
    pub peer: HostId,
    /// How.
    pub path: Path,
    /// Smoothed round-trip time, where it is reached.
    pub rtt: Option<Micros>,
}

/// How a host is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Path {
    /// Straight.
    Direct,
    /// Through the controller's relay.
    Relayed,
    /// Not.
    None,
}

/// A workload was told of its move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// Which copy.
    pub assignment: AssignmentId,
    /// The attempt.
    pub attempt: u64,
    /// Whether it said that it is at a good point; otherwise it failed or took too long.
    pub ready: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_at_most_a_fifth_off() {
        for micros in [0, 15, 20, 100, 1_234, 60_000, 2_000_000, 900_000_000] {
            let mut histogram = Histogram::default();
            histogram.record(Micros(micros));
            let found = histogram.quantile(950_000).unwrap().0;
            assert!(found >= micros && found <= micros * 12 / 10 + 20, "{micros} was found as {found}");
        }
    }

    #[test]
    fn what_is_new_is_the_difference_and_adds_up_again() {
        let mut before = Histogram::default();
        for t in [1, 100, 100, 5_000] {
            before.record(Micros(t));
        }
        let mut after = before.clone();
        for t in [100, 9_000_000] {
            after.record(Micros(t));
        }
        let new = after.since(&before);
        assert_eq!(new.total(), 2);
        before.add(&new);
        assert_eq!(before, after);
    }
}
