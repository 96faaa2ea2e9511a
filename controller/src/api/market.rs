//! The market: what sites offer to partners, the demands that were cleared, and the capacity that was sold or bought.

pub(super) mod demand;
pub(super) mod lease;
pub(super) mod offer;
pub(super) mod standing;

use axum::extract::State;
use chandler_api::market::{MachineShare, Market, MarketRule};
use chandler_api::value::Size;
use chandler_engine::fleet::Capacity;
use chandler_engine::market::clearing::Rule;
use chandler_engine::market::offer::OfferState;

use super::error::internal;
use super::reply::{Answer, OK, Reply};
use super::{Api, body, error, host, idempotency, page, party, reply, site};

#[utoipa::path(get, path = "/api/v1/market", tag = "market", responses((status = 200, body = Market)))]
pub(super) async fn show(State(api): Api) -> Answer {
    let model = api.writer.snapshot();
    let market = model.market.get(&()).ok_or_else(|| internal("there is no record of the market"))?;
    let active = model.offers.values().filter(|p| p.offer.state == OfferState::Active).count();
    let open = model.leases.values().filter(|l| l.is_open()).count();
    let shown = Market {
        rule: shown_rule(market.rule),
        seed: market.seed,
        head: market.head,
        cleared: market.cleared,
        active_offers: u64::try_from(active).unwrap_or(u64::MAX),
        open_leases: u64::try_from(open).unwrap_or(u64::MAX),
    };
    Reply::json(OK, &shown)
}

const fn shown_rule(rule: Rule) -> MarketRule {
    match rule {
        Rule::PostedRate => MarketRule::PostedRate,
        Rule::SecondScore => MarketRule::SecondScore,
    }
}

const fn shown_share(capacity: Capacity) -> MachineShare {
    MachineShare { cpu: capacity.cpu, memory: Size(capacity.memory), gpus: capacity.gpus }
}
