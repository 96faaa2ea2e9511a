//! The buyer's side: what its leases shall become, and what it makes of the answers.

use std::sync::Arc;

use chandler_protocol::text::{TEXT_MAX, clean};
use chandler_protocol::{AssignmentId, MicroMoney, OrderId, PartyId, ServiceId};

use super::super::buy::{full, refuse};
use super::super::lease::{Lease, LeaseState, Side};
use super::super::word::{Demand, LeaseWord, Qualified};
use super::{Size, Sizing, say, told};
use crate::draft::Draft;
use crate::event::Noun;
use crate::market::clearing::Hourly;
use crate::model::Model;
use crate::order::{Order, OrderState};
use crate::placement::Outcome;
use crate::service::{AllocationState, Assignment, Service};

/// What a lease shall become, with its size as it is kept then; `None`: it is as it should be.
fn due(model: &Model, lease: &Lease) -> Option<(Sizing, Size)> {
    let mine = lease.side == Side::Bought && lease.is_open();
    let copy = model.assignments.get(&lease.id).filter(|a| mine && a.state != AllocationState::Releasing)?;
    let size = &lease.watch.size;
    let waits = |order: &OrderId| model.orders.get(order).is_some_and(|o| o.state == OrderState::Acknowledged);
    match size.asked {
        Some(asked) if asked.order.map_or(asked.wanted == copy.reserved, |o| waits(&o)) => {
            return Some((asked, size.clone()));
        }
        None if copy.reserved == lease.capacity || size.refused == Some(copy.reserved) => return None,
        _ => {}
    }
    // Since it was configured so: what ran before is still to be paid by what was leased then.
    let before = copy.previous.as_ref().filter(|t| t.reserved != copy.reserved);
    let from = before.map_or(copy.epoch, |t| t.epoch.saturating_add(1));
    let next = size.asking(copy.reserved, from, None);
    Some((next.asked?, next))
}

/// Writes down what is to be asked for of the leases of a partner, before it is: who asks for something else afterwards has
/// to know that it did.
pub fn resize_all(draft: &mut Draft<'_>, partner: PartyId) {
    for (lease, size) in unasked(&draft.model, partner) {
        draft.put(lease.with_size(size));
    }
}

/// Whether [`resize_all`] has something to do.
pub fn is_resized(model: &Model, partner: PartyId) -> bool {
    unasked(model, partner).is_empty()
}

fn unasked(model: &Model, partner: PartyId) -> Vec<(Arc<Lease>, Size)> {
    let next = |lease: &Arc<Lease>| due(model, lease).map(|(_, size)| size).filter(|size| *size != lease.watch.size);
    bought_of(model, partner).filter_map(|lease| Some((lease.clone(), next(lease)?))).collect()
}

fn bought_of(model: &Model, partner: PartyId) -> impl Iterator<Item = &Arc<Lease>> {
    model.leases.values().filter(move |l| l.side == Side::Bought && l.partner == partner && l.is_open())
}

/// The leases of a partner that shall have another size, with what to ask for, in order of id.
pub fn resizing(model: &Model, partner: PartyId) -> Vec<(AssignmentId, Demand)> {
    let asked = bought_of(model, partner).filter_map(|lease| {
        let asked = lease.watch.size.asked?;
        let is_due = due(model, lease).is_some_and(|(due, _)| due == asked);
        let demand = Demand {
            service: lease.service,
            label: lease.label.clone(),
            wanted: asked.wanted,
            cap: Hourly::new(asked.wanted).cost(lease.rates_to_come()),
            candidates: vec![Qualified { host: lease.host, extra: MicroMoney(0) }],
            epoch: asked.from,
            turn: asked.turn,
        };
        is_due.then_some((lease.id, demand))
    });
    asked.collect()
}

/// Whether what a copy shall do may be said: its lease has the size for it. What an order only waits for holds up nothing.
pub(in crate::federation) fn is_sized(model: &Model, id: AssignmentId) -> bool {
    let due = model.leases.get(&id).and_then(|lease| due(model, lease));
    due.is_none_or(|(due, _)| due.order.is_some())
}

/// An order wants more of what is leased for copies that stay: that is asked for first. Says whether it has to wait.
pub(crate) fn waits_for_room(draft: &mut Draft<'_>, order: &Order, changed: &Service, outcome: &Outcome) -> bool {
    let wanted = changed.reserved();
    let stays = |a: &Assignment| {
        let is_chosen = outcome.chosen().any(|c| c.host == a.host);
        is_chosen && !a.leaving && a.state != AllocationState::Releasing
    };
    let copies = draft.model.assignments_of(changed.id).filter(|a| stays(a));
    let small: Vec<(u64, Arc<Lease>)> = copies
        .filter_map(|a| Some((a.epoch, draft.model.leases.get(&a.id)?.clone())))
        .filter(|(_, l)| l.side == Side::Bought && l.is_open() && !l.capacity.holds(wanted))
        .collect();
    for (epoch, lease) in &small {
        let size = &lease.watch.size;
        let is_asked = size.asked.is_some_and(|a| a.order == Some(order.id) && a.wanted == wanted);
        if is_asked {
            continue;
        }
        draft.put(lease.with_size(size.asking(wanted, epoch.saturating_add(1), Some(order.id))));
        let (place, partner) = (draft.model.host_name(lease.host), party(draft, lease.partner));
        waits(draft, order.id, format!("asks {partner} for {} on {place}", told(wanted)));
    }
    !small.is_empty()
}

