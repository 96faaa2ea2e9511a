//! Bills and the ledger: what customers owe, from the same usage rows that pay the owners.

use axum::extract::{Path, Request, State};
use axum::http::Uri;
use chandler_api::bill::{Bill as Shown, BillLine as ShownLine, BillRun, LedgerCheck};
use chandler_api::page::{Page, PageQuery};
use chandler_api::value::{Money, Time};
use chandler_engine::draft::Draft;
use chandler_engine::event::Noun;
use chandler_engine::finance::{self, Bill, UsageRow, month_of, month_range};
use chandler_engine::model::Model;
use chandler_engine::party::PartyRole;
use chandler_protocol::{BillId, PartyId};

use super::Api;
use super::access::Caller;
use super::body::{DOCUMENT_MAX, query};
use super::error::{Failure, Fields, not_found};
use super::idempotency::{Begun, begin};
use super::page::Wanted;
use super::reply::{Answer, OK, Reply};
use super::{party, site};

#[utoipa::path(get, path = "/api/v1/bills", tag = "bills", params(PageQuery),
    responses((status = 200, body = Page<Shown>)))]
pub(super) async fn list(State(api): Api, caller: Caller, uri: Uri) -> Answer {
    let wanted = Wanted::new("bills", &query(&uri)?)?;
    let after = wanted.after::<BillId>()?;
    let model = api.writer.snapshot();
    let bills = model.bills.values().filter(|b| after.is_none_or(|a| b.id > a) && caller.acts_for(b.customer));
    Reply::json(OK, &wanted.take(bills, |b| b.id.to_string(), |b| shown(&model, b)))
}

#[utoipa::path(get, path = "/api/v1/bills/{id}", tag = "bills",
    params(("id" = String, Path, description = "id")), responses((status = 200, body = Shown)))]
pub(super) async fn show(State(api): Api, caller: Caller, Path(id): Path<String>) -> Answer {
    let model = api.writer.snapshot();
    let bill = id.parse::<BillId>().ok().and_then(|id| model.bills.get(&id));
    let bill = bill.filter(|b| caller.acts_for(b.customer)).ok_or_else(|| not_found("bill", &id))?;
    Reply::json(OK, &shown(&model, bill))
}

#[utoipa::path(post, path = "/api/v1/bills", tag = "bills", request_body = BillRun,
    description = "Makes bills. That of a month which is not over is made anew each time; then it is final.",
    responses((status = 200, body = Page<Shown>)))]
pub(super) async fn run(State(api): Api, caller: Caller, request: Request) -> Answer {
    let (parts, body) = request.into_parts();
    let post = match begin(&api, caller, &parts, body, DOCUMENT_MAX).await? {
        Begun::Before(reply) => return Ok(reply),
        Begun::New(post) => post,
    };
    let wanted: BillRun = post.parse()?;
    let (model, now) = (api.writer.snapshot(), api.writer.clock().now());
    let month = wanted.month.clone().unwrap_or_else(|| month_of(now));
    let mut fields = Fields::default();
    let range = month_range(&month).filter(|(from, _)| *from <= now);
    fields.check(range.is_some(), "month", "write a month that has begun, such as 2026-11");
    let customers = customers(&mut fields, &model, caller, wanted.customer.as_deref());
    fields.finish()?;
    let Some((from, to)) = range else { return Err(not_found("month", &month)) };
    let mut usage = Vec::new();
    for customer in customers {
        let rows = api.writer.store().usage(customer, from, to).await?;
        // Who used nothing is not billed, unless asked for by name.
        if wanted.customer.is_some() || !rows.is_empty() {
            usage.push((customer, rows));
        }
    }
    post.commit(&api, move |draft| {
        let bills: Vec<_> = usage.iter().map(|(customer, rows)| make(draft, *customer, &month, rows)).collect();
        Reply::json(OK, &Page { items: bills, next_page_token: None })
    })
    .await
}

