//! Receipts: fetched, compared, and countersigned.

use std::time::Duration;

use chandler_engine::federation::{Chain, Contested, Side, WORDS_MAX, contested, receive};
use chandler_engine::finance::receipt::{Head, Parties, Receipt};
use chandler_engine::model::Model;
use chandler_engine::partner::Partner;
use tokio::time::Instant;

use super::super::seller::{CONTEXT, Countersignature, Receipts, Signed};
use super::Talk;
use crate::federation::{CallError, trust};
use crate::store::Refused;

/// How long a partner may wait for more.
const WAIT: Duration = Duration::from_secs(10);
/// What is signed is signed at most this often.
const SIGNING: Duration = Duration::from_secs(1);

impl Talk {
    /// Takes every receipt.
    pub(super) async fn receipts(&self) {
        self.again("receipts", || self.receipts_once()).await;
    }

    fn chain(&self, model: &Model) -> Option<Chain> {
        model.chains.get(&(self.partner, Side::Bought)).map(|c| c.as_ref().clone())
    }

    async fn receipts_once(&self) -> Result<(), CallError> {
        let begun = Instant::now();
        // What was taken before a fault is told first: it is never more than one part.
        match self.countersign().await {
            // It may have been restored from a backup: that shows in what it has.
            Ok(()) | Err(CallError::Refused(_)) => {}
            Err(error) => return Err(error),
        }
        let model = self.writer.snapshot();
        let known = self.chain(&model);
        let after = known.as_ref().map_or(0, |c| c.head.number);
        let path = format!("receipts?after={after}&waitMs={}", WAIT.as_millis());
        let got: Receipts = self.client()?.poll(&path, WAIT).await?;
        let Some(partner) = model.partners.get(&self.partner).cloned() else { return Ok(()) };
        self.told_again(got.countersigned).await;
        let there = got.head.as_ref().map_or(0, |signed| signed.head.number);
        if there < after {
            tracing::warn!(partner = %partner.name, there, after, "its receipts end before ours: it was restored from a backup");
            self.say_again();
            if !self.give_back(there).await? {
                tokio::time::sleep(WAIT).await;
            }
            return Ok(());
        }
        let own = self.federation.identity().trust_domain();
        // A trust domain stays when a CA is rotated: there is no other name for a chain between these two.
        let parties = known.map_or_else(|| Parties { seller: partner.trust_domain.clone(), buyer: own }, |c| c.parties);
        let Some(head) = got.head else { return Ok(()) };
        let Some(signature) = signature_of(&partner, &parties, &head) else {
            tracing::error!(partner = %partner.name, "receipts without its own signature are not taken");
            tokio::time::sleep(WAIT).await;
            return Ok(());
        };
        if got.receipts.is_empty() {
            return Ok(());
        }
        let part = got.part.and_then(|part| Some((part.head, signature_of(&partner, &parties, &part)?)));
        let own = got.signed.as_ref().map_or(0, |signed| self.signed_before(&parties, &got.receipts, signed));
        let end = part.unwrap_or((head.head, signature));
        if self.take(&partner, parties, (got.receipts, own), end).await {
            self.countersign().await?;
        } else {
            tokio::time::sleep(WAIT).await;
        }
        tokio::time::sleep(SIGNING.saturating_sub(begun.elapsed())).await;
        Ok(())
    }

    /// Number of the last receipt that this controller signed once, as its own signature proves. It remembers less where it
    /// was restored from a backup.
    fn signed_before(&self, parties: &Parties, receipts: &[Receipt], signed: &Signed) -> u64 {
        let signature = data_encoding::HEXLOWER.decode(signed.signature.as_bytes()).unwrap_or_default();
        let identity = self.federation.identity();
        let is_own = identity.has_signed(CONTEXT, &signed.head.to_sign(parties), &signature);
        // Another chain was signed then: that shows at this link, and nothing of it counts.
        let is_other = receipts.iter().any(|r| r.number == signed.head.number && r.hash != signed.head.hash);
        if is_own && !is_other { signed.head.number } else { 0 }
    }

