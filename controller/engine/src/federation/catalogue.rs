//! The catalogue: what a partner may buy here, one lot for each host of an offer that stands.

use chandler_protocol::{Digest, HostId, MicroMoney, OfferId, PartyId, Timestamp};
use serde::{Deserialize, Serialize};

use super::lease::Side;
use super::repute::{odds, risk};
use super::stock::is_something;
use super::word::{Lot, LotKind};
use crate::availability::estimate;
use crate::fleet::{Capacity, Host, HostState};
use crate::market::clearing::Hourly;
use crate::market::lot::{LotOffer, commitment_of};
use crate::market::offer::{Offer, OfferState, open_until};
use crate::model::Model;
use crate::placement::is_overdrawn;
use crate::site::{Rates, Site, SiteRole};

/// An offer with what binds it: its owner cannot say afterwards that it asked for something else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Posted {
    /// The offer.
    pub offer: Offer,
    /// 32 random bytes that are opened with the offer.
    pub salt: Digest,
    /// [`commitment_of`] both, published when it was posted.
    pub commitment: Digest,
}

impl Posted {
    /// Binds an offer.
    pub fn new(offer: Offer, salt: Digest) -> Self {
        let commitment = commitment_of(&offer, salt);
        Self { offer, salt, commitment }
    }

    /// Why a host of its site takes no new lease now, in one sentence; `None`: it does.
    pub fn closed(&self, model: &Model, host: &Host, now: Timestamp) -> Option<String> {
        closed(model, host, &self.offer, now)
    }
}

/// Every lot that a buyer may see, in order of host.
pub fn lots(model: &Model, buyer: PartyId, now: Timestamp) -> Vec<Lot> {
    let all = model.hosts.values().filter_map(|host| {
        let (site, posted) = standing(model, host)?;
        lot(model, host, site, posted, buyer, now)
    });
    all.collect()
}

/// A host with its offer, if it is one of ours that is offered.
fn standing<'m>(model: &'m Model, host: &Host) -> Option<(&'m Site, &'m Posted)> {
    let site = model.sites.get(&host.site).filter(|s| s.home.is_none() && s.role != SiteRole::Customer)?;
    let posted = model.offers_of(site.id).next()?;
    Some((site, posted))
}

fn lot(model: &Model, host: &Host, site: &Site, posted: &Posted, buyer: PartyId, now: Timestamp) -> Option<Lot> {
    let offer = &posted.offer;
    let inventory = host.inventory.clone()?;
    let closed = closed(model, host, offer, now);
    let mine = model.leases_of_host(host.id).filter(|l| l.side == Side::Sold && l.partner == buyer);
    let mine = mine.fold(Capacity::default(), |sum, l| sum.plus(l.taken()));
    let free = if closed.is_some() { Capacity::default() } else { free(model, host, offer) };
    Some(Lot {
        host: host.id,
        name: host.name.clone(),
        site: site.id,
        site_name: site.name.clone(),
        kind: if site.role == SiteRole::Remote { LotKind::Remote } else { LotKind::Partner },
        owner: site.owner,
        country: offer.residency.clone(),
        offer: offer.id.to_string(),
        version: offer.version,
        rates: offer.asked,
        available: free.plus(mine),
        availability: offer.availability,
        history: host.history,
        notice: offer.reclaim_notice,
        odds: odds(model, site, now),
        min_term: offer.min_term,
        closed,
        connected: host.state != HostState::Lost && model.pulse(host.id).connected,
        rtt: host.rtt,
        key: host.key_fingerprint,
        listens: host.listens.clone(),
        protocol: host.protocol,
        inventory,
    })
}

/// What nobody has yet of what the offer gives of a host.
pub(super) fn free(model: &Model, host: &Host, offer: &Offer) -> Capacity {
    let left = host.offered().minus(model.reserved.get(&host.id).copied().unwrap_or_default());
    let Some(most) = offer.capacity else { return left };
    let sold = model.leases_of_host(host.id).fold(Capacity::default(), |sum, l| sum.plus(l.taken()));
    let of_offer = most.minus(sold);
    left.least(of_offer)
}

