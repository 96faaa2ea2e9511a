//! When a site's computers are there: its owner's hours, and windows of maintenance.

use chandler_api::site::{Maintenance as Shown, SiteUpdate};
use chandler_api::value::Time;
use chandler_engine::criteria::{MAINTENANCE_MAX, Maintenance, ProviderCriteria};
use chandler_protocol::text::{TEXT_MAX, clean};
use chandler_protocol::{Micros, Timestamp};

use crate::api::error::Fields;

/// How long before it closes a site is left, at most.
const LEAD_MAX: Micros = Micros::from_secs(7 * 86_400);

/// The criteria of a site after a change; fields that are left out stay. Windows that are over are forgotten.
pub(super) fn change(
    fields: &mut Fields,
    before: &ProviderCriteria,
    wanted: &SiteUpdate,
    now: Timestamp,
) -> ProviderCriteria {
    let mut after = before.clone();
    if let Some(windows) = &wanted.maintenance {
        let few = windows.len() <= MAINTENANCE_MAX;
        fields.check(few, "maintenance", format!("write at most {MAINTENANCE_MAX} windows"));
        for (index, window) in windows.iter().enumerate().take(MAINTENANCE_MAX) {
            let pointer = format!("maintenance[{index}]");
            fields.check(window.from < window.to, format!("{pointer}.to"), "write a time after its beginning");
            fields.check(window.to.0 > now, format!("{pointer}.to"), "this time is over: write a later one");
            let is_short = window.reason.chars().count() <= TEXT_MAX;
            fields.check(is_short, format!("{pointer}.reason"), format!("write at most {TEXT_MAX} characters"));
        }
        let kept = |w: &Shown| Maintenance { from: w.from.0, to: w.to.0, reason: clean(&w.reason, TEXT_MAX) };
        after.maintenance = windows.iter().take(MAINTENANCE_MAX).map(kept).collect();
        after.maintenance.sort_by_key(|w| (w.from, w.to));
    }
    if let Some(hours) = &wanted.hours {
        match hours.trim() {
            "" => after.hours = None,
            text => match text.parse() {
                Ok(hours) => after.hours = Some(hours),
                Err(error) => fields.wrong("hours", clean(&error.to_string(), TEXT_MAX)),
            },
        }
    }
    if let Some(lead) = wanted.lead {
        let in_range = (Micros::ZERO..=LEAD_MAX).contains(&lead.0);
        fields.check(in_range, "lead", format!("write a duration from 0 s to {LEAD_MAX}"));
        after.lead = lead.0;
    }
    after
}

/// The criteria in one sentence, for the event.
pub(super) fn text(criteria: &ProviderCriteria) -> String {
    let hours = criteria.hours.as_ref().map_or_else(|| "always".to_owned(), ToString::to_string);
    let windows = criteria.maintenance.len();
    format!("hours {hours}, {windows} windows of maintenance, left {} before", criteria.lead)
}

/// The windows that are not over.
pub(super) fn shown(criteria: &ProviderCriteria, now: Timestamp) -> Vec<Shown> {
    let open = criteria.maintenance.iter().filter(|w| w.to > now);
    open.map(|w| Shown { from: Time(w.from), to: Time(w.to), reason: w.reason.clone() }).collect()
}
