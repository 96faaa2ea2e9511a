//! What the provider would rather have of the whole fleet.

use axum::extract::{Request, State};
use chandler_api::criteria::ProviderCriteria as Shown;
use chandler_engine::criteria::{PREMIUM_MAX, ProviderCriteria};
use chandler_engine::event::Noun;
use chandler_engine::model::Model;

use super::Api;
use super::access::Caller;
use super::body::{DOCUMENT_MAX, parse, read};
use super::error::Fields;
use super::reply::{Answer, OK, Reply};

#[utoipa::path(get, path = "/api/v1/criteria", tag = "criteria", responses((status = 200, body = Shown)))]
pub(super) async fn show(State(api): Api) -> Answer {
    Reply::json(OK, &shown(&api.writer.snapshot()))
}

#[utoipa::path(put, path = "/api/v1/criteria", tag = "criteria", request_body = Shown,
    description = "All of it: what is left out is not asked for any more.", responses((status = 200, body = Shown)))]
pub(super) async fn apply(State(api): Api, caller: Caller, request: Request) -> Answer {
    let (parts, body) = request.into_parts();
    let bytes = read(&parts.headers, body, DOCUMENT_MAX).await?;
    let wanted: Shown = parse(&parts.headers, &bytes)?;
    let mut fields = Fields::default();
    let floor = wanted.margin_floor_percent;
    fields.check(floor.is_none_or(|p| p <= 100), "marginFloorPercent", "write a number from 0 to 100");
    let own = wanted.own_first_percent;
    let detail = format!("write a number from 0 to {PREMIUM_MAX}");
    fields.check(own.is_none_or(|p| p <= PREMIUM_MAX), "ownFirstPercent", detail);
    fields.finish()?;
    api.transact(caller, move |draft| {
        let before = draft.model.criteria_of(None).cloned().unwrap_or_default();
        let after = ProviderCriteria {
            margin_floor_percent: wanted.margin_floor_percent,
            own_first_percent: wanted.own_first_percent,
            consolidate: wanted.consolidate,
            ..before.clone()
        };
        if after != before {
            let percent = |p: Option<u32>| p.map_or("none".to_owned(), |p| format!("{p} %"));
            let reason = format!(
                "margin floor {}, own first {}, consolidate {}",
                percent(after.margin_floor_percent),
                percent(after.own_first_percent),
                after.consolidate
            );
            draft.event((Noun::Controller, String::new(), "criteria"), "", "changed", reason);
            draft.put(after);
        }
        Reply::json(OK, &shown(&draft.model))
    })
    .await
}

fn shown(model: &Model) -> Shown {
    let criteria = model.criteria_of(None).cloned().unwrap_or_default();
    Shown {
        margin_floor_percent: criteria.margin_floor_percent,
        own_first_percent: criteria.own_first_percent,
        consolidate: criteria.consolidate,
    }
}
