//! Sites: places with computers of one owner, and what their capacity costs.

mod window;

use axum::extract::{Path, Request, State};
use axum::http::Uri;
use chandler_api::page::{Page, PageQuery};
use chandler_api::problem::{NO_MACHINES, Problem};
use chandler_api::site::{Rates as ShownRates, Site as Shown, SiteCreate, SiteRole as ShownRole, SiteUpdate};
use chandler_api::value::{Money, Span};
use chandler_engine::criteria::ProviderCriteria;
use chandler_engine::event::Noun;
use chandler_engine::model::Model;
use chandler_engine::party::{PROVIDER, PartyRole};
use chandler_engine::site::{Rates, Site, SiteRole};
use chandler_protocol::text::is_name;
use chandler_protocol::{SiteId, Timestamp};

use super::Api;
use super::access::Caller;
use super::body::{DOCUMENT_MAX, parse, precondition, query, read};
use super::drain;
use super::error::{Failure, Fields, conflict, not_found};
use super::idempotency::{Begun, begin};
use super::page::Wanted;
use super::party::{self, NAME_FORM};
use super::reply::{Answer, CREATED, OK, Reply};

/// Highest rate or price, in millionths: a million an hour. More is a slip of the pen.
pub(super) const RATE_MAX: i64 = 1_000_000_000_000;

#[utoipa::path(get, path = "/api/v1/sites", tag = "sites", params(PageQuery),
    responses((status = 200, body = Page<Shown>)))]
pub(super) async fn list(State(api): Api, caller: Caller, uri: Uri) -> Answer {
    let wanted = Wanted::new("sites", &query(&uri)?)?;
    let after = wanted.after::<SiteId>()?;
    let (model, now) = (api.writer.snapshot(), api.writer.clock().now());
    let sites = model.sites.values().filter(|s| after.is_none_or(|a| s.id > a) && caller.owns(s));
    Reply::json(OK, &wanted.take(sites, |s| s.id.to_string(), |s| shown(&model, s, now)))
}

#[utoipa::path(get, path = "/api/v1/sites/{reference}", tag = "sites",
    params(("reference" = String, Path, description = "name or id")), responses((status = 200, body = Shown)))]
pub(super) async fn show(State(api): Api, caller: Caller, Path(reference): Path<String>) -> Answer {
    let model = api.writer.snapshot();
    let site = find(&model, caller, &reference)?;
    Ok(Reply::json(OK, &shown(&model, site, api.writer.clock().now()))?.tagged(site.version))
}

#[utoipa::path(post, path = "/api/v1/sites", tag = "sites", request_body = SiteCreate,
    responses((status = 201, body = Shown)))]
pub(super) async fn create(State(api): Api, caller: Caller, request: Request) -> Answer {
    let (parts, body) = request.into_parts();
    let post = match begin(&api, caller, &parts, body, DOCUMENT_MAX).await? {
        Begun::Before(reply) => return Ok(reply),
        Begun::New(post) => post,
    };
    let wanted: SiteCreate = post.parse()?;
    post.commit(&api, move |draft| {
        let id = SiteId::from_random(draft.id());
        let site = build(&draft.model, caller, id, &wanted)?;
        draft.event((Noun::Site, site.id.to_string(), &site.name), "", "created", "");
        draft.put(site.clone());
        Ok(Reply::json(CREATED, &shown(&draft.model, &site, draft.now))?.tagged(site.version))
    })
    .await
}

fn build(model: &Model, caller: Caller, id: SiteId, wanted: &SiteCreate) -> Result<Site, Failure> {
    let role = role(wanted.role);
    let mut fields = Fields::default();
    fields.check(is_name(&wanted.name), "name", NAME_FORM);
    fields.check(is_country(&wanted.country), "country", "write an ISO 3166-1 alpha-2 code such as DE");
    let rates = rates(&mut fields, &wanted.rates, Rates::default(), &model.currency);
    let owner = party::find(model, caller, &wanted.owner).ok();
    match owner {
        None => fields.wrong("owner", "there is no such party: chandler party list"),
        Some(owner) => {
            let is_ours = role == SiteRole::Provider && owner.is_provider();
            let (needed, text) = match role {
                SiteRole::Customer => (PartyRole::Customer, "customer"),
                SiteRole::Provider => (PartyRole::ServiceProvider, "serviceProvider"),
                SiteRole::Remote => (PartyRole::SiteOwner, "siteOwner"),
                SiteRole::Partner => (PartyRole::Partner, "partner"),
            };
            let fits = is_ours || owner.roles.contains(&needed);
            fields.check(fits, "owner", format!("{} has not the role {text} that such a site needs", owner.name));
        }
    }
    fields.finish()?;
    let Some(owner) = owner else { return Err(not_found("party", &wanted.owner)) };
    if role == SiteRole::Provider && owner.name == PROVIDER && !owner.has_machines() {
        let text =
            format!("site {} would have the provider's servers: roles (--role) says that there are none", wanted.name);
        return Err(Problem::new(NO_MACHINES, text).into());
    }
    if model.site_named(&wanted.name).is_some() {
        return Err(conflict(format!("there is a site {} already", wanted.name)));
    }
    Ok(Site {
        id,
        name: wanted.name.clone(),
        owner: owner.id,
        role,
        country: wanted.country.clone(),
        rates,
        version: 1,
        home: None,
    })
}

#[utoipa::path(patch, path = "/api/v1/sites/{reference}", tag = "sites", request_body = SiteUpdate,
    params(("reference" = String, Path, description = "name or id")), responses((status = 200, body = Shown)))]
