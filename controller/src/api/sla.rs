//! SLAs: the agreement, its versions, and whether it holds as measured.

mod measured;

use std::collections::BTreeMap;

use axum::extract::{Path, Request, State};
use axum::http::Uri;
use chandler_api::order::{Action, Order as ShownOrder, OrderRequest};
use chandler_api::page::{Page, PageQuery};
use chandler_api::sla::{
    AvailabilityTerm, CapacityTerm, CostTerm, DeadlineTerm, InteractivityTerm, Predicted as ShownPredicted,
    Sla as Shown, SlaAmend, SlaTerms, SlaVersion,
};
use chandler_api::value::{Money, MonthlyCost, Quantity, Span, Time};
use chandler_engine::model::Model;
use chandler_engine::service::Service;
use chandler_engine::sla::{Agreement, Predicted, Terms};
use chandler_protocol::{AgreementId, Timestamp};

use self::measured::{objectives, status};
use super::Api;
use super::access::Caller;
use super::body::{DOCUMENT_MAX, parse, precondition, query, read};
use super::error::{Failure, conflict, not_found};
use super::order::validate::Lengths;
use super::page::Wanted;
use super::reply::{ACCEPTED, Answer, OK, Reply};
use super::{order, party, service};

#[utoipa::path(get, path = "/api/v1/slas", tag = "slas", params(PageQuery),
    responses((status = 200, body = Page<Shown>)))]
pub(super) async fn list(State(api): Api, caller: Caller, uri: Uri) -> Answer {
    let wanted = Wanted::new("slas", &query(&uri)?)?;
    let after = wanted.after::<AgreementId>()?;
    let (model, now) = (api.writer.snapshot(), api.writer.clock().now());
    let agreements =
        model.agreements.values().filter(|a| after.is_none_or(|k| a.id > k) && caller.acts_for(a.customer));
    let page = wanted.take(agreements, |a| a.id.to_string(), |a| a.clone());
    let mut services: BTreeMap<AgreementId, Vec<&Service>> = page.items.iter().map(|a| (a.id, Vec::new())).collect();
    for service in model.services.values() {
        if let Some(list) = services.get_mut(&service.agreement) {
            list.push(service);
        }
    }
    let none = Vec::new();
    let items = page.items.iter().map(|a| shown(&model, a, services.get(&a.id).unwrap_or(&none), now));
    Reply::json(OK, &Page { items: items.collect(), next_page_token: page.next_page_token })
}

#[utoipa::path(get, path = "/api/v1/slas/{reference}", tag = "slas",
    params(("reference" = String, Path, description = "id, or the name of its service")),
    responses((status = 200, body = Shown)))]
pub(super) async fn show(State(api): Api, caller: Caller, Path(reference): Path<String>) -> Answer {
    let (model, now) = (api.writer.snapshot(), api.writer.clock().now());
    let agreement = find(&model, caller, &reference)?;
    let sla = shown(&model, agreement, &services_of(&model, agreement.id), now);
    Ok(Reply::json(OK, &sla)?.tagged(u64::from(sla.version)))
}

#[utoipa::path(patch, path = "/api/v1/slas/{reference}", tag = "slas", request_body = SlaAmend,
    description = "Orders the service to be provided under new terms: the answer is that order.",
    params(("reference" = String, Path, description = "id, or the name of its service")),
    responses((status = 202, body = ShownOrder)))]
pub(super) async fn amend(State(api): Api, caller: Caller, Path(reference): Path<String>, request: Request) -> Answer {
    let (parts, body) = request.into_parts();
    let bytes = read(&parts.headers, body, DOCUMENT_MAX).await?;
    let change: SlaAmend = parse(&parts.headers, &bytes)?;
    api.transact(caller, move |draft| {
        let agreement = find(&draft.model, caller, &reference)?.clone();
        precondition(&parts.headers, u64::from(version_of(&agreement)))?;
        let services = services_of(&draft.model, agreement.id);
        let service = match services.as_slice() {
            [only] if only.item.is_none() => (*only).clone(),
            [] => return Err(not_found("service", &agreement.service)),
            _ => return Err(conflict("the terms of a task stay: cancel its order and order anew")),
        };
        if agreement.terminated {
            return Err(conflict("the agreement has ended: its service is gone"));
        }
        let (request, _) = order::original(&draft.model, &service)?;
        let request = OrderRequest { action: Action::Modify, sla: change.sla, ..request };
        let order = order::modify(draft, caller, service.customer, request, &Lengths::new())?;
        Ok(Reply::json(ACCEPTED, &order)?.at(format!("/api/v1/orders/{}", order.id)))
    })
    .await
}

