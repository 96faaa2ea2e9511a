//! Decides orders: qualification, then reservation in the same step, so that two requests for the last unit cannot
//! both win. Orders are served in the order in which they were acknowledged.

use std::sync::Arc;

use chandler_protocol::workload::{WorkloadKind, WorkloadSpec};
use chandler_protocol::{AgreementId, ServiceId, Timestamp};

use crate::draft::Draft;
use crate::event::Noun;
use crate::federation;
use crate::model::Change;
use crate::order::{Action, ItemSpec, Order, OrderState};
use crate::placement::{Outcome, Refusal};
use crate::relocation;
use crate::service::{AllocationState, OperatingStatus, PriceTerms, Service, ServiceState, Trigger};
use crate::sla::{Agreement, AgreementVersion, Terms};

/// Decides every acknowledged order. One that would be refused while it is not known whether some host is there
/// stays acknowledged: unknown is not absent, and an order must not be lost to a restart of the controller.
pub fn admit(draft: &mut Draft<'_>) {
    let orders: Vec<_> = draft.model.open_orders.values().copied().collect();
    for id in orders {
        let Some(order) = draft.model.orders.get(&id).cloned() else { continue };
        if order.state != OrderState::Acknowledged {
            continue;
        }
        match order.action {
            Action::Add if order.spec.workload.kind == WorkloadKind::Task => add_task(draft, &order),
            Action::Add => add_service(draft, &order),
            Action::Modify => modify(draft, &order),
            Action::Delete => delete(draft, &order),
        }
    }
}

/// Ends an order that is not final: what it reserved is given back.
pub fn cancel(draft: &mut Draft<'_>, order: &Order, reason: &str) {
    // Cancelled first: what ends because of it does not complete the order.
    draft.order_to(order, OrderState::Cancelled, reason);
    if order.action != Action::Add {
        return;
    }
    let services: Vec<_> = draft.model.services_of(order.id).cloned().collect();
    for service in &services {
        terminate(draft, &Service { pending_order: None, ..service.as_ref().clone() }, reason);
    }
}

/// A service that was promised a place and did not get it: where its order is new and no other place is there now, the
/// order has failed, and says why.
pub(crate) fn unserved(draft: &mut Draft<'_>, id: ServiceId, why: &str) {
    let Some(service) = draft.model.services.get(&id).cloned() else { return };
    let order = service.pending_order.and_then(|o| draft.model.orders.get(&o).cloned());
    let Some(order) = order.filter(|o| o.action == Action::Add && o.state == OrderState::InProgress) else { return };
    let waits = draft.model.assignments_of(id).all(|a| a.state == AllocationState::Releasing);
    if service.has_run() || !waits || draft.model.is_unsure() {
        return;
    }
    let terms = relocation::terms_of(draft, &service);
    let (outcome, decision) = relocation::decide(draft, &service, &terms, Trigger::Order, &[]);
    let Some(Refusal::Infeasible { text, nearest } | Refusal::NoCapacity { text, nearest }) = outcome.refusal else {
        return;
    };
    draft.put(Change::Decision(Arc::new(decision)));
    let failed = Order { code: "E0302".to_owned(), nearest, ..order.as_ref().clone() };
    let reason = format!("{text}; {why}");
    draft.order_to(&failed, OrderState::Failed, reason.clone());
    terminate(draft, &Service { pending_order: None, ..service.as_ref().clone() }, &reason);
}

