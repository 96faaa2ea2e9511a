//! Orders: taken and acknowledged here, decided by tasks.

mod mobility;
mod shown;
mod software;
pub(super) mod validate;

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::Uri;
use chandler_api::order::{Action as ShownAction, Order as Shown, OrderRequest, SoftwareKind};
use chandler_api::page::{Page, PageQuery};
use chandler_engine::draft::Draft;
use chandler_engine::event::Noun;
use chandler_engine::fulfilment;
use chandler_engine::model::Model;
use chandler_engine::order::{Action, Order, OrderSpec, OrderState};
use chandler_engine::party::PartyRole;
use chandler_engine::service::{Service, ServiceState};
use chandler_protocol::{OrderId, PartyId};

pub(super) use self::shown::{alternative, order as shown, original};
use self::validate::Lengths;
use super::access::Caller;
use super::body::{ORDER_MAX, query};
use super::error::{Failure, Fields, conflict, internal, not_found};
use super::idempotency::{Begun, begin, begin_bodiless};
use super::page::{self, Wanted};
use super::reply::{Answer, CREATED, OK, Reply};
use super::{Api, Shared, event};
use crate::store::EventFilter;

#[utoipa::path(get, path = "/api/v1/orders", tag = "orders", params(PageQuery),
    description = "Newest first. Task items are left out of the requests: ask for one order to see them.",
    responses((status = 200, body = Page<Shown>)))]
pub(super) async fn list(State(api): Api, caller: Caller, uri: Uri) -> Answer {
    let wanted = Wanted::new("orders", &query(&uri)?)?;
    let before = wanted.after::<u64>()?;
    let model = api.writer.snapshot();
    let mut orders: Vec<_> =
        model.orders.values().filter(|o| before.is_none_or(|b| o.number < b) && caller.acts_for(o.customer)).collect();
    orders.sort_unstable_by_key(|o| std::cmp::Reverse(o.number));
    let page = wanted.take(
        orders.into_iter(),
        |o| o.number.to_string(),
        |o| {
            shown(&model, o).map(|mut s| {
                s.request.items.clear();
                s
            })
        },
    );
    let items = page.items.into_iter().collect::<Result<Vec<_>, _>>()?;
    Reply::json(OK, &Page { items, next_page_token: page.next_page_token })
}

#[utoipa::path(get, path = "/api/v1/orders/{id}", tag = "orders",
    params(("id" = String, Path, description = "id")), responses((status = 200, body = Shown)))]
pub(super) async fn show(State(api): Api, caller: Caller, Path(id): Path<String>) -> Answer {
    let model = api.writer.snapshot();
    let order = find(&model, caller, &id)?;
    let filter = EventFilter { after: 0, limit: page::limit(None)?, subject: Some(order.id.to_string()) };
    let history = api.writer.store().events(&filter).await?;
    let order = Shown { history: history.iter().map(event::shown).collect(), ..shown(&model, order)? };
    Reply::json(OK, &order)
}

#[utoipa::path(post, path = "/api/v1/orders", tag = "orders", request_body = OrderRequest,
    responses((status = 201, body = Shown)))]
pub(super) async fn create(State(api): Api, caller: Caller, request: Request) -> Answer {
    let (parts, body) = request.into_parts();
    let post = match begin(&api, caller, &parts, body, ORDER_MAX).await? {
        Begun::Before(reply) => return Ok(reply),
        Begun::New(post) => post,
    };
    let request: OrderRequest = post.parse()?;
    let lengths = lengths(&api, &request).await?;
    post.commit(&api, move |draft| {
        let customer = customer(&draft.model, caller, &request)?;
        let order = match request.action {
            ShownAction::Add => add(draft, caller, customer, request, &lengths)?,
            ShownAction::Modify => modify(draft, caller, customer, request, &lengths)?,
            ShownAction::Delete => {
                let service = named(&draft.model, customer, &request.name)?;
                delete(draft, caller, &service)?
            }
        };
        Reply::json(CREATED, &order)
    })
    .await
}

#[utoipa::path(post, path = "/api/v1/orders/{id}/cancel", tag = "orders",
    params(("id" = String, Path, description = "id")), responses((status = 200, body = Shown)))]
pub(super) async fn cancel(State(api): Api, caller: Caller, Path(id): Path<String>, request: Request) -> Answer {
    let (parts, _) = request.into_parts();
    let post = match begin_bodiless(&api, caller, &parts).await? {
        Begun::Before(reply) => return Ok(reply),
        Begun::New(post) => post,
    };
    post.commit(&api, move |draft| {
        let order = find(&draft.model, caller, &id)?.clone();
        if order.state.is_final() {
            return Err(conflict(format!("the order is {} already", order.state.as_str())));
        }
        if order.action != Action::Add && order.state == OrderState::InProgress {
            return Err(conflict("it is being carried out and cannot be taken back: order the opposite"));
        }
        fulfilment::cancel(draft, &order, "cancelled by the customer");
        let order = draft.model.orders.get(&order.id).cloned().unwrap_or_else(|| Arc::new(order));
        Reply::json(OK, &shown(&draft.model, &order)?)
    })
    .await
}

/// Lengths of the content that an order names, as far as it is here.
pub(super) async fn lengths(api: &Shared, request: &OrderRequest) -> Result<Lengths, Failure> {
    let digests = validate::digests(request);
    if digests.is_empty() {
        return Ok(Lengths::new());
    }
    let blobs = api.blobs.clone();
    let read = tokio::task::spawn_blocking(move || {
        let mut lengths = Lengths::new();
        for digest in digests {
            if let Some(manifest) = blobs.manifest(digest)? {
                lengths.insert(digest, manifest.length);
            }
        }
        Ok::<_, std::io::Error>(lengths)
    });
    read.await.map_err(internal)?.map_err(internal)
}

