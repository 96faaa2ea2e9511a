//! Offers: posted and changed by operators, and by owners for sites of their own.

mod draw;

use std::collections::BTreeMap;

use axum::extract::{Path, Request, State};
use axum::http::Uri;
use chandler_api::market::{Offer as Shown, OfferChange, OfferPost, OfferQuery, OfferState as ShownState};
use chandler_api::page::{Page, PageQuery};
use chandler_api::problem::{NO_MARKETPLACE, NOT_OFFERABLE, OFFER_OVER, OFFERED_ALREADY, Problem};
use chandler_api::value::{Quantity, Span, Time};
use chandler_engine::draft::Draft;
use chandler_engine::event::Noun;
use chandler_engine::federation::Posted;
use chandler_engine::fleet::HostState;
use chandler_engine::market::offer::{Offer, OfferState};
use chandler_engine::model::Model;
use chandler_engine::party::PROVIDER;
use chandler_engine::site::{Site, SiteRole};
use chandler_protocol::{Digest, OfferId, Timestamp};

use super::body::{DOCUMENT_MAX, parse, precondition, query, read};
use super::error::{Failure, conflict, not_found};
use super::idempotency::{Begun, begin};
use super::page::Wanted;
use super::reply::{Answer, CREATED, OK, Reply};
use super::{party, shown_share, site};
use crate::api::access::Caller;
use crate::api::{Api, Shared};

#[utoipa::path(get, path = "/api/v1/market/offers", tag = "market", params(OfferQuery),
    responses((status = 200, body = Page<Shown>)))]
pub(in crate::api) async fn list(State(api): Api, caller: Caller, uri: Uri) -> Answer {
    let asked: OfferQuery = query(&uri)?;
    let wanted = Wanted::new("offers", &PageQuery { limit: asked.limit, page_token: asked.page_token })?;
    let after = wanted.after::<OfferId>()?;
    let (model, now) = (api.writer.snapshot(), api.writer.clock().now());
    let of = asked.site.as_deref().map(|s| site::find(&model, caller, s).map(|s| s.id)).transpose()?;
    let offers = model.offers.values().filter(|p| {
        after.is_none_or(|a| p.offer.id > a)
            && caller.is(p.offer.owner)
            && of.is_none_or(|site| p.offer.site == site)
            && asked.state.is_none_or(|s| shown_state(p.offer.state) == s)
    });
    Reply::json(OK, &wanted.take(offers, |p| p.offer.id.to_string(), |p| shown(&model, p, now)))
}

#[utoipa::path(get, path = "/api/v1/market/offers/{reference}", tag = "market",
    params(("reference" = String, Path, description = "id, or name of its site")),
    responses((status = 200, body = Shown)))]
pub(in crate::api) async fn show(State(api): Api, caller: Caller, Path(reference): Path<String>) -> Answer {
    let model = api.writer.snapshot();
    let posted = find(&model, caller, &reference)?;
    Ok(Reply::json(OK, &shown(&model, posted, api.writer.clock().now()))?.tagged(posted.offer.version))
}

#[utoipa::path(post, path = "/api/v1/market/offers", tag = "market", request_body = OfferPost,
    responses((status = 201, body = Shown)))]
pub(in crate::api) async fn create(State(api): Api, caller: Caller, request: Request) -> Answer {
    let (parts, body) = request.into_parts();
    let post = match begin(&api, caller, &parts, body, DOCUMENT_MAX).await? {
        Begun::Before(reply) => return Ok(reply),
        Begun::New(post) => post,
    };
    let wanted: OfferPost = post.parse()?;
    let salt = salt(&api);
    post.commit(&api, move |draft| {
        let site = site::find(&draft.model, caller, &wanted.site)?.clone();
        offerable(&draft.model, &site)?;
        let id = OfferId::from_random(draft.id());
        let offer = draw::new(&draft.model, id, &site, &wanted, draft.now)?;
        let what = (Noun::Offer, id.to_string(), site.name.as_str());
        draft.event(what, "", offer.state.as_str(), draw::terms(&offer, &draft.model.currency));
        let posted = Posted::new(offer, salt);
        draft.put(posted.clone());
        let reply = Reply::json(CREATED, &shown(&draft.model, &posted, draft.now))?;
        Ok(reply.tagged(posted.offer.version).at(format!("/api/v1/market/offers/{id}")))
    })
    .await
}

#[utoipa::path(patch, path = "/api/v1/market/offers/{reference}", tag = "market", request_body = OfferChange,
    description = "Holds for new leases; those that run keep what they were made under, but for a higher rate: that counts for them too once the notice that was agreed has passed.",
    params(("reference" = String, Path, description = "id, or name of its site")),
    responses((status = 200, body = Shown)))]
pub(in crate::api) async fn update(
    State(api): Api,
    caller: Caller,
    Path(reference): Path<String>,
    request: Request,
) -> Answer {
    let (parts, body) = request.into_parts();
    let bytes = read(&parts.headers, body, DOCUMENT_MAX).await?;
    let wanted: OfferChange = parse(&parts.headers, &bytes)?;
    let salt = salt(&api);
    api.transact(caller, move |draft| {
        let before = find(&draft.model, caller, &reference)?.clone();
        precondition(&parts.headers, before.offer.version)?;
        let posted = match changed(draft, &before.offer, &wanted)? {
            None => before,
            Some(offer) => {
                // Another salt: two versions with the same rates must not look alike.
                let posted = Posted::new(offer, salt);
                draft.put(posted.clone());
                posted
            }
        };
        Ok(Reply::json(OK, &shown(&draft.model, &posted, draft.now))?.tagged(posted.offer.version))
    })
    .await
}

