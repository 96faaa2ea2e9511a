//! Causes that threaten the SLA: the place does not meet it any more, will probably fail, or failed too often.

use std::sync::Arc;

use chandler_protocol::{Micros, Ppm};

use super::super::look::{Look, percent};
use super::super::rules::Class;
use super::{Cause, Want};
use crate::assurance::measured_availability;
use crate::placement::Rule;
use crate::service::{Assignment, Trigger};

/// The place does not meet the SLA, or shall be left.
pub(super) fn unfit(look: &Look<'_, '_>, copy: &Arc<Assignment>) -> Option<Cause> {
    let refused = look.standing.unfit.iter().find(|r| r.host == copy.host)?;
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
        return Some(cause(Trigger::ProviderCriterion, Want::Any, format!("{name} {}{why}", closing.as_str())));
    }
    let evidence = format!("{name} does not meet the SLA any more: {}", refused.reason);
    match refused.rule {
        Rule::Interactivity => Some(cause(Trigger::RoundTrip, nearer(look), evidence)),
        Rule::Cost => Some(cause(Trigger::Price, Want::Any, evidence)),
        Rule::Availability => Some(cause(Trigger::PredictedAvailability, Want::Any, evidence)),
        // The rest follows from a new order, which places anew itself, or from a host that is being lost.
        _ => None,
    }
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

/// The service was up less than agreed, and its host is one that is up less than agreed.
pub(super) fn rarely_up(look: &Look<'_, '_>, copy: &Arc<Assignment>) -> Option<Cause> {
    let least = look.terms.availability_min?;
    let fleet = look.fleet;
    let measured = measured_availability(&look.service, fleet.now, fleet.model.observable_since)?;
    let view = fleet.view(copy.host)?;
    if measured >= least || view.availability >= least {
        return None;
    }
    let short = u64::from(least.0 - view.availability.0) * 1_000_000 / u64::from(1_000_000 - least.0).max(1);
    Some(Cause {
        trigger: Trigger::ActualAvailability,
        class: Class::Risk,
        from: copy.clone(),
        evidence: format!(
            "it was up {measured} of the time, {least} were agreed; {} is up {}",
            view.host.name, view.availability
        ),
        want: Want::Sturdier { availability: view.availability },
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
