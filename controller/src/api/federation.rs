//! What this controller shows to its partners, and the rotation of its CA.

use axum::extract::{Request, State};
use chandler_api::partner::FederationIdentity;
use chandler_engine::event::Noun;

use super::Api;
use super::access::Caller;
use super::body::DOCUMENT_MAX;
use super::error::internal;
use super::idempotency::{Begun, begin};
use super::reply::{Answer, OK, Reply};
use crate::federation::{Federation, trust};

#[utoipa::path(get, path = "/api/v1/federation", tag = "partners",
    responses((status = 200, body = FederationIdentity)))]
pub(super) async fn show(State(api): Api) -> Answer {
    Reply::json(OK, &shown(&api.federation))
}

#[utoipa::path(post, path = "/api/v1/federation/rotate", tag = "partners",
    description = "Makes a new CA at once. Every partner is cut off until its operator has pinned the new bundle.",
    responses((status = 200, body = FederationIdentity)))]
pub(super) async fn rotate(State(api): Api, caller: Caller, request: Request) -> Answer {
    let (parts, body) = request.into_parts();
    // The key is looked up first: repeating a rotation must not rotate twice.
    let post = match begin(&api, caller, &parts, body, DOCUMENT_MAX).await? {
        Begun::Before(reply) => return Ok(reply),
        Begun::New(post) => post,
    };
    api.federation.identity().rotate(api.writer.clock().now()).map_err(internal)?;
    let federation = api.federation.clone();
    post.commit(&api, move |draft| {
        let after = shown(&federation);
        let reason = format!("a new CA for partners: {}", after.fingerprint);
        draft.event((Noun::Controller, String::new(), "federation"), "", "rotated", reason);
        Reply::json(OK, &after)
    })
    .await
}

#[utoipa::path(post, path = "/api/v1/federation/announce", tag = "partners",
    description = "The CA that the next rotation will use. Partners that trust it beside the old one are not cut off then.",
    responses((status = 200, body = FederationIdentity)))]
pub(super) async fn announce(State(api): Api, caller: Caller, request: Request) -> Answer {
    let (parts, body) = request.into_parts();
    let post = match begin(&api, caller, &parts, body, DOCUMENT_MAX).await? {
        Begun::Before(reply) => return Ok(reply),
        Begun::New(post) => post,
    };
    let next = api.federation.identity().announce(api.writer.clock().now()).map_err(internal)?;
    let federation = api.federation.clone();
    post.commit(&api, move |draft| {
        let (fingerprint, bundle) = (trust::fingerprint(&next), trust::to_pem(&[next]));
        let reason = format!("the next CA for partners: {fingerprint}");
        draft.event((Noun::Controller, String::new(), "federation"), "", "announced", reason);
        Reply::json(OK, &FederationIdentity { fingerprint, bundle, ..shown(&federation) })
    })
    .await
}

fn shown(federation: &Federation) -> FederationIdentity {
    let own = federation.introduction();
    FederationIdentity {
        trust_domain: own.trust_domain,
        address: own.address,
        fingerprint: own.trust.first().map(|ca| trust::fingerprint(ca)).unwrap_or_default(),
        bundle: trust::to_pem(&own.trust),
    }
}
