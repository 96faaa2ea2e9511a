//! A small fleet for tests: stepped by hand, audited after every step.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chandler_protocol::lease::{LeaseRequest, LeaseWanted};
use chandler_protocol::state::{
    Exit, Failure, Health, ObservedAssignment, Own, Phase, Progress, Received, Sealed, Target,
};
use chandler_protocol::way::{DoorCounters, ObservedDoor};
use chandler_protocol::workload::WorkloadKind;
use chandler_protocol::{AssignmentId, Digest, HostId, MicroMoney, Micros, OrderId, SiteId, Timestamp};

use super::{admit, advance, observe};
use crate::assurance::{self, Patience, Watch};
use crate::audit::audit;
use crate::catalogue::Offering;
use crate::draft::Draft;
use crate::fleet::{HostState, Pulse};
use crate::model::Model;
use crate::movement::Move;
use crate::order::{Action, Order, OrderSpec, OrderState};
use crate::party::Party;
use crate::placement::example::{CUSTOMER, OWNER, spot, wish};
use crate::relocation;
use crate::service::{Assignment, Service};
use crate::site::{Rates, Site, SiteRole};

/// What every state here is measured to be.
pub(crate) const ROOT: Digest = Digest([7; 32]);

/// A fleet of hosts whose core costs 1, 2, 3 ... a month, stepped by hand.
pub(crate) struct World {
    pub model: Model,
    /// The wall clock.
    pub now: Timestamp,
    /// How much the clock that never jumps is ahead of it.
    pub boot_ahead: i64,
    /// Copies of which their agents say something else than that all is well.
    pub says: BTreeMap<AssignmentId, Phase>,
    /// Leases as agents hold them: epoch, generation, and when the software is dead by then.
    pub held: BTreeMap<AssignmentId, (u64, u64, Micros)>,
    /// Copies that their agents run without a lease, until they take in an order that says otherwise.
    pub free: BTreeSet<AssignmentId>,
    drawn: u64,
}

impl World {
    pub(crate) fn of(hosts: u8) -> Self {
        let mut world = Self {
            model: Model::default(),
            now: Timestamp(1_000_000_000),
            boot_ahead: 0,
            says: BTreeMap::new(),
            held: BTreeMap::new(),
            free: BTreeSet::new(),
            drawn: 0,
        };
        world.model.currency = "EUR".to_owned();
        world.step(|draft| {
            draft.put(Offering { margin_percent: 0, management_hour: MicroMoney(0), ..Offering::standard(draft.now) });
            for id in [CUSTOMER, OWNER] {
                draft.put(Party { id, name: id.to_string(), roles: Vec::new() });
            }
            for n in 1..=hosts {
                let mut host = spot(n, 0).host;
                host.site = SiteId::from_random([n; 10]);
                let rates = Rates {
                    core_hour: MicroMoney(i64::from(n) * 1_000),
                    gib_hour: MicroMoney(0),
                    gpu_hour: MicroMoney(0),
                };
                draft.put(Site {
                    id: host.site,
                    name: format!("site-{n}"),
                    owner: OWNER,
                    role: SiteRole::Remote,
                    country: "DE".to_owned(),
                    rates,
                    version: 1,
                    home: None,
                });
                draft.put(host);
            }
        });
        for n in 1..=hosts {
            world.hear(n);
        }
        world
    }

