//! One look at one service: its copies, where else they could be, and what is known of those places.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use chandler_protocol::{HostId, MicroMoney, Micros, Ppm, Timestamp};

use super::rules::Rules;
use super::senses::Hosts;
use super::worth::hourly;
use crate::availability::{forecast, of_any};
use crate::federation::Lease;
use crate::fleet::HostState;
use crate::model::Model;
use crate::order::OwnerKind;
use crate::placement::{self, Candidate, HostView, Request, Standing, monthly};
use crate::service::{AllocationState, Assignment, Service};
use crate::site::{Rates, SiteRole};
use crate::sla::Terms;

/// The places that are compared for one copy: the cheapest so many.
const PLACES: usize = 24;

/// The fleet as of one look, shared by all services that are looked at.
pub(super) struct Fleet<'m> {
    pub model: &'m Model,
    pub now: Timestamp,
    pub rules: &'m Rules,
    pub senses: &'m Hosts,
    /// With smoothed distances, in order of id.
    pub views: Vec<HostView<'m>>,
    away: RefCell<BTreeMap<HostId, Chance>>,
}

/// How probable it is that a host is away soon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chance {
    pub away: Ppm,
    /// Why, behind the host's name.
    pub why: String,
}

impl<'m> Fleet<'m> {
    pub(super) fn new(model: &'m Model, now: Timestamp, rules: &'m Rules, senses: &'m Hosts) -> Self {
        let mut views = placement::views(model, now);
        for view in &mut views {
            view.rtt = senses.rtt(view.host.id).or(view.rtt);
        }
        Self { model, now, rules, senses, views, away: RefCell::default() }
    }

    pub(super) fn view(&self, host: HostId) -> Option<&HostView<'m>> {
        let at = self.views.binary_search_by_key(&host, |view| view.host.id).ok()?;
        self.views.get(at)
    }

    /// The smoothed rates of a host's site.
    fn rates(&self, view: &HostView<'_>) -> Rates {
        let outlook = self.model.outlooks.get(&view.host.site);
        outlook.map_or(view.rates, |o| o.smoothed(self.now, self.rules.tau_price))
    }

    /// How probable it is that a host is away within the next hours, and why.
    pub(super) fn chance(&self, host: HostId) -> Chance {
        if let Some(known) = self.away.borrow().get(&host) {
            return known.clone();
        }
        let found =
            self.view(host).map_or(Chance { away: Ppm::ONE, why: "is not known".to_owned() }, |v| self.foresee(v));
        self.away.borrow_mut().insert(host, found.clone());
        found
    }

    fn foresee(&self, view: &HostView<'_>) -> Chance {
        let (host, rules) = (view.host, self.rules);
        let ahead = forecast(&host.history, view.role, self.now, self.model.observable_since, rules.ahead);
        let in_time = Micros(ahead.at.since(self.now).0);
        let mut worst = Chance {
            away: ahead.away,
            why: format!("is usually away at the hour that begins in {in_time} ({} probable)", percent(ahead.away)),
        };
        let mut weigh = |away: Ppm, why: String| {
            if away > worst.away {
                worst = Chance { away, why };
            }
        };
        let flaps = self.senses.flaps(host.id, self.now, rules);
        if flaps >= rules.flaps {
            // After n times in an hour, once more: the rule of succession.
            let again = u32::try_from((flaps as u64 + 1) * 1_000_000 / (flaps as u64 + 2)).unwrap_or(1_000_000);
            weigh(Ppm(again), format!("fell silent {flaps} times within {}", rules.flap_window));
        }
        if let Some(r) = self.model.pulse(host.id).readings
            && r.on_mains == 0
            && (0..=rules.battery_low).contains(&r.battery_percent)
        {
            weigh(Ppm(900_000), format!("runs on battery with {} % left", r.battery_percent));
        }
        worst
    }
}

/// A share in whole percent.
pub(super) fn percent(share: Ppm) -> String {
    format!("{} %", (share.0 + 5_000) / 10_000)
}

