//! Draws an offer up from what was asked for, or with changes, and holds it against the machines that it is of.

use chandler_api::market::{MachineShare, OfferChange, OfferPost, OfferState as ShownState};
use chandler_api::site::Rates as ShownRates;
use chandler_engine::availability::{History, estimate};
use chandler_engine::fleet::{Capacity, HostState};
use chandler_engine::hours::Hours;
use chandler_engine::market::offer::{Offer, OfferState, WINDOWS_MAX, check};
use chandler_engine::model::Model;
use chandler_engine::site::{Rates, Site};
use chandler_protocol::text::{TEXT_MAX, clean};
use chandler_protocol::{Bytes, MilliCpu, OfferId, SiteId, Timestamp};

use crate::api::error::{Failure, Fields};
use crate::api::site::amounts;

/// What a machine may be like that has not joined yet.
const UNKNOWN: Capacity = Capacity { cpu: MilliCpu(u32::MAX), memory: Bytes(u64::MAX), gpus: u32::MAX };

/// The first version of an offer.
pub(super) fn new(
    model: &Model,
    id: OfferId,
    site: &Site,
    wanted: &OfferPost,
    now: Timestamp,
) -> Result<Offer, Failure> {
    let mut fields = Fields::default();
    let expected = || estimate(&History::default(), site.role, now, now);
    let offer = Offer {
        id,
        site: site.id,
        owner: site.owner,
        state: OfferState::Active,
        asked: asked(&mut fields, &wanted.rates, Rates::default(), &model.currency),
        free: wanted.free,
        capacity: wanted.capacity.map(share),
        windows: windows(&mut fields, &wanted.windows),
        min_term: wanted.min_term.0,
        reclaim_notice: wanted.reclaim_notice.0,
        residency: wanted.residency.clone().unwrap_or_else(|| site.country.clone()),
        availability: wanted.availability.map_or_else(expected, |a| a.0),
        price_notice: wanted.price_notice.0,
        version: 1,
        posted_at: now,
        reason: String::new(),
        until: wanted.until.map(|t| t.0),
    };
    check_until(&mut fields, &offer, now);
    finish(fields, model, offer)
}

/// An offer with changes, its version as it was.
pub(super) fn changed(model: &Model, before: &Offer, wanted: &OfferChange, now: Timestamp) -> Result<Offer, Failure> {
    let mut fields = Fields::default();
    let mut after = before.clone();
    if let Some(rates) = &wanted.rates {
        after.asked = asked(&mut fields, rates, before.asked, &model.currency);
    }
    if let Some(all) = &wanted.windows {
        after.windows = windows(&mut fields, all);
    }
    if let Some(capacity) = wanted.capacity {
        after.capacity = capacity.map(share);
    }
    if let Some(residency) = &wanted.residency {
        after.residency.clone_from(residency);
    }
    if let Some(until) = wanted.until {
        after.until = until.map(|t| t.0);
        check_until(&mut fields, &after, now);
    }
    after.free = wanted.free.unwrap_or(before.free);
    after.availability = wanted.availability.map_or(before.availability, |a| a.0);
    after.min_term = wanted.min_term.map_or(before.min_term, |t| t.0);
    after.reclaim_notice = wanted.reclaim_notice.map_or(before.reclaim_notice, |t| t.0);
    after.price_notice = wanted.price_notice.map_or(before.price_notice, |t| t.0);
    match wanted.state {
        None => {}
        // It is on sale, and active again by itself once something is left of it.
        Some(ShownState::Active) if before.state == OfferState::Exhausted => {}
        Some(ShownState::Active) => after.state = OfferState::Active,
        Some(ShownState::Paused) => after.state = OfferState::Paused,
        Some(ShownState::Withdrawn) => after.state = OfferState::Withdrawn,
        Some(ShownState::Exhausted | ShownState::Expired) => {
            fields.wrong("state", "it becomes so by itself: write active, paused or withdrawn");
        }
    }
    if let Some(reason) = &wanted.reason {
        let is_short = reason.chars().count() <= TEXT_MAX;
        fields.check(is_short, "reason", format!("write at most {TEXT_MAX} characters"));
        after.reason = clean(reason.trim(), TEXT_MAX);
    } else if after.state != before.state {
        // What was said of the state before is not true of this one.
        after.reason.clear();
    }
    // What is taken back needs to fit nothing any more.
    if after.state == OfferState::Withdrawn {
        return fields.finish().map(|()| after);
    }
    finish(fields, model, after)
}

