//! The fleet as placement sees it, gathered from the model.

use chandler_protocol::{HostId, Micros, PartyId, ServiceId, Timestamp};

use super::{Closing, HostView};
use crate::availability::estimate;
use crate::criteria::Closed;
use crate::federation::expected;
use crate::fleet::{Capacity, Host, HostState};
use crate::model::Model;
use crate::service::AllocationState;
use crate::site::SiteRole;

/// Failures of software on a host count against it for this long.
const FAILURES_COUNT_FOR: Micros = Micros::from_secs(3_600);

/// Every host whose site is known, in order of id.
pub fn views(model: &Model, now: Timestamp) -> Vec<HostView<'_>> {
    model.hosts.values().filter_map(|host| view(model, host, now)).collect()
}

/// Every host as one service sees it, which is placed anew: with what it holds there itself. Needed where the
/// service now wants more than it holds.
pub fn views_of(model: &Model, now: Timestamp, service: ServiceId) -> Vec<HostView<'_>> {
    let mut all = views(model, now);
    for view in &mut all {
        view.own = Some(Capacity::default());
    }
    for copy in model.assignments_of(service).filter(|a| a.state != AllocationState::Releasing) {
        if let Ok(i) = all.binary_search_by_key(&copy.host, |view| view.host.id)
            && let Some(view) = all.get_mut(i)
        {
            view.own = Some(view.own.unwrap_or_default().plus(copy.reserved));
        }
    }
    all
}

fn view<'m>(model: &'m Model, host: &'m Host, now: Timestamp) -> Option<HostView<'m>> {
    let site = model.sites.get(&host.site)?;
    let recent = host.failures.iter().filter(|at| now.since(**at) < FAILURES_COUNT_FOR).count();
    Some(HostView {
        host,
        site_name: &site.name,
        role: site.role,
        owner: site.owner,
        country: &site.country,
        rates: site.rates,
        // Known to be there only while it is connected: after a restart of the controller nobody is yet.
        state: if host.state == HostState::Active && !model.pulse(host.id).connected {
            HostState::Unknown
        } else {
            host.state
        },
        closed: closing(model, host, now),
        rtt: rtt(model, host.id, host),
        availability: estimate(&host.history, site.role, now, model.observable_since),
        offered: host.offered(),
        reserved: model.reserved.get(&host.id).copied().unwrap_or_default(),
        own: None,
        recent_failures: u32::try_from(recent).unwrap_or(u32::MAX),
        odds: expected(model, host, site, now),
    })
}

/// Why a host takes no new work and is left, if so.
fn closing(model: &Model, host: &Host, now: Timestamp) -> Option<Closing> {
    if host.drain.is_some() {
        return Some(Closing::Host);
    }
    if host.terms.as_ref().is_some_and(|t| t.reclaimed_at.is_some()) {
        return Some(Closing::Reclaimed);
    }
    if is_overdrawn(model, host) {
        return Some(Closing::Owner);
    }
    model.criteria_of(Some(host.site))?.closed(now).map(|closed| match closed {
        Closed::Drained(_) => Closing::Site,
        Closed::Maintenance(_) => Closing::Maintenance,
        Closed::Hours(_) => Closing::Hours,
    })
}

/// Whether its owner offers less than is reserved on it: it was more when that was reserved.
pub(crate) fn is_overdrawn(model: &Model, host: &Host) -> bool {
    let reserved = model.reserved.get(&host.id).copied().unwrap_or_default();
    host.inventory.is_some() && !host.offered().holds(reserved)
}

/// The measured round-trip time of a host: as it is now, or the last that was known.
fn rtt(model: &Model, id: HostId, host: &Host) -> Option<Micros> {
    model.pulses.get(&id).and_then(|pulse| pulse.rtt).or(host.rtt)
}

/// A customer's own way to the controller: the shortest measured round-trip time of its own computers, zero when
/// there are none.
pub fn access_rtt(model: &Model, customer: PartyId) -> Micros {
    let is_own =
        |host: &Host| model.sites.get(&host.site).is_some_and(|s| s.role == SiteRole::Customer && s.owner == customer);
    let own = model.hosts.values().filter(|host| is_own(host));
    own.filter_map(|host| rtt(model, host.id, host)).min().unwrap_or(Micros::ZERO)
}

#[cfg(test)]
mod tests {
    use chandler_protocol::{MicroMoney, Ppm, SiteId};

    use super::*;
    use crate::fleet::Pulse;
    use crate::model::Change;
    use crate::placement::example::{CUSTOMER, OWNER, spot};
    use crate::site::{Rates, Site};

    /// Hosts `h-1` to `h-3` at one site each: the first two of the customer, the last of another party.
    fn model() -> Model {
        let mut model = Model::default();
        for n in 1..=3 {
            let site = Site {
                id: SiteId::from_random([n; 10]),
                name: format!("site-{n}"),
                owner: if n == 3 { OWNER } else { CUSTOMER },
                role: if n == 3 { SiteRole::Remote } else { SiteRole::Customer },
                country: "CH".to_owned(),
                rates: Rates { core_hour: MicroMoney(n.into()), gib_hour: MicroMoney(0), gpu_hour: MicroMoney(0) },
                version: 1,
                home: None,
            };
            let mut host = spot(n, 1).host;
            host.site = site.id;
            host.rtt = Some(Micros::from_millis(i64::from(n) * 10));
            model.apply(&Change::from(site));
            model.apply(&Change::from(host));
        }
        model
    }

    #[test]
    fn a_pulse_is_newer_than_what_is_stored() {
        let mut model = model();
        let pulse = Pulse { rtt: Some(Micros::from_millis(7)), ..Pulse::default() };
        model.pulses.insert(HostId::from_random([2; 10]), pulse);
        model.pulses.insert(HostId::from_random([3; 10]), Pulse::default());
        let rtts: Vec<_> = views(&model, Timestamp(0)).iter().map(|v| v.rtt.map(Micros::as_millis)).collect();
        assert_eq!(rtts, [Some(10), Some(7), Some(30)]);
        assert_eq!(access_rtt(&model, CUSTOMER), Micros::from_millis(7));
        assert_eq!(access_rtt(&model, OWNER), Micros::ZERO, "a remote site is no way of its owner to the controller");
    }

    #[test]
    fn a_view_is_of_the_hosts_site() {
        let mut model = model();
        let shown = |model: &Model| -> Vec<_> {
            let all = views(model, Timestamp(0));
            all.iter().map(|v| (v.site_name.to_owned(), v.rates.core_hour.0, v.availability)).collect()
        };
        assert_eq!(shown(&model)[2], ("site-3".to_owned(), 3, Ppm(950_000)));
        model.sites.remove(&SiteId::from_random([1; 10]));
        assert_eq!(shown(&model).len(), 2, "a host of no known site has no owner and no price");
    }

    #[test]
    fn only_failures_of_the_last_hour_count() {
        let mut model = model();
        let mut host = spot(1, 1).host;
        host.site = SiteId::from_random([1; 10]);
        host.failures = vec![Timestamp(0), Timestamp(1)];
        model.apply(&Change::from(host));
        let count = |at| views(&model, Timestamp(at))[0].recent_failures;
        assert_eq!((count(2), count(3_600_000_000), count(3_600_000_001)), (2, 1, 0));
    }
}
