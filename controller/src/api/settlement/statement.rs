//! Statements: what site owners and partners are owed for a month, from the same rows that bill the customers.

use std::collections::BTreeSet;

use axum::extract::State;
use axum::http::Uri;
use chandler_api::page::{Page, PageQuery};
use chandler_api::settlement::{
    Correction as ShownCorrection, Statement as Shown, StatementLine as ShownLine, StatementQuery,
};
use chandler_api::value::{Money, Time};
use chandler_engine::finance::statement::{Statement, statement};
use chandler_engine::finance::{month_of, month_range};
use chandler_engine::model::Model;
use chandler_protocol::PartyId;

use crate::api::access::Caller;
use crate::api::body::query;
use crate::api::error::{Failure, Fields, not_found};
use crate::api::page::Wanted;
use crate::api::reply::{Answer, OK, Reply};
use crate::api::{Api, party, site};
use crate::store::Settled;

#[utoipa::path(get, path = "/api/v1/statements", tag = "settlement", params(StatementQuery),
    description = "Made anew from the books with each call. Who earned nothing in the month is left out, unless asked for by \
                   name. Owners of sites see their own.",
    responses((status = 200, body = Page<Shown>)))]
pub(in crate::api) async fn list(State(api): Api, caller: Caller, uri: Uri) -> Answer {
    let asked: StatementQuery = query(&uri)?;
    let wanted = Wanted::new("statements", &PageQuery { limit: asked.limit, page_token: asked.page_token })?;
    let after = wanted.after::<PartyId>()?;
    let (model, now) = (api.writer.snapshot(), api.writer.clock().now());
    let month = asked.month.unwrap_or_else(|| month_of(now));
    let mut fields = Fields::default();
    let range = month_range(&month).filter(|(from, _)| *from <= now);
    fields.check(range.is_some(), "month", "write a month that has begun, such as 2026-11");
    fields.finish()?;
    let Some((from, to)) = range else { return Err(not_found("month", &month)) };
    let payees = payees(&model, caller, asked.payee.as_deref())?;
    let posted = Settled { posted: Some((from, to)), ..Settled::all(u32::MAX) };
    let settled = api.writer.store().settled_disputes(&posted).await.map_err(Failure::from)?;
    let mut found = Vec::new();
    for payee in payees.into_iter().filter(|p| after.is_none_or(|a| *p > a)) {
        let rows = api.writer.store().earned(payee, from, to).await.map_err(Failure::from)?;
        let disputes = model.disputes.values().map(AsRef::as_ref).chain(&settled);
        let made = statement(payee, &month, now, &rows, disputes);
        if asked.payee.is_some() || !made.lines.is_empty() || !made.corrections.is_empty() {
            found.push(made);
        }
        // One more than a page holds tells that there is another.
        if found.len() > wanted.limit() {
            break;
        }
    }
    Reply::json(OK, &wanted.take(found.iter(), |s| s.payee.to_string(), |s| shown(&model, s)))
}

/// Who may be owed something, as far as the caller may see it.
fn payees(model: &Model, caller: Caller, reference: Option<&str>) -> Result<BTreeSet<PartyId>, Failure> {
    let owners = model.by_owner.keys().copied().chain(model.partners.keys().copied());
    let visible: BTreeSet<PartyId> = owners.filter(|p| caller.is(*p)).collect();
    let Some(reference) = reference else { return Ok(visible) };
    let named = match reference.parse::<PartyId>() {
        Ok(id) => Some(id),
        Err(_) => model.party_named(reference).map(|p| p.id),
    };
    let found = named.filter(|id| visible.contains(id)).ok_or_else(|| not_found("payee", reference))?;
    Ok(BTreeSet::from([found]))
}

fn shown(model: &Model, statement: &Statement) -> Shown {
    let money = |amount| Money::new(amount, &model.currency);
    let lines = statement.lines.iter().map(|l| ShownLine {
        site: site::name_of(model, l.site),
        host: model.host_name(l.host),
        lease: l.lease,
        usage_rows: l.rows,
        running_micros: l.running.0,
        core_hours_micros: l.core_hours_micros,
        gib_hours_micros: l.gib_hours_micros,
        gpu_hours_micros: l.gpu_hours_micros,
        core_hour: money(l.rates.core_hour),
        gib_hour: money(l.rates.gib_hour),
        gpu_hour: Some(money(l.rates.gpu_hour)),
        amount: money(l.amount),
    });
    let corrections = statement.corrections.iter().map(|c| ShownCorrection {
        lease: c.lease,
        at: Time(c.at),
        amount: money(c.amount),
        text: c.text.clone(),
    });
    Shown {
        payee: party::name_of(model, statement.payee),
        payee_id: statement.payee,
        month: statement.month.clone(),
        state: if statement.sent { "sent" } else { "new" }.to_owned(),
        made_at: Time(statement.made_at),
        currency: model.currency.clone(),
        total: money(statement.total()),
        lines: lines.collect(),
        corrections: corrections.collect(),
    }
}
