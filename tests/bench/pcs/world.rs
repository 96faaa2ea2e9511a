//! The world: PCs come and go as in the trace, and the controller does what its engine decides.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::ensure;
use chandler_engine::assurance::{Patience, heard, measured_availability, watch};
use chandler_engine::draft::Draft;
use chandler_engine::fleet::Pulse;
use chandler_engine::fulfilment::{admit, advance};
use chandler_engine::model::Model;
use chandler_engine::movement::MovePhase;
use chandler_engine::order::OwnerKind;
use chandler_engine::relocation::place_waiting;
use chandler_engine::relocation::trigger::{Rules, Senses, consider};
use chandler_protocol::{HostId, Micros, Ppm, ServiceId, Timestamp};

use super::agents::Agents;
use super::draw::Draw;
use super::scene;
use super::trace::{LENGTH, Pc};

/// The trace begins on Tuesday, 1999-07-06; its hours are taken to be those of UTC.
const BEGIN: Timestamp = Timestamp(931_219_200_000_000);
const END: Timestamp = BEGIN.after(Micros::from_secs(LENGTH));
/// Between two looks at whether a service should move. The product looks every 5 s; what it finds has to be so for 2 or 15
/// minutes before anything moves.
pub(super) const LOOK: Micros = Micros::from_secs(300);
/// What waits for a place is tried again after this time.
const RETRY: Micros = Micros::from_secs(10);
/// Agents and controller have said all there is to say after fewer rounds.
const ROUNDS_MAX: usize = 32;

/// What happens at a moment. All that happens at one moment happens together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A PC is switched off.
    Off(HostId),
    /// A PC is switched on.
    On(HostId),
    /// A silent host may be concluded to be lost.
    Watch,
    /// It is looked at whether services should move.
    Look,
    /// Something may be ready, or may have a place now.
    Again,
}

/// One service's four weeks.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Served {
    /// Time since it first answered.
    pub all: Micros,
    /// Of it, time in which a copy answered.
    pub up: Micros,
    /// What the controller measured.
    pub measured: Option<Ppm>,
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Story {
    /// Of each service.
    pub served: Vec<Served>,
    /// What ran, and cost.
    pub agents: Agents,
    /// Moves by what set them off.
    pub moves: BTreeMap<&'static str, usize>,
    /// Moves that were taken back.
    pub rolled_back: usize,
    /// How often a host was lost.
    pub losses: usize,
}

/// A controller and its fleet.
struct World {
    model: Model,
    now: Timestamp,
    drawn: u64,
    senses: Senses,
    rules: Rules,
    agents: Agents,
    served: BTreeMap<ServiceId, Served>,
    due: BTreeSet<(Timestamp, Event)>,
    losses: usize,
}

/// What differs between two stories of the same PCs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plot {
    /// Whose computers may serve the orders.
    pub owners: &'static [OwnerKind],
    /// Most copies of one service.
    pub replicas_max: u32,
    /// From the decision until a copy answers.
    pub start: Micros,
    /// Rates and sizes are drawn by it.
    pub seed: u64,
}

/// Four weeks with these PCs.
///
/// # Errors
/// Not every order was accepted.
pub(super) fn live(pcs: &[Pc], plot: &Plot) -> anyhow::Result<Story> {
    let mut world = World::new(pcs, plot);
    ensure!(world.model.live.len() as u64 == scene::SERVICES, "{} services were accepted", world.model.live.len());
    while let Some((at, _)) = world.due.first().copied() {
        world.pass(at);
        if at >= END {
            break;
        }
        world.turn();
    }
    Ok(world.story())
}

impl World {
    fn new(pcs: &[Pc], plot: &Plot) -> Self {
        let mut world = Self {
            model: Model { currency: "EUR".to_owned(), observable_since: BEGIN, ..Model::default() },
            now: BEGIN,
            drawn: 0,
            senses: Senses::default(),
            rules: Rules::default(),
            agents: Agents::new(plot.start),
            served: BTreeMap::new(),
            due: BTreeSet::new(),
            losses: 0,
        };
        let mut draw = Draw(plot.seed);
        let numbers: Vec<_> = pcs.iter().map(|pc| pc.number).collect();
        world.step(|draft| scene::fleet(draft, &numbers, &mut draw));
        for n in 0..scene::SERVERS {
            world.on(scene::server(n));
        }
        world.expect(pcs);
        world.due.insert((BEGIN.after(LOOK), Event::Look));
        world.due.insert((END, Event::Again));
        world.step(|draft| {
            scene::orders(draft, plot.owners, plot.replicas_max, &mut draw);
            admit(draft);
        });
        world.settle();
        world
    }

