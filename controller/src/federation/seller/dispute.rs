//! Disputes: what the buyer has to say about them, and how each is here, where it is decided.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use chandler_api::problem::{BAD_REQUEST, Problem};
use chandler_engine::federation::{self, DisputeWord, WORDS_MAX};

use crate::federation::document::{Answer, Document, Refusal};
use crate::federation::{Desk, Peer};

/// Takes in what the buyer says, all of it, as often as it likes.
pub(super) async fn hear(
    State(desk): State<Arc<Desk>>,
    peer: Peer,
    Document(said): Document<Vec<DisputeWord>>,
) -> Answer<Vec<DisputeWord>> {
    if said.len() > WORDS_MAX {
        return Err(Problem::new(BAD_REQUEST, format!("at most {WORDS_MAX} disputes at once")).into());
    }
    let (party, by) = (peer.party, peer.by());
    let answer = desk.writer.transact(&by, move |draft| Ok::<_, Refusal>(federation::hear(draft, party, &said)));
    Ok(Json(answer.await?))
}