fn add_service(draft: &mut Draft<'_>, order: &Arc<Order>) {
    if draft.model.by_name.contains_key(&(order.customer, order.name.clone())) {
        let text = format!("there is a service {} already: use action modify, or another name", order.name);
        return reject(draft, order, "E0140", &text, Vec::new());
    }
    let Some(price) = price_terms(draft, order) else { return };
    let agreement = AgreementId::from_random(draft.id());
    let service = Arc::new(new_service(draft, order, agreement, price, None, 0));
    let terms = order.spec.terms.clone();
    // Decided before anything is written: a rejected order leaves nothing behind but its decision.
    let (outcome, decision) = relocation::decide(draft, &service, &terms, Trigger::Order, &[]);
    if outcome.refusal.is_some() {
        if draft.model.is_unsure() {
            return;
        }
        draft.put(Change::Decision(Arc::new(decision)));
        return refuse(draft, order, outcome);
    }
    agree(draft, order, agreement, terms.clone());
    announce(draft, &service);
    let accepted = accept(draft, order, agreement, service.id);
    if relocation::replan(draft, &service, &terms, Trigger::Order, &[]).is_ok() {
        let reason = draft.model.services.get(&service.id).map_or_else(String::new, |s| {
            s.predicted
                .map_or_else(String::new, |p| format!("reserved at {} {}/month", p.monthly_cost, draft.model.currency))
        });
        draft.order_to(&accepted, OrderState::InProgress, reason);
    }
}

fn add_task(draft: &mut Draft<'_>, order: &Arc<Order>) {
    let Some(price) = price_terms(draft, order) else { return };
    let agreement = AgreementId::from_random(draft.id());
    let terms = order.spec.terms.clone();
    let probe = new_service(draft, order, agreement, price.clone(), order.spec.items.first(), 0);
    let (outcome, decision) = relocation::decide(draft, &probe, &terms, Trigger::Order, &[]);
    // A full fleet is no reason to refuse a task: its items wait for their turn.
    if matches!(outcome.refusal, Some(Refusal::Infeasible { .. })) {
        if draft.model.is_unsure() {
            return;
        }
        draft.put(Change::Decision(Arc::new(decision)));
        return refuse(draft, order, outcome);
    }
    agree(draft, order, agreement, terms);
    let mut first = None;
    for (index, item) in order.spec.items.iter().enumerate() {
        let index = u32::try_from(index).unwrap_or(u32::MAX);
        let service = new_service(draft, order, agreement, price.clone(), Some(item), index);
        first.get_or_insert(service.id);
        draft.put(service);
    }
    let Some(first) = first else { return };
    let accepted = accept(draft, order, agreement, first);
    draft.order_to(&accepted, OrderState::InProgress, format!("{} items", order.spec.items.len()));
}

fn modify(draft: &mut Draft<'_>, order: &Arc<Order>) {
    let Some(service) = find(draft, order) else { return };
    let Some(price) = price_terms(draft, order) else { return };
    let Some(agreement) = draft.model.agreements.get(&service.agreement).cloned() else { return };
    let terms = order.spec.terms.clone();
    let amended = agreement.terms() != terms;
    let trigger = if amended { Trigger::SlaAmended } else { Trigger::OrderModified };
    let changed = Arc::new(Service {
        spec: order.spec.workload.clone(),
        platform: order.spec.platform.clone(),
        policy: order.spec.policy.clone(),
        price,
        // What failed so far was another configuration.
        setbacks: 0,
        not_before: Timestamp(0),
        pending_order: Some(order.id),
        gpus: terms.gpus_min,
        ..service.as_ref().clone()
    });
    // What is being handed over must first have arrived; then this order is looked at again.
    if !draft.model.moves_of(service.id).all(|m| relocation::may_give_way(m)) {
        return;
    }
    let (outcome, decision) = relocation::decide(draft, &changed, &terms, trigger, &[]);
    if outcome.refusal.is_some() {
        if draft.model.is_unsure() {
            return;
        }
        draft.put(Change::Decision(Arc::new(decision)));
        return refuse(draft, order, outcome);
    }
    // What is leased has to become as large first: an amendment that is not given changes nothing.
    if federation::waits_for_room(draft, order, &changed, &outcome) {
        return;
    }
    if amended {
        amend(draft, &agreement, terms.clone(), &order.by);
    }
    draft.put(changed.as_ref().clone());
    relocation::give_way(draft, service.id, "superseded: its order was changed");
    let changed = draft.model.services.get(&service.id).cloned().unwrap_or(changed);
    let accepted = accept(draft, order, agreement.id, service.id);
    if relocation::replan(draft, &changed, &terms, trigger, &[]).is_ok() {
        draft.order_to(&accepted, OrderState::InProgress, "reserved");
    }
    super::advance(draft, service.id);
}

