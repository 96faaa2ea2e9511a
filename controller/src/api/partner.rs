//! Partners: other controllers that capacity is sold to or bought from.

use axum::extract::{Path, Request, State};
use axum::http::Uri;
use chandler_api::page::{Page, PageQuery};
use chandler_api::partner::{
    Partner as Shown, PartnerAccept, PartnerInvite, PartnerInvited, PartnerState as ShownState, PartnerTrunk,
    PartnerTrust, PartnerTurn, Scope,
};
use chandler_api::problem::{NOT_A_BUNDLE, NOT_AN_INVITATION, Problem};
use chandler_api::value::Time;
use chandler_engine::draft::Draft;
use chandler_engine::model::Model;
use chandler_engine::partner::onboarding::{self, Refused, Scopes};
use chandler_engine::partner::{Partner, PartnerState};
use chandler_protocol::text::{TEXT_MAX, clean, is_name};
use chandler_protocol::{Micros, PartyId};

use super::Api;
use super::access::Caller;
use super::body::{DOCUMENT_MAX, parse, query, read};
use super::error::{Failure, Fields, not_found};
use super::idempotency::{Begun, begin};
use super::page::Wanted;
use super::party::NAME_FORM;
use super::reply::{Answer, CREATED, OK, Reply};
use crate::federation::invitation::InvitationText;
use crate::federation::onboarding::{dial, problem, secret_hash};
use crate::federation::{peer, trust};
use crate::link::{Relay, TrunkCounts};

/// Longest life of an invitation.
const LIFE_MAX: Micros = Micros::from_secs(30 * 86_400);

#[utoipa::path(get, path = "/api/v1/partners", tag = "partners", params(PageQuery),
    responses((status = 200, body = Page<Shown>)))]
pub(super) async fn list(State(api): Api, uri: Uri) -> Answer {
    let wanted = Wanted::new("partners", &query(&uri)?)?;
    let after = wanted.after::<PartyId>()?;
    let model = api.writer.snapshot();
    let partners = model.partners.values().filter(|p| after.is_none_or(|a| p.party > a));
    Reply::json(OK, &wanted.take(partners, |p| p.party.to_string(), |p| with_trunk(&api.relay, p)))
}

#[utoipa::path(get, path = "/api/v1/partners/{reference}", tag = "partners",
    params(("reference" = String, Path, description = "name or id")), responses((status = 200, body = Shown)))]
pub(super) async fn show(State(api): Api, Path(reference): Path<String>) -> Answer {
    Reply::json(OK, &with_trunk(&api.relay, find(&api.writer.snapshot(), &reference)?))
}

#[utoipa::path(post, path = "/api/v1/partners/invitations", tag = "partners", request_body = PartnerInvite,
    responses((status = 201, body = PartnerInvited)))]
pub(super) async fn invite(State(api): Api, caller: Caller, request: Request) -> Answer {
    let (parts, body) = request.into_parts();
    let post = match begin(&api, caller, &parts, body, DOCUMENT_MAX).await? {
        Begun::Before(reply) => return Ok(reply),
        Begun::New(post) => post,
    };
    let wanted: PartnerInvite = post.parse()?;
    let mut fields = Fields::default();
    check(&mut fields, &wanted.name, &wanted.may);
    let life = wanted.expires.0;
    fields.check((1_000_000..=LIFE_MAX.0).contains(&life.0), "expires", "write a duration from 1 s to 30 d");
    fields.finish()?;
    let address = api.federation.listening().map_err(Failure)?;
    let mut secret = [0; 16];
    api.writer.random().fill(&mut secret);
    let own = api.federation.introduction();
    let ca_fingerprint = own.trust.first().map_or([0; 32], |ca| trust::sha256(ca));
    let text = InvitationText { address, ca_fingerprint, trust_domain: own.trust_domain, secret }.to_text();
    post.commit_secret(&api, move |draft| {
        let scopes = scopes(&wanted.may);
        let made = onboarding::invite(draft, &wanted.name, scopes, secret_hash(&secret), life).map_err(refused)?;
        let may = peer::scopes(made.may_buy, made.may_sell);
        let expires_at = Time(made.expires_at);
        Reply::json(CREATED, &PartnerInvited { invitation: text, name: wanted.name, may, expires_at })
    })
    .await
}

#[utoipa::path(post, path = "/api/v1/partners/accept", tag = "partners", request_body = PartnerAccept,
    description = "Calls the controller that the invitation names. Safe to repeat, also after a failure on the way.",
    responses((status = 201, body = Shown)))]
pub(super) async fn accept(State(api): Api, caller: Caller, request: Request) -> Answer {
    let (parts, body) = request.into_parts();
    let post = match begin(&api, caller, &parts, body, DOCUMENT_MAX).await? {
        Begun::Before(reply) => return Ok(reply),
        Begun::New(post) => post,
    };
    let wanted: PartnerAccept = post.parse()?;
    let mut fields = Fields::default();
    check(&mut fields, &wanted.name, &wanted.may);
    fields.finish()?;
    let invitation: InvitationText = wanted
        .invitation
        .parse()
        .map_err(|e: crate::federation::invitation::NotAnInvitation| Problem::new(NOT_AN_INVITATION, e.to_string()))?;
    let own = api.federation.introduction();
    let who = dial(&api.federation, &invitation).await?;
    post.commit(&api, move |draft| {
        let partner = onboarding::welcome(draft, &own, &wanted.name, scopes(&wanted.may), &who).map_err(refused)?;
        Reply::json(CREATED, &shown(&partner))
    })
    .await
}

