//! Leases: capacity that was sold to or bought from partners.

use axum::extract::State;
use axum::http::Uri;
use chandler_api::market::{ClosedBy, Lease as Shown, LeaseClosed, LeaseQuery, LeaseSide, LeaseState as ShownState};
use chandler_api::page::{Page, PageQuery};
use chandler_api::value::{Span, Time};
use chandler_engine::federation::{Lease, LeaseState, Party, Side};
use chandler_engine::model::Model;
use chandler_protocol::text::{NAME_MAX, clean};
use chandler_protocol::{AssignmentId, PartyId};

use super::body::query;
use super::error::{Failure, malformed, not_found};
use super::page::Wanted;
use super::reply::{Answer, OK, Reply};
use super::{host, party, site};
use crate::api::Api;
use crate::api::access::Caller;

/// States that can be asked for.
const STATES: [LeaseState; 4] = [LeaseState::Reserved, LeaseState::Active, LeaseState::Reclaiming, LeaseState::Closed];

#[utoipa::path(get, path = "/api/v1/market/leases", tag = "market", params(LeaseQuery),
    description = "Owners of sites see what was sold of their machines.",
    responses((status = 200, body = Page<Shown>)))]
pub(in crate::api) async fn list(State(api): Api, caller: Caller, uri: Uri) -> Answer {
    let asked: LeaseQuery = query(&uri)?;
    let wanted = Wanted::new("leases", &PageQuery { limit: asked.limit, page_token: asked.page_token })?;
    let after = wanted.after::<AssignmentId>()?;
    let wish = asked.state.as_deref().map(Wish::parse).transpose()?;
    let model = api.writer.snapshot();
    let partner = asked.partner.as_deref().map(|p| partner(&model, p)).transpose()?;
    let leases = model.leases.values().filter(|l| {
        after.is_none_or(|a| l.id > a)
            && is_visible(&model, caller, l)
            && asked.side.is_none_or(|s| s == shown_side(l.side))
            && wish.is_none_or(|w| w.means(l))
            && partner.is_none_or(|p| p == l.partner)
    });
    Reply::json(OK, &wanted.take(leases, |l| l.id.to_string(), |l| shown(&model, l)))
}

/// Which leases are wanted, by how they are.
#[derive(Debug, Clone, Copy)]
enum Wish {
    Open,
    In(LeaseState),
}

impl Wish {
    fn parse(text: &str) -> Result<Self, Failure> {
        if text == "open" {
            return Ok(Self::Open);
        }
        STATES.into_iter().find(|s| s.as_str() == text).map(Self::In).ok_or_else(|| {
            let text = clean(text, NAME_MAX);
            malformed(format!("state is {text:?}: write open, reserved, active, reclaiming or closed"))
        })
    }

    fn means(self, lease: &Lease) -> bool {
        match self {
            Self::Open => lease.is_open(),
            Self::In(state) => lease.state == state,
        }
    }
}

fn partner(model: &Model, reference: &str) -> Result<PartyId, Failure> {
    let found = match reference.parse::<PartyId>() {
        Ok(id) => model.partners.get(&id),
        Err(_) => model.partners.values().find(|p| p.name == reference),
    };
    found.map(|p| p.party).ok_or_else(|| not_found("partner", reference))
}

/// Whether it is about a machine of the caller.
fn is_visible(model: &Model, caller: Caller, lease: &Lease) -> bool {
    let is_own = |lease: &Lease| model.sites.get(&lease.site).is_some_and(|s| caller.owns(s));
    caller.is_operator() || (lease.side == Side::Sold && is_own(lease))
}

const fn shown_side(side: Side) -> LeaseSide {
    match side {
        Side::Sold => LeaseSide::Sold,
        Side::Bought => LeaseSide::Bought,
    }
}

const fn shown_state(state: LeaseState) -> ShownState {
    match state {
        LeaseState::Reserved => ShownState::Reserved,
        LeaseState::Active => ShownState::Active,
        LeaseState::Reclaiming => ShownState::Reclaiming,
        LeaseState::Closed => ShownState::Closed,
    }
}

const fn shown_by(by: Party) -> ClosedBy {
    match by {
        Party::Buyer => ClosedBy::Buyer,
        Party::Seller => ClosedBy::Seller,
        Party::Owner => ClosedBy::Owner,
        Party::Time => ClosedBy::Time,
    }
}

fn shown(model: &Model, lease: &Lease) -> Shown {
    let ended = |c: &chandler_engine::federation::Closed| LeaseClosed {
        at: Time(c.at),
        by: shown_by(c.by),
        reason: c.reason.clone(),
    };
    Shown {
        id: lease.id,
        side: shown_side(lease.side),
        partner: party::name_of(model, lease.partner),
        host: model.host_name(lease.host),
        host_id: lease.host,
        site: site::name_of(model, lease.site),
        label: lease.label.clone(),
        service: lease.service,
        capacity: host::capacity(lease.capacity),
        rates: site::shown_rates(model, lease.rates),
        state: shown_state(lease.state),
        since: Time(lease.since),
        made_at: Time(lease.made_at),
        ends_at: lease.ends_at.map(Time),
        reason: lease.reason.clone(),
        closed: lease.closed.as_ref().map(ended),
        metered: Span(lease.metered),
    }
}
