//! A month with a partner: what both owe each other, in one sum, and that it was paid.

use std::collections::BTreeMap;

use axum::extract::{Path, Request, State};
use chandler_api::problem::{NOT_MATCHED, Problem};
use chandler_api::settlement::{Direction as ShownDirection, Settlement as Shown};
use chandler_api::value::{Money, Time};
use chandler_engine::event::Noun;
use chandler_engine::federation::Side;
use chandler_engine::finance::dispute::{Dispute, DisputeId};
use chandler_engine::finance::month_range;
use chandler_engine::finance::netting::{Countersigned, Direction, Settlement, SettlementState, net};
use chandler_engine::finance::receipt::Receipt;
use chandler_engine::model::Model;
use chandler_protocol::{PartyId, Timestamp};

use crate::api::access::Caller;
use crate::api::error::{Failure, not_found};
use crate::api::idempotency::{Begun, begin_bodiless};
use crate::api::reply::{Answer, OK, Reply};
use crate::api::{Api, Shared, partner, party};
use crate::store::Settled;

#[utoipa::path(get, path = "/api/v1/partners/{reference}/settlements/{month}", tag = "settlement",
    params(("reference" = String, Path, description = "name or id"), ("month" = String, Path, description = "as 2026-11")),
    responses((status = 200, body = Shown)))]
pub(in crate::api) async fn show(State(api): Api, Path((reference, month)): Path<(String, String)>) -> Answer {
    let model = api.writer.snapshot();
    let party = partner::find(&model, &reference)?.party;
    let receipts = Receipts::read(&api, party, &month).await?;
    Reply::json(OK, &shown(&model, &receipts.net(&model, party, &month, api.writer.clock().now())))
}

#[utoipa::path(post, path = "/api/v1/partners/{reference}/settlements/{month}/settle", tag = "settlement",
    description = "Marks a past month as paid, once both sides have the same and nothing is held.",
    params(("reference" = String, Path, description = "name or id"), ("month" = String, Path, description = "as 2026-11")),
    responses((status = 200, body = Shown)))]
pub(in crate::api) async fn settle(
    State(api): Api,
    caller: Caller,
    Path((reference, month)): Path<(String, String)>,
    request: Request,
) -> Answer {
    let (parts, _) = request.into_parts();
    let post = match begin_bodiless(&api, caller, &parts).await? {
        Begun::Before(reply) => return Ok(reply),
        Begun::New(post) => post,
    };
    let party = partner::find(&api.writer.snapshot(), &reference)?.party;
    let receipts = Receipts::read(&api, party, &month).await?;
    post.commit(&api, move |draft| {
        let found = receipts.net(&draft.model, party, &month, draft.now);
        if found.state == SettlementState::Settled {
            return Reply::json(OK, &shown(&draft.model, &found));
        }
        let settled = found.settled(draft.now).ok_or_else(|| Problem::new(NOT_MATCHED, missing(&found)))?;
        let name = format!("{} {month}", party::name_of(&draft.model, party));
        let reason = format!("net {} {}", settled.net, draft.model.currency);
        draft.event((Noun::Partner, party.to_string(), &name), found.state.as_str(), settled.state.as_str(), reason);
        let answer = shown(&draft.model, &settled);
        draft.put(settled);
        Reply::json(OK, &answer)
    })
    .await
}

/// Why it is not matched.
fn missing(found: &Settlement) -> String {
    let waiting = found.sold.waiting + found.bought.waiting;
    let held = found.sold.held.0.saturating_add(found.bought.held.0);
    match found.state {
        SettlementState::Disputed => {
            format!("{} of {} are held: chandler dispute list", chandler_protocol::MicroMoney(held), found.month)
        }
        _ if waiting > 0 => format!("{waiting} receipts of {} are not countersigned yet", found.month),
        _ => format!("{} is not over yet", found.month),
    }
}

/// The receipts of a month in both directions.
struct Receipts {
    sold: Vec<Receipt>,
    bought: Vec<Receipt>,
    /// Their disputes that were settled long ago.
    settled: BTreeMap<DisputeId, Dispute>,
}

impl Receipts {
    async fn read(api: &Shared, partner: PartyId, month: &str) -> Result<Self, Failure> {
        let (from, to) = month_range(month).ok_or_else(|| not_found("month", month))?;
        let store = api.writer.store();
        let sold = store.receipts_within(partner, Side::Sold, from, to).await?;
        let bought = store.receipts_within(partner, Side::Bought, from, to).await?;
        let mut settled = Vec::new();
        for (ours, receipts) in [(true, &sold), (false, &bought)] {
            let (Some(first), Some(last)) = (receipts.first(), receipts.last()) else { continue };
            let of = |receipt| DisputeId { partner, ours, receipt };
            let (after, to) = (Some(of(first.number.saturating_sub(1))), Some(of(last.number)));
            settled.extend(store.settled_disputes(&Settled { after, to, ..Settled::all(u32::MAX) }).await?);
        }
        let settled = settled.into_iter().map(|d| (d.id, d)).collect();
        Ok(Self { sold, bought, settled })
    }

    /// What they come to; what was paid stays as it was.
    fn net(&self, model: &Model, partner: PartyId, month: &str, now: Timestamp) -> Settlement {
        if let Some(settled) = model.settlements.get(&(partner, month.to_owned())) {
            return settled.as_ref().clone();
        }
        let of = |side, receipts: &[Receipt]| -> Vec<Countersigned> {
            let signed = model.chains.get(&(partner, side)).map_or(0, |c| c.countersigned());
            receipts.iter().map(|r| self.countersigned(model, partner, side, signed, r)).collect()
        };
        net(partner, month, now, &of(Side::Sold, &self.sold), &of(Side::Bought, &self.bought))
    }

    fn countersigned(
        &self,
        model: &Model,
        partner: PartyId,
        side: Side,
        signed: u64,
        receipt: &Receipt,
    ) -> Countersigned {
        let id = DisputeId { partner, ours: side == Side::Sold, receipt: receipt.number };
        let dispute = model.disputes.get(&id).map(AsRef::as_ref).or_else(|| self.settled.get(&id));
        Countersigned {
            number: receipt.number,
            at: receipt.used.at,
            amount: receipt.used.amount,
            is_countersigned: receipt.number <= signed,
            contested: dispute.map(|d| d.hold.contested).unwrap_or_default(),
            decided: dispute.and_then(|d| d.decided.as_ref()).map(|d| d.to_seller),
        }
    }
}

fn shown(model: &Model, settlement: &Settlement) -> Shown {
    let money = |amount| Money::new(amount, &model.currency);
    let direction = |d: &Direction| ShownDirection {
        receipts: d.receipts,
        waiting: d.waiting,
        agreed: money(d.agreed),
        decided: money(d.decided),
        held: money(d.held),
        owed: money(d.owed()),
    };
    Shown {
        partner: party::name_of(model, settlement.partner),
        month: settlement.month.clone(),
        state: settlement.state.as_str().to_owned(),
        sold: direction(&settlement.sold),
        bought: direction(&settlement.bought),
        net: money(settlement.net),
        made_at: Time(settlement.made_at),
    }
}