fn check_until(fields: &mut Fields, offer: &Offer, now: Timestamp) {
    let is_ahead = offer.until.is_none_or(|until| until > now);
    fields.check(is_ahead, "until", "is over already: write a time to come, or leave it out for no end");
}

/// The terms in one sentence, for the event.
pub(super) fn terms(offer: &Offer, currency: &str) -> String {
    let Offer { asked, windows, availability, reclaim_notice, .. } = offer;
    let hours: Vec<_> = windows.iter().map(ToString::to_string).collect();
    let share = offer.capacity.map_or_else(
        || "all".to_owned(),
        |c| match c.gpus {
            0 => format!("{} and {}", c.cpu, c.memory),
            gpus => format!("{}, {} and {gpus} GPUs", c.cpu, c.memory),
        },
    );
    let text = format!(
        "{asked} in {currency}, {share} of each machine, {}, there {availability} of it, notice {reclaim_notice}",
        hours.join(", ")
    );
    clean(&text, TEXT_MAX)
}

/// The rates; their range is the engine's to check.
fn asked(fields: &mut Fields, rates: &ShownRates, before: Rates, currency: &str) -> Rates {
    let both = [("coreHour", &rates.core_hour), ("gibHour", &rates.gib_hour)];
    for (name, money) in both.into_iter().chain(rates.gpu_hour.iter().map(|money| ("gpuHour", money))) {
        let text = format!("this controller counts in {currency}");
        fields.check(money.currency == currency, format!("rates.{name}.currency"), text);
    }
    amounts(rates, before)
}

fn windows(fields: &mut Fields, texts: &[String]) -> Vec<Hours> {
    let mut all = Vec::new();
    for (index, text) in texts.iter().enumerate().take(WINDOWS_MAX + 1) {
        match text.parse::<Hours>() {
            Ok(hours) => all.push(hours),
            Err(error) => fields.wrong(format!("windows[{index}]"), clean(&error.to_string(), TEXT_MAX)),
        }
    }
    all
}

const fn share(share: MachineShare) -> Capacity {
    Capacity { cpu: share.cpu, memory: share.memory.0, gpus: share.gpus }
}

/// The offer, if nothing of it is wrong and each machine of the site can give what it promises.
fn finish(mut fields: Fields, model: &Model, offer: Offer) -> Result<Offer, Failure> {
    let smallest = smallest(model, offer.site);
    if smallest.is_none() && offer.capacity.is_some() {
        let text =
            "the site has no machine yet that could be compared with: leave it out, or let its machines join first";
        fields.wrong("capacity", text);
    }
    if fields.is_empty()
        && let Err(error) = check(&offer, smallest.unwrap_or(UNKNOWN))
    {
        fields.wrong(named(error.field), error.what);
    }
    fields.finish().map(|()| offer)
}

/// A field of the engine as it stands in the API.
fn named(field: &str) -> String {
    field.strip_prefix("asked").map_or_else(|| field.to_owned(), |rest| format!("rates{rest}"))
}

/// What each machine of a site gives to the fleet at least; `None` while none has said what it is.
fn smallest(model: &Model, site: SiteId) -> Option<Capacity> {
    let known = model.hosts_of(site).filter(|h| h.inventory.is_some() && h.state != HostState::Revoked);
    let all = known.map(|h| h.offered());
    all.reduce(Capacity::least)
}
