//! Services: what runs for a customer, and task items likewise.

pub(super) mod explain;
mod front;
pub(super) mod logs;
pub(super) mod output;

use axum::extract::{Path, State};
use axum::http::Uri;
use chandler_api::order::{Order as ShownOrder, SoftwareKind};
use chandler_api::page::{Page, PageQuery};
use chandler_api::service::{
    OperatingStatus as ShownStatus, Output, Placement, PortAddress, Replacement, Service as Shown, ServiceQuery,
    ServiceState as ShownState,
};
use chandler_api::site::SiteRole;
use chandler_api::value::Time;
use chandler_engine::model::Model;
use chandler_engine::service::{Assignment, OperatingStatus, Service, ServiceState};
use chandler_protocol::state::{Exit, Phase};
use chandler_protocol::text::{TEXT_MAX, clean};
use chandler_protocol::{OrderId, ServiceId};

use super::Api;
use super::access::Caller;
use super::body::query;
use super::error::{Failure, conflict, malformed, not_found};
use super::page::Wanted;
use super::reply::{ACCEPTED, Answer, OK, Reply};
use super::{movement, order, party, site, sla};

/// Most ids that are told of an ambiguous name.
const NAMED_MAX: usize = 10;

#[utoipa::path(get, path = "/api/v1/services", tag = "services", params(ServiceQuery),
    description = "In the order in which they were ordered.", responses((status = 200, body = Page<Shown>)))]
pub(super) async fn list(State(api): Api, caller: Caller, uri: Uri) -> Answer {
    let asked: ServiceQuery = query(&uri)?;
    let wanted = Wanted::new("services", &PageQuery { limit: asked.limit, page_token: asked.page_token })?;
    let after = wanted.after::<Turn>()?;
    let model = api.writer.snapshot();
    let mut services: Vec<&Service> = match &asked.order {
        Some(order) => {
            let id: OrderId = order.parse().map_err(|_| malformed(format!("order: {order:?} is not an order's id")))?;
            let is_own = model.orders.get(&id).is_some_and(|o| caller.acts_for(o.customer));
            if !is_own {
                return Err(not_found("order", order));
            }
            model.services_of(id).map(AsRef::as_ref).collect()
        }
        None if asked.all => model.services.values().map(AsRef::as_ref).collect(),
        None => model.live.iter().filter_map(|id| model.services.get(id)).map(AsRef::as_ref).collect(),
    };
    services.retain(|s| {
        (asked.all || s.state != ServiceState::Terminated)
            && caller.acts_for(s.customer)
            && after.is_none_or(|a| Turn::of(s) > a)
    });
    services.sort_unstable_by_key(|s| Turn::of(s));
    Reply::json(OK, &wanted.take(services.into_iter(), |s| Turn::of(s).to_string(), |s| shown(&model, s)))
}

/// A service's place in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Turn(u64, u32, ServiceId);

impl Turn {
    fn of(service: &Service) -> Self {
        Self(service.turn.0, service.turn.1, service.id)
    }
}

impl std::fmt::Display for Turn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

impl std::str::FromStr for Turn {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.splitn(3, '.');
        let mut part = || parts.next().ok_or(());
        let (order, item, id) = (part()?, part()?, part()?);
        Ok(Self(order.parse().map_err(drop)?, item.parse().map_err(drop)?, id.parse().map_err(drop)?))
    }
}

#[utoipa::path(get, path = "/api/v1/services/{reference}", tag = "services",
    params(("reference" = String, Path, description = "name or id")), responses((status = 200, body = Shown)))]
pub(super) async fn show(State(api): Api, caller: Caller, Path(reference): Path<String>) -> Answer {
    let model = api.writer.snapshot();
    Reply::json(OK, &shown(&model, find(&model, caller, &reference)?))
}

#[utoipa::path(delete, path = "/api/v1/services/{reference}", tag = "services",
    description = "Orders the service to be stopped and wiped: the answer is that order.",
    params(("reference" = String, Path, description = "name or id")),
    responses((status = 202, body = ShownOrder)))]
pub(super) async fn delete(State(api): Api, caller: Caller, Path(reference): Path<String>) -> Answer {
    api.transact(caller, move |draft| {
        let service = find(&draft.model, caller, &reference)?.clone();
        let order = order::delete(draft, caller, &service)?;
        Ok(Reply::json(ACCEPTED, &order)?.at(format!("/api/v1/orders/{}", order.id)))
    })
    .await
}

/// The service of this name or id, when it is the caller's. A name means the service that is not gone, or else the
/// last that had it; of a task with one item, that item.
pub(super) fn find<'m>(model: &'m Model, caller: Caller, reference: &str) -> Result<&'m Service, Failure> {
    if let Ok(id) = reference.parse::<ServiceId>() {
        let service = model.services.get(&id).filter(|s| caller.acts_for(s.customer));
        return service.map(AsRef::as_ref).ok_or_else(|| not_found("service", reference));
    }
    if let Some((name, item)) = reference.split_once('/') {
        // An item as lists show it: of the newest task of that name.
        let items = model.services.values().filter(|s| s.name == name && s.item.as_deref() == Some(item));
        let newest = items.filter(|s| caller.acts_for(s.customer)).max_by_key(|s| s.turn);
        return newest.map(AsRef::as_ref).ok_or_else(|| not_found("service", reference));
    }
    let live: Vec<&Service> = match caller.party {
        Some(own) => model.by_name.get(&(own, reference.to_owned())).into_iter().collect::<Vec<_>>(),
        None => model.by_name.iter().filter(|((_, name), _)| name == reference).map(|(_, id)| id).collect(),
    }
    .into_iter()
    .filter_map(|id| model.services.get(id))
    .map(AsRef::as_ref)
    .filter(|s| caller.acts_for(s.customer))
    .collect();
    match live.as_slice() {
        [] => last(model, caller, reference),
        [only] => Ok(only),
        several => Err(ambiguous(model, reference, several)),
    }
}

