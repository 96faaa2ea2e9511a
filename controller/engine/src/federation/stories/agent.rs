//! A machine with its agent: does what its home tells it, in the order and under the leases that a real one would, and
//! meters it. The rules are those of the agent's `custody` and `lease`.

use std::collections::BTreeMap;

use chandler_protocol::lease::{LeasePart, LeaseRequest, LeaseWanted};
use chandler_protocol::state::{
    Assignment, Failure, Health, ObservedAssignment, Own, Phase, Progress, Receive, Received, Sealed, Target,
};
use chandler_protocol::usage::UsageRecord;
use chandler_protocol::{AssignmentId, Digest, HostId, Micros, Timestamp};

/// How often what runs is metered.
const METERED_EACH: i64 = 10_000_000;
/// A lease is asked for again when this much of it is left.
const RENEW_AT: i64 = 6_000_000;

/// One copy on this machine.
#[derive(Debug, Clone, Default)]
pub(super) struct Copy {
    epoch: u64,
    lease: Option<(u64, Micros)>,
    last_lease: u64,
    given_up: Option<(u64, Sealed)>,
    received: Option<Received>,
    begun: Option<u64>,
    refused: bool,
    /// Runs, since it was metered last.
    pub runs: Option<Timestamp>,
    starts: u32,
    /// How much was written to its state.
    pub written: u64,
    wiped: bool,
    phase: Option<Phase>,
}

/// A machine.
pub(super) struct Machine {
    pub id: HostId,
    /// Index of its home controller.
    pub home: usize,
    pub up: bool,
    pub told: BTreeMap<AssignmentId, Assignment>,
    pub copies: BTreeMap<AssignmentId, Copy>,
    nonce: u64,
    asked: BTreeMap<u64, Micros>,
    sequence: u64,
    /// Records that its home has not acknowledged, with when each stretch ended.
    pub records: Vec<(Timestamp, UsageRecord)>,
}

/// What stands for a state of so many writes.
fn root(written: u64) -> Digest {
    let mut bytes = [7; 32];
    bytes[..8].copy_from_slice(&written.to_be_bytes());
    Digest(bytes)
}

fn written(root: Digest) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&root.0[..8]);
    u64::from_be_bytes(bytes)
}

impl Copy {
    fn ordered(&mut self, a: &Assignment) {
        if a.epoch > self.epoch {
            self.epoch = a.epoch;
            (self.last_lease, self.given_up, self.refused) = (0, None, false);
            self.lease = self.lease.map(|(_, until)| (0, until));
        }
        match a.target {
            Target::Running | Target::Own(_) | Target::Seal { .. } => {}
            Target::Receive(order) => {
                self.lease = None;
                self.received = self.received.filter(|r| r.attempt == order.attempt);
            }
            Target::Stopped | Target::Wiped => (self.lease, self.received) = (None, None),
        }
    }

    /// Whether it may run as the owner of its state; `Err` with what it says if not.
    fn may(&self, own: &Own, now: Micros) -> Result<(), Phase> {
        if let Some((_, sealed)) = self.given_up.filter(|(epoch, _)| *epoch >= self.epoch) {
            return Err(Phase::Sealed(sealed));
        }
        if self.begun != Some(self.epoch) && own.from.is_some() && own.from != self.received {
            return Err(Phase::Failed(Failure::State));
        }
        match (own.leased, self.lease) {
            (true, Some((_, until))) if until > now => Ok(()),
            (true, _) => Err(Phase::Pending),
            (false, _) => Ok(()),
        }
    }

    fn leased(&mut self, epoch: u64, generation: u64, until: Micros) {
        if epoch != self.epoch || generation < self.last_lease {
            return;
        }
        self.last_lease = generation;
        self.refused = false;
        if let Some((_, sealed)) = self.given_up.as_mut() {
            sealed.lease = generation;
            return;
        }
        let later = self.lease.filter(|(g, _)| *g == generation).map_or(until, |(_, u)| u.max(until));
        self.lease = Some((generation, later));
    }
}

impl Machine {
    pub(super) fn new(id: HostId, home: usize) -> Self {
        Self {
            id,
            home,
            up: true,
            told: BTreeMap::new(),
            copies: BTreeMap::new(),
            nonce: 0,
            asked: BTreeMap::new(),
            sequence: 0,
            records: Vec::new(),
        }
    }

