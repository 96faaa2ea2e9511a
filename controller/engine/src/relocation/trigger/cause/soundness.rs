//! Causes that threaten the SLA: the place does not meet it any more, will probably fail, or failed too often.

use std::sync::Arc;

use chandler_protocol::state::Phase;
use chandler_protocol::{Micros, Ppm};

use super::super::look::{Look, percent};
use super::super::rules::Class;
use super::{Cause, Want};
use crate::assurance::measured_availability;
use crate::placement::{Closing, Rule};
use crate::service::{Assignment, Trigger};

/// The place does not meet the SLA, or shall be left.
pub(super) fn unfit(look: &Look<'_, '_>, copy: &Arc<Assignment>) -> Option<Cause> {
    let is_leased = look.lease(copy).is_some();
    let refused = look.standing.unfit.iter().find(|r| r.host == copy.host);
    // What runs under a lease is paid by that, whatever its site asks of others.
    let Some(refused) = refused.filter(|r| !(is_leased && r.rule == Rule::Cost)) else { return too_dear(look, copy) };
    let view = look.fleet.view(copy.host)?;
    let name = &refused.host_name;
    let cause = |trigger, want, evidence| Cause {
        trigger,
        class: Class::Mandatory,
        from: copy.clone(),
        evidence,
        want,
        averted: Ppm(0),
    };
    if let Some(closing) = view.closed {
        let why = view.host.drain.as_ref().map(|d| format!(": {}", d.reason)).unwrap_or_default();
        // What is taken back will not be there: its owner said so, as a forecast would.
        let trigger = match closing {
            Closing::Reclaimed | Closing::Owner => Trigger::PredictedAvailability,
            _ => Trigger::ProviderCriterion,
        };
        return Some(cause(trigger, Want::Any, format!("{name} {}{why}", closing.as_str())));
    }
    let evidence = format!("{name} does not meet the SLA any more: {}", refused.reason);
    match refused.rule {
        Rule::Interactivity => Some(cause(Trigger::RoundTrip, nearer(look), evidence)),
        Rule::Cost => Some(cause(Trigger::Price, Want::Any, evidence)),
        Rule::Availability => Some(match too_little_up(look) {
            Some((share, least)) => {
                let evidence = format!("it was up {share} of the time, {least} were agreed; {evidence}");
                cause(Trigger::ActualAvailability, Want::Any, evidence)
            }
            None => cause(Trigger::PredictedAvailability, Want::Any, evidence),
        }),
        // The rest follows from a new order, which places anew itself, or from a host that is being lost.
        _ => None,
    }
}

/// With the rates of its lease, or those that are announced for it, the service costs more than its customer agreed to
/// pay: it has to be gone before they hold.
fn too_dear(look: &Look<'_, '_>, copy: &Arc<Assignment>) -> Option<Cause> {
    let (most, lease) = (look.terms.cost_max?, look.lease(copy)?);
    let total = look.month_to_come();
    if total <= most {
        return None;
    }
    let name = look.fleet.model.host_name(copy.host);
    let when = match lease.watch.term.next.map(|next| next.at.since(look.fleet.now)) {
        Some(left) if left.0 > 0 => format!("will cost {total} a month in {left}"),
        _ => format!("costs {total} a month"),
    };
    let evidence = format!("what runs on {name} {when}, {most} were agreed: {} asks more", look.partner(lease));
    let (trigger, class) = (Trigger::Price, Class::Mandatory);
    Some(Cause { trigger, class, from: copy.clone(), evidence, want: Want::Any, averted: Ppm(0) })
}

/// Well within the limit of the answer time.
fn nearer(look: &Look<'_, '_>) -> Want {
    let limit = look.terms.p95_max.unwrap_or(Micros(i64::MAX));
    let within = i128::from(limit.0) * i128::from(look.fleet.rules.rtt_good.0) / 1_000_000;
    Want::Nearer { within: Micros(i64::try_from(within).unwrap_or(i64::MAX)) }
}

