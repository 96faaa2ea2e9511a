//! Lots: one machine of one offer, as it is laid before a clearing.

use chandler_protocol::{Digest, HostId, MicroMoney, OfferId, PartyId, Ppm};
use serde::{Deserialize, Serialize};

use super::canon::Canon;
use super::offer::Offer;
use crate::fleet::Capacity;
use crate::site::Rates;

/// One machine of one offer. What the owner says (offer, version, owner, rates, country) was committed to beforehand;
/// the rest is measured by the market itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LotOffer {
    /// The machine.
    pub host: HostId,
    /// The offer it is part of.
    pub offer: OfferId,
    /// Version of the offer.
    pub version: u64,
    /// Who is paid.
    pub owner: PartyId,
    /// What is asked for.
    pub rates: Rates,
    /// What is not sold yet.
    pub free: Capacity,
    /// ISO 3166-1 alpha-2 code of the country where data stays.
    pub country: String,
    /// Share of the time that it will be there: the lesser of what is promised and what is predicted.
    pub availability: Ppm,
    /// What it is expected to cost an hour that the owner may fail, from its reputation. At least 0.
    pub risk: MicroMoney,
    /// Why it cannot be bought now, if so.
    pub closed: Option<String>,
    /// 32 random bytes that make the commitment impossible to guess before it is opened.
    pub salt: Digest,
    /// What was published before any demand was known: [`commitment`] of the same values.
    pub commitment: Digest,
}

/// The digest that an owner publishes before its offer is opened: of (offer, version, owner, rates, country, salt), in
/// this order, in the canonical form of the market, as `chandler.market.offer.1` (or `.2`, with a GPU-hour).
pub fn commitment(lot: &LotOffer) -> Digest {
    commit(lot.offer, lot.version, lot.owner, lot.rates, &lot.country, lot.salt)
}

/// The same for a whole offer, when it is posted.
pub fn commitment_of(offer: &Offer, salt: Digest) -> Digest {
    commit(offer.id, offer.version, offer.owner, offer.asked, &offer.residency, salt)
}

fn commit(offer: OfferId, version: u64, owner: PartyId, rates: Rates, country: &str, salt: Digest) -> Digest {
    Canon::of(["chandler.market.offer.1", "chandler.market.offer.2"], rates.gpu_hour.0 != 0)
        .raw(offer.as_bytes())
        .number(version)
        .raw(owner.as_bytes())
        .rates(rates)
        .text(country)
        .digest(salt)
        .hash()
}

impl LotOffer {
    /// Its fields, in the order of the type.
    pub(super) fn write(&self, to: Canon) -> Canon {
        to.raw(self.host.as_bytes())
            .raw(self.offer.as_bytes())
            .number(self.version)
            .raw(self.owner.as_bytes())
            .rates(self.rates)
            .capacity(self.free)
            .text(&self.country)
            .number(u64::from(self.availability.0))
            .money(self.risk)
            .optional(self.closed.as_deref(), Canon::text)
            .digest(self.salt)
            .digest(self.commitment)
    }

    /// The hash of all that is laid before a clearing.
    pub(super) fn leaf(&self) -> Digest {
        self.write(Canon::of(["chandler.market.lot.1", "chandler.market.lot.2"], self.has_gpus())).hash()
    }

    /// Whether GPUs are in it.
    pub(super) const fn has_gpus(&self) -> bool {
        self.free.gpus > 0 || self.rates.gpu_hour.0 != 0
    }
}