/// Who orders. A customer that is not the caller's is not found, existing or not.
pub(super) fn customer(model: &Model, caller: Caller, request: &OrderRequest) -> Result<PartyId, Failure> {
    let mut fields = Fields::default();
    let found = match (&request.customer, caller.party) {
        (None, Some(own)) => return Ok(own),
        (None, None) => {
            fields.wrong("customer", "write the name of the customer who orders");
            None
        }
        (Some(reference), _) => {
            let found = super::party::find(model, caller, reference).ok();
            let found = found.filter(|p| p.roles.contains(&PartyRole::Customer)).map(|p| p.id);
            fields.check(found.is_some(), "customer", "there is no such customer");
            found
        }
    };
    fields.finish()?;
    found.ok_or_else(|| not_found("customer", ""))
}

/// The order with this id, when it is the caller's.
fn find<'m>(model: &'m Model, caller: Caller, id: &str) -> Result<&'m Order, Failure> {
    let order = id.parse::<OrderId>().ok().and_then(|id| model.orders.get(&id));
    order.map(AsRef::as_ref).filter(|o| caller.acts_for(o.customer)).ok_or_else(|| not_found("order", id))
}

/// The service of this name that is not gone.
fn named(model: &Model, customer: PartyId, name: &str) -> Result<Arc<Service>, Failure> {
    let id = model.by_name.get(&(customer, name.to_owned()));
    id.and_then(|id| model.services.get(id)).cloned().ok_or_else(|| not_found("service", name))
}

fn add(
    draft: &mut Draft<'_>,
    caller: Caller,
    customer: PartyId,
    request: OrderRequest,
    lengths: &Lengths,
) -> Result<Shown, Failure> {
    let spec = validate::spec(&draft.model, customer, &request, lengths)?;
    let model = &draft.model;
    if model.by_name.contains_key(&(customer, request.name.clone())) {
        let name = &request.name;
        return Err(conflict(format!("there is a service {name} already: order with action modify, or another name")));
    }
    let mut open = model.open_orders.values().filter_map(|id| model.orders.get(id));
    if let Some(other) = open.find(|o| o.customer == customer && o.name == request.name && o.action == Action::Add) {
        return Err(conflict(format!(
            "order {} for {} is still open: wait for it, or cancel it",
            other.id, other.name
        )));
    }
    acknowledge(draft, caller, customer, Action::Add, request, spec)
}

/// Orders a change of a service.
pub(super) fn modify(
    draft: &mut Draft<'_>,
    caller: Caller,
    customer: PartyId,
    request: OrderRequest,
    lengths: &Lengths,
) -> Result<Shown, Failure> {
    let service = named(&draft.model, customer, &request.name)?;
    if request.software.kind != SoftwareKind::Service {
        let mut fields = Fields::default();
        fields.wrong("software.kind", "it is a service and stays one");
        fields.finish()?;
    }
    if service.state == ServiceState::Terminating {
        return Err(conflict(format!("service {} is being stopped", service.name)));
    }
    let spec = validate::spec(&draft.model, customer, &request, lengths)?;
    acknowledge(draft, caller, customer, Action::Modify, request, spec)
}

/// Orders the end of a service. One that was ordered already is that order.
pub(super) fn delete(draft: &mut Draft<'_>, caller: Caller, service: &Service) -> Result<Shown, Failure> {
    let model = &draft.model;
    if service.item.is_some() {
        let order = service.order;
        return Err(conflict(format!("a task ends by cancelling its order: chandler order cancel {order}")));
    }
    let mut open = model.open_orders.values().filter_map(|id| model.orders.get(id));
    let is_it =
        |o: &&Arc<Order>| o.customer == service.customer && o.name == service.name && o.action == Action::Delete;
    if let Some(order) = open.find(is_it) {
        return shown(model, order);
    }
    if service.state == ServiceState::Terminated {
        return Err(not_found("service", &service.name));
    }
    let is_user = |s: &&Service| s.id != service.id && s.policy.uses.iter().any(|u| u.service == service.name);
    if let Some(user) = mobility::services_of(model, service.customer).find(is_user) {
        return Err(conflict(format!(
            "service {} uses {}: delete it first, or order it without that use",
            user.name, service.name
        )));
    }
    let (request, spec) = original(model, service)?;
    let request = OrderRequest { action: ShownAction::Delete, ..request };
    acknowledge(draft, caller, service.customer, Action::Delete, request, spec)
}

/// Takes an order: it is kept, and decided by a task.
fn acknowledge(
    draft: &mut Draft<'_>,
    caller: Caller,
    customer: PartyId,
    action: Action,
    request: OrderRequest,
    spec: OrderSpec,
) -> Result<Shown, Failure> {
    let name = request.name.clone();
    let request = OrderRequest { customer: Some(super::party::name_of(&draft.model, customer)), ..request };
    let order = Order {
        id: OrderId::from_random(draft.id()),
        number: draft.model.last_order + 1,
        customer,
        name,
        action,
        state: OrderState::Acknowledged,
        reason: String::new(),
        code: String::new(),
        nearest: Vec::new(),
        ordered_at: draft.now,
        completed_at: None,
        by: caller.by(),
        agreement: None,
        service: None,
        spec,
        request: serde_json::to_string(&request).map_err(internal)?,
    };
    let what = match action {
        Action::Add => "add",
        Action::Modify => "modify",
        Action::Delete => "delete",
    };
    draft.event((Noun::Order, order.id.to_string(), &order.name), "", OrderState::Acknowledged.as_str(), what);
    draft.put(order.clone());
    shown(&draft.model, &order)
}