fn delete(draft: &mut Draft<'_>, order: &Arc<Order>) {
    let Some(service) = find(draft, order) else { return };
    let accepted = accept(draft, order, service.agreement, service.id);
    draft.order_to(&accepted, OrderState::InProgress, "stopping");
    let service = Service { pending_order: Some(order.id), ..service.as_ref().clone() };
    draft.put(service.clone());
    terminate(draft, &service, "deleted by order");
    super::advance(draft, service.id);
}

/// Stops and wipes every copy of a service. Its resources are back when its agents say so.
fn terminate(draft: &mut Draft<'_>, service: &Service, reason: &str) {
    if matches!(service.state, ServiceState::Terminating | ServiceState::Terminated) {
        return;
    }
    relocation::abandon_all(draft, service.id, reason);
    let copies: Vec<_> = draft.model.assignments_of(service.id).cloned().collect();
    for copy in &copies {
        relocation::wipe(draft, copy, reason);
    }
    let (tenure, route) =
        draft.model.services.get(&service.id).map(|s| (s.tenure, s.route.clone())).unwrap_or_default();
    draft.event(
        (Noun::Service, service.id.to_string(), &service.name),
        service.status.as_str(),
        OperatingStatus::Stopping.as_str(),
        reason,
    );
    draft.put(Service {
        state: ServiceState::Terminating,
        status: OperatingStatus::Stopping,
        since: draft.now,
        displaced: None,
        reason: reason.to_owned(),
        tenure,
        route,
        ..service.clone()
    });
    super::advance(draft, service.id);
}

/// The service that a modify or delete order means; rejects the order when there is none or it is busy.
fn find(draft: &mut Draft<'_>, order: &Arc<Order>) -> Option<Arc<Service>> {
    let id = draft.model.by_name.get(&(order.customer, order.name.clone())).copied();
    let service = id.and_then(|id| draft.model.services.get(&id).cloned());
    match service {
        None => {
            reject(draft, order, "E0130", &format!("there is no service {}", order.name), Vec::new());
            None
        }
        Some(s) if order.action == Action::Modify && is_being_added(draft, &s) => {
            let text = format!("an order for {} is still being carried out: wait for it", order.name);
            reject(draft, order, "E0140", &text, Vec::new());
            None
        }
        Some(s) => {
            supersede(draft, &s, order);
            Some(s)
        }
    }
}

/// Whether the order that made the service is still being carried out. A later change takes the place of an earlier
/// one, or a change that never gets healthy could not be taken back.
fn is_being_added(draft: &Draft<'_>, service: &Service) -> bool {
    let pending = service.pending_order.and_then(|id| draft.model.orders.get(&id));
    pending.is_some_and(|o| o.action == Action::Add)
}

/// A later order ends whatever was being done to the service.
fn supersede(draft: &mut Draft<'_>, service: &Service, order: &Order) {
    let waiting = federation::waiting(&draft.model, service.id, order.id);
    for earlier in waiting.into_iter().chain(service.pending_order) {
        if let Some(earlier) = draft.model.orders.get(&earlier).cloned() {
            draft.order_to(&earlier, OrderState::Cancelled, "superseded by a later order");
        }
    }
}

fn price_terms(draft: &mut Draft<'_>, order: &Arc<Order>) -> Option<PriceTerms> {
    let offering = draft.model.offerings.get(&order.spec.offering).cloned();
    let Some(offering) = offering else {
        reject(draft, order, "E0130", &format!("there is no offering {}", order.spec.offering), Vec::new());
        return None;
    };
    Some(PriceTerms {
        offering: (offering.name.clone(), offering.version),
        margin_percent: offering.margin_percent,
        management_hour: offering.management_hour,
    })
}