/// The host will probably be away soon: better gone before.
pub(super) fn away(look: &Look<'_, '_>, copy: &Arc<Assignment>) -> Option<Cause> {
    let chance = look.fleet.chance(copy.host);
    if chance.away < look.fleet.rules.away_least {
        return None;
    }
    let alone = look.all_others_away(copy);
    let averted = u64::from(chance.away.0) / 2 * u64::from(alone.0) / 1_000_000;
    let name = look.fleet.model.host_name(copy.host);
    Some(Cause {
        trigger: Trigger::PredictedAvailability,
        class: Class::Risk,
        from: copy.clone(),
        evidence: format!("{name} {}", chance.why),
        want: Want::Steadier { away: chance.away },
        averted: Ppm(u32::try_from(averted).unwrap_or(0)),
    })
}

/// The share of its time that a service was up, where that is less than agreed and was measured for long enough.
fn too_little_up(look: &Look<'_, '_>) -> Option<(Ppm, Ppm)> {
    let fleet = look.fleet;
    let least = look.terms.availability_min?;
    let measured = look.service.measured;
    let since = measured.current.map_or(Micros::ZERO, |(_, since)| fleet.now.since(since));
    let long = measured.up.0.saturating_add(measured.down.0).saturating_add(since.0) >= fleet.rules.measured_least.0;
    let share = measured_availability(&look.service, fleet.now, fleet.model.observable_since)?;
    (long && share < least).then_some((share, least))
}

/// The service was up less than agreed, and the place is to blame: it is not there often enough, or the software does not
/// do well there. Tried once a day: if another place does not help, the software is to blame.
pub(super) fn rarely_up(look: &Look<'_, '_>, copy: &Arc<Assignment>) -> Option<Cause> {
    let (share, least) = too_little_up(look)?;
    let fleet = look.fleet;
    let view = fleet.view(copy.host)?;
    let health = copy.observed.as_ref().map(|o| o.health).unwrap_or_default();
    let here = i128::from(health.up.0) + i128::from(health.down.0);
    let own = (here > 0).then(|| i128::from(health.up.0) * 1_000_000 / here).and_then(|own| u32::try_from(own).ok());
    let own = own.map_or(view.availability, |own| view.availability.min(Ppm(own)));
    // Software that ends is not asked how it does: where the only copy is down, the service's outages are those of it here.
    let is_down = copy.observed.as_ref().is_some_and(|o| o.phase != Phase::Running);
    let own = if is_down && look.copies.len() == 1 { own.min(share) } else { own };
    let was_tried = fleet
        .model
        .moves_about(look.service.id)
        .take_while(|m| fleet.now.since(m.started_at) < fleet.rules.memory)
        .any(|m| m.trigger == Trigger::ActualAvailability && m.to.is_some());
    if own >= least || was_tried {
        return None;
    }
    let short = u64::from(least.0 - own.0) * 1_000_000 / u64::from(1_000_000 - least.0.min(999_999));
    Some(Cause {
        trigger: Trigger::ActualAvailability,
        class: Class::Risk,
        from: copy.clone(),
        evidence: format!("it was up {share} of the time, {least} were agreed; on {} {own}", view.host.name),
        want: Want::Sturdier { availability: own },
        averted: Ppm(u32::try_from(short.min(1_000_000)).unwrap_or(1_000_000)),
    })
}

/// Answers take nearly as long as they may.
pub(super) fn far(look: &Look<'_, '_>, copy: &Arc<Assignment>) -> Option<Cause> {
    let limit = look.terms.p95_max?;
    let candidate = look.standing.candidates.iter().find(|c| c.host == copy.host)?;
    let p95 = candidate.predicted.p95?;
    let near = i128::from(limit.0) * i128::from(look.fleet.rules.rtt_near.0) / 1_000_000;
    if i128::from(p95.0) < near {
        return None;
    }
    let share = i128::from(p95.0) * 1_000_000 / i128::from(limit.0.max(1));
    let share = Ppm(u32::try_from(share).unwrap_or(1_000_000));
    Some(Cause {
        trigger: Trigger::RoundTrip,
        class: Class::Risk,
        from: copy.clone(),
        evidence: format!(
            "answers by way of {} take {p95} of at most {limit} ({})",
            candidate.host_name,
            percent(share)
        ),
        want: nearer(look),
        averted: Ppm(500_000),
    })
}
