//! When to move, and when not to.
//!
//! [`consider`] looks at the services one after the other. For each it gathers the causes that speak for another place
//! (`cause`), chooses the place (`choice`), weighs what that brings against what it costs (`worth`), holds back what
//! would move too much (`gate`), and plans the move or keeps a record of why not (`declined`). [`Rules`] has every number.
//!
//! The failure of a machine or a program is not decided here: that is no choice. Nor is a new SLA, which places anew by
//! itself.

mod cause;
mod choice;
mod copies;
mod declined;
mod drain;
mod gate;
mod look;
mod rules;
mod senses;
#[cfg(test)]
mod stories;
pub mod storm;
mod tariff;
mod worth;

use std::collections::BTreeSet;
use std::ops::Bound::{self, Unbounded};

use chandler_protocol::{HostId, Micros, MoveId, ServiceId, Timestamp};

use self::cause::Cause;
use self::choice::{Choice, choose};
use self::declined::{NonMove, Why, note};
use self::gate::Held;
use self::look::{Fleet, Look};
use self::senses::Causes;
use self::storm::{Storm, storm};
use self::worth::Past;
use super::{Plan, may_move, plan_move};
use crate::assurance::Patience;
use crate::draft::Draft;
use crate::movement::{Effect, Move, MovePhase, Worth};
use crate::outlook::Outlook;

pub use declined::DECLINED_KEPT;
pub use drain::{Going, drain_report};
pub use rules::{Class, Pace, Rules, Unknown};
pub use senses::Senses;
pub use worth::{realise, realised};

/// What came of one look at the fleet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Considered {
    /// Moves that were planned.
    pub planned: Vec<MoveId>,
    /// Services that were looked at.
    pub looked_at: usize,
}

/// Looks at as many services as one look may, and plans the moves that are worth it. To be called every few seconds.
///
/// While too many hosts are silent together nothing is moved at all (promise P2).
pub fn consider(draft: &mut Draft<'_>, senses: &mut Senses, rules: &Rules, patience: Patience) -> Considered {
    let now = draft.now;
    note_prices(draft, rules);
    note_results(draft, rules);
    senses.feel(&draft.model, now, rules);
    let mut done = Considered::default();
    if storm::is_frozen(&draft.model, patience, now) {
        return done;
    }
    let storm = storm(&draft.model, now);
    // Places are compared on the fleet as it was when the look began; what is planned is checked on it as it is.
    let before = draft.model.clone();
    let fleet = Fleet::new(&before, now, rules, &senses.hosts);
    let turns = turns(&fleet, &mut senses.cursors);
    done.looked_at = turns.len();
    for id in turns {
        let Some(service) = draft.model.services.get(&id).filter(|_| may_move(&draft.model, id)).cloned() else {
            continue;
        };
        if tariff::follow(draft, &service, rules) || copies::keep_count(draft, &service) {
            continue;
        }
        let Some(look) = Look::at(&fleet, &service) else { continue };
        done.planned.extend(look_at(draft, &mut senses.causes, &senses.past, &look, storm));
    }
    done
}

/// The first cause that leads to a move wins; those that do not are told.
fn look_at(
    draft: &mut Draft<'_>,
    causes: &mut Causes,
    past: &Past,
    look: &Look<'_, '_>,
    storm: Storm,
) -> Option<MoveId> {
    let all = cause::all(look);
    let triggers: Vec<_> = all.iter().map(|c| c.trigger).collect();
    causes.hold(look.service.id, &triggers, draft.now);
    for cause in &all {
        let held = causes.held(look.service.id, cause.trigger, draft.now);
        if !is_ripe(look, cause, held) {
            continue;
        }
        if let Some(id) = try_cause(draft, past, look, cause, storm) {
            return Some(id);
        }
    }
    None
}

/// Whether a cause has been there for long enough, in more than one look, and the service's moment has come.
fn is_ripe(look: &Look<'_, '_>, cause: &Cause, (held, looks): (Micros, u32)) -> bool {
    let rules = look.fleet.rules;
    let Some(pace) = rules.pace(cause.class) else { return true };
    looks >= 2 && held.0 >= pace.dwell.0 + gate::jitter(&look.service, rules).0
}

