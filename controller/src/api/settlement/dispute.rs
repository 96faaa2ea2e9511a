//! Disputes: what this controller and a partner see differently, and how that is decided.

use axum::extract::{Path, Request, State};
use axum::http::Uri;
use chandler_api::page::{Page, PageQuery};
use chandler_api::problem::{DISPUTE_FULL, DISPUTE_OVER, Problem};
use chandler_api::settlement::{
    ChainSide, Decision as ShownDecision, Dispute as Shown, DisputeDecide, DisputeQuery, DisputeSay,
    Evidence as ShownEvidence,
};
use chandler_api::value::{Money, Time};
use chandler_engine::draft::Draft;
use chandler_engine::federation;
use chandler_engine::finance::dispute::{Dispute, DisputeError, DisputeId, DisputeState, UNTOUCHED};
use chandler_engine::model::Model;
use chandler_protocol::text::{NAME_MAX, TEXT_MAX, clean};

use crate::api::access::Caller;
use crate::api::body::{DOCUMENT_MAX, query};
use crate::api::error::{Failure, Fields, malformed, not_found};
use crate::api::idempotency::{Begun, Post, begin};
use crate::api::page::Wanted;
use crate::api::reply::{Answer, OK, Reply};
use crate::api::{Api, Shared, partner, party};
use crate::store::Settled;

/// States that can be asked for.
const STATES: [DisputeState; 4] =
    [DisputeState::Open, DisputeState::Evidence, DisputeState::Decided, DisputeState::Closed];

#[utoipa::path(get, path = "/api/v1/disputes", tag = "settlement", params(DisputeQuery),
    responses((status = 200, body = Page<Shown>)))]
pub(in crate::api) async fn list(State(api): Api, uri: Uri) -> Answer {
    let asked: DisputeQuery = query(&uri)?;
    let wanted = Wanted::new("disputes", &PageQuery { limit: asked.limit, page_token: asked.page_token })?;
    let after = wanted.after::<DisputeId>()?;
    let state = asked.state.as_deref().map(state).transpose()?;
    let model = api.writer.snapshot();
    let with = asked.partner.as_deref().map(|p| partner::find(&model, p).map(|p| p.party)).transpose()?;
    let disputes = model.disputes.values().filter(|d| {
        after.is_none_or(|a| d.id > a)
            && state.is_none_or(|s| s == d.state)
            && with.is_none_or(|partner| partner == d.id.partner)
    });
    // What was settled long ago is read from the store; one more than a page holds tells that there is another.
    let limit = u32::try_from(wanted.limit()).unwrap_or(u32::MAX).saturating_add(1);
    let old = with.map_or(Settled { after, ..Settled::all(limit) }, |partner| Settled::with(partner, after, limit));
    let is_asked = state.is_none_or(|s| s == DisputeState::Closed);
    let settled = if is_asked { api.writer.store().settled_disputes(&old).await? } else { Vec::new() };
    let mut all: Vec<&Dispute> = disputes.map(AsRef::as_ref).take(limit as usize).chain(&settled).collect();
    all.sort_by_key(|d| d.id);
    // Put aside between the two looks.
    all.dedup_by_key(|d| d.id);
    Reply::json(OK, &wanted.take(all.into_iter(), |d| d.id.to_string(), |d| shown(&model, d)))
}

fn state(text: &str) -> Result<DisputeState, Failure> {
    STATES.into_iter().find(|s| s.as_str() == text).ok_or_else(|| {
        let text = clean(text, NAME_MAX);
        malformed(format!("state is {text:?}: write open, evidence, decided or closed"))
    })
}

#[utoipa::path(get, path = "/api/v1/disputes/{id}", tag = "settlement",
    params(("id" = String, Path, description = "id")), responses((status = 200, body = Shown)))]
pub(in crate::api) async fn show(State(api): Api, Path(id): Path<String>) -> Answer {
    let model = api.writer.snapshot();
    let parsed: DisputeId = id.parse().map_err(|_| not_found("dispute", &id))?;
    if let Some(known) = model.disputes.get(&parsed) {
        return Reply::json(OK, &shown(&model, known));
    }
    let before = DisputeId { receipt: parsed.receipt.saturating_sub(1), ..parsed };
    let one = Settled { after: Some(before), to: Some(parsed), ..Settled::all(1) };
    let settled = api.writer.store().settled_disputes(&one).await?;
    Reply::json(OK, &shown(&model, settled.first().ok_or_else(|| not_found("dispute", &id))?))
}

