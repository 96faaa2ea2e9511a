//! Draining hosts and sites: no new work comes, what is there goes, and what cannot go is said with its reason.

use axum::extract::{Path, Request, State};
use chandler_api::drain::{DrainItem, DrainReport, DrainRequest, Draining, Going as Shown};
use chandler_api::problem::{CANNOT_DRAIN, Problem};
use chandler_engine::criteria::ProviderCriteria;
use chandler_engine::draft::Draft;
use chandler_engine::event::Noun;
use chandler_engine::fleet::{Drain, Host, HostState};
use chandler_engine::model::Model;
use chandler_engine::relocation::trigger::{Going, drain_report};
use chandler_engine::site::Site;
use chandler_protocol::HostId;
use chandler_protocol::state::Target;
use chandler_protocol::text::{TEXT_MAX, clean};

use super::Api;
use super::access::Caller;
use super::body::DOCUMENT_MAX;
use super::error::{Failure, Fields};
use super::idempotency::{Begun, begin, begin_bodiless};
use super::reply::{ACCEPTED, Answer, OK, Reply};
use super::{host, site};

/// Services that one report names.
const SERVICES_MAX: usize = 10_000;

#[utoipa::path(get, path = "/api/v1/hosts/{reference}/drain", tag = "hosts",
    params(("reference" = String, Path, description = "name or id")), responses((status = 200, body = DrainReport)))]
pub(super) async fn of_host(State(api): Api, caller: Caller, Path(reference): Path<String>) -> Answer {
    let model = api.writer.snapshot();
    Reply::json(OK, &host_report(&model, caller, host::find(&model, caller, &reference)?))
}

#[utoipa::path(post, path = "/api/v1/hosts/{reference}/drain", tag = "hosts", request_body = DrainRequest,
    description = "No new work comes to it, and what is there moves away. The answer is how far that is.",
    params(("reference" = String, Path, description = "name or id")), responses((status = 202, body = DrainReport)))]
pub(super) async fn host(State(api): Api, caller: Caller, Path(reference): Path<String>, request: Request) -> Answer {
    let (parts, body) = request.into_parts();
    let post = match begin(&api, caller, &parts, body, DOCUMENT_MAX).await? {
        Begun::Before(reply) => return Ok(reply),
        Begun::New(post) => post,
    };
    let reason = reason_of(&post.parse()?)?;
    post.commit(&api, move |draft| {
        let host = host::find(&draft.model, caller, &reference)?.clone();
        if host.state == HostState::Revoked {
            let detail = format!("the identity of {} was revoked: nothing runs there any more", host.name);
            return Err(Problem::new(CANNOT_DRAIN, detail).into());
        }
        // Asked again, it is still the same drain.
        if host.drain.is_none() {
            draft.event((Noun::Host, host.id.to_string(), &host.name), "", "draining", reason.clone());
            let drain = Some(Drain { since: draft.now, by: caller.by(), reason });
            draft.put(Host { drain, ..host.clone() });
        }
        let host = draft.model.hosts.get(&host.id).map_or(host, |h| h.as_ref().clone());
        Reply::json(ACCEPTED, &host_report(&draft.model, caller, &host))
    })
    .await
}

#[utoipa::path(post, path = "/api/v1/hosts/{reference}/undrain", tag = "hosts",
    description = "New work may come again; what has gone stays where it went.",
    params(("reference" = String, Path, description = "name or id")), responses((status = 200, body = DrainReport)))]
pub(super) async fn host_end(
    State(api): Api,
    caller: Caller,
    Path(reference): Path<String>,
    request: Request,
) -> Answer {
    let (parts, _) = request.into_parts();
    let post = match begin_bodiless(&api, caller, &parts).await? {
        Begun::Before(reply) => return Ok(reply),
        Begun::New(post) => post,
    };
    post.commit(&api, move |draft| {
        let host = host::find(&draft.model, caller, &reference)?.clone();
        if host.drain.is_some() {
            draft.event((Noun::Host, host.id.to_string(), &host.name), "draining", "", "it need not be left any more");
            draft.put(Host { drain: None, ..host.clone() });
        }
        let host = Host { drain: None, ..host };
        Reply::json(OK, &host_report(&draft.model, caller, &host))
    })
    .await
}

#[utoipa::path(get, path = "/api/v1/sites/{reference}/drain", tag = "sites",
    params(("reference" = String, Path, description = "name or id")), responses((status = 200, body = DrainReport)))]
pub(super) async fn of_site(State(api): Api, caller: Caller, Path(reference): Path<String>) -> Answer {
    let model = api.writer.snapshot();
    Reply::json(OK, &site_report(&model, caller, site::find(&model, caller, &reference)?))
}

#[utoipa::path(post, path = "/api/v1/sites/{reference}/drain", tag = "sites", request_body = DrainRequest,
    description = "No new work comes to its hosts, and what is there moves away. The answer is how far that is.",
    params(("reference" = String, Path, description = "name or id")), responses((status = 202, body = DrainReport)))]