/// A place that would do.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub host: HostId,
    pub name: String,
    pub role: SiteRole,
    /// The price of an hour there, smoothed.
    pub price: MicroMoney,
    /// The same at the rates of now.
    pub price_now: MicroMoney,
    /// Predicted 95th percentile of the answer time there.
    pub p95: Option<Micros>,
    /// Predicted share of the time it is up.
    pub availability: Ppm,
}

/// One service as of one look.
pub(super) struct Look<'l, 'm> {
    pub fleet: &'l Fleet<'m>,
    pub service: Arc<Service>,
    pub terms: Terms,
    /// Copies that run and stay, on hosts that are there.
    pub copies: Vec<Arc<Assignment>>,
    pub standing: Standing,
}

impl<'l, 'm> Look<'l, 'm> {
    /// `None` for a service none of whose copies could be moved.
    pub(super) fn at(fleet: &'l Fleet<'m>, service: &Arc<Service>) -> Option<Self> {
        let model = fleet.model;
        let is_there = |a: &Assignment| fleet.view(a.host).is_some_and(|v| v.state == HostState::Active);
        let copies: Vec<_> = model
            .assignments_of(service.id)
            .filter(|a| a.state == AllocationState::Allocated && !a.leaving)
            .cloned()
            .collect();
        if copies.is_empty() || !copies.iter().all(|a| is_there(a)) {
            return None;
        }
        let current: Vec<_> = copies.iter().map(|a| a.host).collect();
        let terms = model.agreements.get(&service.agreement).map(|a| a.terms()).unwrap_or_default();
        let request = Request {
            customer: service.customer,
            spec: &service.spec,
            platform: &service.platform,
            terms: &terms,
            policy: &service.policy,
            price: &service.price,
            access_rtt: access_rtt(fleet, service),
            response_p95: crate::relocation::response_p95(model, service),
            avoid: &[],
            current: &current,
            currency: &model.currency,
        };
        let standing = placement::standing(&fleet.views, &request, PLACES + current.len());
        Some(Self { fleet, service: service.clone(), terms, copies, standing })
    }

    /// The price of an hour at a host's smoothed rates, with what may go wrong there. Where it runs under a lease, at the
    /// rates of the lease, or at those that will be: what its site asks of others does not matter there.
    pub(super) fn price(&self, host: HostId) -> MicroMoney {
        if let Some(rates) = self.leased(host) {
            return self.with_risk(host, self.price_at(rates));
        }
        let rates = self.fleet.view(host).map(|v| self.fleet.rates(v)).unwrap_or_default();
        self.with_risk(host, self.price_at(rates))
    }

    /// The price of an hour at a host's rates of now.
    pub(super) fn price_now(&self, host: HostId) -> MicroMoney {
        let posted = || self.fleet.view(host).map(|v| v.rates).unwrap_or_default();
        self.with_risk(host, self.price_at(self.leased(host).unwrap_or_else(posted)))
    }

    /// The rates to come of what runs on a host under a lease.
    fn leased(&self, host: HostId) -> Option<Rates> {
        let copy = self.copies.iter().find(|a| a.host == host)?;
        self.lease(copy).map(Lease::rates_to_come)
    }

    /// The lease that a copy runs under.
    pub(super) fn lease(&self, copy: &Assignment) -> Option<&Lease> {
        self.fleet.model.leases.get(&copy.id).map(AsRef::as_ref)
    }

    /// The name of the other side of a lease.
    pub(super) fn partner(&self, lease: &Lease) -> String {
        self.fleet.model.parties.get(&lease.partner).map_or_else(|| lease.partner.to_string(), |p| p.name.clone())
    }

    /// What all copies together cost a month where they are: under a lease at its rates to come, else as their site asks.
    pub(super) fn month_to_come(&self) -> MicroMoney {
        let month = |a: &Arc<Assignment>| {
            let rates = self.leased(a.host).or_else(|| self.fleet.view(a.host).map(|v| v.rates)).unwrap_or(a.rates);
            monthly(rates, a.reserved, &a.price).total().0
        };
        MicroMoney(self.copies.iter().map(month).fold(0, i64::saturating_add))
    }

