//! Settlement with partners: receipts of what was used, and what they come to.

pub(super) mod dispute;
pub(super) mod month;
pub(super) mod statement;

use axum::extract::{Path, State};
use chandler_api::settlement::{ChainSide, ReceiptChain};
use chandler_api::value::Money;
use chandler_engine::federation::{Chain, Side};
use chandler_engine::model::Model;

use super::Api;
use super::partner;
use super::reply::{Answer, OK, Reply};

#[utoipa::path(get, path = "/api/v1/partners/{reference}/receipts", tag = "settlement",
    description = "One chain for each direction in which something was sold.",
    params(("reference" = String, Path, description = "name or id")), responses((status = 200, body = Vec<ReceiptChain>)))]
pub(super) async fn receipts(State(api): Api, Path(reference): Path<String>) -> Answer {
    let model = api.writer.snapshot();
    let party = partner::find(&model, &reference)?.party;
    let chains = [Side::Sold, Side::Bought].into_iter().filter_map(|side| model.chains.get(&(party, side)));
    Reply::json(OK, &chains.map(|c| shown(&model, c)).collect::<Vec<_>>())
}

fn shown(model: &Model, chain: &Chain) -> ReceiptChain {
    let money = |amount| Money::new(amount, &model.currency);
    let sums = chain.sums;
    ReceiptChain {
        side: shown_side(chain.side),
        seller: chain.parties.seller.clone(),
        buyer: chain.parties.buyer.clone(),
        receipts: chain.head.number,
        head: chain.head.hash,
        countersigned: chain.countersigned(),
        amount: money(sums.amount),
        agreed: money(sums.agreed()),
        contested: money(sums.contested),
        held: money(sums.held),
        decided: money(sums.decided),
    }
}

const fn shown_side(side: Side) -> ChainSide {
    match side {
        Side::Sold => ChainSide::Sold,
        Side::Bought => ChainSide::Bought,
    }
}
