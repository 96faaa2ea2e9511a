//! When all is well, and what is not.

use std::fmt::Write as _;

use chandler_engine::fleet::HostState;
use chandler_engine::model::Model;
use chandler_engine::relocation::tenure::Stage;
use chandler_engine::service::{AllocationState, OperatingStatus, Service};
use chandler_protocol::Micros;

use super::{LEDGER, WEB};
use crate::fleet::Fleet;

/// Why not everything is well, if it is not: every computer there, nothing on its way, and of each service one copy, which
/// runs, owns its state, and is where the doors are sent.
pub(super) fn unsettled(fleet: &Fleet) -> Option<String> {
    let (model, now) = (fleet.model(), fleet.now());
    if active(&model) != fleet.machines.len() {
        let hosts: Vec<_> = model.hosts.values().map(|h| (h.name.clone(), h.state)).collect();
        return Some(format!("hosts: {hosts:?}"));
    }
    if let Some(open) = model.moves.values().find(|m| !m.phase.is_final()) {
        return Some(format!("open: {open:#?}"));
    }
    for name in [WEB, LEDGER] {
        let Some(service) = model.services.values().find(|s| s.name == name) else {
            return Some(format!("{name} is not there"));
        };
        if let Some(why) = not_well(&model, fleet, service, now) {
            return Some(format!("{name}: {why}"));
        }
    }
    None
}

fn not_well(model: &Model, fleet: &Fleet, service: &Service, now: Micros) -> Option<String> {
    let mut why = String::new();
    let all: Vec<_> = model.assignments_of(service.id).collect();
    let copies: Vec<_> = all.iter().filter(|a| a.state != AllocationState::Releasing).collect();
    let spans = fleet.machines.iter().flat_map(|m| m.spans(now)).filter(|s| s.to.is_none());
    let runs: Vec<_> = spans.map(|s| s.assignment).filter(|id| all.iter().any(|a| a.id == *id)).collect();
    let wanted: Vec<_> = copies.iter().map(|a| a.id).collect();
    let tenure = service.tenure.map(|t| (t.owner, t.stage));
    let is_owned = tenure.is_none_or(|(owner, stage)| stage == Stage::Settled && owner == wanted.first().copied());
    let is_well = service.status == OperatingStatus::Running
        && wanted.len() == 1
        && runs == wanted
        && service.route.backends == wanted
        && service.route.hold.is_none()
        && is_owned;
    if !is_well {
        let phases: Vec<_> = all.iter().map(|a| (a.id, a.state, a.target, a.phase())).collect();
        let _ = write!(
            why,
            "{:?} {}, runs {runs:?}, {:?}, {tenure:?}, {phases:#?}",
            service.status, service.reason, service.route
        );
        return Some(why);
    }
    None
}

pub(super) fn active(model: &Model) -> usize {
    model.hosts.values().filter(|h| h.state == HostState::Active).count()
}