    /// Puts down when each PC comes and goes.
    fn expect(&mut self, pcs: &[Pc]) {
        let at = |seconds: i64| BEGIN.after(Micros::from_secs(seconds));
        for (place, pc) in pcs.iter().enumerate() {
            let host = scene::pc(place);
            for (from, until) in &pc.up {
                if *from == 0 {
                    self.on(host);
                } else {
                    self.due.insert((at(*from), Event::On(host)));
                }
                self.due.insert((at(*until), Event::Off(host)));
            }
        }
    }

    /// One transaction, as the controller would do it.
    fn step<T>(&mut self, work: impl FnOnce(&mut Draft<'_>) -> T) -> T {
        let drawn = &mut self.drawn;
        let mut ids = || {
            *drawn += 1;
            let n = drawn.to_be_bytes();
            [9, 0, n[0], n[1], n[2], n[3], n[4], n[5], n[6], n[7]]
        };
        let mut draft = Draft::new(&self.model, self.now, "controller", &mut ids);
        let done = work(&mut draft);
        self.model = draft.model;
        self.model.generation += 1;
        done
    }

    /// Time passes until something happens.
    fn pass(&mut self, to: Timestamp) {
        let answering = self.agents.answering(self.now);
        for id in &answering {
            self.served.entry(*id).or_default();
        }
        let dt = to.since(self.now).0;
        for (id, served) in &mut self.served {
            served.all.0 += dt;
            if answering.contains(id) {
                served.up.0 += dt;
            }
        }
        self.agents.pass(self.now, to);
        self.now = to;
        let heard: Vec<_> = self.model.pulses.iter().filter(|(_, p)| p.connected).map(|(id, p)| (*id, *p)).collect();
        for (id, pulse) in heard {
            self.model.pulses.insert(id, Pulse { seen_at: to, ..pulse });
        }
    }

    fn on(&mut self, host: HostId) {
        let pulse = Pulse { seen_at: self.now, connected: true, rtt: Some(Micros::from_millis(20)), readings: None };
        self.model.pulses.insert(host, pulse);
        self.step(|draft| heard(draft, host));
    }

    fn off(&mut self, host: HostId) {
        self.agents.off(host);
        let pulse = Pulse { connected: false, ..self.model.pulse(host) };
        self.model.pulses.insert(host, pulse);
        self.losses += 1;
        // A moment later: silence must have lasted for longer than the grace.
        let grace = Patience::default().grace;
        self.due.insert((self.now.after(Micros(grace.0 + 1)), Event::Watch));
    }

    /// What happens now.
    fn turn(&mut self) {
        let mut events = Vec::new();
        while self.due.first().is_some_and(|(at, _)| *at <= self.now) {
            events.extend(self.due.pop_first().map(|(_, event)| event));
        }
        for event in events {
            match event {
                Event::Off(host) => self.off(host),
                Event::On(host) => self.on(host),
                Event::Watch => self.watch(),
                Event::Look => self.look(),
                Event::Again => {}
            }
        }
        self.settle();
    }

    fn watch(&mut self) {
        self.step(|draft| {
            watch(draft, Patience::default());
            let live: Vec<_> = draft.model.live.iter().copied().collect();
            for service in live {
                advance(draft, service);
            }
        });
    }

    fn look(&mut self) {
        let (mut senses, rules) = (std::mem::take(&mut self.senses), self.rules.clone());
        self.step(|draft| consider(draft, &mut senses, &rules, Patience::default()));
        self.senses = senses;
        self.due.insert((self.now.after(LOOK), Event::Look));
    }

    /// Agents do what they are told, and the controller goes on with what they say, until all is said.
    fn settle(&mut self) {
        for _ in 0..ROUNDS_MAX {
            let waiting = self.step(place_waiting);
            if waiting > 0 {
                self.due.insert((self.now.after(RETRY), Event::Again));
            }
            let mut agents = std::mem::take(&mut self.agents);
            let (begun, said) = self.step(|draft| agents.report(draft));
            self.agents = agents;
            self.due.extend(begun.map(|at| (at, Event::Again)));
            if !said {
                return;
            }
        }
    }

    fn story(mut self) -> Story {
        self.agents.close();
        let mut served: Vec<Served> = Vec::new();
        for service in self.model.services.values() {
            let own = self.served.get(&service.id).copied().unwrap_or_default();
            let measured = measured_availability(service, self.now, self.model.observable_since);
            served.push(Served { measured, ..own });
        }
        let mut moves = BTreeMap::new();
        let begun = || self.model.moves.values().filter(|m| m.phase != MovePhase::Declined);
        for on in begun() {
            *moves.entry(on.trigger.as_str()).or_default() += 1;
        }
        let rolled_back = begun().filter(|m| m.phase == MovePhase::RolledBack).count();
        Story { served, agents: self.agents, moves, rolled_back, losses: self.losses }
    }
}