fn customers(fields: &mut Fields, model: &Model, caller: Caller, reference: Option<&str>) -> Vec<PartyId> {
    let is_customer = |roles: &[PartyRole]| roles.contains(&PartyRole::Customer);
    match reference {
        None => model.parties.values().filter(|p| is_customer(&p.roles)).map(|p| p.id).collect(),
        Some(reference) => {
            let found = party::find(model, caller, reference).ok().filter(|p| is_customer(&p.roles));
            fields.check(found.is_some(), "customer", "there is no such customer: chandler party list");
            found.map(|p| p.id).into_iter().collect()
        }
    }
}

/// Makes the bill of a customer's month, or makes it anew; one that was sent stays as it is.
fn make(draft: &mut Draft<'_>, customer: PartyId, month: &str, rows: &[UsageRow]) -> Shown {
    let there = draft.model.bills.values().find(|b| b.customer == customer && b.month == month).cloned();
    if let Some(sent) = there.as_ref().filter(|b| b.sent) {
        return shown(&draft.model, sent);
    }
    let id = there.as_ref().map_or_else(|| BillId::from_random(draft.id()), |b| b.id);
    let bill = finance::bill(id, customer, month, draft.now, rows);
    let name = format!("{} {month}", party::name_of(&draft.model, customer));
    let from = there.as_ref().map_or("", |_| "new");
    let reason = format!("{} {}", bill.total(), draft.model.currency);
    draft.event((Noun::Bill, id.to_string(), &name), from, state(&bill), reason);
    let answer = shown(&draft.model, &bill);
    draft.put(bill);
    answer
}

#[utoipa::path(get, path = "/api/v1/ledger/check", tag = "bills", responses((status = 200, body = LedgerCheck)))]
pub(super) async fn ledger_check(State(api): Api) -> Answer {
    let found = api.writer.store().ledger().await.map_err(Failure::from)?;
    let currency = api.writer.snapshot().currency.clone();
    let check = LedgerCheck {
        balanced: found.balanced,
        postings: found.postings,
        unbalanced: found.unbalanced,
        unposted: found.unposted,
        receivable: Money::new(found.receivable, &currency),
        payable: Money::new(found.payable, &currency),
        earnings: Money::new(found.earnings, &currency),
        held: Some(Money::new(found.held, &currency)),
    };
    Reply::json(OK, &check)
}

const fn state(bill: &Bill) -> &'static str {
    if bill.sent { "sent" } else { "new" }
}

fn shown(model: &Model, bill: &Bill) -> Shown {
    let money = |amount| Money::new(amount, &model.currency);
    let lines = bill.lines.iter().map(|l| ShownLine {
        service: l.service_name.clone(),
        service_id: l.service,
        site: site::name_of(model, l.site),
        usage_rows: l.rows,
        running_micros: l.running.0,
        core_hours_micros: l.core_hours_micros,
        gib_hours_micros: l.gib_hours_micros,
        gpu_hours_micros: l.gpu_hours_micros,
        core_hour: money(with_margin(l.rates.core_hour, l.price.margin_percent)),
        gib_hour: money(with_margin(l.rates.gib_hour, l.price.margin_percent)),
        gpu_hour: Some(money(with_margin(l.rates.gpu_hour, l.price.margin_percent))),
        management_hour: money(l.price.management_hour),
        amount: money(l.amount),
    });
    Shown {
        id: bill.id,
        customer: party::name_of(model, bill.customer),
        month: bill.month.clone(),
        state: state(bill).to_owned(),
        made_at: Time(bill.made_at),
        currency: model.currency.clone(),
        total: money(bill.total()),
        lines: lines.collect(),
    }
}

/// A site's rate as the customer pays it: for show, rounded; the amount is the sum of the rows.
fn with_margin(rate: chandler_protocol::MicroMoney, percent: u32) -> chandler_protocol::MicroMoney {
    let price = i128::from(rate.0) * (100 + i128::from(percent)) / 100;
    chandler_protocol::MicroMoney(i64::try_from(price).unwrap_or(i64::MAX))
}
