//! All of it together: controllers, machines and the wire, one second after the other; what must hold is checked after each.

use std::collections::BTreeMap;

use chandler_protocol::state::Sealed;
use chandler_protocol::{AssignmentId, HostId, Micros, Timestamp};

use super::agent::Machine;
use super::buyer::Talk;
use super::check;
use super::controller::{Controller, Disk, host, party};
use super::wire::{Ask, Letter, Reply, Weather, Wire, Word};
use crate::relocation::{Destination, order_move};

/// Tells a lie: what a seller answers is not what its controller says.
pub(super) type Lie = Box<dyn FnMut(&mut Reply, i64)>;

/// How a partner vanishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// Nothing passes between the two.
    Cut,
    /// Its controller ends; its machines go on.
    Crash,
    /// Its controller and its machines are without power.
    Power,
}

pub(super) struct World {
    pub seed: u64,
    pub second: i64,
    pub controllers: Vec<Controller>,
    pub machines: Vec<Machine>,
    pub wire: Wire,
    /// Who buys from whom.
    pub pairs: Vec<(usize, usize)>,
    talks: BTreeMap<(usize, usize), Talk>,
    call: u64,
    pub lie: Option<Lie>,
    pub seen: check::Seen,
    /// Controller 1 vanishes once so many words were delivered.
    pub vanishes: Option<(u64, How)>,
}

impl World {
    /// A buyer with a dear machine of its own (1), and a seller with two (11, 12).
    pub(super) fn new(seed: u64) -> Self {
        let mut world = Self {
            seed,
            second: 0,
            controllers: Vec::new(),
            machines: Vec::new(),
            wire: Wire::new(seed),
            pairs: Vec::new(),
            talks: BTreeMap::new(),
            call: 0,
            lie: None,
            seen: check::Seen::default(),
            vanishes: None,
        };
        world.add(&[(1, 90_000)]);
        world.add(&[(11, 10_000), (12, 20_000)]);
        for n in [11, 12] {
            let price = i64::from(n - 10) * 10_000;
            world.controllers[1].offers(n, price, Micros::from_secs(40));
        }
        world.trade(0, 1);
        for _ in 0..8 {
            world.tick(1);
        }
        world
    }

    /// One more controller with its machines, each for so much a core-hour.
    pub(super) fn add(&mut self, hosts: &[(u8, i64)]) -> usize {
        let index = self.controllers.len();
        let mut controller = Controller::new(u8::try_from(index).unwrap(), self.now());
        for (n, price) in hosts {
            controller.owns(*n, *price);
            self.machines.push(Machine::new(host(*n), index));
        }
        self.controllers.push(controller);
        index
    }

    /// The first buys from the second.
    pub(super) fn trade(&mut self, buyer: usize, seller: usize) {
        let number = |i: usize| u8::try_from(i).unwrap();
        self.controllers[buyer].knows(number(seller));
        self.controllers[seller].knows(number(buyer));
        self.pairs.push((buyer, seller));
    }

    pub(super) const fn now(&self) -> Timestamp {
        Timestamp(1_000_000_000 + self.second * 1_000_000)
    }

    fn party(index: usize) -> chandler_protocol::PartyId {
        party(u8::try_from(index).unwrap())
    }

    /// So many seconds pass.
    pub(super) fn tick(&mut self, seconds: i64) {
        self.second += seconds;
        let now = self.now();
        for controller in &mut self.controllers {
            controller.now = now;
        }
        self.machines_act();
        self.controllers_act();
        self.deliver();
        check::after(self);
    }

    pub(super) fn machines_act(&mut self) {
        let now = self.now();
        let sealed: BTreeMap<AssignmentId, Sealed> =
            self.machines.iter().flat_map(|m| m.sealed().collect::<Vec<_>>()).collect();
        for machine in self.machines.iter_mut().filter(|m| m.up) {
            machine.acts(now, &sealed);
            let home = &mut self.controllers[machine.home];
            if home.up {
                home.meets(machine);
                machine.acts(now, &sealed);
            }
        }
        for controller in self.controllers.iter_mut().filter(|c| c.up) {
            for machine in self.machines.iter().filter(|m| !m.up && usize::from(controller.n) == m.home) {
                let mut pulse = controller.model.pulse(machine.id);
                pulse.connected = false;
                controller.model.pulses.insert(machine.id, pulse);
            }
        }
    }

    fn controllers_act(&mut self) {
        for controller in self.controllers.iter_mut().filter(|c| c.up) {
            controller.tasks();
        }
        for (buyer, seller) in self.pairs.clone() {
            if !self.controllers[buyer].up {
                continue;
            }
            let talk = self.talks.entry((buyer, seller)).or_default();
            let asks = self.controllers[buyer].asks(Self::party(seller), talk, &mut self.call, self.second);
            for (call, ask) in asks {
                let letter = Letter { from: buyer, to: seller, call, word: Word::Ask(ask) };
                self.wire.send(self.second, &letter);
            }
        }
    }