/// Why a host takes no new lease now, in one sentence; `None`: it does.
pub(super) fn closed(model: &Model, host: &Host, offer: &Offer, now: Timestamp) -> Option<String> {
    // What is free by now is on sale at once, and not only when somebody has looked.
    let is_back = offer.state == OfferState::Exhausted && is_something(free(model, host, offer));
    if offer.state != OfferState::Active && !is_back {
        return Some(format!("the offer is {}", offer.state.as_str()));
    }
    if host.state != HostState::Active || !model.pulse(host.id).connected {
        return Some("the machine is not connected".to_owned());
    }
    leaving(model, host, offer, now)
}

/// Why what runs on a host has to leave it, in one sentence.
pub(super) fn leaving(model: &Model, host: &Host, offer: &Offer, now: Timestamp) -> Option<String> {
    if offer.state.is_final() {
        return Some(format!("the offer is {}", offer.state.as_str()));
    }
    if let Some(drain) = &host.drain {
        return Some(format!("the machine is drained: {}", drain.reason));
    }
    if model.criteria_of(Some(host.site)).is_some_and(|c| c.closed(now).is_some()) {
        return Some("its site is drained, worked on, or its hours are over".to_owned());
    }
    if is_overdrawn(model, host) {
        return Some("its owner needs the machine now or soon".to_owned());
    }
    if offer.until.is_some_and(|end| end.since(now) <= offer.reclaim_notice) {
        return Some("the offer ends soon".to_owned());
    }
    let until = open_until(&offer.windows, now);
    match until {
        None => Some("the offer's hours are over".to_owned()),
        Some(end) if end.since(now) <= offer.reclaim_notice => Some("the offer's hours are over soon".to_owned()),
        Some(_) => None,
    }
}

/// The lots of some hosts as they are laid before a clearing of a demand for `wanted`.
pub(super) fn book(
    model: &Model,
    hosts: impl Iterator<Item = HostId>,
    wanted: Capacity,
    now: Timestamp,
) -> Vec<LotOffer> {
    let mut lots = Vec::new();
    let hour = usual_hour(model, wanted);
    for host in hosts.filter_map(|id| model.hosts.get(&id)) {
        let Some(site) = model.sites.get(&host.site).filter(|s| s.home.is_none()) else { continue };
        for posted in model.offers_of(site.id) {
            let offer = &posted.offer;
            let predicted = estimate(&host.history, site.role, now, model.observable_since);
            lots.push(LotOffer {
                host: host.id,
                offer: offer.id,
                version: offer.version,
                owner: offer.owner,
                rates: offer.asked,
                free: free(model, host, offer),
                country: offer.residency.clone(),
                availability: predicted.min(offer.availability),
                risk: risk(odds(model, site, now), hour),
                closed: closed(model, host, offer, now),
                salt: posted.salt,
                commitment: posted.commitment,
            });
        }
    }
    lots
}

/// What an hour of `wanted` usually costs here, at the mean of the rates of all leases that are remembered; nothing
/// before the first.
///
/// What is at stake must not follow from what is asked in the same clearing: an owner could otherwise lower its own risk,
/// or raise another's, by asking for something else than it wants.
fn usual_hour(model: &Model, wanted: Capacity) -> MicroMoney {
    let (mut cores, mut gibs, mut gpus, mut sold) = (0_i128, 0_i128, 0_i128, 0_i128);
    for lease in model.leases.values().filter(|l| l.side == Side::Sold) {
        cores += i128::from(lease.rates.core_hour.0);
        gibs += i128::from(lease.rates.gib_hour.0);
        gpus += i128::from(lease.rates.gpu_hour.0);
        sold += 1;
    }
    let mean = |sum: i128| MicroMoney(i64::try_from(sum / sold.max(1)).unwrap_or(0));
    Hourly::new(wanted).cost(Rates { core_hour: mean(cores), gib_hour: mean(gibs), gpu_hour: mean(gpus) })
}

/// The offer under which a host is sold, if it is.
pub fn offer_of(model: &Model, host: HostId) -> Option<(OfferId, &Posted)> {
    let (_, posted) = standing(model, model.hosts.get(&host)?)?;
    Some((posted.offer.id, posted))
}