    /// Leaves a number out, as if something had been metered under it.
    pub(super) fn skips(&mut self) {
        self.sequence += 1;
    }

    /// Takes in desired state: what it does not name is left as it is, and what has an older epoch is refused.
    pub(super) fn desired(&mut self, all: &[Assignment], now: Timestamp) {
        let wiped: Vec<_> = self.copies.iter().filter(|(_, c)| c.wiped).map(|(id, _)| *id).collect();
        for id in wiped.into_iter().filter(|id| all.iter().all(|a| a.id != *id)) {
            self.told.remove(&id);
            self.copies.remove(&id);
        }
        for order in all {
            if self.told.get(&order.id).is_some_and(|known| order.epoch < known.epoch) {
                continue;
            }
            if self.copies.get(&order.id).is_some_and(|c| c.runs.is_some() && c.epoch < order.epoch) {
                // What ran until now ran under the epoch before.
                self.meters(order.id, now);
            }
            self.told.insert(order.id, order.clone());
            self.copies.entry(order.id).or_default().ordered(order);
        }
    }

    /// The machine is switched off, or its power fails.
    pub(super) fn dies(&mut self, now: Timestamp) {
        for id in self.copies.keys().copied().collect::<Vec<_>>() {
            self.stops(id, now);
        }
        for copy in self.copies.values_mut() {
            copy.lease = None;
        }
        self.asked.clear();
        self.up = false;
    }

    /// Everything that may be done now; `source` gives what another machine has sealed.
    pub(super) fn acts(&mut self, now: Timestamp, sealed: &BTreeMap<AssignmentId, Sealed>) {
        for (id, order) in self.told.clone() {
            let phase = self.act(id, &order, now, sealed);
            let Some(copy) = self.copies.get_mut(&id) else { continue };
            copy.phase = Some(phase);
            let due = copy.runs.is_some_and(|since| now.since(since).0 >= METERED_EACH);
            if due {
                self.meters(id, now);
            }
        }
    }

    fn act(
        &mut self,
        id: AssignmentId,
        order: &Assignment,
        now: Timestamp,
        sealed: &BTreeMap<AssignmentId, Sealed>,
    ) -> Phase {
        let copy = self.copies.entry(id).or_default();
        let boot = Micros(now.0);
        match order.target {
            Target::Running => self.runs(id, now),
            Target::Own(own) => match copy.may(&own, boot) {
                Ok(()) => self.runs(id, now),
                Err(phase) => {
                    // It was killed when its lease ended, not when somebody looked.
                    let ended = copy.lease.map_or(now, |(_, until)| Timestamp(until.0.min(now.0)));
                    self.stops(id, ended);
                    phase
                }
            },
            Target::Stopped => {
                self.stops(id, now);
                Phase::Stopped
            }
            Target::Wiped => {
                self.stops(id, now);
                let copy = self.copies.entry(id).or_default();
                (copy.wiped, copy.written, copy.begun) = (true, 0, None);
                Phase::Wiped
            }
            Target::Seal { attempt } => {
                self.stops(id, now);
                let copy = self.copies.entry(id).or_default();
                let given = Sealed { attempt, root: root(copy.written), lease: copy.last_lease };
                let kept =
                    copy.given_up.filter(|(e, s)| *e == copy.epoch && s.attempt == attempt).map_or(given, |g| g.1);
                copy.lease = None;
                copy.given_up = Some((copy.epoch, kept));
                Phase::Sealed(kept)
            }
            Target::Receive(wanted) => self.receives(id, &wanted, now, sealed),
        }
    }

    fn receives(
        &mut self,
        id: AssignmentId,
        wanted: &Receive,
        now: Timestamp,
        sealed: &BTreeMap<AssignmentId, Sealed>,
    ) -> Phase {
        self.stops(id, now);
        let copy = self.copies.entry(id).or_default();
        copy.wiped = false;
        if let Some(s) = sealed.get(&wanted.source).filter(|s| s.attempt == wanted.attempt)
            && copy.begun != Some(copy.epoch)
        {
            copy.received = Some(Received { attempt: wanted.attempt, root: s.root });
            copy.written = written(s.root);
        }
        match copy.received.filter(|r| r.attempt == wanted.attempt) {
            Some(received) => Phase::Verified(received),
            None => {
                Phase::Receiving(Progress { attempt: wanted.attempt, rounds: 1, in_step: true, ..Progress::default() })
            }
        }
    }

