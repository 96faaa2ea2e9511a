//! Disputes: what there is to say about them goes to the seller, where they are decided, and its answer comes back.

use std::time::Duration;

use chandler_engine::federation::{DisputeWord, Side, WORDS_MAX, heard, words};
use chandler_engine::finance::dispute::DisputeState;
use chandler_engine::model::Model;

use super::Talk;
use crate::federation::CallError;

/// How often a seller is asked while something is open. What is said here is said at once.
const PERIOD: Duration = Duration::from_secs(5);
/// Not more often than this, whatever changes.
const SHORTEST: Duration = Duration::from_millis(200);

impl Talk {
    /// Speaks about every dispute with the seller until both know how it was decided.
    pub(super) async fn disputes(&self) {
        self.again("disputes", || self.disputes_once()).await;
    }

    async fn disputes_once(&self) -> Result<(), CallError> {
        let mut models = self.writer.watch();
        let model = models.borrow_and_update().clone();
        let spoken = open(&model, self);
        // A chain that the seller knows to be contested is asked about too: this side may have been restored.
        let has_chain = model.chains.contains_key(&(self.partner, Side::Bought));
        if has_chain {
            let mut after = 0;
            loop {
                let said = words(&model, self.partner, false, after);
                let next = said.last().filter(|_| said.len() >= WORDS_MAX).map(|w| w.number);
                self.exchange(said).await?;
                match next {
                    Some(number) => after = number,
                    None => break,
                }
            }
        }
        let until = tokio::time::sleep(PERIOD);
        tokio::pin!(until);
        tokio::time::sleep(SHORTEST).await;
        loop {
            tokio::select! {
                biased;
                () = &mut until => return Ok(()),
                changed = models.changed() => {
                    if changed.is_err() {
                        until.await;
                        return Ok(());
                    }
                    if open(&models.borrow_and_update().clone(), self) != spoken {
                        return Ok(());
                    }
                }
            }
        }
    }

    async fn exchange(&self, said: Vec<DisputeWord>) -> Result<(), CallError> {
        let mut said = said;
        // Ends: what is left to say is said once, and has no answer that leaves more.
        for _ in 0..2 {
            let answer: Vec<DisputeWord> = self.client()?.post("disputes", &said).await?;
            let (party, by) = (self.partner, self.by());
            let words = std::mem::take(&mut said);
            let taken = self.writer.transact(&by, move |draft| Ok::<_, ()>(heard(draft, party, &words, &answer)));
            match taken.await {
                Ok(left) if !left.is_empty() => said = left,
                _ => break,
            }
        }
        Ok(())
    }
}

/// What there is to say, to tell whether it has changed.
fn open(model: &Model, talk: &Talk) -> Vec<(u64, DisputeState, i64, usize)> {
    let mine = model.disputes.values().filter(|d| d.id.partner == talk.partner && !d.id.ours);
    let open = mine.filter(|d| d.state != DisputeState::Closed);
    open.map(|d| (d.id.receipt, d.state, d.offered().0, d.statements(false).count())).collect()
}
