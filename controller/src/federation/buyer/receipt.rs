//! Receipts: fetched, compared, and countersigned.

use std::time::Duration;

use chandler_engine::federation::{Side, receive};
use chandler_engine::finance::receipt::Parties;
use tokio::time::Instant;

use super::super::seller::{CONTEXT, Receipts, Signed};
use super::Talk;
use crate::federation::{CallError, trust};

/// How long a partner may wait for more.
const WAIT: Duration = Duration::from_secs(10);
/// What is signed is signed at most this often.
const SIGNING: Duration = Duration::from_secs(1);

impl Talk {
    /// Takes every receipt.
    pub(super) async fn receipts(&self) {
        self.again("receipts", || self.receipts_once()).await;
    }

    async fn receipts_once(&self) -> Result<(), CallError> {
        let begun = Instant::now();
        let model = self.writer.snapshot();
        let known = model.chains.get(&(self.partner, Side::Bought)).cloned();
        let after = known.as_ref().map_or(0, |c| c.head.number);
        let path = format!("receipts?after={after}&waitMs={}", WAIT.as_millis());
        let got: Receipts = self.client()?.poll(&path, WAIT).await?;
        let Some(partner) = model.partners.get(&self.partner).cloned() else { return Ok(()) };
        let own = self.federation.identity().trust_domain();
        let parties = match (&known, got.receipts.first()) {
            (Some(chain), _) => chain.parties.clone(),
            // Whose chain it is stands in its first link; it must be about these two, under a name that each has borne.
            (None, Some(first)) => first.parties.clone(),
            (None, None) => Parties { seller: partner.trust_domain.clone(), buyer: own },
        };
        if got.receipts.is_empty() {
            return Ok(());
        }
        let signature = got.head.as_ref().and_then(|h| data_encoding::HEXLOWER.decode(h.signature.as_bytes()).ok());
        let signed = got.head.as_ref().zip(signature).is_some_and(|(h, signature)| {
            let bundles = partner.trust.iter().chain(&partner.retired);
            trust::verify(bundles, CONTEXT, &h.head.to_sign(&parties), &signature)
        });
        if !signed {
            tracing::error!(partner = %partner.name, "receipts without its own signature are not taken");
            tokio::time::sleep(WAIT).await;
            return Ok(());
        }
        let (party, by, of) = (self.partner, self.by(), parties.clone());
        let taken = self.writer.transact(&by, move |draft| receive(draft, party, of, &got.receipts));
        match taken.await {
            Ok(head) => {
                let signature = self.federation.identity().sign(CONTEXT, &head.to_sign(&parties));
                if let Ok(signature) = signature {
                    let signed = Signed { head, signature: data_encoding::HEXLOWER.encode(&signature) };
                    let _: bool = self.client()?.post("receipts/countersigned", &signed).await?;
                }
            }
            Err(crate::store::Refused::By(error)) => {
                tracing::error!(partner = %partner.name, %error, "receipts that do not continue the chain are not taken");
                tokio::time::sleep(WAIT).await;
            }
            Err(crate::store::Refused::Store(_)) => {}
        }
        tokio::time::sleep(SIGNING.saturating_sub(begun.elapsed())).await;
        Ok(())
    }
}
