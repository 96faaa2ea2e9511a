//! What both sides of a lease hold on to of the terms that it was made under, and a higher rate that was announced.
//!
//! The rates of a lease are pinned. A seller that asks for more says so, and the new rates hold for a stretch of use that
//! begins after the agreed notice: until then the buyer can go elsewhere at the old ones. A lower rate is for new leases.

use chandler_protocol::{Micros, Ppm, Timestamp};
use serde::{Deserialize, Serialize};

use super::catalogue::offer_of;
use super::lease::{Lease, Side};
use super::watch::Watch;
use super::word::{LeaseWord, NextRates};
use crate::draft::Draft;
use crate::event::Noun;
use crate::market::clearing::Hourly;
use crate::market::offer::{Offer, RATE_MAX};
use crate::site::Rates;

/// How much two clocks, and a word on its way, may differ.
const CLOCKS_DIFFER: Micros = Micros::from_secs(60);
/// The longest notice that is believed.
const NOTICE_MAX: Micros = Micros::from_secs(31 * 86_400);

/// Terms of a lease, as one side keeps them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Term {
    /// How long before a higher rate counts. An offer that says something else later does not change it.
    pub price_notice: Micros,
    /// How long before the machine is taken back the buyer is told.
    pub notice: Micros,
    /// Promised share of the time.
    pub promised: Ppm,
    /// Since when what it delivered stands in no reputation yet; `None`: it is not counted.
    pub since: Option<Timestamp>,
    /// Of [`Side::Sold`]: how long its host had been away in all by then.
    pub away: Micros,
    /// Higher rates that were announced.
    pub next: Option<Raise>,
}

/// Higher rates from a moment on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Raise {
    /// What is paid then.
    pub rates: Rates,
    /// From when on: for use that begins then or later.
    pub at: Timestamp,
}

impl Term {
    /// The terms of a new sold lease.
    pub(super) const fn of_offer(offer: &Offer) -> Self {
        Self {
            price_notice: offer.price_notice,
            notice: offer.reclaim_notice,
            promised: offer.availability,
            since: None,
            away: Micros::ZERO,
            next: None,
        }
    }

    /// The rates for use that began at a moment, of a lease at these rates.
    pub(super) fn rates(&self, now: Rates, began: Timestamp) -> Rates {
        self.next.filter(|next| began >= next.at).map_or(now, |next| next.rates)
    }
}

impl Lease {
    /// What is paid once what was announced holds.
    pub fn rates_to_come(&self) -> Rates {
        self.watch.term.next.map_or(self.rates, |next| next.rates)
    }

    /// The lease at the rates of use that began at a moment.
    #[must_use]
    pub(super) fn at_rates_of(&self, began: Timestamp) -> Self {
        let rates = self.watch.term.rates(self.rates, began);
        if rates == self.rates {
            return self.clone();
        }
        let term = Term { next: None, ..self.watch.term.clone() };
        Self { rates, watch: Watch { term, ..self.watch.clone() }, ..self.clone() }
    }

    fn with_next(&self, next: Option<Raise>) -> Self {
        let term = Term { next, ..self.watch.term.clone() };
        Self { watch: Watch { term, ..self.watch.clone() }, ..self.clone() }
    }

    /// What is announced, for its buyer.
    pub fn announced(&self, now: Timestamp) -> Option<NextRates> {
        let next = self.watch.term.next?;
        Some(NextRates { rates: next.rates, starts_in: next.at.since(now) })
    }
}

/// Whether `to` comes to more than `from` for what is leased.
pub(super) fn is_raise(lease: &Lease, from: Rates, to: Rates) -> bool {
    let hour = Hourly::new(lease.capacity);
    hour.cost(to) > hour.cost(from)
}

/// The seller's side: announces what its offer asks for more than a lease pays, and takes that back with the offer.
pub(super) fn announce(draft: &mut Draft<'_>, lease: &Lease) {
    let Some((_, posted)) = offer_of(&draft.model, lease.host) else { return };
    let asked = posted.offer.asked;
    let due = is_raise(lease, lease.rates, asked);
    let next = match lease.watch.term.next {
        Some(next) if due && next.rates == asked => return,
        // What begins to hold cannot be taken back.
        Some(next) if next.at <= draft.now => return,
        // Asking for less than was announced keeps the moment; more begins anew.
        Some(next) if due && !is_raise(lease, next.rates, asked) => Some(Raise { rates: asked, at: next.at }),
        _ if due => Some(Raise { rates: asked, at: draft.now.after(lease.watch.term.price_notice) }),
        None => return,
        Some(_) => None,
    };
    put(draft, lease, next);
}

/// The buyer's side: takes in what is announced. The agreed notice counts from when it is heard.
pub(super) fn hear(draft: &mut Draft<'_>, lease: &Lease, word: &LeaseWord) {
    let known = lease.watch.term.next;
    let said = word.next.filter(|n| is_possible(n.rates) && is_raise(lease, lease.rates, n.rates));
    let next = match (said, known) {
        (Some(n), Some(known)) if n.rates == known.rates => return,
        // Said no more because it holds: the first receipt will tell.
        (None, Some(known)) if draft.now.after(CLOCKS_DIFFER) >= known.at => return,
        (None, None) => return,
        (None, Some(_)) => None,
        (Some(n), known) => {
            let agreed = lease.watch.term.price_notice;
            // Less than was announced may hold as soon as that would have.
            let falls = known.filter(|k| !is_raise(lease, k.rates, n.rates)).map(|k| k.at);
            let left = n.starts_in.0.clamp(0, NOTICE_MAX.0).max(agreed.0.saturating_sub(CLOCKS_DIFFER.0));
            Some(Raise { rates: n.rates, at: falls.unwrap_or_else(|| draft.now.after(Micros(left))) })
        }
    };
    put(draft, lease, next);
}

/// A rate that an offer may ask for.
fn is_possible(rates: Rates) -> bool {
    rates.out_of_range(RATE_MAX).is_none()
}

fn put(draft: &mut Draft<'_>, lease: &Lease, next: Option<Raise>) {
    let text = match next {
        Some(n) => format!("in {} {} are paid, instead of {}", n.at.since(draft.now), n.rates, lease.rates),
        None => "its rates stay after all".to_owned(),
    };
    let state = lease.state.as_str();
    draft.event((Noun::Lease, lease.id.to_string(), &lease.label), state, state, text);
    draft.put(lease.with_next(next));
}

/// The buyer's side: a lease at the rates of use that began at a moment, by another's clock.
pub(super) fn accepted(lease: &Lease, claimed: Rates, began: Timestamp) -> Option<Lease> {
    let next = lease.watch.term.next.filter(|next| lease.side == Side::Bought && next.rates == claimed)?;
    let is_time = began.after(CLOCKS_DIFFER) >= next.at;
    is_time.then(|| lease.at_rates_of(next.at))
}