    /// A price with what may go wrong on a host: the same share as of the month that placement reckons with.
    fn with_risk(&self, host: HostId, price: MicroMoney) -> MicroMoney {
        let known = self.standing.candidates.iter().find(|c| c.host == host);
        let Some(c) = known.filter(|c| c.risk > MicroMoney(0)) else { return price };
        let month = i128::from(c.price.total().0.max(1));
        let risk = i128::from(price.0) * i128::from(c.risk.0) / month;
        MicroMoney(price.0.saturating_add(i64::try_from(risk).unwrap_or(i64::MAX)))
    }

    fn price_at(&self, rates: Rates) -> MicroMoney {
        hourly(monthly(rates, self.service.reserved(), &self.service.price).total())
    }

    /// What reaches the provider of a price there, in percent of it; `None` where nothing is paid.
    pub(super) fn margin_percent(&self, host: HostId) -> Option<i64> {
        let view = self.fleet.view(host)?;
        let month = monthly(view.rates, self.service.reserved(), &self.service.price);
        let total = month.total().0;
        (total > 0).then(|| month.margin.0.saturating_add(month.management.0).saturating_mul(100) / total)
    }

    /// Hosts to which a copy may go with the others staying where they are: within the SLA, every one of them.
    pub(super) fn places(&self, from: &Assignment) -> Vec<Place> {
        let others: Vec<_> = self.copies.iter().filter(|a| a.id != from.id).map(|a| a.host).collect();
        let taken = |c: &&Candidate| !self.copies.iter().any(|a| a.host == c.host);
        let fits = self.standing.candidates.iter().filter(taken).filter(|c| self.holds_with(&others, c));
        fits.map(|c| Place {
            host: c.host,
            name: c.host_name.clone(),
            role: c.role,
            price: self.price(c.host),
            price_now: self.price_now(c.host),
            p95: c.predicted.p95,
            availability: self.fleet.view(c.host).map_or(c.predicted.availability, |v| v.availability),
        })
        .collect()
    }

    /// Whether the SLA holds of these hosts and a candidate together.
    fn holds_with(&self, others: &[HostId], candidate: &Candidate) -> bool {
        let views = || others.iter().filter_map(|h| self.fleet.view(*h));
        let up: Vec<_> = views().map(|v| v.availability).chain([candidate.predicted.availability]).collect();
        let month = |rates| monthly(rates, self.service.reserved(), &self.service.price).total().0;
        let cost = views().map(|v| month(v.rates)).fold(month(candidate.rates), i64::saturating_add);
        self.terms.availability_min.is_none_or(|least| of_any(&up) >= least)
            && self.terms.cost_max.is_none_or(|most| cost <= most.0)
    }

    /// How probable it is that every other copy is away when this one is.
    pub(super) fn all_others_away(&self, from: &Assignment) -> Ppm {
        let others = self.copies.iter().filter(|a| a.id != from.id);
        let all = others.fold(1_000_000_u64, |all, a| all * u64::from(self.fleet.chance(a.host).away.0) / 1_000_000);
        Ppm(u32::try_from(all).unwrap_or(1_000_000))
    }

    /// What it costs when the service is away: the credit for a broken SLA.
    pub(super) fn loss(&self) -> i128 {
        let rules = self.fleet.rules;
        let share = if self.terms.availability_min.is_some() { rules.credit } else { rules.credit_unagreed };
        let month: i128 =
            self.copies.iter().map(|a| i128::from(self.price(a.host).0) * i128::from(placement::HOURS_PER_MONTH)).sum();
        month * i128::from(share.0) / 1_000_000
    }
}

/// A customer's own way to the controller, smoothed.
fn access_rtt(fleet: &Fleet<'_>, service: &Service) -> Micros {
    let own = fleet.views.iter().filter(|v| v.role == SiteRole::Customer && v.owner == service.customer);
    own.filter_map(|v| v.rtt).min().unwrap_or(Micros::ZERO)
}

/// Whose computers a site has, in the words of an order.
pub(super) const fn kind(role: SiteRole) -> OwnerKind {
    match role {
        SiteRole::Customer => OwnerKind::Customer,
        SiteRole::Provider => OwnerKind::Provider,
        SiteRole::Remote => OwnerKind::Remote,
        SiteRole::Partner => OwnerKind::Partner,
    }
}