    /// One transaction, as the writer would do it.
    pub(crate) fn step<T>(&mut self, work: impl FnOnce(&mut Draft<'_>) -> T) -> T {
        let drawn = &mut self.drawn;
        let mut ids = || {
            *drawn += 1;
            let mut id = [0xa0; 10];
            id[2..].copy_from_slice(&drawn.to_be_bytes());
            id
        };
        let boot = Micros(self.now.0 + self.boot_ahead);
        let mut draft = Draft::new(&self.model, self.now, "test", &mut ids).at_boot(boot);
        let done = work(&mut draft);
        let model = draft.model;
        // What the store would give back after a crash right now must be the same.
        let mut replayed = self.model.clone();
        replayed.apply_all(&draft.changes);
        assert_eq!(replayed.assignments, model.assignments);
        assert_eq!((&replayed.services, &replayed.moves), (&model.services, &model.moves));
        self.model = model;
        self.model.generation += 1;
        assert_eq!(audit(&self.model), [], "after a step");
        done
    }

    pub(crate) fn hear(&mut self, n: u8) {
        let pulse = Pulse { seen_at: self.now, connected: true, rtt: Some(Micros::from_millis(10)), readings: None };
        self.model.pulses.insert(host(n), pulse);
        self.step(|draft| assurance::heard(draft, host(n)));
    }

    pub(crate) fn order(&mut self, name: &str, action: Action, change: impl FnOnce(&mut OrderSpec)) -> OrderId {
        let wish = wish();
        let mut spec = OrderSpec {
            offering: "standard".to_owned(),
            workload: wish.spec,
            platform: wish.platform,
            terms: wish.terms,
            policy: wish.policy,
            items: Vec::new(),
            retries: 0,
        };
        change(&mut spec);
        let name = name.to_owned();
        self.step(|draft| {
            let id = OrderId::from_random(draft.id());
            draft.put(Order {
                id,
                number: draft.model.last_order + 1,
                customer: CUSTOMER,
                name,
                action,
                state: OrderState::Acknowledged,
                reason: String::new(),
                code: String::new(),
                nearest: Vec::new(),
                ordered_at: draft.now,
                completed_at: None,
                by: "test".to_owned(),
                agreement: None,
                service: None,
                spec,
                request: String::new(),
            });
            id
        })
    }

    pub(crate) fn admit(&mut self) {
        self.step(|draft| {
            admit(draft);
            relocation::place_waiting(draft);
        });
    }

    /// Every agent that is connected does what it was told and says so; `failing` hosts cannot run anything.
    pub(crate) fn agents(&mut self, failing: &[u8]) {
        for n in self.connected() {
            self.report(n, failing.contains(&n));
        }
        self.step(relocation::place_waiting);
    }

    fn connected(&self) -> Vec<u8> {
        let there = self.model.hosts.keys().filter(|h| self.model.pulse(**h).connected);
        there.map(|h| h.as_bytes()[0]).collect()
    }

    /// One agent does what it was told and says so.
    pub(crate) fn report(&mut self, n: u8, failing: bool) {
        let here: Vec<_> = self.model.assignments_of_host(host(n)).cloned().collect();
        for a in &here {
            match a.target {
                Target::Own(Own { leased: true, .. }) => {
                    // What ran free runs on until it has its first lease, or for a short while without.
                    if self.lease(a.id) {
                        self.free.remove(&a.id);
                    }
                }
                Target::Running => {}
                Target::Own(_) => {
                    self.held.remove(&a.id);
                    self.free.insert(a.id);
                    self.runs_alone(a);
                }
                // It ends before its agent says so.
                _ => {
                    self.held.remove(&a.id);
                    self.free.remove(&a.id);
                }
            }
        }
        let here = self.model.assignments_of_host(host(n));
        let observed: Vec<_> = here.map(|a| seen(a.id, a.epoch, self.phase_of(a, failing))).collect();
        self.step(|draft| {
            for service in observe(draft, host(n), &observed) {
                advance(draft, service);
            }
        });
    }

    /// Everything is looked at, as the tasks do.
    pub(crate) fn look(&mut self) {
        self.step(|draft| {
            let live: Vec<_> = draft.model.live.iter().copied().collect();
            for service in live {
                advance(draft, service);
            }
            relocation::place_waiting(draft);
        });
    }

    fn phase_of(&self, a: &Assignment, failing: bool) -> Phase {
        if let Some(said) = self.says.get(&a.id) {
            return *said;
        }
        match a.target {
            Target::Wiped => Phase::Wiped,
            Target::Stopped => Phase::Stopped,
            Target::Running | Target::Own(_) if failing => Phase::Failed(Failure::Crashing),
            Target::Running | Target::Own(_) if a.spec.kind == WorkloadKind::Task => Phase::Completed(Exit::Code(0)),
            Target::Own(Own { leased: true, .. }) if !self.holds(a.id) => Phase::Pending,
            Target::Running | Target::Own(_) => Phase::Running,
            Target::Seal { attempt } => Phase::Sealed(Sealed { attempt, root: ROOT, lease: self.lease_of(a) }),
            Target::Receive(order) => {
                let source = self.model.assignments.get(&order.source).and_then(|s| s.phase());
                match source {
                    Some(Phase::Sealed(s)) if s.attempt == order.attempt => {
                        Phase::Verified(Received { attempt: order.attempt, root: s.root })
                    }
                    _ => Phase::Receiving(Progress {
                        attempt: order.attempt,
                        rounds: 1,
                        in_step: true,
                        ..Progress::default()
                    }),
                }
            }
        }
    }

    fn lease_of(&self, a: &Assignment) -> u64 {
        self.model.services[&a.service].tenure.map_or(0, |t| t.lease)
    }

    /// The clock that never jumps.
    pub(crate) fn boot(&self) -> Micros {
        Micros(self.now.0 + self.boot_ahead)
    }

    /// Whether the software of a copy may still run: its agent kills it when its lease ends.
    fn holds(&self, id: AssignmentId) -> bool {
        self.held.get(&id).is_some_and(|(.., until)| *until > self.boot())
    }

    /// The agent of a copy asks for a lease. Gives whether it got one. No other copy of its service may still run then,
    /// where one alone may (P3).
    pub(crate) fn lease(&mut self, id: AssignmentId) -> bool {
        let a = self.model.assignments[&id].clone();
        let holds = self.holds(id);
        let generation = self.held.get(&id).filter(|(epoch, ..)| *epoch == a.epoch && holds).map_or(0, |(_, g, _)| *g);
        let wanted = vec![LeaseWanted { assignment: id, epoch: a.epoch, generation }];
        let request = LeaseRequest { nonce: 1, wanted };
        let grant = self.step(|draft| relocation::lease(draft, a.host, &request));
        let Some(given) = grant.given.first() else { return false };
        self.held.insert(id, (given.epoch, given.generation, Micros(self.boot().0 + grant.lasts.0)));
        self.runs_alone(&a);
        true
    }

    /// No other copy of its service may still run, where one alone may (P3), but where an operator took the risk.
    fn runs_alone(&self, a: &Assignment) {
        if !self.model.services[&a.service].is_exclusive() {
            return;
        }
        let revoked = |h: HostId| self.model.hosts[&h].state == HostState::Revoked;
        let runs = |b: &Assignment| (self.holds(b.id) || self.free.contains(&b.id)) && !revoked(b.host);
        let others = self.model.assignments_of(a.service).filter(|b| b.id != a.id && runs(b));
        assert_eq!(others.map(|b| b.id).collect::<Vec<_>>(), [], "they may still write while {} begins to", a.id);
    }

    /// The door of a service on a host says that it acts on the route as it is, with this much under way.
    pub(crate) fn door(
        &mut self,
        n: u8,
        name: &str,
        under_way: &[(AssignmentId, u32)],
        long_lived: &[(AssignmentId, u32)],
    ) {
        let service = self.service(name);
        let (id, route) = (service.id, service.route.clone());
        let door = ObservedDoor {
            service: id,
            sequence: route.sequence,
            holding: route.hold.is_some(),
            waiting: 0,
            under_way: under_way.to_vec(),
            long_lived: long_lived.to_vec(),
            addresses: Vec::new(),
            message: String::new(),
            opened: 1,
            counters: DoorCounters::default(),
        };
        self.model.doors.insert((id, host(n)), Arc::new(door));
        self.step(|draft| advance(draft, id));
    }

    /// The newest move of a service.
    pub(crate) fn newest_move(&self, name: &str) -> &Move {
        let id = self.service(name).id;
        let of_service = self.model.moves.values().filter(|m| m.service == id);
        of_service.max_by_key(|m| (m.started_at, m.id)).unwrap()
    }

    /// Time passes; connected hosts are heard.
    pub(crate) fn pass(&mut self, seconds: i64) {
        self.now.0 += seconds * 1_000_000;
        for n in self.connected() {
            self.hear(n);
        }
    }

    /// A host cannot be heard from now on.
    pub(crate) fn cut(&mut self, n: u8) {
        self.model.pulses.insert(host(n), Pulse { connected: false, ..self.model.pulse(host(n)) });
    }

    /// What the controller concludes now.
    pub(crate) fn watch(&mut self) -> Watch {
        let found = self.step(|draft| assurance::watch(draft, Patience::default()));
        self.look();
        found
    }

    pub(crate) fn state(&self, order: OrderId) -> OrderState {
        self.model.orders[&order].state
    }

    pub(crate) fn service(&self, name: &str) -> &Service {
        let id = self.model.by_name[&(CUSTOMER, name.to_owned())];
        &self.model.services[&id]
    }

    /// Numbers of the hosts on which copies of a service are that are not on their way out.
    pub(crate) fn places(&self, name: &str) -> Vec<u8> {
        let places = self.model.assignments_of(self.service(name).id);
        places.filter(|a| a.is_to_run()).map(|a| a.host.as_bytes()[0]).collect()
    }
}

pub(crate) fn host(n: u8) -> HostId {
    HostId::from_random([n; 10])
}

pub(crate) fn seen(id: AssignmentId, epoch: u64, phase: Phase) -> ObservedAssignment {
    let (ports, message, outputs) = (Vec::new(), String::new(), Vec::new());
    ObservedAssignment { id, epoch, phase, ports, starts: 1, failures: 0, message, health: Health::default(), outputs }
}

pub(crate) fn stateful(exclusive: bool) -> impl FnOnce(&mut OrderSpec) {
    move |spec| spec.workload.state = Some(chandler_protocol::workload::State { path: "data".to_owned(), exclusive })
}

/// The host falls silent for longer than the grace; the others are heard.
pub(crate) fn lose(world: &mut World, lost: u8, others: &[u8]) {
    world.model.pulses.insert(host(lost), Pulse { connected: false, ..world.model.pulse(host(lost)) });
    for _ in 0..13 {
        world.now.0 += 1_000_000;
        for n in others {
            world.hear(*n);
        }
    }
    world.step(|draft| assurance::watch(draft, Patience::default()));
    world.step(relocation::place_waiting);
}
