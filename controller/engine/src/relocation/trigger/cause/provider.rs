//! What the provider would rather have: a margin, and computers that are full or empty.

use std::sync::Arc;

use chandler_protocol::{HostId, Ppm};

use super::super::look::{Look, Place, percent};
use super::super::rules::Class;
use super::{Cause, Want};
use crate::service::{Assignment, Trigger};
use crate::site::SiteRole;

/// The provider's criteria for the whole fleet, as far as they speak for another place.
pub(super) fn wants(look: &Look<'_, '_>, copy: &Arc<Assignment>) -> Option<Cause> {
    let criteria = look.fleet.model.criteria_of(None)?;
    let cause = |evidence, want| Cause {
        trigger: Trigger::ProviderCriterion,
        class: Class::Economic,
        from: copy.clone(),
        evidence,
        want,
        averted: Ppm(0),
    };
    let name = look.fleet.model.host_name(copy.host);
    if let (Some(floor), Some(margin)) = (criteria.margin_floor_percent, look.margin_percent(copy.host))
        && margin < i64::from(floor)
    {
        let text = format!("{margin} % of what it costs on {name} is left to the provider, less than {floor} %");
        return Some(cause(text, Want::Margin { least_percent: floor.into() }));
    }
    let view = look.fleet.view(copy.host)?;
    let reserved = reserved(look, copy.host)?;
    let is_own = view.role == SiteRole::Provider;
    if criteria.consolidate && is_own && reserved < look.fleet.rules.nearly_empty {
        let text = format!("{name} is reserved to {} only and could be emptied", percent(reserved));
        return Some(cause(text, Want::Fuller { reserved }));
    }
    None
}

/// Which share of what a host offers is reserved: of processor or memory, whichever is more.
fn reserved(look: &Look<'_, '_>, host: HostId) -> Option<Ppm> {
    let view = look.fleet.view(host)?;
    share(view.reserved.cpu.0.into(), view.offered.cpu.0.into())
        .max(share(view.reserved.memory.0, view.offered.memory.0))
}

fn share(part: u64, of: u64) -> Option<Ppm> {
    let ppm = u128::from(part) * 1_000_000 / u128::from(of.max(1));
    (of > 0).then(|| Ppm(u32::try_from(ppm).unwrap_or(u32::MAX)))
}

/// Whether a place is one of the provider's, used more than the one that would be left, and not too full with this.
pub(super) fn is_fuller(look: &Look<'_, '_>, place: &Place, than: Ppm) -> bool {
    let Some(view) = look.fleet.view(place.host) else { return false };
    let with = view.reserved.plus(look.service.reserved());
    let after = share(with.cpu.0.into(), view.offered.cpu.0.into()).max(share(with.memory.0, view.offered.memory.0));
    let now = reserved(look, place.host);
    let fits = after.is_some_and(|a| a <= look.fleet.rules.well_filled);
    place.role == SiteRole::Provider && fits && now.is_some_and(|now| now > than)
}