fn refuse(draft: &mut Draft<'_>, order: &Arc<Order>, outcome: Outcome) {
    match outcome.refusal {
        Some(Refusal::Infeasible { text, nearest }) => reject(draft, order, "E0301", &text, nearest),
        Some(Refusal::NoCapacity { text, nearest }) => reject(draft, order, "E0302", &text, nearest),
        None => {}
    }
}

fn reject(draft: &mut Draft<'_>, order: &Arc<Order>, code: &str, text: &str, nearest: Vec<crate::sla::Alternative>) {
    let order = Order { code: code.to_owned(), nearest, ..order.as_ref().clone() };
    draft.order_to(&order, OrderState::Rejected, text);
}

fn accept(draft: &mut Draft<'_>, order: &Order, agreement: AgreementId, service: ServiceId) -> Order {
    let order = draft.model.orders.get(&order.id).map_or_else(|| order.clone(), |o| o.as_ref().clone());
    let accepted = Order { agreement: Some(agreement), service: Some(service), ..order };
    draft.put(accepted.clone());
    accepted
}

fn agree(draft: &mut Draft<'_>, order: &Order, id: AgreementId, terms: Terms) {
    draft.event((Noun::Sla, id.to_string(), &order.name), "", "approved", "version 1");
    draft.put(Agreement {
        id,
        customer: order.customer,
        service: order.name.clone(),
        versions: vec![AgreementVersion { version: 1, terms, since: draft.now, by: order.by.clone() }],
        terminated: false,
    });
}

fn amend(draft: &mut Draft<'_>, agreement: &Agreement, terms: Terms, by: &str) {
    let version = agreement.current().map_or(1, |v| v.version + 1);
    let what = (Noun::Sla, agreement.id.to_string(), agreement.service.as_str());
    draft.event(what, "approved", "approved", format!("amended to version {version} by {by}"));
    let mut agreement = agreement.clone();
    agreement.versions.push(AgreementVersion { version, terms, since: draft.now, by: by.to_owned() });
    draft.put(agreement);
}

fn announce(draft: &mut Draft<'_>, service: &Service) {
    let what = (Noun::Service, service.id.to_string(), service.name.as_str());
    draft.event(what, "", service.status.as_str(), "ordered");
    draft.put(service.clone());
}

fn new_service(
    draft: &mut Draft<'_>,
    order: &Order,
    agreement: AgreementId,
    price: PriceTerms,
    item: Option<&ItemSpec>,
    index: u32,
) -> Service {
    Service {
        id: ServiceId::from_random(draft.id()),
        order: order.id,
        turn: (order.number, index),
        agreement,
        customer: order.customer,
        name: order.name.clone(),
        item: item.map(|i| i.name.clone()),
        state: ServiceState::Reserved,
        status: OperatingStatus::Pending,
        since: draft.now,
        reason: String::new(),
        spec: item.map_or_else(|| order.spec.workload.clone(), |i| item_workload(&order.spec.workload, i)),
        platform: order.spec.platform.clone(),
        policy: order.spec.policy.clone(),
        price,
        decision: None,
        predicted: None,
        copies: order.spec.policy.replicas_min,
        replacements: Vec::new(),
        displaced: None,
        setbacks: 0,
        not_before: Timestamp(0),
        pending_order: item.is_none().then_some(order.id),
        exit: None,
        outputs: Vec::new(),
        attempts: 0,
        retries_left: order.spec.retries,
        completed_at: None,
        measured: crate::service::Measured::default(),
        tenure: None,
        route: crate::service::Route::default(),
        gpus: order.spec.terms.gpus_min,
    }
}

/// The workload of one item: `{item}` is replaced by its name, and its inputs are added.
fn item_workload(template: &WorkloadSpec, item: &ItemSpec) -> WorkloadSpec {
    let fill = |text: &String| text.replace("{item}", &item.name);
    WorkloadSpec {
        command: template.command.iter().map(fill).collect(),
        environment: template.environment.iter().map(|(k, v)| (k.clone(), fill(v))).collect(),
        outputs: template.outputs.iter().map(fill).collect(),
        inputs: item.inputs.clone(),
        ..template.clone()
    }
}
