//! Who may call what: one closed table of routes and roles. What of it concerns whose things is decided by the
//! handlers with [`Caller`]; what belongs to others is not found.

use std::sync::Arc;

use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use chandler_api::problem::{FORBIDDEN, NOT_FOUND, NOT_SIGNED_IN, Problem};
use chandler_engine::identity::{Role, Token};
use chandler_engine::model::Model;
use chandler_engine::site::Site;
use chandler_protocol::{HostId, PartyId, TokenId};

use super::Shared;
use super::error::{Failure, internal};

/// Longest secret that is looked at.
const SECRET_MAX: usize = 256;

/// One route and who may call it.
#[derive(Debug)]
pub(super) struct Route {
    /// HTTP method.
    pub(super) method: &'static str,
    /// The path as the router has it.
    pub(super) path: &'static str,
    /// Who may call it; everybody, signed in or not, when `None`.
    pub(super) roles: Option<&'static [Role]>,
}

const OPERATOR: &[Role] = &[Role::Operator];
const CUSTOMER: &[Role] = &[Role::Operator, Role::Customer];
const OWNER: &[Role] = &[Role::Operator, Role::SiteOwner];
const ALL: &[Role] = &[Role::Operator, Role::Customer, Role::SiteOwner];

const fn public(method: &'static str, path: &'static str) -> Route {
    Route { method, path, roles: None }
}

const fn only(roles: &'static [Role], method: &'static str, path: &'static str) -> Route {
    Route { method, path, roles: Some(roles) }
}

