//! Leases: a demand is cleared and reserved; a lease is looked at and closed.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use chandler_api::problem::{BAD_REQUEST, CONFLICT, FieldError, NO_CAPACITY, NOT_FOUND, Problem};
use chandler_engine::federation::{self, Demand, Lease, LeaseWord, Party, Side, Unsold};
use chandler_protocol::text::{TEXT_MAX, clean};
use chandler_protocol::{AssignmentId, Timestamp};
use serde::Deserialize;

use super::lease_of;
use crate::federation::document::{Answer, Document, Refusal};
use crate::federation::{Desk, Peer};

/// Clears the demand and reserves what it won: 201. The same again: 200.
pub(super) async fn reserve(
    State(desk): State<Arc<Desk>>,
    peer: Peer,
    Path(id): Path<String>,
    Document(demand): Document<Demand>,
) -> Result<(StatusCode, Json<LeaseWord>), Refusal> {
    peer.buying()?;
    let id: AssignmentId = id.parse().map_err(|e| bad("id", format!("{e}")))?;
    let party = peer.party;
    let by = peer.by();
    let made = desk.writer.transact(&by, move |draft| {
        let Some(buyer) = draft.model.partners.get(&party).cloned() else { return Ok(Err(Unsold::NoMarket)) };
        // Kept also when nothing was sold: that it was cleared, and why nothing fits, is on the record.
        Ok::<_, Refusal>(federation::reserve(draft, &buyer, id, &demand))
    });
    match made.await? {
        Ok((lease, is_new)) => {
            let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
            Ok((status, Json(word(&lease, desk.writer.clock().now()))))
        }
        Err(unsold) => Err(refusal(unsold)),
    }
}

fn refusal(unsold: Unsold) -> Refusal {
    match unsold {
        Unsold::Demand(field, what) => bad(field, format!("{field}: {what}")),
        Unsold::Other => Problem::new(CONFLICT, "this id was used for another demand: draw a new one").into(),
        Unsold::Over(why) => Problem::new(CONFLICT, format!("the lease of this id is over: {why}")).into(),
        Unsold::NothingFits(why) => Problem::new(NO_CAPACITY, why).into(),
        Unsold::Unknown => Problem::new(NOT_FOUND, "there is no lease of this id: ask for one first").into(),
        Unsold::NoMarket => Problem::new(NO_CAPACITY, "nothing is sold here").into(),
    }
}

fn bad(field: &str, detail: String) -> Refusal {
    let detail = clean(&detail, TEXT_MAX);
    let mut problem = Problem::new(BAD_REQUEST, detail.clone());
    problem.errors.push(FieldError { pointer: field.to_owned(), detail });
    problem.into()
}

/// How a lease is, for its buyer.
pub(super) fn word(lease: &Lease, now: Timestamp) -> LeaseWord {
    LeaseWord {
        id: lease.id,
        host: lease.host,
        capacity: lease.capacity,
        epoch: lease.watch.size.from,
        turn: lease.watch.size.turn,
        rates: lease.rates,
        state: lease.state,
        ends_in: lease.ends_at.map(|at| at.since(now)),
        closed_by: lease.closed.as_ref().map(|c| c.by),
        reason: lease.reason.clone(),
        price_notice: lease.watch.term.price_notice,
        next: lease.announced(now),
    }
}

/// Every lease of the buyer that is not over.
pub(super) async fn list(State(desk): State<Arc<Desk>>, peer: Peer) -> Answer<Vec<LeaseWord>> {
    let (model, now) = (desk.writer.snapshot(), desk.writer.clock().now());
    let mine = model.leases.values().filter(|l| l.side == Side::Sold && l.partner == peer.party && l.is_open());
    Ok(Json(mine.map(|l| word(l, now)).collect()))
}

pub(super) async fn show(State(desk): State<Arc<Desk>>, peer: Peer, Path(id): Path<String>) -> Answer<LeaseWord> {
    let model = desk.writer.snapshot();
    Ok(Json(word(lease_of(&model, &peer, &id)?, desk.writer.clock().now())))
}

/// Why a lease is closed.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Why {
    reason: String,
}

/// Ends a lease. One that is over already stays as it is.
pub(super) async fn close(
    State(desk): State<Arc<Desk>>,
    peer: Peer,
    Path(id): Path<String>,
    Query(why): Query<Why>,
) -> Answer<LeaseWord> {
    let reason =
        if why.reason.is_empty() { "its buyer has done with it".to_owned() } else { clean(&why.reason, TEXT_MAX) };
    let known = lease_of(&desk.writer.snapshot(), &peer, &id)?.id;
    let by = peer.by();
    let closed = desk.writer.transact(&by, move |draft| {
        federation::close(draft, known, Party::Buyer, &reason);
        Ok::<_, Refusal>(draft.model.leases.get(&known).map(|l| word(l, draft.now)))
    });
    closed.await?.map(Json).ok_or_else(|| Problem::new(CONFLICT, "the lease is gone").into())
}