pub(super) async fn site(State(api): Api, caller: Caller, Path(reference): Path<String>, request: Request) -> Answer {
    let (parts, body) = request.into_parts();
    let post = match begin(&api, caller, &parts, body, DOCUMENT_MAX).await? {
        Begun::Before(reply) => return Ok(reply),
        Begun::New(post) => post,
    };
    let reason = reason_of(&post.parse()?)?;
    post.commit(&api, move |draft| {
        let site = site::find(&draft.model, caller, &reference)?.clone();
        if site::criteria_of(&draft.model, site.id).drain.is_none() {
            draft.event((Noun::Site, site.id.to_string(), &site.name), "", "draining", reason.clone());
            let drain = Some(Drain { since: draft.now, by: caller.by(), reason });
            set_site(draft, &site, drain);
        }
        Reply::json(ACCEPTED, &site_report(&draft.model, caller, &site))
    })
    .await
}

#[utoipa::path(post, path = "/api/v1/sites/{reference}/undrain", tag = "sites",
    description = "New work may come again; what has gone stays where it went.",
    params(("reference" = String, Path, description = "name or id")), responses((status = 200, body = DrainReport)))]
pub(super) async fn site_end(
    State(api): Api,
    caller: Caller,
    Path(reference): Path<String>,
    request: Request,
) -> Answer {
    let (parts, _) = request.into_parts();
    let post = match begin_bodiless(&api, caller, &parts).await? {
        Begun::Before(reply) => return Ok(reply),
        Begun::New(post) => post,
    };
    post.commit(&api, move |draft| {
        let site = site::find(&draft.model, caller, &reference)?.clone();
        if site::criteria_of(&draft.model, site.id).drain.is_some() {
            draft.event((Noun::Site, site.id.to_string(), &site.name), "draining", "", "it need not be left any more");
            set_site(draft, &site, None);
        }
        Reply::json(OK, &site_report(&draft.model, caller, &site))
    })
    .await
}

fn set_site(draft: &mut Draft<'_>, site: &Site, drain: Option<Drain>) {
    let criteria = ProviderCriteria { drain, ..site::criteria_of(&draft.model, site.id) };
    draft.put(criteria);
    // What was read of the site has changed.
    draft.put(Site { version: site.version + 1, ..site.clone() });
}

fn reason_of(request: &DrainRequest) -> Result<String, Failure> {
    let mut fields = Fields::default();
    let is_short = request.reason.chars().count() <= TEXT_MAX;
    fields.check(is_short, "reason", format!("write at most {TEXT_MAX} characters"));
    fields.finish()?;
    Ok(clean(&request.reason, TEXT_MAX))
}

/// That it shall be left, as the API shows it.
pub(super) fn shown(drain: &Drain) -> Draining {
    Draining { since: chandler_api::value::Time(drain.since), by: drain.by.clone(), reason: drain.reason.clone() }
}

fn host_report(model: &Model, caller: Caller, host: &Host) -> DrainReport {
    let of_site = site::criteria_of(model, host.site).drain;
    let drain = host.drain.as_ref().or(of_site.as_ref());
    report(model, caller, &host.name, drain, &[host.id])
}

fn site_report(model: &Model, caller: Caller, site: &Site) -> DrainReport {
    let drain = site::criteria_of(model, site.id).drain;
    let hosts: Vec<_> = model.hosts_of(site.id).map(|h| h.id).collect();
    report(model, caller, &site.name, drain.as_ref(), &hosts)
}

fn report(model: &Model, caller: Caller, name: &str, drain: Option<&Drain>, hosts: &[HostId]) -> DrainReport {
    let all = hosts
        .iter()
        .flat_map(|host| drain_report(model, *host).into_iter().map(|(service, going)| (*host, service, going)));
    let mut services: Vec<_> = all
        .take(SERVICES_MAX)
        .map(|(host, id, going)| {
            let known = model.services.get(&id).filter(|s| caller.acts_for(s.customer));
            let (going, r#move, to, why) = match going {
                Going::Moved { to } => (Shown::Moved, None, Some(model.host_name(to)), String::new()),
                Going::Moving(id) => {
                    let to = model.moves.get(&id).map(|m| model.host_name(m.to_host));
                    (Shown::Moving, Some(id), to, String::new())
                }
                Going::Waits { why } => (Shown::Waiting, None, None, why),
                Going::Cannot { why } => (Shown::Cannot, None, None, why),
            };
            let service = known.map(|s| s.name.clone()).unwrap_or_default();
            let why = clean(&why, TEXT_MAX);
            DrainItem { service, service_id: id, host: model.host_name(host), going, r#move, to, why }
        })
        .collect();
    services.sort_by_key(|s| (std::cmp::Reverse(s.going), s.service_id));
    let is_kept = |t: Target| matches!(t, Target::Stopped | Target::Seal { .. });
    let kept = hosts.iter().flat_map(|h| model.assignments_of_host(*h)).filter(|a| is_kept(a.target)).count();
    DrainReport {
        name: name.to_owned(),
        draining: drain.map(shown),
        done: drain.is_some() && services.iter().all(|s| s.going == Shown::Moved),
        services,
        kept: u32::try_from(kept).unwrap_or(u32::MAX),
    }
}