    fn runs(&mut self, id: AssignmentId, now: Timestamp) -> Phase {
        let copy = self.copies.entry(id).or_default();
        if copy.runs.is_none() {
            copy.runs = Some(now);
            copy.starts += 1;
            copy.begun = Some(copy.epoch);
            copy.wiped = false;
        }
        copy.written += 1;
        Phase::Running
    }

    fn stops(&mut self, id: AssignmentId, now: Timestamp) {
        self.meters(id, now);
        if let Some(copy) = self.copies.get_mut(&id) {
            copy.runs = None;
        }
    }

    /// Writes down what ran since the last time.
    fn meters(&mut self, id: AssignmentId, now: Timestamp) {
        let Some(copy) = self.copies.get_mut(&id) else { return };
        let Some(since) = copy.runs.replace(now) else {
            copy.runs = None;
            return;
        };
        let running = Micros(now.since(since).0.max(0));
        if running.0 > 0 {
            self.sequence += 1;
            let (sequence, epoch) = (self.sequence, copy.epoch);
            let record =
                UsageRecord { sequence, assignment: id, epoch, running, cpu: running, age: Some(Micros::ZERO) };
            self.records.push((now, record));
        }
    }

    /// Whether its software runs at this very moment: what runs under a lease is dead when that ends.
    pub(super) fn is_running(&self, id: AssignmentId, now: Timestamp) -> bool {
        let Some(copy) = self.copies.get(&id).filter(|c| self.up && c.runs.is_some()) else { return false };
        !self.is_leased(id) || copy.lease.is_some_and(|(_, until)| until.0 > now.0)
    }

    /// Whether it may run under its owner's lease only.
    pub(super) fn is_leased(&self, id: AssignmentId) -> bool {
        self.told.get(&id).is_some_and(|a| matches!(a.target, Target::Own(Own { leased: true, .. })))
    }

    /// What it found.
    pub(super) fn observed(&self) -> Vec<ObservedAssignment> {
        let all = self.copies.iter().filter_map(|(id, copy)| {
            let (ports, message, outputs) = (Vec::new(), String::new(), Vec::new());
            let (epoch, starts) = (copy.epoch, copy.starts);
            let phase = copy.phase?;
            Some(ObservedAssignment {
                id: *id,
                epoch,
                phase,
                ports,
                starts,
                failures: 0,
                message,
                health: Health::default(),
                outputs,
            })
        });
        all.collect()
    }

    /// What is sealed here.
    pub(super) fn sealed(&self) -> impl Iterator<Item = (AssignmentId, Sealed)> + '_ {
        let all = self.copies.iter().filter(|_| self.up);
        all.filter_map(|(id, c)| Some((*id, c.given_up.filter(|(e, _)| *e == c.epoch)?.1)))
    }

    /// The leases that it asks for now, if any.
    pub(super) fn asks(&mut self, now: Timestamp) -> Option<LeaseRequest> {
        let mut wanted = Vec::new();
        for (id, order) in &self.told {
            let Target::Own(Own { leased: true, .. }) = order.target else { continue };
            let Some(copy) = self.copies.get(id) else { continue };
            let left = copy.lease.map_or(0, |(_, until)| until.0 - now.0);
            if copy.given_up.is_some_and(|(epoch, _)| epoch >= copy.epoch) || left > RENEW_AT {
                continue;
            }
            let generation = if copy.refused || left <= 0 { 0 } else { copy.lease.map_or(0, |(g, _)| g) };
            wanted.push(LeaseWanted { assignment: *id, epoch: copy.epoch, generation });
        }
        if wanted.is_empty() {
            return None;
        }
        self.nonce += 1;
        self.asked.insert(self.nonce, Micros(now.0));
        while self.asked.len() > 64 {
            self.asked.pop_first();
        }
        Some(LeaseRequest { nonce: self.nonce, wanted })
    }

    /// An answer: it counts from when it was asked for, however late it comes.
    pub(super) fn granted(&mut self, part: &LeasePart) {
        let Some(sent) = self.asked.get(&part.grant.nonce).copied() else { return };
        for id in &part.about {
            let Some(copy) = self.copies.get_mut(id) else { continue };
            match part.grant.given.iter().find(|g| g.assignment == *id && g.epoch == copy.epoch) {
                Some(given) => copy.leased(given.epoch, given.generation, Micros(sent.0 + part.grant.lasts.0)),
                None => copy.refused = true,
            }
        }
    }
}
