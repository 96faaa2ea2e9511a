//! The users of software that keeps a state, and what they must never see: two copies at once, an answer that is
//! forgotten, a state deleted before another copy has all of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chandler_engine::model::Model;
use chandler_engine::movement::MoveKind;
use chandler_engine::service::ServiceState;
use chandler_protocol::{AssignmentId, Micros, ServiceId};

use crate::air::EPOCH;
use crate::machine::{Machine, Span};

/// How often they write.
const EVERY: Micros = Micros::from_millis(40);
/// Length of what is written at a time.
const ENTRY: usize = 8;

/// What is known of one service that keeps a state.
#[derive(Debug, Default)]
struct Service {
    /// Every copy there ever was.
    copies: BTreeSet<AssignmentId>,
    /// Those that front doors were ever sent to: an old door may still know any of them.
    known: BTreeSet<AssignmentId>,
    /// What was written and told to be kept, and when.
    told: BTreeMap<u64, Micros>,
    /// It was deleted by its customer.
    is_over: bool,
}

/// The users of everything.
#[derive(Debug, Default)]
pub(crate) struct Users {
    services: BTreeMap<ServiceId, Service>,
    written: u64,
    write_at: Micros,
    /// Deletions that were looked at, on each computer.
    looked_at: BTreeMap<usize, usize>,
}

impl Users {
    /// What is committed has changed.
    pub(crate) fn learn(&mut self, model: &Model) {
        for service in model.services.values().filter(|s| s.carries_state()) {
            let known = self.services.entry(service.id).or_default();
            known.copies.extend(model.assignments_of(service.id).map(|a| a.id));
            known.known.extend(service.route.backends.iter().copied());
            known.is_over = matches!(service.state, ServiceState::Terminating | ServiceState::Terminated);
        }
        // What only a lost host had was given up, and that was said: nobody expects it any more.
        for on in model.moves.values().filter(|m| m.kind == MoveKind::Failover) {
            let said = on.evidence.contains("lost with its host") || on.evidence.contains("state that was kept");
            if let Some(known) = self.services.get_mut(&on.service).filter(|_| said) {
                let at = Micros(on.started_at.0 - EPOCH.0);
                known.told.retain(|_, when| *when > at);
            }
        }
    }

    /// They write, wherever they are served, and look.
    pub(crate) fn step(&mut self, machines: &[Arc<Machine>], now: Micros) {
        if now >= self.write_at {
            self.write_at = Micros(now.0 + EVERY.0);
            self.write(machines, now);
        }
        for (id, service) in &self.services {
            alone(*id, service, machines, now);
        }
        self.deletions(machines);
    }

    fn write(&mut self, machines: &[Arc<Machine>], now: Micros) {
        for service in self.services.values_mut() {
            for copy in &service.known {
                for machine in machines {
                    let entry = self.written + 1;
                    if machine.write(*copy, entry.to_le_bytes(), now) {
                        self.written = entry;
                        service.told.insert(entry, now);
                    }
                }
            }
        }
    }

    /// A state is deleted only once another copy that was started has all of it.
    fn deletions(&mut self, machines: &[Arc<Machine>]) {
        for (index, machine) in machines.iter().enumerate() {
            let before = self.looked_at.entry(index).or_default();
            let wiped = machine.wiped();
            for gone in wiped.iter().skip(*before) {
                let Some(service) = self.services.values().find(|s| s.copies.contains(&gone.assignment)) else {
                    continue;
                };
                if service.is_over {
                    continue;
                }
                let had: BTreeSet<u64> = entries(&gone.state).filter(|e| service.told.contains_key(e)).collect();
                let is_elsewhere = machines.iter().any(|m| {
                    let started = m.starts().into_iter().map(|(_, id)| id);
                    started.filter(|id| *id != gone.assignment && service.copies.contains(id)).any(|id| {
                        let has: BTreeSet<u64> = entries(&m.state(id)).collect();
                        had.is_subset(&has)
                    })
                });
                assert!(
                    had.is_empty() || is_elsewhere,
                    "at {}: the only state of {} is deleted",
                    gone.at,
                    gone.assignment
                );
            }
            *before = wiped.len();
        }
    }

    /// Everything that was told to be kept is in the state of the copy that owns it. Gives how much that is.
    pub(crate) fn check_kept(&self, model: &Model, machines: &[Arc<Machine>]) -> usize {
        let mut kept = 0;
        for (id, service) in self.services.iter().filter(|(_, s)| !s.is_over) {
            let owner = model.services.get(id).and_then(|s| s.tenure?.owner).unwrap();
            let has: BTreeSet<u64> =
                machines.iter().flat_map(|m| entries(&m.state(owner)).collect::<Vec<_>>()).collect();
            let lost: Vec<_> = service.told.iter().filter(|(entry, _)| !has.contains(entry)).collect();
            assert!(lost.is_empty(), "{} of {} writes are lost: {lost:?}", lost.len(), service.told.len());
            kept += service.told.len();
        }
        kept
    }
}

/// At no instant do two copies of it run.
fn alone(id: ServiceId, service: &Service, machines: &[Arc<Machine>], now: Micros) {
    let spans = machines.iter().flat_map(|m| m.spans(now));
    let mut spans: Vec<Span> = spans.filter(|s| service.copies.contains(&s.assignment)).collect();
    spans.sort();
    for pair in spans.windows(2) {
        let is_over = pair[0].to.is_some_and(|to| to <= pair[1].from);
        assert!(is_over, "at {now}: {id} runs twice: {pair:?}");
    }
}

fn entries(state: &[u8]) -> impl Iterator<Item = u64> {
    // What is cut off is no entry.
    state.chunks_exact(ENTRY).filter_map(|bytes| bytes.try_into().ok().map(u64::from_le_bytes))
}
