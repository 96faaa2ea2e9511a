//! Whole stories of a small fleet, hours and weeks long: what moves, why, how often, and what does not.

mod calm;
mod each;
mod held_back;
mod leased;
mod leaving;
mod money;
mod sound;

use std::collections::BTreeMap;

use chandler_protocol::state::{Health, ObservedAssignment, Phase, Target};
use chandler_protocol::telemetry::Readings;
use chandler_protocol::{AssignmentId, Bytes, HostId, MicroMoney, Micros, OrderId, PartyId, SiteId, Timestamp};

use super::{Considered, Rules, Senses, consider};
use crate::assurance::{self, Patience};
use crate::audit::audit;
use crate::catalogue::Offering;
use crate::criteria::ProviderCriteria;
use crate::draft::Draft;
use crate::fleet::{Host, Pulse};
use crate::fulfilment::{admit, advance, observe};
use crate::model::Model;
use crate::movement::{Move, MovePhase};
use crate::order::{Action, Order, OrderSpec, OrderState};
use crate::party::Party;
use crate::placement::example::{CUSTOMER, OWNER, spot, wish};
use crate::relocation;
use crate::service::{Service, Trigger};
use crate::site::{Rates, Site, SiteRole};

const SECOND: Micros = Micros::from_secs(1);
const MINUTE: Micros = Micros::from_secs(60);
const HOUR: Micros = Micros::from_secs(3_600);
/// A Monday, 00:00 UTC.
const MONDAY: Timestamp = Timestamp(1_795_996_800_000_000);
/// The provider.
const PROVIDER: PartyId = PartyId::from_random([3; 10]);

/// A fleet that is stepped by hand. Host `n` is the only one of site `n`.
struct World {
    model: Model,
    now: Timestamp,
    drawn: u64,
    senses: Senses,
    rules: Rules,
}

impl World {
    fn new() -> Self {
        let rules = Rules::default();
        let mut world = Self { model: Model::default(), now: MONDAY, drawn: 0, senses: Senses::default(), rules };
        world.model.currency = "EUR".to_owned();
        world.model.observable_since = MONDAY;
        world.step(|draft| {
            draft.put(Offering { margin_percent: 0, management_hour: MicroMoney(0), ..Offering::standard(draft.now) });
            for id in [CUSTOMER, OWNER, PROVIDER] {
                draft.put(Party { id, name: id.to_string(), roles: Vec::new() });
            }
        });
        world
    }

    /// With remote hosts 1, 2, ... whose core costs so many thousandths an hour.
    fn of(prices: &[i64]) -> Self {
        let mut world = Self::new();
        for (n, price) in (1..).zip(prices) {
            world.join(n, SiteRole::Remote, *price);
        }
        world
    }

    fn join(&mut self, n: u8, role: SiteRole, price: i64) {
        let owner = match role {
            SiteRole::Customer => CUSTOMER,
            SiteRole::Provider => PROVIDER,
            SiteRole::Remote | SiteRole::Partner => OWNER,
        };
        self.step(|draft| {
            let mut host = spot(n, 0).host;
            host.site = site(n);
            host.since = draft.now;
            if let Some(inventory) = &mut host.inventory {
                inventory.memory = Bytes(16 << 30);
            }
            draft.put(Site {
                id: site(n),
                name: format!("site-{n}"),
                owner,
                role,
                country: "DE".to_owned(),
                rates: rates(price),
                version: 1,
                home: None,
            });
            draft.put(host);
        });
        self.pulse(n, |_| {});
        self.step(|draft| assurance::heard(draft, host(n)));
        self.step(|draft| {
            let known = draft.model.hosts[&host(n)].as_ref().clone();
            let history = known.history.observe(true, draft.now, Timestamp(0));
            draft.put(Host { history, ..known });
        });
    }

