//! Storms: so many machines are lost at once that haste would make it worse.
//!
//! While one lasts nothing is moved for money, and what has lost its machine is started elsewhere one after the other,
//! the most important first. The numbers are those of Kubernetes' node controller: 0.1 and 0.01 a second, 0.55 of a zone.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use chandler_protocol::{Micros, Ppm, SiteId, Timestamp};

use crate::assurance::{Patience, Watch, most_are_silent};
use crate::draft::Draft;
use crate::fleet::HostState;
use crate::model::Model;
use crate::movement::MoveKind;
use crate::service::{Service, Trigger};
use crate::sla::Terms;

/// Fewer machines make no storm.
const LEAST: usize = 3;
/// Losses within this time count together.
const WINDOW: Micros = Micros::from_secs(300);
/// A storm is over after this time without what made it one.
const CALM: Micros = Micros::from_secs(600);
/// More than this percentage of the fleet.
const FLEET_PERCENT: usize = 33;
/// More than this percentage of a site.
const SITE_PERCENT: usize = 55;
/// One at a time in this time.
const PACE: Micros = Micros::from_secs(10);
/// The same where the fleet is large and only part of it is gone: the fault may be in what is between.
const PACE_LARGE: Micros = Micros::from_secs(100);
/// A fleet of more machines is large.
const LARGE: usize = 50;

/// Whether there is a storm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storm {
    /// No.
    Calm,
    /// Yes.
    Raging {
        /// How many machines were lost.
        lost: usize,
        /// Of how many.
        of: usize,
        /// One service at a time is started elsewhere in this time.
        pace: Micros,
    },
}

/// Whether so many machines were lost lately that haste would make it worse.
pub fn storm(model: &Model, now: Timestamp) -> Storm {
    let mut lost: Vec<(Timestamp, SiteId)> = Vec::new();
    let mut sizes: BTreeMap<SiteId, usize> = BTreeMap::new();
    let mut fleet = 0;
    for host in model.hosts.values() {
        let is_lost = host.state == HostState::Lost;
        let lately = is_lost && now.since(host.since) <= Micros(CALM.0 + WINDOW.0);
        // Who has been away for long is not part of what could be lost.
        if matches!(host.state, HostState::Active | HostState::Unknown) || lately {
            fleet += 1;
            *sizes.entry(host.site).or_default() += 1;
        }
        if lately {
            lost.push((host.since, host.site));
        }
    }
    lost.sort_unstable();
    let recent = || lost.iter().filter(|(at, _)| now.since(*at) <= CALM);
    let together = |end: Timestamp| lost.iter().filter(move |(at, _)| *at <= end && end.since(*at) <= WINDOW);
    let all = recent().map(|(end, _)| together(*end).count()).max().unwrap_or(0);
    if all >= LEAST && all * 100 > fleet * FLEET_PERCENT {
        let pace = if fleet > LARGE { PACE_LARGE } else { PACE };
        return Storm::Raging { lost: all, of: fleet, pace };
    }
    for (end, site) in recent() {
        let here = together(*end).filter(|(_, s)| s == site).count();
        let size = sizes.get(site).copied().unwrap_or(0);
        if here >= LEAST && here * 100 > size * SITE_PERCENT {
            let pace = if size > LARGE && here < size { PACE_LARGE } else { PACE };
            return Storm::Raging { lost: here, of: size, pace };
        }
    }
    Storm::Calm
}

/// Whether the next service that has lost its machine may be started elsewhere now: at once while it is calm, one at a
/// time in a storm.
pub fn may_fail_over(model: &Model, now: Timestamp) -> bool {
    match storm(model, now) {
        Storm::Calm => true,
        Storm::Raging { pace, .. } => {
            let since = Timestamp(now.0.saturating_sub(pace.0).saturating_add(1));
            !model.moves_since(since).any(|m| m.kind == MoveKind::Failover)
        }
    }
}

/// How much depends on an SLA, for the order in a storm: the more is agreed the more, availability first.
pub fn weight(terms: &Terms) -> (Ppm, bool, bool) {
    (terms.availability_min.unwrap_or_default(), terms.p95_max.is_some(), terms.cost_max.is_some())
}

/// Whether a service has lost its machine, and has to wait in a storm until it may be started elsewhere.
pub(crate) fn holds_back(draft: &Draft<'_>, service: &Service) -> bool {
    is_failover(service) && !may_fail_over(&draft.model, draft.now)
}

/// The order in which services are placed, the first first: what has lost its machine by what depends on it, before what
/// was ordered. Behind it comes the order of their turn.
pub(crate) fn turn(draft: &Draft<'_>, service: &Service) -> Reverse<Option<(Ppm, bool, bool)>> {
    let terms = || draft.model.agreements.get(&service.agreement).map(|a| a.terms()).unwrap_or_default();
    Reverse(is_failover(service).then(|| weight(&terms())))
}

fn is_failover(service: &Service) -> bool {
    service.displaced.as_ref().is_some_and(|d| matches!(d.trigger, Trigger::HostFailed))
}

/// Whether too many hosts are silent together for anything to be concluded (promise P2): then nothing is moved either.
pub fn is_frozen(model: &Model, patience: Patience, now: Timestamp) -> bool {
    most_are_silent(model, patience, now) != Watch::Calm
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::Host;
    use crate::model::Change;
    use crate::placement::example::spot;

    /// `of` hosts at sites of ten; the first `lost` of them are lost at the given seconds apart.
    fn fleet(of: u8, lost: u8, apart: i64) -> Model {
        let mut model = Model::default();
        for n in 0..of {
            let gone = n < lost;
            let state = if gone { HostState::Lost } else { HostState::Active };
            let since = Timestamp(i64::from(n) * apart * 1_000_000);
            let site = SiteId::from_random([n / 10; 10]);
            model.apply(&Change::from(Host { state, since, site, ..spot(n, 1).host }));
        }
        model
    }

    #[test]
    fn row_33_many_losses_at_once_are_a_storm_and_a_few_are_not() {
        let check = |of: u8, lost: u8, apart: i64, at: i64, expect: Option<i64>| {
            let found = match storm(&fleet(of, lost, apart), Timestamp(at * 1_000_000)) {
                Storm::Calm => None,
                Storm::Raging { pace, .. } => Some(pace.0 / 1_000_000),
            };
            assert_eq!(found, expect, "{lost} of {of}, {apart} s apart, at {at} s");
        };
        check(10, 4, 1, 10, Some(10));
        check(10, 3, 1, 10, None);
        check(4, 2, 1, 10, None);
        check(10, 4, 200, 700, None);
        check(30, 6, 1, 10, Some(10));
        check(30, 5, 1, 10, None);
        check(100, 40, 1, 60, Some(100));
        // Ten minutes later it is over.
        check(10, 4, 1, 603, Some(10));
        check(10, 4, 1, 604, None);
    }
}