/// Every route. One that is not here cannot be called.
pub(super) const ROUTES: &[Route] = &[
    public("GET", "/"),
    public("GET", "/healthz"),
    public("GET", "/api/v1/openapi.json"),
    only(ALL, "GET", "/api/v1/parties"),
    only(OPERATOR, "POST", "/api/v1/parties"),
    only(ALL, "GET", "/api/v1/parties/{reference}"),
    only(ALL, "GET", "/api/v1/sites"),
    only(OPERATOR, "POST", "/api/v1/sites"),
    only(ALL, "GET", "/api/v1/sites/{reference}"),
    only(OWNER, "PATCH", "/api/v1/sites/{reference}"),
    only(OWNER, "GET", "/api/v1/sites/{reference}/drain"),
    only(OWNER, "POST", "/api/v1/sites/{reference}/drain"),
    only(OWNER, "POST", "/api/v1/sites/{reference}/undrain"),
    only(OPERATOR, "GET", "/api/v1/criteria"),
    only(OPERATOR, "PUT", "/api/v1/criteria"),
    only(ALL, "POST", "/api/v1/joinTokens"),
    only(OPERATOR, "POST", "/api/v1/tokens"),
    only(OPERATOR, "DELETE", "/api/v1/tokens/{id}"),
    only(ALL, "GET", "/api/v1/hosts"),
    only(ALL, "GET", "/api/v1/hosts/{reference}"),
    only(OPERATOR, "POST", "/api/v1/hosts/{reference}/revoke"),
    only(OPERATOR, "PUT", "/api/v1/hosts/{reference}/history"),
    only(OWNER, "GET", "/api/v1/hosts/{reference}/drain"),
    only(OWNER, "POST", "/api/v1/hosts/{reference}/drain"),
    only(OWNER, "POST", "/api/v1/hosts/{reference}/undrain"),
    only(CUSTOMER, "GET", "/api/v1/artifacts"),
    only(CUSTOMER, "POST", "/api/v1/artifacts"),
    only(CUSTOMER, "GET", "/api/v1/artifacts/{name}/{version}"),
    only(CUSTOMER, "GET", "/api/v1/blobs/{digest}"),
    only(CUSTOMER, "PUT", "/api/v1/blobs/{digest}"),
    only(CUSTOMER, "GET", "/api/v1/offerings"),
    only(CUSTOMER, "GET", "/api/v1/offerings/{name}"),
    only(OPERATOR, "PUT", "/api/v1/offerings/{name}"),
    only(CUSTOMER, "POST", "/api/v1/quotes"),
    only(CUSTOMER, "GET", "/api/v1/orders"),
    only(CUSTOMER, "POST", "/api/v1/orders"),
    only(CUSTOMER, "GET", "/api/v1/orders/{id}"),
    only(CUSTOMER, "POST", "/api/v1/orders/{id}/cancel"),
    only(CUSTOMER, "GET", "/api/v1/services"),
    only(CUSTOMER, "GET", "/api/v1/services/{reference}"),
    only(CUSTOMER, "DELETE", "/api/v1/services/{reference}"),
    only(CUSTOMER, "GET", "/api/v1/services/{reference}/explain"),
    only(CUSTOMER, "GET", "/api/v1/services/{reference}/logs"),
    only(CUSTOMER, "GET", "/api/v1/services/{reference}/outputs/{*path}"),
    only(CUSTOMER, "POST", "/api/v1/services/{reference}/move"),
    only(CUSTOMER, "GET", "/api/v1/moves"),
    only(CUSTOMER, "GET", "/api/v1/moves/{id}"),
    only(CUSTOMER, "GET", "/api/v1/slas"),
    only(CUSTOMER, "GET", "/api/v1/slas/{reference}"),
    only(CUSTOMER, "PATCH", "/api/v1/slas/{reference}"),
    only(CUSTOMER, "GET", "/api/v1/slas/{reference}/history"),
    only(CUSTOMER, "GET", "/api/v1/bills"),
    only(OPERATOR, "POST", "/api/v1/bills"),
    only(CUSTOMER, "GET", "/api/v1/bills/{id}"),
    only(OPERATOR, "GET", "/api/v1/ledger/check"),
    only(OPERATOR, "GET", "/api/v1/federation"),
    only(OPERATOR, "POST", "/api/v1/federation/announce"),
    only(OPERATOR, "POST", "/api/v1/federation/rotate"),
    only(OPERATOR, "GET", "/api/v1/partners"),
    only(OPERATOR, "POST", "/api/v1/partners/invitations"),
    only(OPERATOR, "POST", "/api/v1/partners/accept"),
    only(OPERATOR, "GET", "/api/v1/partners/{reference}"),
    only(OPERATOR, "POST", "/api/v1/partners/{reference}/suspend"),
    only(OPERATOR, "POST", "/api/v1/partners/{reference}/resume"),
    only(OPERATOR, "POST", "/api/v1/partners/{reference}/end"),
    only(OPERATOR, "PUT", "/api/v1/partners/{reference}/trust"),
    only(OPERATOR, "GET", "/api/v1/partners/{reference}/receipts"),
    only(OPERATOR, "GET", "/api/v1/partners/{reference}/settlements/{month}"),
    only(OPERATOR, "POST", "/api/v1/partners/{reference}/settlements/{month}/settle"),
    only(OPERATOR, "GET", "/api/v1/disputes"),
    only(OPERATOR, "GET", "/api/v1/disputes/{id}"),
    only(OPERATOR, "POST", "/api/v1/disputes/{id}/say"),
    only(OPERATOR, "POST", "/api/v1/disputes/{id}/decide"),
    only(OWNER, "GET", "/api/v1/statements"),
    only(OWNER, "GET", "/api/v1/market"),
    only(OWNER, "GET", "/api/v1/market/offers"),
    only(OWNER, "POST", "/api/v1/market/offers"),
    only(OWNER, "GET", "/api/v1/market/offers/{reference}"),
    only(OWNER, "PATCH", "/api/v1/market/offers/{reference}"),
    only(OPERATOR, "GET", "/api/v1/market/demands"),
    only(OWNER, "GET", "/api/v1/market/demands/{id}"),
    only(OWNER, "GET", "/api/v1/market/leases"),
    only(OWNER, "GET", "/api/v1/market/standing/{site}"),
    only(ALL, "GET", "/api/v1/events"),
    only(ALL, "GET", "/api/v1/events/stream"),
    only(OPERATOR, "GET", "/api/v1/status"),
];

