//! Who calls: the one active partner whose bundle the caller's certificate leads to.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use chandler_api::federation::Standing;
use chandler_api::partner::Scope;
use chandler_api::problem::{NOT_A_PARTNER, OUT_OF_SCOPE, PARTNER_CUT, Problem};
use chandler_api::value::Time;
use chandler_engine::model::Model;
use chandler_engine::partner::{Partner, PartnerState};
use chandler_protocol::{PartyId, Timestamp};
use rustls::pki_types::CertificateDer;

use super::document::{Answer, Refusal, internal};
use super::{Desk, trust};

/// One connection of a caller.
#[derive(Debug)]
pub(super) struct Connection {
    /// The certificate that it proved to have the key of, and those behind it.
    pub(super) chain: Vec<CertificateDer<'static>>,
    /// Where it calls from.
    pub(super) from: SocketAddr,
}

/// The partner who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its party.
    pub party: PartyId,
    /// What it is called here.
    pub name: String,
    /// Whether it may buy here.
    pub may_buy: bool,
    /// Whether it may sell here.
    pub may_sell: bool,
}

impl Peer {
    /// How it stands in events.
    pub fn by(&self) -> String {
        format!("partner {}", self.name)
    }

    /// Fine when it may buy here.
    ///
    /// # Errors
    /// It may not.
    pub fn buying(&self) -> Result<(), Refusal> {
        if self.may_buy { Ok(()) } else { Err(self.out_of_scope("buy")) }
    }

    /// Fine when it may sell here.
    ///
    /// # Errors
    /// It may not.
    pub fn selling(&self) -> Result<(), Refusal> {
        if self.may_sell { Ok(()) } else { Err(self.out_of_scope("sell")) }
    }

    fn out_of_scope(&self, what: &str) -> Refusal {
        Problem::new(OUT_OF_SCOPE, format!("{} may not {what} here", self.name)).into()
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Peer {
    type Rejection = Refusal;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| internal("a route without a partner asks for one"))
    }
}

/// The partner of this chain, if it is one and may call.
pub(super) fn peer_of(model: &Model, chain: &[CertificateDer<'_>], now: Timestamp) -> Result<Peer, Refusal> {
    let Some(domain) = chain.first().and_then(trust::domain_of) else {
        return Err(Problem::new(NOT_A_PARTNER, "the call has no client certificate").into());
    };
    let matches = |p: &Partner| p.trust_domain == domain && trust::leads_to(&p.trust, &p.trust_domain, chain, now);
    let mut found = model.partners.values().filter(|p| matches(p));
    let mut shut = None;
    let mut open = None;
    for partner in &mut found {
        match partner.state {
            PartnerState::Active if open.is_some() => {
                return Err(internal("two active partners have one bundle"));
            }
            PartnerState::Active => open = Some(partner),
            state => shut = Some(state),
        }
    }
    match (open, shut) {
        (Some(p), _) => Ok(Peer { party: p.party, name: p.name.clone(), may_buy: p.may_buy, may_sell: p.may_sell }),
        (None, Some(state)) => {
            let detail = format!("the partnership is {} there: ask its operator", state.as_str());
            Err(Problem::new(PARTNER_CUT, detail).into())
        }
        (None, None) => {
            let detail = format!("no partner there has the certificate of {domain} that was shown");
            Err(Problem::new(NOT_A_PARTNER, detail).into())
        }
    }
}

/// The layer before every call but the first: finds out who calls, as of now.
pub(super) async fn check(State(desk): State<Arc<Desk>>, mut request: Request, next: Next) -> Response {
    let Some(connection) = request.extensions().get::<Arc<Connection>>().cloned() else {
        return internal("a call without a connection").into_response();
    };
    let now = desk.writer.clock().now();
    match peer_of(&desk.writer.snapshot(), &connection.chain, now) {
        Ok(peer) => {
            request.extensions_mut().insert(peer);
            next.run(request).await
        }
        Err(refusal) => {
            tracing::info!(from = %connection.from, why = %refusal.0, "a call of a controller was refused");
            refusal.into_response()
        }
    }
}

/// How the caller is seen here: what both operators look at when they are not sure.
pub(super) async fn standing(State(desk): State<Arc<Desk>>, Extension(peer): Extension<Peer>) -> Answer<Standing> {
    let may = scopes(peer.may_buy, peer.may_sell);
    Ok(Json(Standing { name: peer.name, may, now: Time(desk.writer.clock().now()) }))
}

/// Scopes as they stand in the API.
pub(crate) fn scopes(may_buy: bool, may_sell: bool) -> Vec<Scope> {
    let all = [(may_buy, Scope::Buy), (may_sell, Scope::Sell)];
    all.into_iter().filter(|(may, _)| *may).map(|(_, scope)| scope).collect()
}
