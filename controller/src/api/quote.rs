//! Quotes: price and predicted attributes at once. Pure: decided on the snapshot, nothing is kept or reserved.

use std::sync::Arc;

use axum::extract::{Request as HttpRequest, State};
use chandler_api::order::{Action, OrderRequest};
use chandler_api::quote::Quote;
use chandler_engine::model::Model;
use chandler_engine::order::OrderSpec;
use chandler_engine::placement::{self, HostView, Request};
use chandler_engine::service::{AllocationState, PriceTerms, Service, Trigger};
use chandler_protocol::{DecisionId, HostId, Micros, PartyId, ServiceId, Timestamp};

use super::Api;
use super::access::Caller;
use super::body::ORDER_MAX;
use super::error::{Failure, internal, not_found};
use super::idempotency::{Begun, begin};
use super::order::{alternative, customer, lengths, validate};
use super::reply::{Answer, OK, Reply};
use super::sla::predicted;

#[utoipa::path(post, path = "/api/v1/quotes", tag = "orders", request_body = OrderRequest,
    responses((status = 200, body = Quote)))]
pub(super) async fn create(State(api): Api, caller: Caller, request: HttpRequest) -> Answer {
    let (parts, body) = request.into_parts();
    // The key is asked for as of every POST; there is no answer to keep, for asking again changes nothing.
    let post = match begin(&api, caller, &parts, body, ORDER_MAX).await? {
        Begun::Before(reply) => return Ok(reply),
        Begun::New(post) => post,
    };
    let request: OrderRequest = post.parse()?;
    let lengths = lengths(&api, &request).await?;
    let (model, now) = (api.writer.snapshot(), api.writer.clock().now());
    let customer = customer(&model, caller, &request)?;
    let spec = validate::spec(&model, customer, &request, &lengths)?;
    // A search over the whole fleet: not on the threads that answer others.
    let quote = tokio::task::spawn_blocking(move || {
        let changes = (request.action == Action::Modify).then_some(request.name.as_str());
        quote(&model, customer, &spec, changes, now)
    });
    Reply::json(OK, &quote.await.map_err(internal)??)
}

fn quote(
    model: &Arc<Model>,
    customer: PartyId,
    spec: &OrderSpec,
    named: Option<&str>,
    now: Timestamp,
) -> Result<Quote, Failure> {
    let offering = model.offerings.get(&spec.offering).ok_or_else(|| not_found("offering", &spec.offering))?;
    let price = PriceTerms {
        offering: (offering.name.clone(), offering.version),
        margin_percent: offering.margin_percent,
        management_hour: offering.management_hour,
    };
    // A quote for a change counts where the service is now; one for a new service does not know it.
    let service = named.and_then(|name| model.by_name.get(&(customer, name.to_owned())));
    let service = service.and_then(|id| model.services.get(id));
    let (current, response_p95) = service.map(|s| present(model, s)).unwrap_or_default();
    let mut views = match service {
        Some(service) => placement::views_of(model, now, service.id),
        None => placement::views(model, now),
    };
    if service.is_some_and(|s| s.is_exclusive()) && !current.is_empty() {
        // As when it is decided: exclusive state does not travel.
        views.retain(|v| current.contains(&v.host.id));
    }
    let request = Request {
        customer,
        spec: &spec.workload,
        platform: &spec.platform,
        terms: &spec.terms,
        policy: &spec.policy,
        price: &price,
        access_rtt: placement::access_rtt(model, customer),
        response_p95,
        avoid: &[],
        current: &current,
        currency: &model.currency,
    };
    Ok(answer(model, &views, &request, now))
}

fn answer(model: &Model, views: &[HostView<'_>], request: &Request<'_>, now: Timestamp) -> Quote {
    let outcome = placement::place(views, request);
    let options = placement::around(views, request);
    // The record is made for its sentence only; its ids name nothing.
    let (id, service) = (DecisionId::from_random([0; 10]), ServiceId::from_random([0; 10]));
    let decision = placement::decision(id, service, now, model.generation, Trigger::Order, &outcome, views, request);
    let mut reason = decision.text;
    if outcome.refusal.is_some() && model.is_unsure() {
        reason.push_str("; some hosts have not been heard from: an order would wait for them");
    }
    Quote {
        feasible: outcome.refusal.is_none(),
        predicted: outcome.predicted.map(|p| predicted(p, &model.currency)),
        hosts: outcome.chosen().map(|c| c.host_name.clone()).collect(),
        options: options.iter().map(|a| alternative(a, &model.currency)).collect(),
        reason,
    }
}

/// Where a service is now, and how fast it answers there by itself.
fn present(model: &Model, service: &Service) -> (Vec<HostId>, Micros) {
    let copies: Vec<_> = model.assignments_of(service.id).filter(|a| a.state != AllocationState::Releasing).collect();
    let measured = copies.iter().filter_map(|a| a.observed.as_ref()).filter(|o| o.health.checks > 0);
    let response = measured.map(|o| o.health.latency_p95).max().unwrap_or_default();
    (copies.iter().map(|a| a.host).collect(), response)
}