#[utoipa::path(get, path = "/api/v1/slas/{reference}/history", tag = "slas",
    params(("reference" = String, Path, description = "id, or the name of its service"), PageQuery),
    responses((status = 200, body = Page<SlaVersion>)))]
pub(super) async fn history(State(api): Api, caller: Caller, Path(reference): Path<String>, uri: Uri) -> Answer {
    let wanted = Wanted::new("slaVersions", &query(&uri)?)?;
    let after = wanted.after::<u32>()?;
    let model = api.writer.snapshot();
    let agreement = find(&model, caller, &reference)?;
    let versions = agreement.versions.iter().filter(|v| after.is_none_or(|a| v.version > a));
    let page = wanted.take(
        versions,
        |v| v.version.to_string(),
        |v| SlaVersion {
            version: v.version,
            since: Time(v.since),
            by: v.by.clone(),
            terms: terms(&v.terms, &model.currency),
        },
    );
    Reply::json(OK, &page)
}

/// The agreement with this id or of the service of this name, when it is the caller's.
fn find<'m>(model: &'m Model, caller: Caller, reference: &str) -> Result<&'m Agreement, Failure> {
    let id = match reference.parse::<AgreementId>() {
        Ok(id) => id,
        // Every item of a task is under the same agreement, so that a task's name means one too.
        Err(_) => match service::find(model, caller, reference) {
            Ok(service) => service.agreement,
            Err(failure) => of_task(model, caller, reference).ok_or(failure)?,
        },
    };
    let agreement = model.agreements.get(&id).filter(|a| caller.acts_for(a.customer));
    agreement.map(AsRef::as_ref).ok_or_else(|| not_found("SLA", reference))
}

/// The agreement of the last task of this name, when only one customer has such.
fn of_task(model: &Model, caller: Caller, name: &str) -> Option<AgreementId> {
    let named = model.services.values().filter(|s| s.item.is_some() && s.name == name && caller.acts_for(s.customer));
    let last = named.max_by_key(|s| s.turn)?;
    let is_alone = model.by_name.keys().all(|(_, other)| other != name);
    is_alone.then_some(last.agreement)
}

/// The services under an agreement, in order of id.
fn services_of(model: &Model, id: AgreementId) -> Vec<&Service> {
    model.services.values().filter(|s| s.agreement == id).map(AsRef::as_ref).collect()
}

fn version_of(agreement: &Agreement) -> u32 {
    agreement.current().map_or(0, |v| v.version)
}

fn shown(model: &Model, agreement: &Agreement, services: &[&Service], now: Timestamp) -> Shown {
    let objectives = objectives(model, agreement, services, now);
    let service = services.first().filter(|s| s.item.is_none());
    Shown {
        id: agreement.id,
        version: version_of(agreement),
        customer: party::name_of(model, agreement.customer),
        service: agreement.service.clone(),
        service_id: service.map(|s| s.id),
        state: if agreement.terminated { "terminated" } else { "approved" }.to_owned(),
        terms: terms(&agreement.terms(), &model.currency),
        status: status(&objectives),
        objectives,
        since: Time(agreement.current().map_or(Timestamp(0), |v| v.since)),
    }
}

/// Terms as they stand in an order.
fn terms(terms: &Terms, currency: &str) -> SlaTerms {
    let capacity = CapacityTerm { cores: terms.cores_min, gpus: terms.gpus_min };
    SlaTerms {
        cost: terms.cost_max.map(|amount| CostTerm { max: MonthlyCost { amount, currency: currency.to_owned() } }),
        interactivity: terms.p95_max.map(|p95| InteractivityTerm { p95: Span(p95) }),
        availability: terms.availability_min.map(|min| AvailabilityTerm { min: Quantity(min) }),
        residency: terms.residency.clone(),
        capacity: (capacity != CapacityTerm::default()).then_some(capacity),
        deadline: terms.deadline.map(|within| DeadlineTerm { within: Span(within) }),
    }
}

/// What is expected of a placement.
pub(super) fn predicted(predicted: Predicted, currency: &str) -> ShownPredicted {
    ShownPredicted {
        monthly_cost: Money::new(predicted.monthly_cost, currency),
        p95_micros: predicted.p95,
        availability_ppm: predicted.availability,
    }
}
