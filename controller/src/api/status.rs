//! Everything at one glance, from one snapshot; and the signs for passers-by.

use std::collections::BTreeMap;

use axum::extract::State;
use chandler_api::host::AllocationStatus;
use chandler_api::status::{ControllerRole, Status};
use chandler_api::value::{Money, Time};
use chandler_engine::assurance::{self, Patience, Watch};
use chandler_engine::finance::{month_of, month_range};
use chandler_engine::fleet::HostState;
use chandler_engine::model::Model;
use chandler_engine::party::{PROVIDER, PartyRole};
use chandler_engine::service::{OperatingStatus, Service, ServiceState};
use chandler_protocol::{MicroMoney, Timestamp};

use super::error::Failure;
use super::reply::{Answer, OK, Reply};
use super::{Api, Shared, host, party};

/// Most lines of what a person must look at.
const ATTENTION_MAX: usize = 50;
/// Most services whose SLA is looked at for that.
const SLAS_MAX: usize = 1_000;

#[utoipa::path(get, path = "/", tag = "status", security(()),
    responses((status = 200, content_type = "text/plain", body = String)))]
pub(super) async fn root() -> &'static str {
    "This is a Chandler controller. Its API is described at /api/v1/openapi.json; `chandler --help` speaks it.\n"
}

#[utoipa::path(get, path = "/healthz", tag = "status", security(()),
    responses((status = 200, content_type = "text/plain", body = String)))]
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

#[utoipa::path(get, path = "/api/v1/status", tag = "status", responses((status = 200, body = Status)))]
pub(super) async fn show(State(api): Api) -> Answer {
    let (model, now) = (api.writer.snapshot(), api.writer.clock().now());
    let rated = rated_since_month_began(&api, &model, now).await?;
    let mut inventory = BTreeMap::new();
    for host in model.hosts.values().filter(|h| h.state != HostState::Revoked) {
        let reserved = model.reserved.get(&host.id).copied().unwrap_or_default();
        *inventory.entry(allocation_text(host::allocation(host.offered(), reserved)).to_owned()).or_default() += 1;
    }
    let live = model.live.iter().filter_map(|id| model.services.get(id));
    let status = Status {
        at: Time(now),
        roles: roles(&model),
        generation: model.generation,
        orders: count(model.orders.values().map(|o| o.state.as_str())),
        services: count(live.map(|s| s.status.as_str())),
        hosts: count(model.hosts.values().map(|h| h.state.as_str())),
        inventory,
        attention: attention(&model, now),
        rated_this_month: Money::new(rated, &model.currency),
    };
    Reply::json(OK, &status)
}

/// What this controller is to others.
fn roles(model: &Model) -> Vec<ControllerRole> {
    let Some(own) = model.party_named(PROVIDER) else { return Vec::new() };
    let shown = own.roles.iter().filter_map(|role| match role {
        PartyRole::ServiceProvider => Some(ControllerRole::Provider),
        PartyRole::VirtualServiceProvider => Some(ControllerRole::Virtual),
        PartyRole::ValueAddedServiceProvider => Some(ControllerRole::ValueAdded),
        PartyRole::Marketplace => Some(ControllerRole::Marketplace),
        PartyRole::Customer | PartyRole::SiteOwner | PartyRole::Partner => None,
    });
    shown.collect()
}

fn count<'a>(states: impl Iterator<Item = &'a str>) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for state in states {
        *counts.entry(state.to_owned()).or_default() += 1;
    }
    counts
}

const fn allocation_text(status: AllocationStatus) -> &'static str {
    match status {
        AllocationStatus::Available => "available",
        AllocationStatus::PartiallyAllocated => "partiallyAllocated",
        AllocationStatus::Allocated => "allocated",
    }
}

/// What customers owe for use since the month began.
async fn rated_since_month_began(api: &Shared, model: &Model, now: Timestamp) -> Result<MicroMoney, Failure> {
    let Some((from, to)) = month_range(&month_of(now)) else { return Ok(MicroMoney(0)) };
    let mut sum = 0_i64;
    for customer in model.parties.values().filter(|p| p.roles.contains(&PartyRole::Customer)) {
        for row in api.writer.store().usage(customer.id, from, to).await? {
            sum = sum.saturating_add(row.charge.price().0);
        }
    }
    Ok(MicroMoney(sum))
}

/// What a person must look at, worst first, each with the next command.
fn attention(model: &Model, now: Timestamp) -> Vec<String> {
    let mut lines: Vec<(u8, String)> = frozen(model, now).into_iter().collect();
    let live = model.live.iter().filter_map(|id| model.services.get(id));
    lines.extend(live.filter(|s| s.state != ServiceState::Terminating).filter_map(|s| of_service(model, s)));
    let live = model.live.iter().filter_map(|id| model.services.get(id));
    lines.extend(
        live.filter(|s| s.state == ServiceState::Active).take(SLAS_MAX).filter_map(|s| violation(model, s, now)),
    );
    for host in model.hosts.values() {
        let rank = match host.state {
            HostState::Lost => 2,
            HostState::Unknown => 5,
            HostState::Registered | HostState::Active | HostState::Revoked => continue,
        };
        let (name, state) = (&host.name, host.state.as_str());
        lines.push((rank, format!("host {name} is {state}: {}: chandler host show {name}", host.note)));
    }
    lines.sort();
    lines.into_iter().take(ATTENTION_MAX).map(|(_, line)| line).collect()
}

/// Nothing is concluded while most hosts are silent: whoever looks must know, before anything else.
fn frozen(model: &Model, now: Timestamp) -> Option<(u8, String)> {
    let default = Patience::default();
    let grace = if model.grace.0 > 0 { model.grace } else { default.grace };
    let Watch::Frozen { silent, of } = assurance::most_are_silent(model, Patience { grace, ..default }, now) else {
        return None;
    };
    let text = format!(
        "{silent} of {of} hosts are silent at once: none of them is taken for lost and nothing is moved until most are back; \
         look at this controller's own network first: chandler host list"
    );
    Some((0, text))
}

/// The first term of a service's SLA that does not hold as measured.
fn violation(model: &Model, service: &Service, now: Timestamp) -> Option<(u8, String)> {
    let terms = model.agreements.get(&service.agreement)?.terms();
    let objectives = assurance::objectives(model, service, &terms, now, &model.currency);
    let broken = objectives.into_iter().find(|o| o.status == assurance::Status::Violated)?;
    let (name, customer) = (&service.name, party::name_of(model, service.customer));
    let (term, measured, target) = (broken.name, broken.measured, broken.target);
    let agreement = service.agreement;
    let text = format!(
        "service {name} of {customer}: {term} is {measured}, agreed is {target}: chandler sla show {agreement}"
    );
    Some((1, text))
}

fn of_service(model: &Model, service: &Service) -> Option<(u8, String)> {
    let rank = match service.status {
        OperatingStatus::Failed => 0,
        OperatingStatus::Degraded => 3,
        // Task items wait for their turn; that is no reason to look.
        OperatingStatus::Pending if !service.is_task() => 4,
        OperatingStatus::Unknown => 6,
        _ => return None,
    };
    let (name, customer) = (&service.name, party::name_of(model, service.customer));
    let why = match service.reason.as_str() {
        "" => String::new(),
        reason => format!(": {reason}"),
    };
    let status = service.status.as_str();
    Some((rank, format!("service {name} of {customer} is {status}{why}: chandler service show {}", service.id)))
}
