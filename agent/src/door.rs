//! Front doors: one stable local address for each service, whatever becomes of its copies.
//!
//! [`Doors::update`] says what doors there shall be and where their requests go; [`Doors::observed`] says how they do.
//! A request that is taken in waits at its door's gate while a copy hands over, and goes on to where the service is then.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use chandler_protocol::ServiceId;
use chandler_protocol::text::{TEXT_MAX, clean, is_name};
use chandler_protocol::way::{Door, ObservedDoor};
use chandler_protocol::world::{Clock, Random};
use tokio::sync::Notify;

use crate::disk::Disk;
use crate::sync::lock;

mod allowance;
mod balance;
mod front;
mod gate;
mod http;
mod listen;
mod numbers;
mod opener;
mod relay;
mod room;
mod tally;
mod tcp;
mod websocket;

pub use front::{Caller, Front, Fronts, Line, RealFronts, Untold};
pub use opener::{BoxedIo, Io, OpenError, Opener};

use gate::Gate;
use listen::{Listening, Needs};
use numbers::Numbers;
use room::Room;

/// Most doors of one agent, and most ports of one door. More are not opened.
const DOORS_MAX: usize = 1_024;
const PORTS_MAX: usize = 64;

/// What doors take from outside.
#[derive(Clone)]
pub struct Parts {
    /// Reaches copies.
    pub opener: Arc<dyn Opener>,
    /// Listens.
    pub fronts: Arc<dyn Fronts>,
    /// Keeps the numbers of ports that were chosen here.
    pub disk: Arc<dyn Disk>,
    /// The boot clock.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub random: Arc<dyn Random>,
    /// Told about what is worth reporting at once: a route was taken, a hold began or ended, the last request under
    /// way to a copy that hands over came to its end, an address changed.
    pub told: Arc<Notify>,
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts").finish_non_exhaustive()
    }
}

/// All front doors of this agent. Dropped, they close.
pub struct Doors {
    parts: Parts,
    numbers: Arc<Numbers>,
    room: Arc<Room>,
    open: Mutex<BTreeMap<ServiceId, Open>>,
}

/// One door.
struct Open {
    gate: Arc<Gate>,
    ports: Vec<Listening>,
    opened: u64,
}

impl fmt::Debug for Doors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Doors").field("open", &lock(&self.open).len()).finish_non_exhaustive()
    }
}

impl Doors {
    /// No door yet.
    pub fn new(parts: Parts) -> Self {
        let numbers = Arc::new(Numbers::load(parts.disk.clone()));
        Self { parts, numbers, room: Arc::default(), open: Mutex::default() }
    }

    /// There shall be these doors and no others. To be called on a tokio runtime.
    ///
    /// Repeating it changes nothing. A route with a sequence that is not above the one a door acts on is passed over;
    /// when this returns, no request goes by an older route than the one given.
    pub fn update(&self, doors: &[Door]) {
        let mut open = lock(&self.open);
        let wanted: BTreeSet<ServiceId> = doors.iter().take(DOORS_MAX).map(|d| d.service).collect();
        let before = open.len();
        open.retain(|service, _| wanted.contains(service));
        if open.len() < before {
            self.parts.told.notify_one();
        }
        for door in doors.iter().take(DOORS_MAX) {
            let entry = open.entry(door.service).or_insert_with(|| self.new_door());
            entry.gate.update(door);
            entry.set_ports(door, &self.needs(door.service, entry.gate.clone()));
        }
    }

    /// How all doors do, in order of service.
    pub fn observed(&self) -> Vec<ObservedDoor> {
        lock(&self.open).iter().map(|(service, open)| open.observed(*service)).collect()
    }

    /// Where a service's ports are on this computer, as far as they listen.
    pub fn addresses(&self) -> BTreeMap<(ServiceId, String), SocketAddr> {
        let open = lock(&self.open);
        let ports = open.iter().flat_map(|(service, door)| door.ports.iter().map(|p| (*service, p)));
        ports.filter_map(|(service, p)| Some(((service, p.name().to_owned()), *p.addresses().first()?))).collect()
    }

    fn new_door(&self) -> Open {
        let mut opened = [0; 8];
        self.parts.random.fill(&mut opened);
        let gate = Gate::new(self.parts.clock.clone(), self.parts.told.clone(), self.room.clone());
        Open { gate: Arc::new(gate), ports: Vec::new(), opened: u64::from_le_bytes(opened) }
    }

    fn needs(&self, service: ServiceId, gate: Arc<Gate>) -> Needs {
        Needs {
            service,
            gate,
            opener: self.parts.opener.clone(),
            fronts: self.parts.fronts.clone(),
            numbers: self.numbers.clone(),
            told: self.parts.told.clone(),
        }
    }
}

impl Open {
    fn set_ports(&mut self, door: &Door, needs: &Needs) {
        let wanted = || door.ports.iter().take(PORTS_MAX).filter(|p| is_name(&p.name));
        self.ports.retain(|port| wanted().any(|w| port.is(w)));
        for want in wanted() {
            if !self.ports.iter().any(|p| p.name() == want.name) {
                self.ports.push(Listening::open(want, needs.clone()));
            }
        }
        self.ports.iter().for_each(Listening::routed);
    }

    fn observed(&self, service: ServiceId) -> ObservedDoor {
        let gate = self.gate.observed();
        let addresses = self.ports.iter().flat_map(|p| p.addresses().into_iter().map(|a| (p.name().to_owned(), a)));
        let messages: Vec<String> = self.ports.iter().flat_map(Listening::messages).collect();
        ObservedDoor {
            service,
            sequence: gate.sequence,
            holding: gate.holding,
            waiting: gate.waiting,
            under_way: gate.under_way.iter().map(|(id, n, _)| (*id, *n)).collect(),
            long_lived: gate.under_way.iter().filter(|(.., n)| *n > 0).map(|(id, _, n)| (*id, *n)).collect(),
            addresses: addresses.collect(),
            message: clean(&messages.join("; "), TEXT_MAX),
            opened: self.opened,
            counters: gate.counters,
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.gate.close();
    }
}