pub(super) async fn update(State(api): Api, caller: Caller, Path(reference): Path<String>, request: Request) -> Answer {
    let (parts, body) = request.into_parts();
    let bytes = read(&parts.headers, body, DOCUMENT_MAX).await?;
    let wanted: SiteUpdate = parse(&parts.headers, &bytes)?;
    api.transact(caller, move |draft| {
        let site = find(&draft.model, caller, &reference)?.clone();
        precondition(&parts.headers, site.version)?;
        let mut fields = Fields::default();
        let new = wanted.rates.as_ref().map(|r| rates(&mut fields, r, site.rates, &draft.model.currency));
        let criteria = window::change(&mut fields, &criteria_of(&draft.model, site.id), &wanted, draft.now);
        fields.finish()?;
        let mut reasons = Vec::new();
        let mut after = site.clone();
        if let Some(new) = new.filter(|new| *new != site.rates) {
            reasons.push(format!("rates now {new}, instead of {}", site.rates));
            after.rates = new;
        }
        if criteria != criteria_of(&draft.model, site.id) {
            reasons.push(window::text(&criteria));
            draft.put(criteria);
        }
        if !reasons.is_empty() {
            draft.event((Noun::Site, site.id.to_string(), &site.name), "", "changed", reasons.join("; "));
            after.version += 1;
            draft.put(after.clone());
        }
        Ok(Reply::json(OK, &shown(&draft.model, &after, draft.now))?.tagged(after.version))
    })
    .await
}

/// What the provider or the owner would rather have of a site.
pub(super) fn criteria_of(model: &Model, site: SiteId) -> ProviderCriteria {
    let known = model.criteria_of(Some(site)).cloned();
    known.unwrap_or_else(|| ProviderCriteria { site: Some(site), ..ProviderCriteria::default() })
}

/// The site of this name or id, as far as the caller may see it.
pub(super) fn find<'m>(model: &'m Model, caller: Caller, reference: &str) -> Result<&'m Site, Failure> {
    let site = match reference.parse::<SiteId>() {
        Ok(id) => model.sites.get(&id),
        Err(_) => model.site_named(reference),
    };
    site.map(|s| s.as_ref()).filter(|s| caller.owns(s)).ok_or_else(|| not_found("site", reference))
}

/// The name of a site, or its id when it is not known.
pub(super) fn name_of(model: &Model, id: SiteId) -> String {
    model.sites.get(&id).map_or_else(|| id.to_string(), |s| s.name.clone())
}

/// Whether this may be a country: two capital letters.
pub(super) fn is_country(code: &str) -> bool {
    code.len() == 2 && code.bytes().all(|b| b.is_ascii_uppercase())
}

/// Whose computer it is, as it stands in the API.
pub(super) const fn shown_role(role: SiteRole) -> ShownRole {
    match role {
        SiteRole::Customer => ShownRole::Customer,
        SiteRole::Provider => ShownRole::Provider,
        SiteRole::Remote => ShownRole::Remote,
        SiteRole::Partner => ShownRole::Partner,
    }
}

const fn role(role: ShownRole) -> SiteRole {
    match role {
        ShownRole::Customer => SiteRole::Customer,
        ShownRole::Provider => SiteRole::Provider,
        ShownRole::Remote => SiteRole::Remote,
        ShownRole::Partner => SiteRole::Partner,
    }
}

/// Checks an amount that is a rate or a price.
pub(super) fn check_rate(fields: &mut Fields, pointer: &str, money: &Money, currency: &str) {
    let is_known = money.currency == currency;
    fields.check(is_known, format!("{pointer}.currency"), format!("this controller counts in {currency}"));
    let in_range = (0..=RATE_MAX).contains(&money.micros);
    fields.check(in_range, format!("{pointer}.micros"), format!("write millionths from 0 to {RATE_MAX}"));
}

/// The rates of a site; a GPU-hour that is left out stays as it was.
fn rates(fields: &mut Fields, wanted: &ShownRates, before: Rates, currency: &str) -> Rates {
    check_rate(fields, "rates.coreHour", &wanted.core_hour, currency);
    check_rate(fields, "rates.gibHour", &wanted.gib_hour, currency);
    if let Some(gpu_hour) = &wanted.gpu_hour {
        check_rate(fields, "rates.gpuHour", gpu_hour, currency);
    }
    amounts(wanted, before)
}

/// Rates as numbers; a GPU-hour that is left out stays as it was.
pub(super) fn amounts(wanted: &ShownRates, before: Rates) -> Rates {
    Rates {
        core_hour: wanted.core_hour.amount(),
        gib_hour: wanted.gib_hour.amount(),
        gpu_hour: wanted.gpu_hour.as_ref().map_or(before.gpu_hour, Money::amount),
    }
}

/// Rates as they stand in the API.
pub(super) fn shown_rates(model: &Model, rates: Rates) -> ShownRates {
    let money = |amount| Money::new(amount, &model.currency);
    ShownRates {
        core_hour: money(rates.core_hour),
        gib_hour: money(rates.gib_hour),
        gpu_hour: Some(money(rates.gpu_hour)),
    }
}

fn shown(model: &Model, site: &Site, now: Timestamp) -> Shown {
    let hosts = model.hosts_of(site.id).count();
    let criteria = criteria_of(model, site.id);
    Shown {
        id: site.id,
        name: site.name.clone(),
        owner: party::name_of(model, site.owner),
        role: shown_role(site.role),
        country: site.country.clone(),
        rates: shown_rates(model, site.rates),
        hosts: u32::try_from(hosts).unwrap_or(u32::MAX),
        draining: criteria.drain.as_ref().map(drain::shown),
        maintenance: window::shown(&criteria, now),
        hours: criteria.hours.as_ref().map(ToString::to_string),
        lead: Span(criteria.lead),
    }
}
