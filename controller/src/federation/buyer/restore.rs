//! A seller that was restored from an older backup gets back what it lost: its receipts, and the leases that it does not
//! know any more.

use std::collections::BTreeSet;
use std::sync::PoisonError;

use chandler_engine::federation::{self, LeaseWord, News, Side};
use chandler_engine::finance::receipt::{Head, RECEIPTS_MAX};
use chandler_protocol::{AssignmentId, Timestamp};

use super::super::seller::{Lost, Restored, Signed};
use super::Talk;
use super::hear::Ear;
use crate::federation::CallError;

/// Leases that are given back because of one word; the rest with the next.
const ENDED_MAX: usize = 64;

impl Talk {
    /// What was said is said again: the seller may have lost it.
    pub(super) fn say_again(&self) {
        self.again.notify_one();
    }

    /// Gives the seller back what it signed and does not know any more. Says whether it knows all of that now.
    pub(super) async fn give_back(&self, mut there: u64) -> Result<bool, CallError> {
        let model = self.writer.snapshot();
        let signed = model.chains.get(&(self.partner, Side::Bought)).and_then(|c| c.signed.clone());
        let Some((head, signature)) = signed else { return Ok(false) };
        // Each of them proves what leads there; the last is the next to be given.
        let mut proofs = vec![Signed { head, signature: data_encoding::HEXLOWER.encode(&signature) }];
        while let Some(proof) = proofs.last().cloned() {
            let end = proof.head.number;
            if end <= there {
                proofs.pop();
                continue;
            }
            let Some(part) = self.part(there, proof).await else { return Ok(false) };
            let answer: Restored = self.client()?.post("receipts/restored", &part).await?;
            match answer.before {
                Some(before) if before.head.number < end => proofs.push(before),
                None if answer.number > there => there = answer.number,
                _ => return Ok(false),
            }
        }
        Ok(true)
    }

    /// The receipts that lead to a proof, as many as go into one word.
    async fn part(&self, there: u64, proof: Signed) -> Option<Lost> {
        let Head { number: end, .. } = proof.head;
        let most = u32::try_from(RECEIPTS_MAX).ok()?;
        let after = there.max(end.saturating_sub(most.into()));
        let mut receipts = self.writer.store().receipts(self.partner, Side::Bought, after, most).await.ok()?;
        receipts.retain(|r| r.number <= end);
        (!receipts.is_empty()).then_some(Lost { receipts, head: proof })
    }

    /// Asks again for what is leased here and not in the seller's news, which were asked for at `asked`.
    pub(super) async fn ask_again(&self, news: &News, asked: Timestamp, ear: &Ear) -> Result<(), CallError> {
        let told: BTreeSet<AssignmentId> = news.leases.iter().map(|l| l.id).collect();
        let missed = || ear.missed.lock().unwrap_or_else(PoisonError::into_inner);
        missed().retain(|id, _| !told.contains(id));
        let forgotten = federation::forgotten(&self.writer.snapshot(), self.partner, &told, asked);
        for (id, demand) in forgotten {
            tracing::warn!(partner = %self.partner, lease = %id, "its news do not name a lease: it is asked for again");
            let answer: Result<LeaseWord, CallError> = self.client()?.put(&format!("leases/{id}"), &demand).await;
            let word = match answer {
                Ok(word) => word,
                // It knows it after all: how it is there is what counts.
                Err(CallError::Refused(problem)) if problem.status == 409 => {
                    self.client()?.get(&format!("leases/{id}")).await?
                }
                Err(CallError::Refused(problem)) if problem.status < 500 => {
                    let now = self.writer.clock().now();
                    let since = *missed().entry(id).or_insert(now);
                    let (by, why) = (self.by(), problem.detail);
                    let over = self
                        .writer
                        .transact(&by, move |draft| Ok::<_, ()>(federation::not_given_again(draft, id, since, &why)));
                    let _ = over.await;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let (partner, by) = (self.partner, self.by());
            let taken = self.writer.transact(&by, move |draft| federation::bought(draft, partner, &word));
            if let Err(crate::store::Refused::By(why)) = taken.await {
                tracing::warn!(%partner, %why, "what a partner says of a lease is not believed");
            }
            self.say_again();
        }
        Ok(())
    }

    /// Gives back what the partner says is leased, and nothing here knows of or needs: this controller was restored from a
    /// backup, or the end of the lease never reached the partner.
    pub(super) async fn give_up(&self, news: &News) -> Result<(), CallError> {
        for id in federation::unknown(&self.writer.snapshot(), self.partner, &news.leases).into_iter().take(ENDED_MAX) {
            tracing::info!(partner = %self.partner, lease = %id, "a lease that nothing here needs is given back");
            match self.client()?.delete::<LeaseWord>(&format!("leases/{id}")).await {
                Ok(_) | Err(CallError::Refused(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
