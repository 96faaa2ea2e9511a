//! Demands that were cleared, with the record of each, cleared again from what it keeps.

use std::fmt;
use std::str::FromStr;

use axum::extract::{Path, State};
use axum::http::Uri;
use chandler_api::market::{
    Award as ShownAward, DemandLine, DemandRecord, DemandWish, Lot, Named, RankedLot, RefusedLot,
};
use chandler_api::page::{Page, PageQuery};
use chandler_api::value::{Money, Time};
use chandler_engine::market::clearing::{Award, Candidate, Clearing, Refused, replay};
use chandler_engine::market::demand::Demand;
use chandler_engine::market::lot::LotOffer;
use chandler_engine::model::Model;
use chandler_protocol::{AssignmentId, MicroMoney, Timestamp};

use super::body::query;
use super::error::not_found;
use super::page::Wanted;
use super::reply::{Answer, OK, Reply};
use super::{host, page, party, shown_rule, site};
use crate::api::Api;
use crate::api::access::Caller;

#[utoipa::path(get, path = "/api/v1/market/demands", tag = "market", params(PageQuery),
    description = "Newest first. A demand that nothing fitted stands there once for each time that it was cleared.",
    responses((status = 200, body = Page<DemandLine>)))]
pub(in crate::api) async fn list(State(api): Api, uri: Uri) -> Answer {
    let asked: PageQuery = query(&uri)?;
    // One more than wanted tells whether there is another page.
    let most = page::limit(asked.limit)?.saturating_add(1);
    let wanted = Wanted::new("demands", &asked)?;
    let before = wanted.after::<Turn>()?.map(|turn| (turn.0, turn.1));
    let records = api.writer.store().clearings(before, most).await.map_err(crate::api::error::Failure::from)?;
    let model = api.writer.snapshot();
    Reply::json(OK, &wanted.take(records.iter(), |c| Turn::of(c).to_string(), |c| line(&model, c)))
}

#[utoipa::path(get, path = "/api/v1/market/demands/{id}", tag = "market",
    description = "The record of its last clearing. Owners of sites see those in which a machine of theirs took part.",
    params(("id" = String, Path, description = "id")), responses((status = 200, body = DemandRecord)))]
pub(in crate::api) async fn show(State(api): Api, caller: Caller, Path(id): Path<String>) -> Answer {
    let unknown = || not_found("demand", &id);
    let key: AssignmentId = id.parse().map_err(|_| unknown())?;
    let record = api.writer.store().clearing(key).await.map_err(crate::api::error::Failure::from)?;
    let record = record.filter(|c| took_part(caller, c)).ok_or_else(unknown)?;
    Reply::json(OK, &whole(&api.writer.snapshot(), &record))
}

/// Whether a machine of the caller was among the lots.
fn took_part(caller: Caller, record: &Clearing) -> bool {
    let fits = record.ranked.iter().chain(&record.runner_up).map(|c| c.lot.owner);
    let mut owners = fits.chain(record.refused.iter().map(|r| r.lot.owner));
    caller.is_operator() || owners.any(|owner| caller.is(owner))
}

/// The place of a record in the list.
#[derive(Debug, Clone, Copy)]
struct Turn(Timestamp, AssignmentId);

impl Turn {
    const fn of(record: &Clearing) -> Self {
        Self(record.call.at, record.demand.id)
    }
}

impl fmt::Display for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0.0, self.1)
    }
}

impl FromStr for Turn {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let (at, id) = text.split_once(' ').ok_or(())?;
        Ok(Self(Timestamp(at.parse().map_err(|_| ())?), id.parse().map_err(|_| ())?))
    }
}

fn line(model: &Model, record: &Clearing) -> DemandLine {
    DemandLine {
        id: record.demand.id,
        at: Time(record.call.at),
        buyer: party::name_of(model, record.demand.buyer),
        wanted: host::capacity(record.demand.wanted),
        cap: money(model, record.demand.cap),
        fit: record.fit,
        winner: record.winner.as_ref().map(|w| award(model, w)),
    }
}

fn whole(model: &Model, record: &Clearing) -> DemandRecord {
    let difference = replay(record).err().map(|d| d.to_string());
    let ranked = record.ranked.iter().zip(1..);
    let rank_of = |c: &Candidate| record.ranked.iter().zip(1..).find(|(r, _)| *r == c).map_or(0, |(_, rank)| rank);
    DemandRecord {
        demand: wish(model, &record.demand),
        demand_digest: record.demand_digest,
        named: record.named,
        rule: shown_rule(record.call.rule),
        rules: record.version,
        seed: record.call.seed,
        at: Time(record.call.at),
        previous: record.call.previous,
        hash: record.hash,
        lots_digest: record.lots_digest,
        lots: record.lots,
        fit: record.fit,
        ranked: ranked.map(|(c, rank)| candidate(model, c, rank)).collect(),
        refused: record.refused.iter().map(|r| refused(model, r)).collect(),
        refusals: record.refusals.clone(),
        winner: record.winner.as_ref().map(|w| award(model, w)),
        runner_up: record.runner_up.as_ref().map(|c| candidate(model, c, rank_of(c))),
        explain: record.explain(),
        replays: difference.is_none(),
        difference,
        whole: record.is_whole(),
    }
}

fn money(model: &Model, amount: MicroMoney) -> Money {
    Money::new(amount, &model.currency)
}

fn wish(model: &Model, demand: &Demand) -> DemandWish {
    let named = demand.candidates.iter().map(|c| Named { host_id: c.host, extra: money(model, c.extra) });
    DemandWish {
        id: demand.id,
        buyer: party::name_of(model, demand.buyer),
        buyer_id: demand.buyer,
        wanted: host::capacity(demand.wanted),
        cap: money(model, demand.cap),
        candidates: named.collect(),
        countries: demand.countries.clone(),
        availability_min_ppm: demand.availability_min,
        not_owners: demand.not_owners.clone(),
        same: demand.same.clone(),
    }
}

fn award(model: &Model, award: &Award) -> ShownAward {
    ShownAward {
        host: model.host_name(award.host),
        host_id: award.host,
        offer: award.offer,
        version: award.version,
        owner: party::name_of(model, award.owner),
        owner_id: award.owner,
        rates: site::shown_rates(model, award.rates),
        posted: money(model, award.posted),
        paid: money(model, award.paid),
    }
}

fn candidate(model: &Model, c: &Candidate, rank: u64) -> RankedLot {
    RankedLot {
        rank,
        lot: lot(model, &c.lot),
        rate: money(model, c.rate),
        extra: money(model, c.extra),
        score: money(model, c.score),
        tie: c.tie,
    }
}

fn refused(model: &Model, r: &Refused) -> RefusedLot {
    RefusedLot { lot: lot(model, &r.lot), rule: r.reason.as_str().to_owned(), reason: r.reason.to_string() }
}

fn lot(model: &Model, lot: &LotOffer) -> Lot {
    Lot {
        host: model.host_name(lot.host),
        host_id: lot.host,
        offer: lot.offer,
        version: lot.version,
        owner: party::name_of(model, lot.owner),
        owner_id: lot.owner,
        rates: site::shown_rates(model, lot.rates),
        free: host::capacity(lot.free),
        country: lot.country.clone(),
        availability_ppm: lot.availability,
        risk: money(model, lot.risk),
        closed: lot.closed.clone(),
        salt: lot.salt,
        commitment: lot.commitment,
    }
}
