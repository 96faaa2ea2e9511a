//! Parties: organisations and persons.

use axum::extract::{Path, Request, State};
use axum::http::Uri;
use chandler_api::page::{Page, PageQuery};
use chandler_api::party::{Party as Shown, PartyCreate, PartyRole as ShownRole};
use chandler_engine::event::Noun;
use chandler_engine::model::Model;
use chandler_engine::party::{Party, PartyRole};
use chandler_protocol::PartyId;
use chandler_protocol::text::is_name;

use super::Api;
use super::access::Caller;
use super::body::{DOCUMENT_MAX, query};
use super::error::{Failure, Fields, conflict, not_found};
use super::idempotency::{Begun, begin};
use super::page::Wanted;
use super::reply::{Answer, CREATED, OK, Reply};

/// What a name must look like.
pub(super) const NAME_FORM: &str = "write 1 to 64 of a-z 0-9 . _ - beginning with a letter or digit";

#[utoipa::path(get, path = "/api/v1/parties", tag = "parties", params(PageQuery),
    responses((status = 200, body = Page<Shown>)))]
pub(super) async fn list(State(api): Api, caller: Caller, uri: Uri) -> Answer {
    let wanted = Wanted::new("parties", &query(&uri)?)?;
    let after = wanted.after::<PartyId>()?;
    let model = api.writer.snapshot();
    let parties = model.parties.values().filter(|p| after.is_none_or(|a| p.id > a) && caller.is(p.id));
    Reply::json(OK, &wanted.take(parties, |p| p.id.to_string(), |p| shown(p)))
}

#[utoipa::path(get, path = "/api/v1/parties/{reference}", tag = "parties",
    params(("reference" = String, Path, description = "name or id")), responses((status = 200, body = Shown)))]
pub(super) async fn show(State(api): Api, caller: Caller, Path(reference): Path<String>) -> Answer {
    let model = api.writer.snapshot();
    Reply::json(OK, &shown(find(&model, caller, &reference)?))
}

#[utoipa::path(post, path = "/api/v1/parties", tag = "parties", request_body = PartyCreate,
    responses((status = 201, body = Shown)))]
pub(super) async fn create(State(api): Api, caller: Caller, request: Request) -> Answer {
    let (parts, body) = request.into_parts();
    let post = match begin(&api, caller, &parts, body, DOCUMENT_MAX).await? {
        Begun::Before(reply) => return Ok(reply),
        Begun::New(post) => post,
    };
    let wanted: PartyCreate = post.parse()?;
    let mut fields = Fields::default();
    fields.check(is_name(&wanted.name), "name", NAME_FORM);
    fields.check(!wanted.roles.is_empty(), "roles", "write at least one of customer, serviceProvider, siteOwner");
    let is_partner = wanted.roles.contains(&ShownRole::Partner);
    fields.check(!is_partner, "roles", "a partner is not made but invited: chandler partner invite NAME");
    let settings = [ShownRole::VirtualServiceProvider, ShownRole::ValueAddedServiceProvider, ShownRole::Marketplace];
    let is_setting = wanted.roles.iter().any(|r| settings.contains(r));
    let text =
        "what this controller is stands in its settings: start it with --role virtual, valueAdded or marketplace";
    fields.check(!is_setting, "roles", text);
    fields.finish()?;
    post.commit(&api, move |draft| {
        if draft.model.party_named(&wanted.name).is_some() {
            return Err(conflict(format!("there is a party {} already", wanted.name)));
        }
        let mut roles: Vec<_> = wanted.roles.iter().map(|r| role(*r)).collect();
        roles.sort_unstable();
        roles.dedup();
        let party = Party { id: PartyId::from_random(draft.id()), name: wanted.name, roles };
        draft.event((Noun::Party, party.id.to_string(), &party.name), "", "created", "");
        let reply = Reply::json(CREATED, &shown(&party));
        draft.put(party);
        reply
    })
    .await
}

/// The party of this name or id, as far as the caller may see it.
pub(super) fn find<'m>(model: &'m Model, caller: Caller, reference: &str) -> Result<&'m Party, Failure> {
    let party = match reference.parse::<PartyId>() {
        Ok(id) => model.parties.get(&id),
        Err(_) => model.party_named(reference),
    };
    party.map(|p| p.as_ref()).filter(|p| caller.is(p.id)).ok_or_else(|| not_found("party", reference))
}

/// The name of a party, or its id when it is not known.
pub(super) fn name_of(model: &Model, id: PartyId) -> String {
    model.parties.get(&id).map_or_else(|| id.to_string(), |p| p.name.clone())
}

fn shown(party: &Party) -> Shown {
    let roles = party.roles.iter().map(|r| match r {
        PartyRole::Customer => ShownRole::Customer,
        PartyRole::ServiceProvider => ShownRole::ServiceProvider,
        PartyRole::SiteOwner => ShownRole::SiteOwner,
        PartyRole::Partner => ShownRole::Partner,
        PartyRole::VirtualServiceProvider => ShownRole::VirtualServiceProvider,
        PartyRole::ValueAddedServiceProvider => ShownRole::ValueAddedServiceProvider,
        PartyRole::Marketplace => ShownRole::Marketplace,
    });
    Shown { id: party.id, name: party.name.clone(), roles: roles.collect() }
}

const fn role(role: ShownRole) -> PartyRole {
    match role {
        ShownRole::Customer => PartyRole::Customer,
        ShownRole::ServiceProvider => PartyRole::ServiceProvider,
        ShownRole::SiteOwner => PartyRole::SiteOwner,
        ShownRole::Partner => PartyRole::Partner,
        ShownRole::VirtualServiceProvider => PartyRole::VirtualServiceProvider,
        ShownRole::ValueAddedServiceProvider => PartyRole::ValueAddedServiceProvider,
        ShownRole::Marketplace => PartyRole::Marketplace,
    }
}
