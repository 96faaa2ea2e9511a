//! Stock: whether there is anything left of an offer, and whether its time is over. Its state follows by itself.

#[cfg(test)]
mod cases;

use chandler_protocol::{OfferId, Timestamp};

use super::catalogue::{Posted, free};
use crate::draft::Draft;
use crate::event::Noun;
use crate::fleet::{Capacity, HostState};
use crate::market::offer::{Offer, OfferState};
use crate::model::Model;

/// Brings the state of every offer up to date: its time may be over, all of it sold, or something of it free again. Gives
/// when the time of the next one is over.
pub(super) fn sweep(draft: &mut Draft<'_>) -> Option<Timestamp> {
    let standing = draft.model.offers.values().filter(|p| !p.offer.state.is_final());
    let due: Vec<_> =
        standing.filter_map(|p| next(&draft.model, &p.offer, draft.now).map(|to| (p.offer.id, to))).collect();
    for (id, (state, reason)) in due {
        turn(draft, id, state, &reason);
    }
    draft.model.offers.values().filter(|p| !p.offer.state.is_final()).filter_map(|p| p.offer.until).min()
}

/// The state that an offer has come to, and why; `None` while it is as it is.
fn next(model: &Model, offer: &Offer, now: Timestamp) -> Option<(OfferState, String)> {
    if offer.until.is_some_and(|until| until <= now) {
        return Some((OfferState::Expired, "its time is over".to_owned()));
    }
    match (offer.state, is_sold_out(model, offer)) {
        (OfferState::Active, true) => Some((OfferState::Exhausted, "nothing is left of its machines".to_owned())),
        (OfferState::Exhausted, false) => Some((OfferState::Active, "something of it is free again".to_owned())),
        _ => None,
    }
}

/// Whether its machines give something, and nothing of that is left on any of them. A machine that gives nothing now, as
/// one that its owner uses, is closed and not sold.
fn is_sold_out(model: &Model, offer: &Offer) -> bool {
    let all = model.hosts_of(offer.site).filter(|h| h.state != HostState::Revoked);
    let mut giving = all.filter(|h| is_something(h.offered())).peekable();
    giving.peek().is_some() && giving.all(|h| !is_something(free(model, h, offer)))
}

/// Whether anything could run in it.
pub(super) const fn is_something(capacity: Capacity) -> bool {
    capacity.cpu.0 > 0 && capacity.memory.0 > 0
}

/// Only the state changes: the terms, their version and what was committed to are the same.
fn turn(draft: &mut Draft<'_>, id: OfferId, state: OfferState, reason: &str) {
    let Some(known) = draft.model.offers.get(&id).cloned() else { return };
    let before = known.offer.state;
    if !before.may_become(state) {
        return;
    }
    let site = draft.model.sites.get(&known.offer.site).map(|s| s.name.clone()).unwrap_or_default();
    draft.event((Noun::Offer, id.to_string(), &site), before.as_str(), state.as_str(), reason);
    // Why it is active needs no words: only the other states have something to say.
    let reason = if state == OfferState::Active { String::new() } else { reason.to_owned() };
    let offer = Offer { state, reason, ..known.offer.clone() };
    draft.put(Posted { offer, ..known.as_ref().clone() });
}