/// Who calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Caller {
    /// The token that was shown.
    pub(super) token: TokenId,
    /// What its holder may do.
    pub(super) role: Role,
    /// The party it acts for.
    pub(super) party: Option<PartyId>,
}

impl Caller {
    fn of(token: &Token) -> Self {
        Self { token: token.id, role: token.role, party: token.party }
    }

    /// How it stands in events.
    pub(super) fn by(&self) -> String {
        self.token.to_string()
    }

    /// Whether it may see and do everything.
    pub(super) fn is_operator(&self) -> bool {
        self.role == Role::Operator
    }

    /// Whether the orders, services and bills of this customer are its own.
    pub(super) fn acts_for(&self, customer: PartyId) -> bool {
        self.is_operator() || (self.role == Role::Customer && self.party == Some(customer))
    }

    /// Whether this party is itself.
    pub(super) fn is(&self, party: PartyId) -> bool {
        self.is_operator() || self.party == Some(party)
    }

    /// Whether this site is its own.
    pub(super) fn owns(&self, site: &Site) -> bool {
        self.is_operator() || self.party == Some(site.owner)
    }

    /// Whether this host is at a site of its own.
    pub(super) fn owns_host(&self, model: &Model, host: HostId) -> bool {
        let site = model.hosts.get(&host).and_then(|h| model.sites.get(&h.site));
        self.is_operator() || site.is_some_and(|s| self.owns(s))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Failure;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        parts.extensions.get::<Self>().copied().ok_or_else(|| internal("a route without a caller asks for one"))
    }
}

/// What is kept of a secret.
pub(super) fn secret_hash(secret: &[u8]) -> [u8; 32] {
    *blake3::hash(secret).as_bytes()
}

/// The layer before every handler: finds out who calls and whether they may.
pub(super) async fn check(State(api): State<Arc<Shared>>, mut request: Request, next: Next) -> Response {
    match admit(&api, &request) {
        Ok(None) => next.run(request).await,
        Ok(Some(caller)) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(failure) => failure.into_response(),
    }
}

fn admit(api: &Shared, request: &Request) -> Result<Option<Caller>, Failure> {
    let path = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str).unwrap_or_default();
    // What is answered to GET is answered to HEAD.
    let method = if request.method() == "HEAD" { "GET" } else { request.method().as_str() };
    let route = ROUTES.iter().find(|r| r.method == method && r.path == path);
    let roles = match route {
        None => return Err(Problem::new(NOT_FOUND, format!("there is no {method} {path}")).into()),
        Some(Route { roles: None, .. }) => return Ok(None),
        Some(Route { roles: Some(roles), .. }) => roles,
    };
    let caller = identify(&api.writer.snapshot(), request.headers()).ok_or_else(|| {
        let given = request.headers().contains_key(header::AUTHORIZATION);
        let why = if given { "the token is not known here, or was deleted" } else { "no token was given" };
        Problem::new(NOT_SIGNED_IN, why)
    })?;
    if !roles.contains(&caller.role) {
        return Err(
            Problem::new(FORBIDDEN, format!("{method} {path} is not for a {} token", role_text(caller.role))).into()
        );
    }
    Ok(Some(caller))
}

/// Whose token was shown. Hashes are compared, never secrets, so the time it takes tells nothing about a secret.
fn identify(model: &Model, headers: &HeaderMap) -> Option<Caller> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, secret) = value.split_once(' ')?;
    let secret = secret.trim();
    if !scheme.eq_ignore_ascii_case("bearer") || secret.is_empty() || secret.len() > SECRET_MAX {
        return None;
    }
    let hash = secret_hash(secret.as_bytes());
    model.tokens.values().find(|t| t.secret_hash == hash).map(|t| Caller::of(t))
}

/// A role as it stands in the API.
pub(super) const fn role_text(role: Role) -> &'static str {
    match role {
        Role::Operator => "operator",
        Role::Customer => "customer",
        Role::SiteOwner => "siteOwner",
    }
}
