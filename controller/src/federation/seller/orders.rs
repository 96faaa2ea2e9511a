//! What buyers say about hosts: what their software shall do there, and which copies may run on.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use chandler_api::problem::{FORBIDDEN, NOT_FOUND, Problem};
use chandler_engine::federation::{self, Orders, Side, Taken};
use chandler_protocol::lease::{LEASES_MAX, LeaseGrant, LeasePart};
use chandler_protocol::message::ControllerMessage;
use chandler_protocol::{AssignmentId, HostId};

use crate::federation::document::{Answer, Document, Refusal};
use crate::federation::{Desk, Peer};

/// Takes in orders, whole, and says which generation holds: a higher one than was sent means that the sender knows less
/// than it once did. What cannot be taken of them is refused by itself.
pub(super) async fn take(
    State(desk): State<Arc<Desk>>,
    peer: Peer,
    Path(host): Path<String>,
    Document(orders): Document<Orders>,
) -> Answer<Taken> {
    peer.buying()?;
    let host = host_of(&host)?;
    let party = peer.party;
    let by = peer.by();
    let taken = desk.writer.transact(&by, move |draft| {
        federation::take_orders(draft, party, host, orders).map_err(|why| Refusal::from(Problem::new(FORBIDDEN, why)))
    });
    Ok(Json(taken.await?))
}

/// Passes on which copies may run on. Nothing is added to it, and nothing is said for anybody else's.
pub(super) async fn grant(
    State(desk): State<Arc<Desk>>,
    peer: Peer,
    Path(host): Path<String>,
    Document(grant): Document<LeaseGrant>,
) -> Answer<bool> {
    peer.buying()?;
    let host = host_of(&host)?;
    let party = peer.party;
    let nonce = grant.nonce;
    let by = peer.by();
    let answered = desk.writer.transact(&by, move |draft| {
        let sold = |id: &AssignmentId| {
            let lease = draft.model.leases.get(id);
            lease.is_some_and(|l| l.side == Side::Sold && l.partner == party && l.host == host && l.is_open())
        };
        let asks = draft.model.guest_asks.get(&host);
        let asked = asks.and_then(|asks| asks.iter().find(|a| a.nonce == nonce));
        let Some(asked) = asked else { return Ok::<_, Refusal>(None) };
        let about: Vec<_> = asked.wanted.iter().map(|w| w.assignment).filter(|id| sold(id)).collect();
        let mut rest = asks.map(|asks| asks.as_ref().clone()).unwrap_or_default();
        for ask in rest.iter_mut().filter(|a| a.nonce == nonce) {
            ask.wanted.retain(|w| !about.contains(&w.assignment));
        }
        rest.retain(|a| !a.wanted.is_empty());
        draft.model.guest_asks.insert(host, Arc::new(rest));
        Ok(Some(about))
    });
    let Some(about) = answered.await? else { return Ok(Json(false)) };
    let given = grant.given.into_iter().take(LEASES_MAX).filter(|g| about.contains(&g.assignment)).collect();
    let part = LeasePart { grant: LeaseGrant { given, ..grant }, about };
    Ok(Json(desk.sessions.say(host, ControllerMessage::LeasePart(part))))
}

fn host_of(text: &str) -> Result<HostId, Refusal> {
    text.parse().map_err(|_| Problem::new(NOT_FOUND, "there is no such host here").into())
}
