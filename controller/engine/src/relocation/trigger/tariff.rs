//! A site's new rates hold for what runs there too, after a notice: time to leave, if they are higher.

use std::sync::Arc;

use chandler_protocol::{Micros, Timestamp};

use super::rules::Rules;
use crate::draft::Draft;
use crate::event::Noun;
use crate::model::Model;
use crate::placement::monthly;
use crate::relocation::{renew, terms_of};
use crate::service::{AllocationState, Assignment, Service};
use crate::site::Rates;

/// A rate that never stands for long holds after so many times the notice in any case.
const AT_THE_LATEST: i64 = 24;

/// Lets the copies of a service that may move follow the rates of their sites; gives whether one does. A rate that would
/// break what its customer agreed to pay at most does not hold: such a copy looks for another place, and keeps its rates
/// until there is one.
pub(super) fn follow(draft: &mut Draft<'_>, service: &Service, rules: &Rules) -> bool {
    let copies = draft.model.assignments_of(service.id);
    let due = copies.filter_map(|a| Some((a.clone(), new_rates(&draft.model, a, draft.now, rules)?)));
    let due: Vec<_> = due.collect();
    let mut any = false;
    for (copy, rates) in due {
        if may_pay(draft, service, &copy, rates) {
            apply(draft, service, &copy, rates);
            any = true;
        }
    }
    any
}

/// The rates that hold for a copy from now on, where they are others than so far.
fn new_rates(model: &Model, copy: &Assignment, now: Timestamp, rules: &Rules) -> Option<Rates> {
    let posted = model.outlooks.get(&model.hosts.get(&copy.host)?.site)?;
    // What is leased is paid by its lease, and follows that.
    let is_leased = model.leases.contains_key(&copy.id);
    let is_settled = copy.state == AllocationState::Allocated && !copy.leaving && copy.is_to_run() && !is_leased;
    if posted.rates == copy.rates || !is_settled || copy.metered < rules.notice {
        return None;
    }
    let price = |rates| monthly(rates, copy.reserved, &copy.price).total();
    let falls = price(posted.rates) <= price(copy.rates);
    let stands = now.since(posted.at) >= rules.notice;
    let is_late = copy.metered.0 / AT_THE_LATEST >= rules.notice.0;
    (falls || stands || is_late).then_some(posted.rates)
}

/// Whether the customer agreed to pay as much, all copies together.
fn may_pay(draft: &Draft<'_>, service: &Service, copy: &Assignment, rates: Rates) -> bool {
    let Some(most) = terms_of(draft, service).cost_max else { return true };
    let others = draft.model.assignments_of(copy.service).filter(|a| a.id != copy.id && a.is_to_run());
    let month = |a: &Arc<Assignment>| monthly(a.rates, a.reserved, &a.price).total().0;
    let new = monthly(rates, copy.reserved, &copy.price).total().0;
    others.map(month).fold(new, i64::saturating_add) <= most.0
}

/// Another tariff is another epoch: the agent goes on, and splits what it meters at that moment.
fn apply(draft: &mut Draft<'_>, service: &Service, copy: &Assignment, rates: Rates) {
    let state = copy.state.as_str();
    let reason = format!("its site's rates hold for it too now: {rates}, instead of {}", copy.rates);
    draft.event((Noun::Assignment, copy.id.to_string(), &service.name), state, state, reason);
    let metered = Micros::ZERO;
    renew(draft, Assignment { rates, metered, previous: Some(copy.tariff()), ..copy.clone() });
}