    /// Whether they were taken.
    async fn take(
        &self,
        partner: &Partner,
        parties: Parties,
        (receipts, signed): (Vec<Receipt>, u64),
        end: (Head, Vec<u8>),
    ) -> bool {
        let (party, by) = (self.partner, self.by());
        let taken = self.writer.transact(&by, move |draft| {
            let head = receive(draft, party, parties, &receipts, signed)?;
            let chain = draft.model.chains.get(&(party, Side::Bought)).cloned();
            // The seller's own signature proves every link before it.
            if let Some(chain) = chain.filter(|_| head == end.0) {
                draft.put(Chain { signed: Some(end), ..chain.as_ref().clone() });
            }
            Ok::<_, chandler_engine::federation::Untaken>(())
        });
        match taken.await {
            Ok(()) => true,
            Err(Refused::By(error)) => {
                tracing::error!(partner = %partner.name, %error, "receipts are not taken");
                false
            }
            Err(Refused::Store(_)) => false,
        }
    }

    /// Signs what was taken and not signed yet, and says what of it is contested.
    async fn countersign(&self) -> Result<(), CallError> {
        let model = self.writer.snapshot();
        let Some(chain) = self.chain(&model).filter(|c| c.told < c.head.number) else { return Ok(()) };
        let contested = contested(&model, self.partner, chain.told, chain.head.number);
        let Some(head) = self.as_far_as(&chain, &contested).await else { return Ok(()) };
        let Ok(signature) = self.federation.identity().sign(CONTEXT, &head.to_sign(&chain.parties)) else {
            tracing::error!("receipts cannot be signed");
            return Ok(());
        };
        let signed = Signed { head, signature: data_encoding::HEXLOWER.encode(&signature) };
        let word = Countersignature { signed, contested };
        let _: bool = self.client()?.post("receipts/countersigned", &word).await?;
        self.told(move |told| told.max(head.number)).await;
        Ok(())
    }

    /// The link that is signed: the end, or the last of the contested receipts where one word does not hold them all.
    async fn as_far_as(&self, chain: &Chain, contested: &[Contested]) -> Option<Head> {
        let Some(last) = contested.last().filter(|_| contested.len() >= WORDS_MAX) else { return Some(chain.head) };
        let found = self.writer.store().receipts(self.partner, Side::Bought, last.number.saturating_sub(1), 1).await;
        let link = found.ok()?.into_iter().next().filter(|r| r.number == last.number)?;
        Some(Head { number: link.number, hash: link.hash })
    }

    /// The seller knows of less than it was told: it is told again.
    async fn told_again(&self, countersigned: u64) {
        let told = self.chain(&self.writer.snapshot()).map_or(0, |c| c.told);
        if countersigned < told {
            self.told(move |_| countersigned).await;
        }
    }

    async fn told(&self, next: impl FnOnce(u64) -> u64 + Send + 'static) {
        let (party, by) = (self.partner, self.by());
        let kept = self.writer.transact(&by, move |draft| {
            if let Some(chain) = draft.model.chains.get(&(party, Side::Bought)).cloned() {
                draft.put(Chain { told: next(chain.told), ..chain.as_ref().clone() });
            }
            Ok::<_, ()>(())
        });
        if kept.await.is_err() {
            // It is told again: the seller has it already, and nothing changes.
            tracing::warn!("what was countersigned could not be kept");
        }
    }
}

/// The signature under the end of a chain, if it is the partner's.
fn signature_of(partner: &Partner, parties: &Parties, signed: &Signed) -> Option<Vec<u8>> {
    let signature = data_encoding::HEXLOWER.decode(signed.signature.as_bytes()).ok()?;
    let bundles = partner.trust.iter().chain(&partner.retired);
    trust::verify(bundles, CONTEXT, &signed.head.to_sign(parties), &signature).then_some(signature)
}