    fn step<T>(&mut self, work: impl FnOnce(&mut Draft<'_>) -> T) -> T {
        let drawn = &mut self.drawn;
        let mut ids = || {
            *drawn += 1;
            let mut id = [0xa0; 10];
            id[2..].copy_from_slice(&drawn.to_be_bytes());
            id
        };
        let mut draft = Draft::new(&self.model, self.now, "relocation", &mut ids);
        let done = work(&mut draft);
        self.model = draft.model;
        self.model.generation += 1;
        assert_eq!(audit(&self.model), [], "after a step at {:?}", self.now);
        done
    }

    fn pulse(&mut self, n: u8, change: impl FnOnce(&mut Pulse)) {
        let known = self.model.pulses.get(&host(n)).copied();
        let mut pulse =
            known.unwrap_or(Pulse { connected: true, rtt: Some(Micros::from_millis(10)), ..Pulse::default() });
        pulse.seen_at = self.now;
        change(&mut pulse);
        self.model.pulses.insert(host(n), pulse);
    }

    fn load(&mut self, n: u8, cpu_permille: i64) {
        self.pulse(n, |p| {
            p.readings = Some(Readings { cpu_permille, battery_percent: -1, on_mains: -1, ..Readings::default() })
        });
    }

    fn price(&mut self, n: u8, price: i64) {
        self.step(|draft| {
            let known = draft.model.sites[&site(n)].as_ref().clone();
            draft.put(Site { rates: rates(price), ..known });
        });
    }

    fn order(&mut self, name: &str, change: impl FnOnce(&mut OrderSpec)) {
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
            let (id, number) = (OrderId::from_random(draft.id()), draft.model.last_order + 1);
            draft.put(Order {
                id,
                number,
                customer: CUSTOMER,
                name,
                action: Action::Add,
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
            admit(draft);
            relocation::place_waiting(draft);
        });
        self.agents();
        assert_eq!(self.service_named().last().map(|s| s.completed_at.is_some()), Some(true), "it runs");
    }

    fn service_named(&self) -> Vec<&Service> {
        self.model.live.iter().map(|id| self.model.services[id].as_ref()).collect()
    }

    /// Every agent that is connected does what it was told and says so, until nothing changes any more.
    fn agents(&mut self) {
        for _ in 0..24 {
            let told: BTreeMap<HostId, Vec<ObservedAssignment>> = self
                .model
                .assignments
                .values()
                .filter(|a| self.model.pulse(a.host).connected)
                .map(|a| {
                    let phase = match a.target {
                        Target::Wiped => Phase::Wiped,
                        Target::Stopped => Phase::Stopped,
                        Target::Running | Target::Own(_) => Phase::Running,
                        Target::Seal { .. } | Target::Receive(_) => Phase::Pending,
                    };
                    (a.host, seen(a.id, a.epoch, phase))
                })
                .fold(BTreeMap::new(), |mut map, (host, seen)| {
                    map.entry(host).or_insert_with(Vec::new).push(seen);
                    map
                });
            let generation = self.model.assignments.clone();
            let moving = self.model.moves.clone();
            for (host, observed) in told {
                self.step(|draft| {
                    for service in observe(draft, host, &observed) {
                        advance(draft, service);
                    }
                });
            }
            self.step(|draft| {
                let live: Vec<_> = draft.model.live.iter().copied().collect();
                for service in live {
                    advance(draft, service);
                }
            });
            if self.model.assignments == generation && self.model.moves == moving {
                return;
            }
        }
    }

    /// Time passes; everybody who is connected is heard from; the fleet is looked at.
    fn pass(&mut self, time: Micros) -> Considered {
        self.now = self.now.after(time);
        let connected: Vec<_> = self.model.pulses.iter().filter(|(_, p)| p.connected).map(|(id, _)| *id).collect();
        for id in connected {
            self.pulse(id.as_bytes()[0], |_| {});
        }
        let (mut senses, rules) = (std::mem::take(&mut self.senses), self.rules.clone());
        let done = self.step(|draft| consider(draft, &mut senses, &rules, Patience::default()));
        self.senses = senses;
        if !done.planned.is_empty() || !self.model.moving.values().all(imbl::OrdSet::is_empty) {
            self.agents();
        }
        done
    }

    /// Passes so much time in steps, and gives the moves that were begun in it.
    fn run(&mut self, time: Micros, step: Micros, mut each: impl FnMut(&mut Self)) -> Vec<Move> {
        let from = self.now;
        while self.now < from.after(time) {
            each(self);
            self.pass(step);
        }
        let begun = self.model.moves_since(Timestamp(from.0 + 1)).filter(|m| m.phase != MovePhase::Declined);
        let mut begun: Vec<Move> = begun.map(|m| m.as_ref().clone()).collect();
        begun.reverse();
        begun
    }

    fn criteria(&mut self, criteria: ProviderCriteria) {
        self.step(|draft| draft.put(criteria));
    }

    /// Numbers of the hosts on which a service is.
    fn places(&self) -> Vec<u8> {
        let running = self.model.assignments.values().filter(|a| a.is_to_run() && !a.leaving);
        let mut places: Vec<_> = running.map(|a| a.host.as_bytes()[0]).collect();
        places.sort_unstable();
        places
    }

    fn declined(&self) -> Vec<&Move> {
        self.model.moves.values().filter(|m| m.phase == MovePhase::Declined).map(AsRef::as_ref).collect()
    }
}

fn host(n: u8) -> HostId {
    HostId::from_random([n; 10])
}

fn site(n: u8) -> SiteId {
    SiteId::from_random([n; 10])
}

fn rates(price: i64) -> Rates {
    Rates { core_hour: MicroMoney(price * 1_000), gib_hour: MicroMoney(0), gpu_hour: MicroMoney(0) }
}

fn seen(id: AssignmentId, epoch: u64, phase: Phase) -> ObservedAssignment {
    let (ports, message, outputs) = (Vec::new(), String::new(), Vec::new());
    ObservedAssignment { id, epoch, phase, ports, starts: 1, failures: 0, message, health: Health::default(), outputs }
}

fn triggers(moves: &[Move]) -> Vec<Trigger> {
    moves.iter().map(|m| m.trigger).collect()
}
