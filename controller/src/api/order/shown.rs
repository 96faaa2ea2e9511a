//! Orders as the API shows them.

use std::collections::BTreeMap;

use chandler_api::order::{
    Action as ShownAction, Order as Shown, OrderRequest, OrderState as ShownState, SoftwareKind,
};
use chandler_api::quote::Alternative as ShownAlternative;
use chandler_api::value::{Money, Time};
use chandler_engine::model::Model;
use chandler_engine::order::{Action, Order, OrderSpec, OrderState};
use chandler_engine::service::Service;
use chandler_engine::sla::Alternative;
use chandler_protocol::workload::WorkloadKind;

use crate::api::error::{Failure, internal};
use crate::api::{party, sla};

/// An order, without its history.
pub(in crate::api) fn order(model: &Model, order: &Order) -> Result<Shown, Failure> {
    let is_task = order.spec.workload.kind == WorkloadKind::Task;
    let service = order.service.and_then(|id| model.services.get(&id));
    let predicted = service.filter(|_| !is_task && order.action != Action::Delete).and_then(|s| s.predicted);
    let mut items = BTreeMap::new();
    if is_task && order.action == Action::Add {
        for item in model.services_of(order.id) {
            *items.entry(item.status.as_str().to_owned()).or_default() += 1;
        }
    }
    Ok(Shown {
        id: order.id,
        customer: party::name_of(model, order.customer),
        name: order.name.clone(),
        action: match order.action {
            Action::Add => ShownAction::Add,
            Action::Modify => ShownAction::Modify,
            Action::Delete => ShownAction::Delete,
        },
        kind: if is_task { SoftwareKind::Task } else { SoftwareKind::Service },
        state: state(order.state),
        reason: order.reason.clone(),
        code: order.code.clone(),
        nearest: order.nearest.iter().map(|a| alternative(a, &model.currency)).collect(),
        ordered_at: Time(order.ordered_at),
        completed_at: order.completed_at.map(Time),
        agreement: order.agreement,
        service: order.service,
        monthly_cost: predicted.map(|p| Money::new(p.monthly_cost, &model.currency)),
        items,
        request: serde_json::from_str(&order.request).map_err(internal)?,
        history: Vec::new(),
    })
}

/// What was last ordered of a service and carried out: as written, and as checked.
pub(in crate::api) fn original(model: &Model, service: &Service) -> Result<(OrderRequest, OrderSpec), Failure> {
    let counts = |o: &Order| {
        matches!(o.state, OrderState::InProgress | OrderState::Completed | OrderState::Partial) || o.id == service.order
    };
    let order = model
        .orders
        .values()
        .filter(|o| o.customer == service.customer && o.name == service.name && o.action != Action::Delete)
        .filter(|o| o.agreement == Some(service.agreement) && counts(o))
        .max_by_key(|o| o.number)
        .or_else(|| model.orders.get(&service.order))
        .ok_or_else(|| internal(format!("service {} has no order", service.id)))?;
    Ok((serde_json::from_str(&order.request).map_err(internal)?, order.spec.clone()))
}

/// What could be met instead.
pub(in crate::api) fn alternative(alternative: &Alternative, currency: &str) -> ShownAlternative {
    let Alternative { term, value, host, site, predicted } = alternative;
    let cost = predicted.monthly_cost;
    ShownAlternative {
        term: term.clone(),
        value: value.clone(),
        host: host.clone(),
        site: site.clone(),
        predicted: sla::predicted(*predicted, currency),
        text: format!("with {term} = {value} it would run on {host} at {site} for {cost} {currency}/month"),
    }
}

const fn state(state: OrderState) -> ShownState {
    match state {
        OrderState::Acknowledged => ShownState::Acknowledged,
        OrderState::Rejected => ShownState::Rejected,
        OrderState::InProgress => ShownState::InProgress,
        OrderState::Completed => ShownState::Completed,
        OrderState::Partial => ShownState::Partial,
        OrderState::Failed => ShownState::Failed,
        OrderState::Cancelled => ShownState::Cancelled,
    }
}
