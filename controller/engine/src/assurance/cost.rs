//! What a service costs a month, against what its customer agreed to pay.

use std::collections::BTreeMap;

use chandler_protocol::{MicroMoney, Timestamp};

use super::{Objective, Status, verdict};
use crate::federation::Lease;
use crate::model::Model;
use crate::placement::monthly;
use crate::service::{AllocationState, Assignment, Service};
use crate::site::Rates;

/// The term of the cost. It is at risk where a partner has announced rates with which it will not hold.
pub(super) fn objective(
    model: &Model,
    service: &Service,
    max: MicroMoney,
    now: Timestamp,
    currency: &str,
) -> Objective {
    let here = |copy: &Assignment| copy.rates;
    let to_come = |copy: &Assignment| leased(model, copy).map_or(copy.rates, Lease::rates_to_come);
    let (rate, later) = (running_cost(model, service, here), running_cost(model, service, to_come));
    let mut measured = rate.map_or(String::new(), |r| format!("{r} {currency}/month at what is reserved now"));
    let mut status = verdict(rate.map(|r| r <= max));
    if let (Some(later), Some(why)) = (later.filter(|later| *later > max), raised(model, service, now)) {
        measured = format!("{measured}; {later} {currency}/month {why}");
        if status == Status::Met {
            status = Status::AtRisk;
        }
    }
    if status == Status::Violated
        && let Some(lease) = model.assignments_of(service.id).find_map(|a| leased(model, a))
    {
        let (host, partner) = (model.host_name(lease.host), partner_of(model, lease));
        measured = format!("{measured}; {} are paid to {partner} for what runs on {host}", lease.rates);
    }
    Objective {
        name: "cost",
        target: format!("at most {max} {currency}/month"),
        predicted: service.predicted.map_or(String::new(), |p| format!("{} {currency}/month", p.monthly_cost)),
        measured,
        status,
        budget: None,
    }
}

fn leased<'m>(model: &'m Model, copy: &Assignment) -> Option<&'m Lease> {
    model.leases.get(&copy.id).map(AsRef::as_ref)
}

/// The name of the other side.
fn partner_of(model: &Model, lease: &Lease) -> String {
    model.parties.get(&lease.partner).map_or_else(|| lease.partner.to_string(), |p| p.name.clone())
}

/// Who raises its price, and when that holds.
fn raised(model: &Model, service: &Service, now: Timestamp) -> Option<String> {
    let all = model.assignments_of(service.id).filter_map(|a| leased(model, a));
    let (at, lease) =
        all.filter_map(|l| l.watch.term.next.map(|next| (next.at, l))).min_by_key(|(at, l)| (*at, l.id))?;
    let partner = partner_of(model, lease);
    let left = at.since(now);
    let when = if left.0 > 0 { format!("in {left}") } else { "from now on".to_owned() };
    Some(format!("{when}, because {partner} raises its price for what runs on {}", model.host_name(lease.host)))
}

/// What the service costs a month at what is reserved for it now; `None` when nothing is. A copy on its way is one copy,
/// at the dearer of its two places: nobody agreed to a price for the moment in which both are reserved.
fn running_cost(model: &Model, service: &Service, rates: impl Fn(&Assignment) -> Rates) -> Option<MicroMoney> {
    let month = |a: &Assignment| monthly(rates(a), a.reserved, &a.price).total().0;
    let stays = model.assignments_of(service.id).filter(|a| a.state != AllocationState::Releasing);
    let mut prices: BTreeMap<_, _> = stays.map(|a| (a.id, month(a))).collect();
    for on in model.moves_of(service.id) {
        if let Some((from, to)) = on.from.zip(on.to)
            && let Some(other) = prices.get(&from).copied()
            && let Some(price) = prices.get_mut(&to)
        {
            *price = other.max(*price);
            prices.remove(&from);
        }
    }
    (!prices.is_empty()).then(|| MicroMoney(prices.values().fold(0, |a, b| i64::saturating_add(a, *b))))
}
