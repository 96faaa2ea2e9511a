//! What partners may call. Every route but the acceptance of an invitation is behind the check of who calls.

use std::sync::Arc;

use axum::extract::Request;
use axum::routing::{get, post};
use axum::{Router, middleware};
use chandler_api::problem::{NOT_FOUND, Problem};
use chandler_protocol::text::{TEXT_MAX, clean};

use super::document::Refusal;
use super::{Desk, onboarding, peer, seller};

/// Shows an invitation: the one call of those who are no partners yet.
pub(super) const ACCEPT: &str = "/federation/v1/accept";

/// The calls of partners. Each handler may take a [`peer::Peer`]: who calls.
fn routes() -> Router<Arc<Desk>> {
    Router::new().route("/federation/v1/standing", get(peer::standing)).merge(seller::routes())
}

/// All routes.
pub(super) fn router(desk: Arc<Desk>) -> Router {
    let known = routes().route_layer(middleware::from_fn_with_state(desk.clone(), peer::check));
    Router::new().route(ACCEPT, post(onboarding::accept)).merge(known).fallback(nothing).with_state(desk)
}

async fn nothing(request: Request) -> Refusal {
    let path = clean(request.uri().path(), TEXT_MAX);
    Problem::new(NOT_FOUND, format!("there is no {} {path} for partners", request.method())).into()
}
