//! Receipts that this controller lost come back from their buyer, after it was restored from an older backup.
//!
//! Only what it signed itself is taken. A signature is under the end of a chain and proves what leads there; so a long
//! chain is shown from its end first: of a part that does not begin here yet, the link before it is signed in turn, and
//! the buyer comes back with the part that ends there. Nothing has to be remembered between two calls.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use chandler_api::problem::{BAD_REQUEST, CONFLICT, Problem};
use chandler_engine::federation::{self, Side, Unrestored};
use chandler_engine::finance::receipt::{Head, Parties, RECEIPTS_MAX, Receipt, verify};
use serde::{Deserialize, Serialize};

use super::receipt::{CONTEXT, Signed};
use crate::federation::document::{Answer, Document, Refusal, internal};
use crate::federation::{Desk, Peer};

/// A part of the chain, and its end as this controller signed it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Lost {
    /// In order; 1 to [`RECEIPTS_MAX`].
    pub receipts: Vec<Receipt>,
    /// The last of them, with the seller's signature.
    pub head: Signed,
}

/// How far the seller's chain is now.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Restored {
    /// Number of its last receipt.
    pub number: u64,
    /// The part was not taken, as there are links missing before it: the last of these, signed.
    #[serde(default)]
    pub before: Option<Signed>,
}

/// Takes lost receipts back, or says which come first.
pub(super) async fn take(
    State(desk): State<Arc<Desk>>,
    peer: Peer,
    Document(Lost { receipts, head }): Document<Lost>,
) -> Answer<Restored> {
    peer.buying()?;
    let party = peer.party;
    let chain = federation::chain_with(&desk.writer.snapshot(), party).ok_or_else(|| taken(Unrestored::NoMarket))?;
    let start = proven(&desk, &chain.parties, &receipts, &head)?;
    if start.number > chain.head.number {
        let before = Some(sign(&desk, &chain.parties, start)?);
        return Ok(Json(Restored { number: chain.head.number, before }));
    }
    let by = peer.by();
    let kept = desk.writer.transact(&by, move |draft| {
        // What is here already is not taken twice.
        let here = draft.model.chains.get(&(party, Side::Sold)).map_or(0, |c| c.head.number);
        if head.head.number <= here {
            return Ok::<_, Refusal>(here);
        }
        let missing = receipts.iter().position(|r| r.number > here).map_or(&[][..], |at| &receipts[at..]);
        federation::restored(draft, party, missing, head.head).map(|head| head.number).map_err(taken)
    });
    Ok(Json(Restored { number: kept.await?, before: None }))
}

/// The link before receipts that this controller made, as its signature proves.
fn proven(desk: &Desk, parties: &Parties, receipts: &[Receipt], end: &Signed) -> Result<Head, Refusal> {
    let bad = |what: String| Refusal::from(Problem::new(BAD_REQUEST, what));
    if receipts.len() > RECEIPTS_MAX {
        return Err(bad(format!("receipts: at most {RECEIPTS_MAX} at once")));
    }
    let first = receipts.first().filter(|r| r.number > 0);
    let first = first.ok_or_else(|| bad("receipts: send at least one, numbered from 1".to_owned()))?;
    let signature = data_encoding::HEXLOWER.decode(end.signature.as_bytes());
    let signature = signature.map_err(|_| bad("head.signature: write hexadecimal".to_owned()))?;
    if !desk.federation.identity().has_signed(CONTEXT, &end.head.to_sign(parties), &signature) {
        return Err(bad("head.signature: it is not of this controller's CA, nor of one before".to_owned()));
    }
    let start = Head { number: first.number - 1, hash: first.previous };
    match verify(parties, start, receipts) {
        Ok(head) if head == end.head => Ok(start),
        Ok(_) => Err(bad("receipts: they do not end at the link that is signed".to_owned())),
        Err(error) => Err(bad(format!("receipts: {error}"))),
    }
}

/// The end of a part of a chain, signed.
pub(super) fn sign(desk: &Desk, parties: &Parties, head: Head) -> Result<Signed, Refusal> {
    let signature = desk.federation.identity().sign(CONTEXT, &head.to_sign(parties)).map_err(internal)?;
    Ok(Signed { head, signature: data_encoding::HEXLOWER.encode(&signature) })
}

fn taken(why: Unrestored) -> Refusal {
    tracing::error!(%why, "lost receipts are not taken back");
    Problem::new(CONFLICT, format!("receipts: {why}")).into()
}
