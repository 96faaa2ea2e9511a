//! Becoming partners: who is invited dials who invited, each shows its CA, and both have a partner.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Extension, State};
use chandler_api::federation::{Accept, Accepted};
use chandler_api::problem::{
    CONFLICT, Code, INVALID, INVITATION_REFUSED, NOT_A_BUNDLE, NOT_FOUND, NOT_THE_PARTNER, OWN_PARTNER, PARTNER_TAKEN,
    Problem,
};
use chandler_engine::partner::onboarding::{Refused, admit};
use chandler_engine::partner::{Introduction, Unfit};

use super::client::{CallError, FederationClient};
use super::document::{Answer, Document, Refusal, internal};
use super::invitation::InvitationText;
use super::peer::{Connection, scopes};
use super::tls::{self, Anchors};
use super::{Desk, Federation, trust};

/// What is kept of a secret.
pub(crate) fn secret_hash(secret: &[u8]) -> [u8; 32] {
    *blake3::hash(secret).as_bytes()
}

/// A step that was refused, as the API tells it.
pub(crate) fn problem(refused: &Refused) -> Problem {
    let code: Code = match refused {
        Refused::BadName(_) => INVALID,
        Refused::Invitation(_) => INVITATION_REFUSED,
        Refused::Unfit(Unfit::Oneself) => OWN_PARTNER,
        Refused::Unfit(Unfit::Taken(_)) | Refused::Another(_) => PARTNER_TAKEN,
        Refused::State { .. } => CONFLICT,
        Refused::Unknown(_) => NOT_FOUND,
        Refused::Foreign { .. } | Refused::Full(_) => NOT_A_BUNDLE,
    };
    match refused {
        Refused::BadName(_) => Problem::field("name", refused.to_string()),
        _ => Problem::new(code, refused.to_string()),
    }
}

/// The call of who was invited. The secret is the right to become a partner; the certificate of the call proves that the
/// bundle is the caller's own, and not that of somebody who would be cut off by it.
pub(super) async fn accept(
    State(desk): State<Arc<Desk>>,
    Extension(connection): Extension<Arc<Connection>>,
    Document(request): Document<Accept>,
) -> Answer<Accepted> {
    let secret = data_encoding::HEXLOWER_PERMISSIVE.decode(request.secret.as_bytes()).unwrap_or_default();
    if let Some(address) = &request.address
        && !trust::is_address(address)
    {
        return Err(Problem::field("address", "write HOST:PORT, or leave it out").into());
    }
    let who = trust::read_bundle(&request.bundle, request.address)
        .map_err(|e| Refusal::from(Problem::new(NOT_A_BUNDLE, e.to_string())))?;
    let now = desk.writer.clock().now();
    if !trust::leads_to(&who.trust, &who.trust_domain, &connection.chain, now) {
        let detail = "the certificate of the call does not lead to the bundle that was shown";
        return Err(Problem::new(NOT_A_BUNDLE, detail).into());
    }
    let own = desk.federation.introduction();
    let bundle = trust::to_pem(&own.trust);
    let hash = secret_hash(&secret);
    let (from, shown) = (connection.from, own.clone());
    let admitted = desk.writer.transact("partner", move |draft| {
        admit(draft, &shown, hash, &who).map_err(|refused| Refusal::from(problem(&refused)))
    });
    let partner = admitted.await.map_err(Refusal::from).inspect_err(|refusal| {
        tracing::warn!(%from, why = %refusal.0, "an invitation was not accepted");
    })?;
    Ok(Json(Accepted { bundle, may: scopes(partner.may_buy, partner.may_sell) }))
}

/// Longest wait for who invited.
const DIAL_WAIT: Duration = Duration::from_secs(15);

/// Dials who invited and accepts; gives what it says of itself.
///
/// # Errors
/// It is this controller itself, cannot be reached, is not who the invitation names, or refuses.
pub(crate) async fn dial(federation: &Federation, invitation: &InvitationText) -> Result<Introduction, Problem> {
    let own = federation.introduction();
    if own.trust_domain == invitation.trust_domain {
        return Err(problem(&Unfit::Oneself.into()));
    }
    let anchors = Anchors::Fingerprint(invitation.ca_fingerprint);
    let tls = tls::calling(federation.identity(), federation.clock(), anchors, &invitation.trust_domain)
        .map_err(|e| *internal(e).0)?;
    let client = FederationClient::new("who invited", &invitation.address, tls);
    let request = Accept {
        secret: data_encoding::HEXLOWER.encode(&invitation.secret),
        bundle: trust::to_pem(&own.trust),
        address: own.address,
    };
    let accepted = tokio::time::timeout(DIAL_WAIT, client.post::<_, Accepted>("accept", &request)).await;
    let accepted = accepted.unwrap_or_else(|_| {
        let (name, address) = (client.name().to_owned(), invitation.address.clone());
        Err(CallError::Unreachable { name, address, cause: "gave no answer in time".to_owned() })
    });
    let accepted = accepted.map_err(CallError::into_problem)?;
    let who = trust::read_bundle(&accepted.bundle, Some(invitation.address.clone()))
        .map_err(|e| Problem::new(NOT_A_BUNDLE, e.to_string()))?;
    let named = |certificate: &Vec<u8>| trust::sha256(certificate) == invitation.ca_fingerprint;
    if who.trust_domain != invitation.trust_domain || !who.trust.iter().any(named) {
        return Err(Problem::new(NOT_THE_PARTNER, "it shows another bundle than the invitation names"));
    }
    Ok(who)
}
