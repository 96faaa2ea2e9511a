//! The agents, played: what an agent is told to run does so after a while, as long as its computer is on. Also the meter,
//! which counts what was reserved for as long as it ran.

use std::collections::{BTreeMap, BTreeSet};

use chandler_engine::draft::Draft;
use chandler_engine::finance::rate;
use chandler_engine::fulfilment::{advance, observe};
use chandler_engine::model::Model;
use chandler_engine::service::Assignment;
use chandler_engine::site::SiteRole;
use chandler_protocol::state::{Health, ObservedAssignment, Phase, Target};
use chandler_protocol::{AssignmentId, HostId, MicroMoney, Micros, ServiceId, Timestamp};

/// A copy that its agent was told to run.
#[derive(Debug, Clone)]
struct Copy {
    told: Assignment,
    role: SiteRole,
    /// When it answers.
    ready: Timestamp,
    /// How long it has run.
    ran: Micros,
}

/// What every agent does, and what that cost so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Agents {
    start: Micros,
    copies: BTreeMap<AssignmentId, Copy>,
    /// What the owners of the computers earned.
    pub cost: MicroMoney,
    /// Of it, what the provider's own servers cost.
    pub servers: MicroMoney,
    /// What customers owe.
    pub price: MicroMoney,
    /// Time that copies ran, all together.
    pub ran: Micros,
}

impl Agents {
    /// Agents on which a copy answers so long after the decision: its files are fetched, and it begins.
    pub(super) fn new(start: Micros) -> Self {
        Self { start, ..Self::default() }
    }

    /// Services of which at least one copy answers.
    pub(super) fn answering(&self, now: Timestamp) -> BTreeSet<ServiceId> {
        self.copies.values().filter(|c| c.ready <= now).map(|c| c.told.service).collect()
    }

    /// Time passes, in which no copy begins or ends.
    pub(super) fn pass(&mut self, from: Timestamp, to: Timestamp) {
        for copy in self.copies.values_mut().filter(|c| c.ready <= from) {
            copy.ran.0 += to.since(from).0;
        }
    }

    /// A computer is switched off, with all that ran there.
    pub(super) fn off(&mut self, host: HostId) {
        let gone: Vec<_> = self.copies.values().filter(|c| c.told.host == host).map(|c| c.told.id).collect();
        gone.into_iter().for_each(|id| self.end(id));
    }

    /// Every copy ends, for the sums.
    pub(super) fn close(&mut self) {
        let all: Vec<_> = self.copies.keys().copied().collect();
        all.into_iter().for_each(|id| self.end(id));
    }

    fn end(&mut self, id: AssignmentId) {
        let Some(copy) = self.copies.remove(&id) else { return };
        let charge = rate(copy.ran, copy.told.reserved, copy.told.rates, &copy.told.price);
        self.cost.0 += charge.cost.0;
        self.price.0 += charge.price().0;
        self.ran.0 += copy.ran.0;
        if copy.role == SiteRole::Provider {
            self.servers.0 += charge.cost.0;
        }
    }

    /// Every agent that is connected does what it is told and says so, once. Gives when something that was begun now will
    /// answer, and whether anything new was said.
    pub(super) fn report(&mut self, draft: &mut Draft<'_>) -> (Option<Timestamp>, bool) {
        let now = draft.now;
        let told: Vec<_> =
            draft.model.assignments.values().filter(|a| draft.model.pulse(a.host).connected).cloned().collect();
        let (mut begun, mut said) = (None, BTreeMap::<HostId, Vec<ObservedAssignment>>::new());
        for a in &told {
            if a.is_to_run() && !self.copies.contains_key(&a.id) {
                let ready = now.after(self.start);
                begun = Some(ready);
                let role = role(&draft.model, a);
                self.copies.insert(a.id, Copy { told: a.as_ref().clone(), role, ready, ran: Micros::ZERO });
            } else if !a.is_to_run() {
                self.end(a.id);
            }
            let seen = seen(a, self.phase(a, now));
            if a.observed.as_ref() != Some(&seen) {
                said.entry(a.host).or_default().push(seen);
            }
        }
        for (host, observed) in &said {
            for service in observe(draft, *host, observed) {
                advance(draft, service);
            }
        }
        (begun, !said.is_empty())
    }

    fn phase(&self, a: &Assignment, now: Timestamp) -> Phase {
        match a.target {
            Target::Running | Target::Own(_) if self.copies.get(&a.id).is_some_and(|c| c.ready <= now) => {
                Phase::Running
            }
            Target::Stopped => Phase::Stopped,
            Target::Wiped => Phase::Wiped,
            _ => Phase::Pending,
        }
    }
}

fn role(model: &Model, a: &Assignment) -> SiteRole {
    model.sites.get(&a.site).map_or(SiteRole::Remote, |s| s.role)
}

fn seen(a: &Assignment, phase: Phase) -> ObservedAssignment {
    let (id, epoch, health) = (a.id, a.epoch, Health::default());
    let (ports, message, outputs) = (Vec::new(), String::new(), Vec::new());
    ObservedAssignment { id, epoch, phase, ports, starts: 1, failures: 0, message, health, outputs }
}