#[utoipa::path(post, path = "/api/v1/partners/{reference}/suspend", tag = "partners", request_body = PartnerTurn,
    params(("reference" = String, Path, description = "name or id")), responses((status = 200, body = Shown)))]
pub(super) async fn suspend(api: Api, caller: Caller, path: Path<String>, request: Request) -> Answer {
    turn(api, caller, path, request, PartnerState::Suspended).await
}

#[utoipa::path(post, path = "/api/v1/partners/{reference}/resume", tag = "partners", request_body = PartnerTurn,
    params(("reference" = String, Path, description = "name or id")), responses((status = 200, body = Shown)))]
pub(super) async fn resume(api: Api, caller: Caller, path: Path<String>, request: Request) -> Answer {
    turn(api, caller, path, request, PartnerState::Active).await
}

#[utoipa::path(post, path = "/api/v1/partners/{reference}/end", tag = "partners", request_body = PartnerTurn,
    params(("reference" = String, Path, description = "name or id")), responses((status = 200, body = Shown)))]
pub(super) async fn end(api: Api, caller: Caller, path: Path<String>, request: Request) -> Answer {
    turn(api, caller, path, request, PartnerState::Ended).await
}

async fn turn(
    State(api): Api,
    caller: Caller,
    Path(reference): Path<String>,
    request: Request,
    state: PartnerState,
) -> Answer {
    let (parts, body) = request.into_parts();
    let post = match begin(&api, caller, &parts, body, DOCUMENT_MAX).await? {
        Begun::Before(reply) => return Ok(reply),
        Begun::New(post) => post,
    };
    let wanted: PartnerTurn = post.parse()?;
    let reason = clean(wanted.reason.trim(), TEXT_MAX);
    post.commit(&api, move |draft| {
        let party = find(&draft.model, &reference)?.party;
        let partner = onboarding::turn(draft, party, state, &reason).map_err(refused)?;
        Reply::json(OK, &shown(&partner))
    })
    .await
}

#[utoipa::path(put, path = "/api/v1/partners/{reference}/trust", tag = "partners", request_body = PartnerTrust,
    description = "From now on only certificates that lead to this bundle are the partner's; with `add`, to this or the one before.",
    params(("reference" = String, Path, description = "name or id")), responses((status = 200, body = Shown)))]
pub(super) async fn pin(State(api): Api, caller: Caller, Path(reference): Path<String>, request: Request) -> Answer {
    let (parts, body) = request.into_parts();
    let bytes = read(&parts.headers, body, DOCUMENT_MAX).await?;
    let wanted: PartnerTrust = parse(&parts.headers, &bytes)?;
    let bundle = trust::read_bundle(&wanted.bundle, None).map_err(|e| Problem::new(NOT_A_BUNDLE, e.to_string()))?;
    let own = api.federation.introduction();
    api.transact(caller, move |draft: &mut Draft<'_>| {
        let party = find(&draft.model, &reference)?.party;
        let trust = if wanted.add { onboarding::trust_also } else { onboarding::trust };
        let partner = trust(draft, &own, party, &bundle).map_err(refused)?;
        Reply::json(OK, &shown(&partner))
    })
    .await
}

fn check(fields: &mut Fields, name: &str, may: &[Scope]) {
    fields.check(is_name(name), "name", NAME_FORM);
    fields.check(!may.is_empty(), "may", "write at least one of buy, sell");
}

fn refused(refused: Refused) -> Failure {
    problem(&refused).into()
}

fn scopes(may: &[Scope]) -> Scopes {
    Scopes { may_buy: may.contains(&Scope::Buy), may_sell: may.contains(&Scope::Sell) }
}

pub(super) fn find<'m>(model: &'m Model, reference: &str) -> Result<&'m Partner, Failure> {
    let partner = match reference.parse::<PartyId>() {
        Ok(id) => model.partners.get(&id),
        Err(_) => model.partners.values().find(|p| p.name == reference),
    };
    partner.map(AsRef::as_ref).ok_or_else(|| not_found("partner", reference))
}

/// A partner, and how packets go to it.
fn with_trunk(relay: &Relay, partner: &Partner) -> Shown {
    let counts = relay.trunk_counts(partner.party);
    let trunk = PartnerTrunk {
        up: counts.is_up,
        fits: counts.is_wide,
        sent: counts.sent,
        received: counts.received,
        refused: counts.refused,
        lost: counts.lost,
    };
    Shown { trunk: (counts != TrunkCounts::default()).then_some(trunk), ..shown(partner) }
}

fn shown(partner: &Partner) -> Shown {
    Shown {
        id: partner.party,
        name: partner.name.clone(),
        state: match partner.state {
            PartnerState::Invited => ShownState::Invited,
            PartnerState::Active => ShownState::Active,
            PartnerState::Suspended => ShownState::Suspended,
            PartnerState::Ended => ShownState::Ended,
        },
        since: Time(partner.since),
        reason: partner.reason.clone(),
        may: peer::scopes(partner.may_buy, partner.may_sell),
        address: partner.address.clone(),
        trust_domain: partner.trust_domain.clone(),
        fingerprints: partner.trust.iter().map(|c| trust::fingerprint(c)).collect(),
        trunk: None,
    }
}
