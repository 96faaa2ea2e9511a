//! Considers whether services are better off elsewhere, and plans the moves that are worth it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chandler_engine::assurance::Patience;
use chandler_engine::relocation::trigger::{Rules, Senses, consider};

use super::next;
use crate::store::Writer;

/// How often, and by which numbers.
#[derive(Debug, Clone)]
pub struct Consideration {
    /// Time between two looks.
    pub period: Duration,
    /// Every number of the decision.
    pub rules: Rules,
}

pub(super) async fn run(writer: &Writer, patience: Patience, how: Consideration) {
    // What was felt so far: of this run of the controller only, and no harm when a look was not kept.
    let senses = Arc::new(Mutex::new(Senses::default()));
    let rules = Arc::new(how.rules);
    loop {
        let (felt, rules) = (senses.clone(), rules.clone());
        let considered = writer.transact("relocation", move |draft| {
            let mut felt = felt.lock().unwrap_or_else(PoisonError::into_inner);
            Ok::<_, ()>(consider(draft, &mut felt, &rules, patience))
        });
        if let Ok(considered) = considered.await
            && !considered.planned.is_empty()
        {
            tracing::info!(planned = considered.planned.len(), looked_at = considered.looked_at, "moves are planned");
        }
        next(&writer.wakes().relocation, how.period).await;
    }
}
