//! Offerings: what can be ordered, with its price and its set of attributes.

use axum::extract::{Path, Request, State};
use axum::http::Uri;
use chandler_api::offering::{Characteristic as ShownCharacteristic, Offering as Shown, OfferingApply};
use chandler_api::page::{Page, PageQuery};
use chandler_api::value::{Money, Time};
use chandler_engine::catalogue::{CHARACTERISTICS, Offering};
use chandler_engine::draft::Draft;
use chandler_engine::event::Noun;
use chandler_engine::model::Model;
use chandler_protocol::text::is_name;

use super::Api;
use super::access::Caller;
use super::body::{DOCUMENT_MAX, parse, query, read};
use super::error::{Fields, not_found};
use super::page::Wanted;
use super::party::NAME_FORM;
use super::reply::{Answer, OK, Reply};
use super::site::check_rate;

/// Highest margin, in percent. More is a slip of the pen.
const MARGIN_MAX: u32 = 10_000;

#[utoipa::path(get, path = "/api/v1/offerings", tag = "offerings", params(PageQuery),
    responses((status = 200, body = Page<Shown>)))]
pub(super) async fn list(State(api): Api, uri: Uri) -> Answer {
    let wanted = Wanted::new("offerings", &query(&uri)?)?;
    let after = wanted.after::<String>()?;
    let model = api.writer.snapshot();
    let offerings = model.offerings.values().filter(|o| after.as_ref().is_none_or(|a| o.name > *a));
    Reply::json(OK, &wanted.take(offerings, |o| o.name.clone(), |o| shown(&model, o)))
}

#[utoipa::path(get, path = "/api/v1/offerings/{name}", tag = "offerings",
    params(("name" = String, Path, description = "its name")), responses((status = 200, body = Shown)))]
pub(super) async fn show(State(api): Api, Path(name): Path<String>) -> Answer {
    let model = api.writer.snapshot();
    let offering = model.offerings.get(&name).ok_or_else(|| not_found("offering", &name))?;
    Reply::json(OK, &shown(&model, offering))
}

#[utoipa::path(put, path = "/api/v1/offerings/{name}", tag = "offerings", request_body = OfferingApply,
    params(("name" = String, Path, description = "its name")), responses((status = 200, body = Shown)))]
pub(super) async fn apply(State(api): Api, caller: Caller, Path(name): Path<String>, request: Request) -> Answer {
    let (parts, body) = request.into_parts();
    let bytes = read(&parts.headers, body, DOCUMENT_MAX).await?;
    let wanted: OfferingApply = parse(&parts.headers, &bytes)?;
    api.transact(caller, move |draft| put(draft, &name, wanted)).await
}

fn put(draft: &mut Draft<'_>, name: &str, wanted: OfferingApply) -> Answer {
    let mut fields = Fields::default();
    fields.check(is_name(&wanted.name), "name", NAME_FORM);
    fields.check(wanted.name == name, "name", format!("the address says {name:?}: write the same"));
    fields.check(wanted.margin_percent <= MARGIN_MAX, "marginPercent", format!("write 0 to {MARGIN_MAX}"));
    check_rate(&mut fields, "managementHour", &wanted.management_hour, &draft.model.currency);
    for (index, one) in wanted.characteristics.iter().enumerate() {
        let known = CHARACTERISTICS.iter().any(|c| c.name == one);
        fields.check(known, format!("characteristics[{index}]"), format!("write one of {}", known_names().join(", ")));
    }
    fields.finish()?;
    // Kept in the catalogue's order, each once: the same set is then the same offering.
    let every = wanted.characteristics.is_empty();
    let chosen = known_names().into_iter().filter(|n| every || wanted.characteristics.iter().any(|c| c == n));
    let there = draft.model.offerings.get(&wanted.name).cloned();
    let new = Offering {
        name: wanted.name,
        version: there.as_ref().map_or(1, |t| t.version.saturating_add(1)),
        margin_percent: wanted.margin_percent,
        management_hour: wanted.management_hour.amount(),
        characteristics: chosen.map(str::to_owned).collect(),
        valid_from: draft.now,
    };
    // What changes nothing makes no new version.
    if let Some(there) = there
        && (Offering { version: there.version, valid_from: there.valid_from, ..new.clone() }) == *there
    {
        return Reply::json(OK, &shown(&draft.model, &there));
    }
    let reason = format!(
        "version {}: margin {} %, {} {} for looking after a copy for an hour",
        new.version, new.margin_percent, new.management_hour, draft.model.currency
    );
    let what = (Noun::Offering, new.name.clone(), new.name.as_str());
    draft.event(what, if new.version == 1 { "" } else { "active" }, "active", reason);
    let reply = Reply::json(OK, &shown(&draft.model, &new));
    draft.put(new);
    reply
}

fn known_names() -> Vec<&'static str> {
    CHARACTERISTICS.iter().map(|c| c.name).collect()
}

fn shown(model: &Model, offering: &Offering) -> Shown {
    let chosen = CHARACTERISTICS.iter().filter(|c| offering.characteristics.iter().any(|name| name == c.name));
    Shown {
        name: offering.name.clone(),
        version: offering.version,
        lifecycle_status: "active".to_owned(),
        margin_percent: offering.margin_percent,
        management_hour: Money::new(offering.management_hour, &model.currency),
        characteristics: chosen
            .map(|c| ShownCharacteristic {
                name: c.name.to_owned(),
                description: c.description.to_owned(),
                value_type: c.value_type.to_owned(),
                unit_of_measure: c.unit.to_owned(),
                value_from: c.from.to_owned(),
                value_to: c.to.to_owned(),
                configurable: true,
                min_cardinality: 0,
            })
            .collect(),
        valid_from: Time(offering.valid_from),
    }
}
