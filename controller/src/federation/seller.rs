//! Selling to partners: what they may see, lease, and have run here. Every call may be repeated; ids are the buyer's.

mod catalogue;
mod content;
mod dispute;
mod lease;
mod log;
mod news;
mod orders;
mod poll;
mod receipt;
mod restore;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post, put};
use chandler_api::problem::{NOT_FOUND, Problem};
use chandler_engine::federation::{Lease, Side};
use chandler_engine::model::Model;
use chandler_protocol::AssignmentId;

pub use self::content::Brought;
pub(crate) use self::log::Part;
pub(super) use self::receipt::{CONTEXT, Countersignature, Receipts, Signed};
pub(super) use self::restore::{Lost, Restored};
use super::document::Refusal;
use super::{Desk, Peer};

/// The calls of buyers.
pub(super) fn routes() -> Router<Arc<Desk>> {
    Router::new()
        .route("/federation/v1/catalogue", get(catalogue::show))
        .route("/federation/v1/leases", get(lease::list))
        .route("/federation/v1/leases/{id}", get(lease::show).put(lease::reserve).delete(lease::close))
        .route("/federation/v1/leases/{id}/log", get(log::show))
        .route("/federation/v1/hosts/{host}/orders", put(orders::take))
        .route("/federation/v1/hosts/{host}/grants", post(orders::grant))
        .route("/federation/v1/news", get(news::show))
        .route("/federation/v1/content/{digest}", get(content::give).put(content::take))
        .route("/federation/v1/content/{digest}/brought", get(content::brought))
        .route("/federation/v1/receipts", get(receipt::list))
        .route("/federation/v1/receipts/restored", post(restore::take))
        .route("/federation/v1/receipts/countersigned", post(receipt::countersign))
        .route("/federation/v1/disputes", post(dispute::hear))
}

/// A lease of this buyer. Another's does not exist for it.
fn lease_of<'m>(model: &'m Model, peer: &Peer, id: &str) -> Result<&'m Lease, Refusal> {
    let known = id.parse::<AssignmentId>().ok().and_then(|id| model.leases.get(&id));
    let mine = known.filter(|l| l.side == Side::Sold && l.partner == peer.party);
    mine.map(AsRef::as_ref)
        .ok_or_else(|| Problem::new(NOT_FOUND, format!("{} has no lease {id} here", peer.name)).into())
}