    /// Every word that arrives by now, and those that follow from it at once.
    fn deliver(&mut self) {
        let now = self.now();
        while let Some(letter) = self.wire.next(self.second) {
            check::step(self);
            if let Some((_, how)) = self.vanishes.take_if(|(words, _)| *words < self.wire.delivered) {
                self.vanish(how, false);
            }
            if !self.controllers[letter.to].up {
                continue;
            }
            let Letter { from, to, call, word } = letter;
            match word {
                Word::Ask(ask) => self.served(from, to, call, ask),
                Word::Reply(about, reply) => {
                    let talk = self.talks.entry((to, from)).or_default();
                    let waited = talk.answered(about, call);
                    let asked = waited.map_or(now, |second| Timestamp(1_000_000_000 + second * 1_000_000));
                    if waited.is_none() && !self.wire.weather.replayed {
                        continue;
                    }
                    let n = u8::try_from(from).unwrap();
                    let more = self.controllers[to].hears(Self::party(from), n, talk, reply, (self.second, asked));
                    for ask in more {
                        let talk = self.talks.entry((to, from)).or_default();
                        let Some(call) = talk.calls(ask.about(), &mut self.call, self.second) else { continue };
                        self.wire.send(self.second, &Letter { from: to, to: from, call, word: Word::Ask(ask) });
                    }
                }
            }
        }
    }

    fn served(&mut self, buyer: usize, seller: usize, call: u64, ask: Ask) {
        let about = ask.about();
        let (mut reply, part) = self.controllers[seller].serve(Self::party(buyer), ask);
        if let Some((host, part)) = part
            && let Some(machine) = self.machines.iter_mut().find(|m| m.id == host && m.up)
        {
            machine.granted(&part);
        }
        if let Some(lie) = self.lie.as_mut() {
            lie(&mut reply, self.second);
        }
        self.wire.send(self.second, &Letter { from: seller, to: buyer, call, word: Word::Reply(about, reply) });
    }

    /// Controller 1 vanishes, or is back.
    pub(super) fn vanish(&mut self, how: How, back: bool) {
        match (how, back) {
            (How::Cut, false) => {
                self.wire.cut.insert((0, 1));
            }
            (How::Cut, true) => self.wire.cut.clear(),
            (How::Crash, false) => self.crash(1),
            (How::Crash, true) => self.restart(1, None),
            (How::Power, _) => {
                self.power(1, back);
                if back { self.restart(1, None) } else { self.crash(1) }
            }
        }
    }

    pub(super) fn crash(&mut self, index: usize) {
        self.controllers[index].up = false;
    }

    /// It begins again, with what is on disk, or with what once was.
    pub(super) fn restart(&mut self, index: usize, backup: Option<&Disk>) {
        self.talks.retain(|(buyer, _), _| *buyer != index);
        match backup {
            Some(backup) => self.controllers[index].restore(backup),
            None => self.controllers[index].restart(),
        }
    }

    pub(super) fn power(&mut self, home: usize, on: bool) {
        let now = self.now();
        for machine in self.machines.iter_mut().filter(|m| m.home == home && m.up != on) {
            if on {
                machine.up = true;
            } else {
                machine.dies(now);
            }
        }
    }

    /// An operator of controller 0 wants the service on a host. May be refused.
    pub(super) fn moves(&mut self, name: &str, n: u8) -> bool {
        let Some(id) = self.controllers[0].service(name).map(|s| s.id) else { return false };
        self.controllers[0].transact(|draft| order_move(draft, id, Destination::Host(host(n)), "anna")).is_ok()
    }

    /// Where the copies are that controller 0 tells to run.
    pub(super) fn places(&self, name: &str) -> Vec<HostId> {
        let Some(service) = self.controllers[0].service(name) else { return Vec::new() };
        let all = self.controllers[0].model.assignments_of(service.id);
        all.filter(|a| a.is_to_run()).map(|a| a.host).collect()
    }

    /// All faults are over, and enough time passes for everything that waits.
    pub(super) fn calm(&mut self) {
        self.wire.weather = Weather::default();
        self.wire.cut.clear();
        self.lie = None;
        for index in 0..self.controllers.len() {
            if !self.controllers[index].up {
                self.restart(index, None);
            }
            self.power(index, true);
        }
        for _ in 0..20 {
            self.tick(1);
        }
        for _ in 0..14 {
            self.tick(5);
        }
        // A try that failed is made again after ten minutes.
        for _ in 0..2 {
            self.tick(600);
            for _ in 0..10 {
                self.tick(3);
            }
        }
        // What was just metered is still to be signed.
        for _ in 0..12 {
            if check::are_signed(self) {
                break;
            }
            self.tick(1);
        }
    }
}