#[utoipa::path(post, path = "/api/v1/disputes/{id}/say", tag = "settlement", request_body = DisputeSay,
    description = "The partner sees it. The timer begins anew.",
    params(("id" = String, Path, description = "id")), responses((status = 200, body = Shown)))]
pub(in crate::api) async fn say(State(api): Api, caller: Caller, Path(id): Path<String>, request: Request) -> Answer {
    let post = match opened(&api, caller, request).await? {
        Begun::Before(reply) => return Ok(reply),
        Begun::New(post) => post,
    };
    let wanted: DisputeSay = post.parse()?;
    let text = clean(wanted.text.trim(), TEXT_MAX);
    let mut fields = Fields::default();
    fields.check(!text.is_empty(), "text", "say something");
    fields.finish()?;
    done(&api, post, &id, move |draft, id| federation::say(draft, id, &text)).await
}

#[utoipa::path(post, path = "/api/v1/disputes/{id}/decide", tag = "settlement", request_body = DisputeDecide,
    description = "What only costs this side is decided. Anything else is a proposal, decided once both prices meet: \
                   where this side bought, with the seller's next word.",
    params(("id" = String, Path, description = "id")), responses((status = 200, body = Shown)))]
pub(in crate::api) async fn decide(
    State(api): Api,
    caller: Caller,
    Path(id): Path<String>,
    request: Request,
) -> Answer {
    let post = match opened(&api, caller, request).await? {
        Begun::Before(reply) => return Ok(reply),
        Begun::New(post) => post,
    };
    let wanted: DisputeDecide = post.parse()?;
    let currency = api.writer.snapshot().currency.clone();
    let mut fields = Fields::default();
    let is_ours = wanted.to_seller.currency == currency;
    fields.check(is_ours, "toSeller.currency", format!("amounts here are in {currency}"));
    fields.finish()?;
    let amount = wanted.to_seller.amount();
    done(&api, post, &id, move |draft, id| federation::propose(draft, id, amount)).await
}

async fn opened(api: &Shared, caller: Caller, request: Request) -> Result<Begun, Failure> {
    let (parts, body) = request.into_parts();
    begin(api, caller, &parts, body, DOCUMENT_MAX).await
}

async fn done(
    api: &Shared,
    post: Post,
    id: &str,
    work: impl FnOnce(&mut Draft<'_>, DisputeId) -> Result<Option<Dispute>, DisputeError> + Send + 'static,
) -> Answer {
    let text = id.to_owned();
    let id: DisputeId = id.parse().map_err(|_| not_found("dispute", id))?;
    post.commit(api, move |draft| {
        let dispute = work(draft, id).map_err(refused)?.ok_or_else(|| not_found("dispute", &text))?;
        Reply::json(OK, &shown(&draft.model, &dispute))
    })
    .await
}

fn refused(error: DisputeError) -> Failure {
    match error {
        DisputeError::State { .. } => Problem::new(DISPUTE_OVER, error.to_string()).into(),
        DisputeError::EvidenceFull => Problem::new(DISPUTE_FULL, error.to_string()).into(),
        DisputeError::Share(_) | DisputeError::Back(_) => Problem::field("toSeller", error.to_string()).into(),
    }
}

fn shown(model: &Model, dispute: &Dispute) -> Shown {
    let money = |amount| Money::new(amount, &model.currency);
    let evidence = dispute.evidence.iter().map(|e| ShownEvidence {
        by: e.by.clone(),
        theirs: e.theirs,
        at: Time(e.at),
        text: e.text.clone(),
    });
    let is_closed = dispute.state == DisputeState::Closed;
    Shown {
        id: dispute.id.to_string(),
        partner: party::name_of(model, dispute.id.partner),
        side: if dispute.id.ours { ChainSide::Sold } else { ChainSide::Bought },
        receipt: dispute.id.receipt,
        lease: dispute.lease,
        state: dispute.state.as_str().to_owned(),
        reason: dispute.reason.as_str().to_owned(),
        text: dispute.reason.sentence().to_owned(),
        contested: money(dispute.hold.contested),
        offered: money(dispute.offered()),
        asked: money(dispute.asked()),
        opened_at: Time(dispute.opened_at),
        touched_at: Time(dispute.touched_at),
        due_at: (!is_closed).then(|| Time(dispute.touched_at.after(UNTOUCHED))),
        evidence: evidence.collect(),
        decided: dispute.decided.as_ref().map(|d| ShownDecision {
            to_seller: money(d.to_seller),
            by: d.by.clone(),
            at: Time(d.at),
        }),
    }
}