/// The next version of an offer, with its event; `None` when nothing changes.
fn changed(draft: &mut Draft<'_>, before: &Offer, wanted: &OfferChange) -> Result<Option<Offer>, Failure> {
    if before.state.is_final() {
        let text = format!("offer {} is {}: post a new one", before.id, before.state.as_str());
        return Err(Problem::new(OFFER_OVER, text).into());
    }
    let site =
        draft.model.sites.get(&before.site).cloned().ok_or_else(|| not_found("site", &before.site.to_string()))?;
    let after = draw::changed(&draft.model, before, wanted, draft.now)?;
    if after == *before {
        return Ok(None);
    }
    if after.state != before.state && !before.state.may_become(after.state) {
        return Err(conflict(format!("the offer is {}", before.state.as_str())));
    }
    // Who takes it back or holds it back may always do so.
    if after.state == OfferState::Active {
        may_sell(&draft.model, &site)?;
    }
    let from = if after.state == before.state { "" } else { before.state.as_str() };
    let to = if after.state == before.state { "changed" } else { after.state.as_str() };
    let only_state = Offer { state: before.state, reason: before.reason.clone(), ..after.clone() } == *before;
    let terms = if only_state { String::new() } else { draw::terms(&after, &draft.model.currency) };
    let parts: Vec<_> = [after.reason.clone(), terms].into_iter().filter(|part| !part.is_empty()).collect();
    let reason = parts.join("; ");
    draft.event((Noun::Offer, after.id.to_string(), &site.name), from, to, reason);
    Ok(Some(Offer { version: before.version.saturating_add(1), posted_at: draft.now, ..after }))
}

/// Whether machines of a site can be offered, and are not yet.
fn offerable(model: &Model, site: &Site) -> Result<(), Failure> {
    may_sell(model, site)?;
    match model.offers_of(site.id).next() {
        None => Ok(()),
        Some(first) => {
            let (id, state) = (first.offer.id, first.offer.state.as_str());
            let text = format!("{id} offers the machines of {} already, and is {state}", site.name);
            Err(Problem::new(OFFERED_ALREADY, text).into())
        }
    }
}

/// Whether machines of a site may be sold by this controller.
fn may_sell(model: &Model, site: &Site) -> Result<(), Failure> {
    let (code, text) = match site.role {
        SiteRole::Customer => (NOT_OFFERABLE, format!("site {} has a customer's own computers", site.name)),
        _ if site.home.is_some() => (NOT_OFFERABLE, format!("site {} is at home at a partner's controller", site.name)),
        SiteRole::Partner => (NOT_OFFERABLE, format!("site {} has a partner's servers", site.name)),
        SiteRole::Remote if !model.party_named(PROVIDER).is_some_and(|p| p.is_marketplace()) => {
            (NO_MARKETPLACE, format!("site {} is remote: start this controller with --role marketplace", site.name))
        }
        SiteRole::Provider | SiteRole::Remote => return Ok(()),
    };
    Err(Problem::new(code, text).into())
}

/// 32 random bytes for a commitment.
fn salt(api: &Shared) -> Digest {
    let mut salt = [0; 32];
    api.writer.random().fill(&mut salt);
    Digest(salt)
}

/// The offer of this id, or the newest of the site of this name, as far as the caller may see it.
fn find<'m>(model: &'m Model, caller: Caller, reference: &str) -> Result<&'m Posted, Failure> {
    let found = match reference.parse::<OfferId>() {
        Ok(id) => model.offers.get(&id).map(AsRef::as_ref),
        Err(_) => model.site_named(reference).and_then(|site| {
            let all = model.offers.values().filter(|p| p.offer.site == site.id);
            all.max_by_key(|p| (!p.offer.state.is_final(), p.offer.posted_at)).map(AsRef::as_ref)
        }),
    };
    found.filter(|p| caller.is(p.offer.owner)).ok_or_else(|| not_found("offer", reference))
}

const fn shown_state(state: OfferState) -> ShownState {
    match state {
        OfferState::Active => ShownState::Active,
        OfferState::Paused => ShownState::Paused,
        OfferState::Exhausted => ShownState::Exhausted,
        OfferState::Expired => ShownState::Expired,
        OfferState::Withdrawn => ShownState::Withdrawn,
    }
}

fn shown(model: &Model, posted: &Posted, now: Timestamp) -> Shown {
    let offer = &posted.offer;
    let (mut machines, mut leases, mut shut) = (0, 0_usize, BTreeMap::new());
    for host in model.hosts_of(offer.site).filter(|h| h.state != HostState::Revoked) {
        machines += 1;
        leases += model.leases_of_host(host.id).filter(|l| l.is_open()).count();
        if let Some(why) = posted.closed(model, host, now) {
            *shut.entry(why).or_default() += 1;
        }
    }
    Shown {
        id: offer.id,
        site: site::name_of(model, offer.site),
        owner: party::name_of(model, offer.owner),
        state: shown_state(offer.state),
        reason: offer.reason.clone(),
        rates: site::shown_rates(model, offer.asked),
        free: offer.free,
        capacity: offer.capacity.map(shown_share),
        windows: offer.windows.iter().map(ToString::to_string).collect(),
        min_term: Span(offer.min_term),
        reclaim_notice: Span(offer.reclaim_notice),
        residency: offer.residency.clone(),
        availability: Quantity(offer.availability),
        price_notice: Span(offer.price_notice),
        until: offer.until.map(Time),
        version: offer.version,
        posted_at: Time(offer.posted_at),
        commitment: posted.commitment,
        machines,
        closed: shut,
        leases: u32::try_from(leases).unwrap_or(u32::MAX),
    }
}
