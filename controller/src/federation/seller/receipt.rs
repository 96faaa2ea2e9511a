//! Receipts of what was used: the chain with one buyer, its end signed by both.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Query, State};
use chandler_api::problem::{BAD_REQUEST, CONFLICT, Problem};
use chandler_engine::federation::{self, Chain, Contested, Side};
use chandler_engine::finance::receipt::{Head, RECEIPTS_MAX, Receipt};
use chandler_engine::model::Model;
use chandler_protocol::PartyId;
use serde::{Deserialize, Serialize};

use super::poll::{Since, until_new};
use super::restore::sign;
use crate::federation::document::{Answer, Document, Refusal};
use crate::federation::{Desk, Peer, trust};

/// What the signature is for: no other document can be taken for one.
pub(crate) const CONTEXT: &str = "chandler receipts head";
/// Usage comes every few seconds; a buyer need not be told of each record by itself.
const PAUSE: Duration = Duration::from_millis(100);

/// A part of the chain, and its end as the seller signs it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Receipts {
    /// In order.
    pub receipts: Vec<Receipt>,
    /// The end of the whole chain; none while it is empty.
    pub head: Option<Signed>,
    /// The last of these receipts, if that is not the end: so every part that is taken is proven by itself.
    #[serde(default)]
    pub part: Option<Signed>,
    /// Number of the last receipt that the seller has the buyer's signature for. Less than the buyer remembers: the seller
    /// was restored from a backup, and is told again.
    #[serde(default)]
    pub countersigned: u64,
    /// What the buyer has signed: one that was restored from a backup does not remember.
    #[serde(default)]
    pub signed: Option<Signed>,
}

/// The end of a part of the chain as the buyer signs it, and what it contests of the receipts behind its last signature.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Countersignature {
    /// What is signed.
    #[serde(flatten)]
    pub signed: Signed,
    /// In order of number; at most [`RECEIPTS_MAX`].
    #[serde(default)]
    pub contested: Vec<Contested>,
}

/// The end of a chain, signed.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Signed {
    /// The end.
    pub head: Head,
    /// Over [`Head::to_sign`], by the signer's federation CA; hexadecimal.
    pub signature: String,
}

/// Where a caller is.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Behind {
    /// The number of the last receipt that it has.
    after: u64,
    /// How long it waits for more, in milliseconds.
    wait_ms: u64,
}

fn chain_of(model: &Model, buyer: PartyId) -> Option<Chain> {
    model.chains.get(&(buyer, Side::Sold)).map(|chain| chain.as_ref().clone())
}

pub(super) async fn list(State(desk): State<Arc<Desk>>, peer: Peer, Query(behind): Query<Behind>) -> Answer<Receipts> {
    let Some(chain) = newer(&desk, &peer, &behind).await? else {
        return Ok(Json(Receipts { receipts: Vec::new(), head: None, part: None, countersigned: 0, signed: None }));
    };
    let most = u32::try_from(RECEIPTS_MAX).unwrap_or(u32::MAX);
    let receipts = desk.writer.store().receipts(peer.party, Side::Sold, behind.after, most).await?;
    let head = sign(&desk, &chain.parties, chain.head)?;
    let last = receipts.last().map(|r| Head { number: r.number, hash: r.hash }).filter(|last| *last != chain.head);
    let part = last.map(|last| sign(&desk, &chain.parties, last)).transpose()?;
    let countersigned = chain.countersigned();
    let signed = chain.signed.filter(|(head, _)| head.number > behind.after);
    let signed = signed.map(|(head, bytes)| Signed { head, signature: data_encoding::HEXLOWER.encode(&bytes) });
    Ok(Json(Receipts { receipts, head: Some(head), part, countersigned, signed }))
}

/// The chain once it is longer than its buyer knows, or at once where it is shorter. What waited until the buyer said how
/// long it is is entered first.
async fn newer(desk: &Desk, peer: &Peer, behind: &Behind) -> Result<Option<Chain>, Refusal> {
    let since = Since { after: behind.after, wait_ms: behind.wait_ms };
    let unheard = |c: &Chain| !c.heard && behind.after <= c.head.number;
    loop {
        let (_, chain) = until_new(&desk.writer, since, PAUSE, |model| {
            let chain = chain_of(model, peer.party);
            let number = chain.as_ref().map_or(0, |c| if unheard(c) { u64::MAX } else { c.head.number });
            (number, chain)
        })
        .await;
        if !chain.as_ref().is_some_and(unheard) {
            return Ok(chain);
        }
        let (party, has) = (peer.party, behind.after);
        desk.writer
            .transact(&peer.by(), move |draft| {
                federation::said(draft, party, has);
                Ok::<_, Refusal>(())
            })
            .await?;
    }
}

/// Keeps the buyer's signature under what it has agreed to or contested by now: it cannot deny these links any more. What
/// it contests is held here as it is there.
pub(super) async fn countersign(
    State(desk): State<Arc<Desk>>,
    peer: Peer,
    Document(word): Document<Countersignature>,
) -> Answer<bool> {
    let Countersignature { signed, contested } = word;
    let signature = data_encoding::HEXLOWER
        .decode(signed.signature.as_bytes())
        .map_err(|_| Problem::new(BAD_REQUEST, "signature: write hexadecimal"))?;
    if contested.len() > RECEIPTS_MAX {
        return Err(Problem::new(BAD_REQUEST, format!("contested: at most {RECEIPTS_MAX} at once")).into());
    }
    let party = peer.party;
    let link = link(&desk, party, signed.head.number).await?;
    if link.is_none_or(|r| r.hash != signed.head.hash) {
        return Err(Problem::new(CONFLICT, "there is no such link in the chain: fetch the receipts again").into());
    }
    let mut about = Vec::with_capacity(contested.len());
    for word in contested {
        let known = link_of(&desk, party, word.number).await?;
        about.push((word, known));
    }
    let by = peer.by();
    let kept = desk.writer.transact(&by, move |draft| {
        let chain = chain_of(&draft.model, party);
        let Some((chain, partner)) = chain.zip(draft.model.partners.get(&party).cloned()) else { return Ok(false) };
        let bytes = signed.head.to_sign(&chain.parties);
        if !trust::verify(partner.trust.iter().chain(&partner.retired), CONTEXT, &bytes, &signature) {
            return Err(Refusal::from(Problem::new(BAD_REQUEST, "signature: it is not of this partner's CA")));
        }
        federation::countersign(draft, party, (signed.head, signature), &about)
            .map_err(|why| Problem::new(BAD_REQUEST, format!("contested: {why}")).into())
    });
    Ok(Json(kept.await?))
}

/// The receipt of this number that was given to the buyer.
async fn link(desk: &Desk, buyer: PartyId, number: u64) -> Result<Option<Receipt>, Refusal> {
    let Some(before) = number.checked_sub(1) else { return Ok(None) };
    let found = desk.writer.store().receipts(buyer, Side::Sold, before, 1).await?;
    Ok(found.into_iter().next().filter(|r| r.number == number))
}

async fn link_of(desk: &Desk, buyer: PartyId, number: u64) -> Result<Receipt, Refusal> {
    let found = link(desk, buyer, number).await?;
    found.ok_or_else(|| Problem::new(BAD_REQUEST, format!("contested: there is no receipt {number}")).into())
}
