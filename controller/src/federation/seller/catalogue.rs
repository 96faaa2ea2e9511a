//! What a buyer may see.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Query, State};
use chandler_engine::federation::{Catalogue, lots};

use super::poll::{Since, generation_of, until_new};
use crate::federation::document::Answer;
use crate::federation::{Desk, Peer};

/// A fleet changes all the time; a buyer need not follow each step.
const PAUSE: Duration = Duration::from_millis(100);

pub(super) async fn show(State(desk): State<Arc<Desk>>, peer: Peer, Query(since): Query<Since>) -> Answer<Catalogue> {
    peer.buying()?;
    let clock = desk.writer.clock().clone();
    let (generation, catalogue) = until_new(&desk.writer, since, PAUSE, |model| {
        let lots = lots(model, peer.party, clock.now());
        let generation = generation_of(&lots);
        (generation, Catalogue { generation, currency: model.currency.clone(), lots })
    })
    .await;
    tracing::debug!(buyer = %peer.name, generation, lots = catalogue.lots.len(), "catalogue");
    Ok(Json(catalogue))
}
