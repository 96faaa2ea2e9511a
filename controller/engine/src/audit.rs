//! The audit: what must hold of every model, whatever happened. Tests and simulations run it after each step.

#[cfg(test)]
mod cases;
mod indexes;
mod moves;

use std::collections::BTreeSet;

use chandler_protocol::state::Target;
use chandler_protocol::workload::State;

use crate::fleet::HostState;
use crate::model::Model;
use crate::order::{Action, OrderState};
use crate::service::{AllocationState, Assignment, Service, ServiceState};

/// Something that must never be and is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    /// The rule that is broken: a stable name.
    pub rule: &'static str,
    /// What breaks it, in one sentence.
    pub text: String,
}

/// Checks everything; empty when all is well.
pub fn audit(model: &Model) -> Vec<Violation> {
    let mut found = Vec::new();
    capacity(model, &mut found);
    assignments(model, &mut found);
    services(model, &mut found);
    orders(model, &mut found);
    moves::check(model, &mut found);
    indexes::check(model, &mut found);
    found
}

fn report(found: &mut Vec<Violation>, rule: &'static str, text: String) {
    found.push(Violation { rule, text });
}

fn capacity(model: &Model, found: &mut Vec<Violation>) {
    for host in model.hosts.values() {
        // What a lost or revoked host held is placed elsewhere; what it offers now is not known.
        if host.inventory.is_none() || matches!(host.state, HostState::Lost | HostState::Revoked) {
            continue;
        }
        let reserved = model.reserved.get(&host.id).copied().unwrap_or_default();
        let offered = host.offered();
        if !offered.holds(reserved) {
            let text = format!("{} offers {offered:?}, reserved are {reserved:?}", host.id);
            report(found, "capacity", text);
        }
    }
}

fn assignments(model: &Model, found: &mut Vec<Violation>) {
    for a in model.assignments.values() {
        let Some(service) = model.services.get(&a.service) else {
            report(found, "assignment-service", format!("{} is of {}, which is not known", a.id, a.service));
            continue;
        };
        // A lost host cannot confirm; it is told to wipe when it returns, and nobody waits for it.
        if service.state == ServiceState::Terminated && a.target != Target::Wiped {
            report(found, "terminated-service", format!("{} is terminated and still has {}", service.id, a.id));
        }
        if !model.sites.contains_key(&a.site) {
            report(found, "assignment-site", format!("{} is at {}, which is not known", a.id, a.site));
        }
        match model.hosts.get(&a.host) {
            None => report(found, "assignment-host", format!("{} is on {}, which is not known", a.id, a.host)),
            Some(host) if host.site != a.site => {
                let text = format!("{} is at {}, but its host {} is at {}", a.id, a.site, host.id, host.site);
                report(found, "assignment-site", text);
            }
            Some(_) => {}
        }
    }
}

fn services(model: &Model, found: &mut Vec<Violation>) {
    for service in model.services.values() {
        let copies: Vec<&Assignment> = model.assignments_of(service.id).map(AsRef::as_ref).collect();
        replicas(service, &copies, found);
        let epochs: BTreeSet<u64> = copies.iter().map(|a| a.epoch).collect();
        // Copies that may run side by side need no telling apart; an exclusive one is told from the next by it.
        if is_exclusive(service) && epochs.len() != copies.len() {
            report(found, "epochs", format!("two assignments of {} have the same epoch", service.id));
        }
        if !model.orders.contains_key(&service.order) {
            report(found, "service-order", format!("{} is of {}, which is not known", service.id, service.order));
        }
    }
}

fn replicas(service: &Service, copies: &[&Assignment], found: &mut Vec<Violation>) {
    if service.state == ServiceState::Terminated {
        return;
    }
    let held = || copies.iter().filter(|a| a.state != AllocationState::Releasing);
    // While another copy takes over, one that leaves still runs.
    let running = held().filter(|a| !a.leaving).count();
    let most = service.policy.replicas_max;
    if running > most as usize {
        report(found, "replicas", format!("{} has {running} copies, at most {most} are allowed", service.id));
    }
    // What is being received, or was sealed, does not run.
    let held = held().filter(|a| a.is_to_run()).count();
    if is_exclusive(service) && held > 1 {
        report(found, "exclusive", format!("{} may run once and is to run {held} times", service.id));
    }
}

fn is_exclusive(service: &Service) -> bool {
    service.spec.state.as_ref().is_some_and(|State { exclusive, .. }| *exclusive)
}

fn orders(model: &Model, found: &mut Vec<Violation>) {
    for order in model.orders.values() {
        let made = order.service.is_some_and(|s| model.services.contains_key(&s));
        if order.state == OrderState::Completed && order.action != Action::Delete && !made {
            report(found, "completed-order", format!("{} is completed and has no service", order.id));
        }
        if order.number > model.last_order {
            let text = format!("{} has number {}, the last was {}", order.id, order.number, model.last_order);
            report(found, "order-number", text);
        }
    }
}