/// The orders that wait for more room for a service: a later one takes their place.
pub(crate) fn waiting(model: &Model, service: ServiceId, but: OrderId) -> Vec<OrderId> {
    let leases = model.assignments_of(service).filter_map(|a| model.leases.get(&a.id));
    let orders = leases.filter_map(|l| l.watch.size.asked?.order);
    orders.filter(|o| *o != but && model.orders.get(o).is_some_and(|o| o.state == OrderState::Acknowledged)).collect()
}

/// Takes in how large a lease is in its seller's words, and gives the lease. What was not asked for is
/// not believed: it is said again what is wanted, as the seller may have forgotten it, or this controller.
pub(in crate::federation) fn heard(draft: &mut Draft<'_>, lease: &Lease, word: &LeaseWord) -> Result<Lease, String> {
    let size = &lease.watch.size;
    // It may count from a later epoch on than was asked for, once that is one of the copy's.
    let epoch = draft.model.assignments.get(&lease.id).map_or(0, |a| a.epoch);
    let newest = |s: &Sizing| s.from.max(epoch.saturating_add(u64::from(s.order.is_some())));
    let is_it =
        |s: &Sizing| (s.wanted, s.turn) == (word.capacity, word.turn) && (s.from..=newest(s)).contains(&word.epoch);
    let next = if word.turn == size.turn {
        if (word.capacity, word.epoch) != (lease.capacity, size.from) {
            return Err(format!("{}: what was agreed does not change while it lasts", word.id));
        }
        return Ok(lease.clone());
    } else if let Some(asked) = size.asked.filter(is_it) {
        say(draft, lease, format!("{} instead of {}", told(word.capacity), told(lease.capacity)));
        if let Some(order) = asked.order {
            waits(draft, order, format!("{} has room for it", draft.model.host_name(lease.host)));
        }
        let sized = lease.resized(word.capacity, word.epoch, word.turn);
        sized.with_size(Size { asked: None, refused: None, ..sized.watch.size.clone() })
    } else if word.state == LeaseState::Closed || size.asked.is_some_and(|asked| asked.turn > word.turn) {
        // What was asked for since will be answered.
        return Ok(lease.clone());
    } else if size.asked.is_some_and(|asked| asked.turn == word.turn) {
        return Err(format!("{}: what was given is not what was asked for", word.id));
    } else {
        let (wanted, from, order) = match due(&draft.model, lease) {
            Some((due, _)) => (due.wanted, due.from, due.order),
            None => (lease.capacity, size.from, None),
        };
        let known = Size { last: size.last.max(word.turn), ..size.clone() };
        lease.with_size(known.asking(wanted, from.max(word.epoch), order))
    };
    draft.put(next.clone());
    Ok(next)
}

/// A size is not given. An order that waits for it is decided anew, where there is no room for it; what is configured so
/// already cannot run there. Of what is smaller only the price was to change: it stays as it is.
pub fn not_sized(draft: &mut Draft<'_>, id: AssignmentId, turn: u64, why: &str) {
    let Some(lease) = draft.model.leases.get(&id).cloned() else { return };
    let Some((due, _)) = due(&draft.model, &lease).filter(|(due, _)| due.turn == turn) else { return };
    let wanted = due.wanted;
    let size = Size { asked: None, ..lease.watch.size.clone() };
    let is_less = wanted != lease.capacity && lease.capacity.holds(wanted);
    let refused = if due.order.is_none() && is_less { Some(wanted) } else { size.refused };
    draft.put(lease.with_size(Size { refused, ..size }));
    let why = clean(why, TEXT_MAX);
    match due.order {
        Some(order) => {
            say(draft, &lease, format!("{} were not given: {why}", told(wanted)));
            // Until its home says again what it has, it has no more than what is leased.
            let held = draft.model.reserved.get(&lease.host).copied().unwrap_or_default();
            full(draft, lease.host, held);
            waits(draft, order, format!("{} gives no more: {why}", draft.model.host_name(lease.host)));
        }
        None if is_less => say(draft, &lease, format!("{} were not given: {why}", told(wanted))),
        None => refuse(draft, id, &why),
    }
}

fn party(draft: &Draft<'_>, id: PartyId) -> String {
    draft.model.parties.get(&id).map_or_else(|| id.to_string(), |p| p.name.clone())
}

/// What an order waits for, or that it is looked at again.
fn waits(draft: &mut Draft<'_>, order: OrderId, reason: String) {
    let Some(order) = draft.model.orders.get(&order).filter(|o| o.state == OrderState::Acknowledged).cloned() else {
        return;
    };
    let state = order.state.as_str();
    draft.event((Noun::Order, order.id.to_string(), &order.name), state, state, reason.clone());
    draft.put(Order { reason, ..order.as_ref().clone() });
}
