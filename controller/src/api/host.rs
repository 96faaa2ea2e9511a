//! Hosts: computers with an agent, which are also the resource inventory.

use axum::extract::{Path, Request, State};
use axum::http::Uri;
use chandler_api::host::{
    AllocationStatus, Capacity as ShownCapacity, Host as Shown, HostPath, HostState as ShownState, PathKind,
};
use chandler_api::page::{Page, PageQuery};
use chandler_api::site::SiteRole as ShownRole;
use chandler_api::value::{Size, Time};
use chandler_engine::fleet::{Capacity, Host, HostState};
use chandler_engine::model::Model;
use chandler_engine::{assurance, availability, fulfilment, relocation};
use chandler_protocol::id::ID_BYTES;
use chandler_protocol::way;
use chandler_protocol::{HostId, Ppm, Timestamp};

use super::Api;
use super::access::Caller;
use super::body::query;
use super::error::{Failure, not_found};
use super::idempotency::{Begun, begin_bodiless};
use super::page::Wanted;
use super::reply::{Answer, OK, Reply};
use super::{drain, site};

#[utoipa::path(get, path = "/api/v1/hosts", tag = "hosts", params(PageQuery),
    responses((status = 200, body = Page<Shown>)))]
pub(super) async fn list(State(api): Api, caller: Caller, uri: Uri) -> Answer {
    let wanted = Wanted::new("hosts", &query(&uri)?)?;
    let after = wanted.after::<HostId>()?;
    let (model, now) = (api.writer.snapshot(), api.writer.clock().now());
    let hosts = model.hosts.values().filter(|h| after.is_none_or(|a| h.id > a) && caller.owns_host(&model, h.id));
    Reply::json(OK, &wanted.take(hosts, |h| h.id.to_string(), |h| shown(&model, h, now)))
}

#[utoipa::path(get, path = "/api/v1/hosts/{reference}", tag = "hosts",
    params(("reference" = String, Path, description = "name or id")), responses((status = 200, body = Shown)))]
pub(super) async fn show(State(api): Api, caller: Caller, Path(reference): Path<String>) -> Answer {
    let model = api.writer.snapshot();
    let host = find(&model, caller, &reference)?;
    let shown = whole(&model, host, api.writer.clock().now());
    Reply::json(OK, &Shown { paths: paths(&model, caller, host.id), ..shown })
}

#[utoipa::path(post, path = "/api/v1/hosts/{reference}/revoke", tag = "hosts",
    params(("reference" = String, Path, description = "name or id")), responses((status = 200, body = Shown)))]
pub(super) async fn revoke(State(api): Api, caller: Caller, Path(reference): Path<String>, request: Request) -> Answer {
    let (parts, _) = request.into_parts();
    let post = match begin_bodiless(&api, caller, &parts).await? {
        Begun::Before(reply) => return Ok(reply),
        Begun::New(post) => post,
    };
    let id = find(&api.writer.snapshot(), caller, &reference)?.id;
    let reply = post
        .commit(&api, move |draft| {
            let host = draft.model.hosts.get(&id).cloned().ok_or_else(|| not_found("host", &reference))?;
            if host.state != HostState::Revoked {
                let mut touched: Vec<_> = draft.model.assignments_of_host(id).map(|a| a.service).collect();
                touched.sort_unstable();
                touched.dedup();
                assurance::host_to(draft, &host, HostState::Revoked, "its identity was revoked by an operator");
                relocation::displace(draft, id);
                for service in touched {
                    fulfilment::advance(draft, service);
                }
            }
            let host = draft.model.hosts.get(&id).cloned().unwrap_or(host);
            Reply::json(OK, &shown(&draft.model, &host, draft.now))
        })
        .await?;
    // Only now: the connection of a host whose revocation was not kept stays.
    api.sessions.cut(id);
    Ok(reply)
}

/// The host of this name or id, as far as the caller may see it.
pub(super) fn find<'m>(model: &'m Model, caller: Caller, reference: &str) -> Result<&'m Host, Failure> {
    let host = match reference.parse::<HostId>() {
        Ok(id) => model.hosts.get(&id),
        Err(_) => model.host_named(reference),
    };
    host.map(|h| h.as_ref()).filter(|h| caller.owns_host(model, h.id)).ok_or_else(|| not_found("host", reference))
}

/// A host with its inventory.
pub(super) fn whole(model: &Model, host: &Host, now: Timestamp) -> Shown {
    Shown { inventory: host.inventory.clone(), ..shown(model, host, now) }
}

/// Its ways to other hosts, as far as the caller may see those.
fn paths(model: &Model, caller: Caller, host: HostId) -> Vec<HostPath> {
    let first = (host, HostId::from_random([0; ID_BYTES]));
    let of_host = model.paths.range(first..).take_while(|((from, _), _)| *from == host);
    let path = |seen: &way::ObservedPath| {
        let (path, rtt_micros) = match seen.path {
            way::Path::Direct => (PathKind::Direct, seen.rtt),
            way::Path::Relayed => (PathKind::Relayed, seen.rtt),
            way::Path::None => (PathKind::None, None),
        };
        Some(HostPath { to: model.hosts.get(&seen.peer)?.name.clone(), path, rtt_micros })
    };
    of_host.filter(|((_, to), _)| caller.owns_host(model, *to)).filter_map(|(_, seen)| path(seen)).collect()
}

fn shown(model: &Model, host: &Host, now: Timestamp) -> Shown {
    let site = model.sites.get(&host.site);
    let pulse = model.pulse(host.id);
    let reserved = model.reserved.get(&host.id).copied().unwrap_or_default();
    let assignments = model.by_host.get(&host.id).map_or(0, |all| all.len());
    Shown {
        id: host.id,
        name: host.name.clone(),
        site: site::name_of(model, host.site),
        site_role: site.map_or(ShownRole::Remote, |s| site::shown_role(s.role)),
        state: shown_state(host.state),
        note: host.note.clone(),
        draining: host.drain.as_ref().map(drain::shown),
        seen_at: (pulse.seen_at > Timestamp(0)).then_some(Time(pulse.seen_at)),
        rtt_micros: pulse.rtt.or(host.rtt),
        availability_ppm: site
            .map_or(Ppm(0), |s| availability::estimate(&host.history, s.role, now, model.observable_since)),
        offered: capacity(host.offered()),
        reserved: capacity(reserved),
        allocation_status: allocation(host.offered(), reserved),
        assignments: u32::try_from(assignments).unwrap_or(u32::MAX),
        agent_version: host.agent_version.clone(),
        readings: pulse.readings,
        inventory: None,
        paths: Vec::new(),
    }
}

const fn shown_state(state: HostState) -> ShownState {
    match state {
        HostState::Registered => ShownState::Registered,
        HostState::Active => ShownState::Active,
        HostState::Unknown => ShownState::Unknown,
        HostState::Lost => ShownState::Lost,
        HostState::Revoked => ShownState::Revoked,
    }
}

pub(super) const fn capacity(capacity: Capacity) -> ShownCapacity {
    ShownCapacity { milli_cpu: capacity.cpu, memory: Size(capacity.memory), gpus: capacity.gpus }
}

/// How much of a host is taken.
pub(super) fn allocation(offered: Capacity, reserved: Capacity) -> AllocationStatus {
    if reserved == Capacity::default() {
        AllocationStatus::Available
    } else if reserved.cpu >= offered.cpu || reserved.memory >= offered.memory {
        AllocationStatus::Allocated
    } else {
        AllocationStatus::PartiallyAllocated
    }
}
