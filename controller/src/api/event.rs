//! Events: every change of state. Whoever is no operator sees those about own things.

pub(super) mod stream;

use std::collections::BTreeSet;

use axum::extract::State;
use axum::http::Uri;
use chandler_api::event::{Event as Shown, EventQuery};
use chandler_api::page::Page;
use chandler_api::value::Time;
use chandler_engine::event::Event;
use chandler_engine::identity::Role;
use chandler_engine::model::Model;

use super::access::Caller;
use super::body::query;
use super::error::Failure;
use super::page::limit;
use super::reply::{Answer, OK, Reply};
use super::{Api, Shared};
use crate::store::EventFilter;

/// Events read from the store at a time.
const BATCH: u32 = 500;
/// Most events that one answer looks at. Where it stops, the next answer begins.
const SCANNED_MAX: u32 = 50_000;

#[utoipa::path(get, path = "/api/v1/events", tag = "events", params(EventQuery),
    description = "Oldest first. Where there is more, nextPageToken is the number to give as `after`.",
    responses((status = 200, body = Page<Shown>)))]
pub(super) async fn list(State(api): Api, caller: Caller, uri: Uri) -> Answer {
    let asked: EventQuery = query(&uri)?;
    let wanted = limit(asked.limit)? as usize;
    let visible = Visible::of(&api.writer.snapshot(), caller);
    let mut filter = EventFilter { after: asked.after, limit: BATCH, subject: asked.subject };
    let mut page = Page { items: Vec::new(), next_page_token: None };
    for _ in 0..SCANNED_MAX / BATCH {
        let batch = api.writer.store().events(&filter).await?;
        let is_last = batch.len() < BATCH as usize;
        for event in batch {
            if page.items.len() == wanted {
                page.next_page_token = Some(filter.after.to_string());
                return Reply::json(OK, &page);
            }
            filter.after = event.id;
            if visible.has(&event) {
                page.items.push(shown(&event));
            }
        }
        if is_last {
            return Reply::json(OK, &page);
        }
    }
    page.next_page_token = Some(filter.after.to_string());
    Reply::json(OK, &page)
}

/// What a caller may see events about.
#[derive(Debug)]
pub(super) enum Visible {
    /// Everything.
    All,
    /// These things.
    Only(BTreeSet<String>),
}

impl Visible {
    /// What this caller may see as of this model.
    pub(super) fn of(model: &Model, caller: Caller) -> Self {
        let Some(own) = caller.party.filter(|_| !caller.is_operator()) else {
            return if caller.is_operator() { Self::All } else { Self::Only(BTreeSet::new()) };
        };
        let mut ids = BTreeSet::from([own.to_string()]);
        ids.extend(model.sites.values().filter(|s| s.owner == own).map(|s| s.id.to_string()));
        ids.extend(model.hosts.values().filter(|h| caller.owns_host(model, h.id)).map(|h| h.id.to_string()));
        ids.extend(model.offers.values().filter(|p| p.offer.owner == own).map(|p| p.offer.id.to_string()));
        if caller.role == Role::Customer {
            ids.extend(model.orders.values().filter(|o| o.customer == own).map(|o| o.id.to_string()));
            ids.extend(model.agreements.values().filter(|a| a.customer == own).map(|a| a.id.to_string()));
            ids.extend(model.moves.values().filter(|m| m.customer == own).map(|m| m.id.to_string()));
            ids.extend(model.bills.values().filter(|b| b.customer == own).map(|b| b.id.to_string()));
            for service in model.services.values().filter(|s| s.customer == own) {
                ids.insert(service.id.to_string());
                ids.extend(model.assignments_of(service.id).map(|a| a.id.to_string()));
            }
            let is_own = |id| model.services.get(&id).is_some_and(|s| s.customer == own);
            let closed = model.closed_assignments.values().filter(|a| is_own(a.service));
            ids.extend(closed.map(|a| a.id.to_string()));
        }
        Self::Only(ids)
    }

    /// Whether this event is among it.
    pub(super) fn has(&self, event: &Event) -> bool {
        match self {
            Self::All => true,
            Self::Only(ids) => ids.contains(&event.subject),
        }
    }
}

/// Events behind `after`, at most [`BATCH`].
async fn batch(api: &Shared, after: u64) -> Result<Vec<Event>, Failure> {
    let filter = EventFilter { after, limit: BATCH, subject: None };
    Ok(api.writer.store().events(&filter).await?)
}

/// An event as the API shows it.
pub(super) fn shown(event: &Event) -> Shown {
    Shown {
        id: event.id,
        at: Time(event.at),
        by: event.by.clone(),
        noun: event.noun.as_str().to_owned(),
        subject: event.subject.clone(),
        name: event.name.clone(),
        from: event.from.clone(),
        to: event.to.clone(),
        reason: event.reason.clone(),
    }
}