/// The last that had this name.
fn last<'m>(model: &'m Model, caller: Caller, name: &str) -> Result<&'m Service, Failure> {
    let mut found: Vec<&Service> = Vec::new();
    let named = model.services.values().filter(|s| s.name == name && caller.acts_for(s.customer));
    for service in named.map(AsRef::as_ref) {
        match found.first() {
            Some(other) if other.turn.0 > service.turn.0 => {}
            Some(other) if other.turn.0 == service.turn.0 => found.push(service),
            _ => found = vec![service],
        }
    }
    match found.as_slice() {
        [] => Err(not_found("service", name)),
        [only] => Ok(only),
        items => {
            let order = items.first().map(|s| s.order.to_string()).unwrap_or_default();
            let n = items.len();
            Err(conflict(format!(
                "{name} is a task of {n} items: name one by its id, from the services of order {order}"
            )))
        }
    }
}

fn ambiguous(model: &Model, name: &str, services: &[&Service]) -> Failure {
    let ids = services.iter().take(NAMED_MAX).map(|s| format!("{} of {}", s.id, party::name_of(model, s.customer)));
    conflict(format!(
        "several customers have a service {name}: name it by its id: {}",
        ids.collect::<Vec<_>>().join(", ")
    ))
}

fn shown(model: &Model, service: &Service) -> Shown {
    Shown {
        id: service.id,
        name: service.name.clone(),
        item: service.item.clone(),
        customer: party::name_of(model, service.customer),
        kind: if service.is_task() { SoftwareKind::Task } else { SoftwareKind::Service },
        state: match service.state {
            ServiceState::Reserved => ShownState::Reserved,
            ServiceState::Active => ShownState::Active,
            ServiceState::Terminating => ShownState::Terminating,
            ServiceState::Terminated => ShownState::Terminated,
        },
        operating_status: status(service.status),
        since: Time(service.since),
        reason: clean(&service.reason, TEXT_MAX),
        order: service.order,
        agreement: service.agreement,
        placements: model.assignments_of(service.id).map(|a| placement(model, a)).collect(),
        front: front::doors(model, service.id),
        tenure: service.tenure.map(|t| front::tenure(model, &t)),
        moves: model.moves_of(service.id).map(|m| movement::shown(model, m)).collect(),
        predicted: service.predicted.map(|p| sla::predicted(p, &model.currency)),
        replacements: service
            .replacements
            .iter()
            .map(|r| Replacement {
                at: Time(r.at),
                trigger: r.trigger.as_str().to_owned(),
                from: model.host_name(r.from),
                to: model.host_name(r.to),
                reason: clean(&r.reason, TEXT_MAX),
            })
            .collect(),
        exit: service.exit.map(exit),
        outputs: service
            .outputs
            .iter()
            .map(|o| Output { path: clean(&o.path, 1_024), digest: o.digest, length: o.length })
            .collect(),
        attempts: service.attempts,
    }
}

fn placement(model: &Model, assignment: &Assignment) -> Placement {
    let seen = assignment.observed.as_ref();
    let ports = seen.map(|o| o.ports.as_slice()).unwrap_or_default();
    Placement {
        assignment: assignment.id,
        epoch: assignment.epoch,
        host: model.host_name(assignment.host),
        host_id: assignment.host,
        site: site::name_of(model, assignment.site),
        site_role: model.sites.get(&assignment.site).map_or(SiteRole::Remote, |s| site::shown_role(s.role)),
        state: assignment.state.as_str().to_owned(),
        phase: phase(seen.map_or(Phase::Pending, |o| o.phase)).to_owned(),
        message: seen.map(|o| clean(&o.message, TEXT_MAX)).unwrap_or_default(),
        ports: ports.iter().map(|(name, port)| PortAddress { name: clean(name, 64), port: *port }).collect(),
        starts: seen.map_or(0, |o| o.starts),
        reason: assignment.reason.clone(),
        decision: assignment.decision,
    }
}

/// How far an agent says it is, as it stands in the API.
const fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Pending => "pending",
        Phase::Fetching(_) => "fetching",
        Phase::Starting => "starting",
        Phase::Running => "running",
        Phase::Unhealthy => "unhealthy",
        Phase::BackingOff => "backingOff",
        Phase::Stopping => "stopping",
        Phase::Stopped => "stopped",
        Phase::Completed(_) => "completed",
        Phase::Failed(_) => "failed",
        Phase::Wiped => "wiped",
        Phase::Receiving(_) => "receiving",
        Phase::Verified(_) => "verified",
        Phase::Sealed(_) => "sealed",
    }
}

const fn status(status: OperatingStatus) -> ShownStatus {
    match status {
        OperatingStatus::Pending => ShownStatus::Pending,
        OperatingStatus::Starting => ShownStatus::Starting,
        OperatingStatus::Running => ShownStatus::Running,
        OperatingStatus::Degraded => ShownStatus::Degraded,
        OperatingStatus::Failed => ShownStatus::Failed,
        OperatingStatus::Stopping => ShownStatus::Stopping,
        OperatingStatus::Stopped => ShownStatus::Stopped,
        OperatingStatus::Completed => ShownStatus::Completed,
        OperatingStatus::Unknown => ShownStatus::Unknown,
    }
}

fn exit(exit: Exit) -> String {
    match exit {
        Exit::Code(code) => code.to_string(),
        Exit::Signal(signal) => format!("signal {signal}"),
        Exit::Unknown => "unknown".to_owned(),
        Exit::TimeLimit => "time limit".to_owned(),
    }
}
