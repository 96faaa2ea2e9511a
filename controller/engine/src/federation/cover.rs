//! Back to back: what the sellers of a service's copies promise, held against what its customer was promised.

#[cfg(test)]
mod cases;

use chandler_protocol::{MicroMoney, Micros, Ppm, ServiceId, Timestamp};

use super::repute::{CREDIT, Odds, expected};
use crate::availability::estimate;
use crate::fleet::Host;
use crate::market::coverage::{Attribute, Coverage, Exposure, SuppliedTerms, cover};
use crate::model::Model;
use crate::placement::{access_rtt, monthly};
use crate::service::{AllocationState, Service};
use crate::site::{Site, SiteRole};
use crate::sla::Terms;

/// How long it takes until work runs somewhere else: what moves reckon with where none was measured.
const RELOCATION: Micros = Micros::from_secs(300);

/// Whether the promises hold back to back, and what it costs a month that they do not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Covered {
    /// Promise by promise.
    pub coverage: Coverage,
    /// What all gaps together have to be expected to cost a month. Part of no price.
    pub risk: MicroMoney,
}

/// How what the customer of a running service was promised is covered; `None` while no copy is at a partner's.
pub fn coverage(model: &Model, service: ServiceId, now: Timestamp) -> Option<Covered> {
    let service = model.services.get(&service)?;
    let terms = model.agreements.get(&service.agreement).map(|a| a.terms()).unwrap_or_default();
    let stays = |a: &crate::service::Assignment| a.state != AllocationState::Releasing && !a.leaving;
    let copies = model.assignments_of(service.id).filter(|a| stays(a));
    let copies: Vec<_> = copies
        .filter_map(|a| {
            let host = model.hosts.get(&a.host)?;
            Some((a, host, model.sites.get(&host.site)?))
        })
        .collect();
    if copies.iter().all(|(_, _, site)| site.home.is_none()) {
        return None;
    }
    let month = copies.iter().map(|(a, ..)| monthly(a.rates, a.reserved, &a.price).total().0);
    let exposure = exposure(MicroMoney(month.fold(0, i64::saturating_add)));
    let supplied: Vec<_> = copies.iter().map(|(_, host, site)| promised(model, service, host, site, now)).collect();
    let coverage = cover(&terms, &exposure, &supplied, service.copies);
    let risk = coverage.risk(&exposure);
    Some(Covered { coverage, risk })
}

/// What is owed for a month's price that was broken.
fn exposure(month: MicroMoney) -> Exposure {
    let credit = i128::from(month.0.max(0)) * i128::from(CREDIT.0) / 1_000_000;
    Exposure { credit: MicroMoney(i64::try_from(credit).unwrap_or(i64::MAX)), relocation: RELOCATION }
}

/// What is promised of one host. One's own computers are what was measured of them, and owe the whole credit: to oneself.
fn promised(model: &Model, service: &Service, host: &Host, site: &Site, now: Timestamp) -> SuppliedTerms {
    let is_own = site.role == SiteRole::Customer && site.owner == service.customer;
    let way = if is_own { Some(0) } else { host.rtt.map(|rtt| access_rtt(model, service.customer).0 + rtt.0) };
    let answer = crate::relocation::response_p95(model, service).0;
    let p95 = way.map(|way| Micros(way.saturating_add(answer)));
    let predicted = estimate(&host.history, site.role, now, model.observable_since);
    supplied(host, &site.country, predicted, p95, expected(model, host, site, now))
}

/// The terms under which one host is there.
pub(crate) fn supplied(host: &Host, country: &str, predicted: Ppm, p95: Option<Micros>, odds: Odds) -> SuppliedTerms {
    let lot = host.terms.as_ref();
    let own = Micros(i64::MAX);
    SuppliedTerms {
        name: host.name.clone(),
        availability: lot.map_or(predicted, |t| t.availability),
        p95,
        reclaim_notice: lot.map_or(own, |t| t.notice),
        residency: country.to_owned(),
        // No seller owes a credit yet: offers promise a share of the time, and nothing for the case that it is not kept.
        credit: if lot.is_some() { MicroMoney(0) } else { MicroMoney(i64::MAX) },
        breach: odds.breach,
        loss: odds.loss,
    }
}

/// What it costs a month that a seller promises less than the customer was promised, if all copies were under such
/// terms. That the seller owes nothing is not counted here: it is what a breach costs, which the odds weigh already.
pub(crate) fn gaps_risk(terms: &Terms, month: MicroMoney, supplied: SuppliedTerms, copies: u32) -> MicroMoney {
    let exposure = exposure(month);
    let all = vec![supplied; usize::try_from(copies).unwrap_or(1).max(1)];
    let coverage = cover(terms, &exposure, &all, copies);
    let gaps = coverage.gaps.into_iter().filter(|g| g.attribute != Attribute::Credit).collect();
    Coverage { covered: false, gaps }.risk(&exposure)
}
