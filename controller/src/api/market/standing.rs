//! Standings: what has to be expected of a site as a seller. Its owner sees why.

use axum::extract::{Path, State};
use chandler_api::market::Standing;
use chandler_api::value::{Money, Quantity};
use chandler_engine::federation::{Odds, month_at_risk, prior};
use chandler_engine::market::reputation::{Record, explain, standing};
use chandler_engine::model::Model;
use chandler_engine::site::{Site, SiteRole};
use chandler_protocol::{MicroMoney, Timestamp};

use super::error::conflict;
use super::reply::{Answer, OK, Reply};
use super::{party, site};
use crate::api::Api;
use crate::api::access::Caller;

/// The price that the risk is shown of.
const HUNDRED: MicroMoney = MicroMoney(100_000_000);

#[utoipa::path(get, path = "/api/v1/market/standing/{site}", tag = "market",
    description = "Owners of sites see their own, operators also those of partners' sites, as they were found as their buyer.",
    params(("site" = String, Path, description = "name or id")), responses((status = 200, body = Standing)))]
pub(in crate::api) async fn show(State(api): Api, caller: Caller, Path(reference): Path<String>) -> Answer {
    let model = api.writer.snapshot();
    let site = site::find(&model, caller, &reference)?;
    if site.role == SiteRole::Customer {
        return Err(conflict(format!("{} is a customer's own: nothing of it is sold", site.name)));
    }
    Reply::json(OK, &shown(&model, site, api.writer.clock().now()))
}

fn shown(model: &Model, site: &Site, now: Timestamp) -> Standing {
    let nothing = Record::default();
    let record = model.reputations.get(&site.id).map_or(&nothing, |known| &known.record);
    let prior = prior(site.role);
    let found = standing(record, &prior, now);
    let odds = Odds { breach: found.breach, loss: found.loss };
    Standing {
        site: site.name.clone(),
        site_id: site.id,
        partner: site.home.map(|home| party::name_of(model, home)),
        breach: Quantity(found.breach),
        loss: Quantity(found.loss),
        observations: found.observations,
        risk_of_hundred: Money::new(month_at_risk(odds, HUNDRED), &model.currency),
        reasons: explain(record, &prior, now),
    }
}
