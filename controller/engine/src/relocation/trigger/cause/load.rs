//! The machine is too full, whoever fills it.

use std::sync::Arc;

use chandler_protocol::Ppm;

use super::super::look::{Look, percent};
use super::super::rules::Class;
use super::{Cause, Want};
use crate::service::{Assignment, Trigger};

/// The host's processor or memory is used more than is good for what runs there.
pub(super) fn too_full(look: &Look<'_, '_>, copy: &Arc<Assignment>) -> Option<Cause> {
    let (fleet, rules) = (look.fleet, look.fleet.rules);
    let load = fleet.senses.load(copy.host)?;
    // One leaves, and then it is looked what that has changed: the load is an average over a while.
    if load <= rules.load_high || left_for_load(look, copy) {
        return None;
    }
    let what = if fleet.senses.is_processor(copy.host) { "processor" } else { "memory" };
    let readings = fleet.model.pulse(copy.host).readings.unwrap_or_default();
    let of_us = percent(Ppm(u32::try_from(readings.workload_cpu_permille.clamp(0, 1_000) * 1_000).unwrap_or(0)));
    let evidence = format!(
        "the {what} of {} is used to {}, more than {} ({of_us} of the processor by the fleet's own work)",
        fleet.model.host_name(copy.host),
        percent(load),
        percent(rules.load_high),
    );
    let room = u64::from(1_000_000 - rules.load_high.0).max(1);
    let averted = u64::from(load.0 - rules.load_high.0) * 1_000_000 / room;
    Some(Cause {
        trigger: Trigger::Utilisation,
        class: Class::Economic,
        from: copy.clone(),
        evidence,
        want: Want::Idler,
        averted: Ppm(u32::try_from(averted.clamp(100_000, 1_000_000)).unwrap_or(100_000)),
    })
}

fn left_for_load(look: &Look<'_, '_>, copy: &Assignment) -> bool {
    let (model, now) = (look.fleet.model, look.fleet.now);
    let since = chandler_protocol::Timestamp(now.0.saturating_sub(look.fleet.rules.economic.dwell.0));
    let mut lately = model.moves_since(since).filter(|m| !m.phase.is_final() || m.ended_at.is_some());
    lately.any(|m| m.from_host == copy.host && m.trigger == Trigger::Utilisation && m.to.is_some())
}