fn try_cause(draft: &mut Draft<'_>, past: &Past, look: &Look<'_, '_>, cause: &Cause, storm: Storm) -> Option<MoveId> {
    let rules = look.fleet.rules;
    let Choice { place, predicted, missed } = choose(look, cause, past);
    let to = place.as_ref().map(|p| p.host);
    let held = missed.or_else(|| gate::of_service(&draft.model, &look.service, cause.class, storm, draft.now, rules));
    if let Some(Held { why, text }) = held {
        tell(draft, look, cause, to, (why, text), predicted);
        return None;
    }
    let place = place?;
    let pair = (cause.from.host, place.host);
    if gate::is_crowded(&draft.model, &look.service, cause.class, pair, draft.now, rules) {
        return None;
    }
    let plan = Plan {
        trigger: cause.trigger,
        evidence: cause.evidence.clone(),
        by: draft.by().to_owned(),
        predicted,
        only: &[place.host],
        avoid: &[],
    };
    match plan_move(draft, look.service.id, cause.from.id, &plan) {
        Ok(id) => Some(id),
        Err(outcome) => {
            let text = choice::refusal_text(&outcome, &place.name);
            tell(draft, look, cause, to, (Why::Place, text), predicted);
            None
        }
    }
}

fn tell(
    draft: &mut Draft<'_>,
    look: &Look<'_, '_>,
    cause: &Cause,
    to: Option<HostId>,
    (why, detail): (Why, String),
    predicted: (Worth, Effect),
) {
    let (trigger, evidence) = (cause.trigger, cause.evidence.clone());
    let non_move = NonMove { service: &look.service, from: &cause.from, to, trigger, evidence, why, detail, predicted };
    note(draft, non_move, look.fleet.rules);
}

/// The services whose turn it is: of those on hosts that shall be left, and of all, so many that the look stays short.
fn turns(fleet: &Fleet<'_>, cursors: &mut (Option<ServiceId>, Option<ServiceId>)) -> Vec<ServiceId> {
    let model = fleet.model;
    let most = (fleet.rules.comparisons / model.hosts.len().max(1)).max(8);
    let closed = fleet.views.iter().filter(|v| v.closed.is_some());
    let concerned: BTreeSet<_> = closed.flat_map(|v| model.assignments_of_host(v.host.id)).map(|a| a.service).collect();
    let mut turns: Vec<ServiceId> = Vec::new();
    let first = cursors.0;
    turns.extend(
        concerned
            .range((after(first), Unbounded))
            .chain(concerned.range(..=first.unwrap_or(NO_SERVICE)))
            .take(most / 2),
    );
    cursors.0 = turns.last().copied();
    let first = cursors.1;
    let all = model.live.range((after(first), Unbounded)).chain(model.live.range(..=first.unwrap_or(NO_SERVICE)));
    let rest: Vec<_> = all.copied().filter(|id| !concerned.contains(id)).take(most - most / 2).collect();
    cursors.1 = rest.last().copied();
    turns.extend(rest);
    turns
}

const NO_SERVICE: ServiceId = ServiceId::from_random([0; 10]);

fn after(cursor: Option<ServiceId>) -> Bound<ServiceId> {
    cursor.map_or(Unbounded, Bound::Excluded)
}

/// Brings the smoothed rates of sites up to date where the rates have changed.
fn note_prices(draft: &mut Draft<'_>, rules: &Rules) {
    let sites: Vec<_> = draft.model.sites.values().map(|s| (s.id, s.rates)).collect();
    for (site, rates) in sites {
        match draft.model.outlooks.get(&site).cloned() {
            None => draft.put(Outlook::first(site, rates, draft.now)),
            Some(known) if known.rates != rates => draft.put(known.changed(rates, draft.now, rules.tau_price)),
            Some(_) => {}
        }
    }
}

/// Writes down what came of moves that are done.
fn note_results(draft: &mut Draft<'_>, rules: &Rules) {
    let lately = Timestamp(draft.now.0.saturating_sub(RESULTS.0));
    let is_due = |m: &Move| m.phase == MovePhase::Done && m.realised.0 == Worth::default();
    let due: Vec<_> = draft.model.moves_since(lately).filter(|m| is_due(m)).map(|m| m.id).collect();
    for id in due {
        realise(draft, id, rules);
    }
}

/// How long after its beginning a move's result is waited for.
const RESULTS: Micros = Micros::from_secs(6 * 3_600);
