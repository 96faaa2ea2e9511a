//! Everything that is so at one moment.

use chandler_agent::custody::Custody;
use chandler_engine::relocation::tenure::Tenure;
use chandler_protocol::Micros;

use crate::message::{Message, Order, Who, Writes};

/// How much is tried.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Writes that customers make.
    pub writes: u8,
    /// Attempts to hand the state over, in either direction.
    pub attempts: u64,
    /// Leases acquired under one epoch.
    pub generations: u64,
    /// Machines that crash or burn.
    pub machines: u8,
    /// Times that a disk comes back as it was earlier and has forgotten what custody was kept on it since.
    pub forgotten: u8,
    /// Owners that are given up.
    pub failovers: u8,
}

/// Time does not pass by itself: it is always now. A lease either lasts or has ended.
pub(crate) const NOW: Micros = Micros(1);
/// How long a lease lasts that was asked for now.
pub(crate) const LASTS: Micros = Micros(1);

/// Everything.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct World {
    /// The controller.
    pub controller: Controller,
    /// S and T.
    pub machines: [Machine; 2],
    /// Everything that was said and may still arrive, in order.
    pub air: Vec<Message>,
    /// Every write that a customer got an answer to.
    pub acknowledged: Writes,
    /// Those of them that were not declared lost.
    pub promised: Writes,
    /// What has happened so far, of what is bounded.
    pub spent: Spent,
    /// Only where the commit is not durable: what the controller's database really has.
    pub undurable: Option<Controller>,
}

/// What the bounds are about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Spent {
    /// Writes.
    pub writes: u8,
    /// Crashed and burnt machines.
    pub machines: u8,
    /// Disks that forgot.
    pub forgotten: u8,
    /// Owners given up.
    pub failovers: u8,
}

/// The controller: all of it is in its database, but for when leases were given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Controller {
    /// Who owns the state.
    pub tenure: Tenure,
    /// What each copy is told, and under which epoch.
    pub orders: [(u64, Order); 2],
    /// Of each copy: a lease was given that is not surely over.
    pub leased: [bool; 2],
    /// The epochs whose owner customers may reach: one bit each. Front doors hear of them late and never forget.
    pub reachable: u16,
    /// A hand-over was switched, ever.
    pub switched: bool,
}

/// A machine with its copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Machine {
    /// It has burnt, with its disk.
    pub burnt: bool,
    /// What its agent may do. All but the lease is on its disk.
    pub custody: Custody,
    /// The newest order that was obeyed. On its disk.
    pub order: Order,
    /// The software runs.
    pub running: bool,
    /// Its state. On its disk.
    pub state: Writes,
    /// How often its agent was started.
    pub start: u8,
    /// What its disk was like at some moment: it may be so again.
    pub earlier: Option<(Custody, Order)>,
    /// Only where writing out is forgotten: what is really on its disk.
    pub written: Option<Writes>,
}

impl Machine {
    /// One that has never heard of the copy.
    pub(crate) fn new() -> Self {
        Self {
            burnt: false,
            custody: Custody::default(),
            order: Order::Stopped,
            running: false,
            state: 0,
            start: 0,
            earlier: None,
            written: None,
        }
    }
}

impl World {
    /// S runs under its first lease, and nothing was written yet.
    pub(crate) fn first() -> Self {
        let order = Order::Own(None);
        let (tenure, generation) = Tenure::first(Who::S.id(), 1).grant(Who::S.id(), 1, 0).unwrap();
        let custody = Custody::default().ordered(1, &order.target()).leased(1, generation, NOW, LASTS).begun();
        Self {
            controller: Controller {
                tenure,
                orders: [(1, order), (0, Order::Stopped)],
                leased: [true, false],
                reachable: 1 << 1,
                switched: false,
            },
            machines: [Machine { custody, order, running: true, ..Machine::new() }, Machine::new()],
            air: Vec::new(),
            acknowledged: 0,
            promised: 0,
            spent: Spent::default(),
            undurable: None,
        }
    }

    /// One of the machines.
    pub(crate) fn machine(&self, who: Who) -> &Machine {
        &self.machines[who as usize]
    }

    /// One of the machines, to be changed.
    pub(crate) fn machine_mut(&mut self, who: Who) -> &mut Machine {
        &mut self.machines[who as usize]
    }

    /// Something is said.
    pub(crate) fn say(&mut self, message: Message) {
        if let Err(at) = self.air.binary_search(&message) {
            self.air.insert(at, message);
        }
    }

    /// Whether something was said.
    pub(crate) fn was_said(&self, message: Message) -> bool {
        self.air.binary_search(&message).is_ok()
    }
}
