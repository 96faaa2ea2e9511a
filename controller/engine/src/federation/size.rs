//! The size of a lease follows what its assignment wants, while it lasts.
//!
//! The buyer says how much, and from which epoch of the assignment on: use under an earlier epoch is paid by what was
//! leased then, which both sides find by the receipt alone. More is given where there is room, at the rates of the lease;
//! an order waits for that, so that it is refused or served elsewhere before anything has changed. Less is given always,
//! and is free for others once the copy was seen under the smaller size.

#[cfg(test)]
mod cases;

use std::sync::Arc;

use chandler_protocol::text::{TEXT_MAX, clean};
use chandler_protocol::{AssignmentId, MicroMoney, OrderId, PartyId};
use serde::{Deserialize, Serialize};

use super::buy::{full, refuse};
use super::catalogue::{free, offer_of};
use super::lease::{Lease, LeaseState, Side};
use super::sell::{Unsold, sound};
use super::term::is_raise;
use super::watch::Watch;
use super::word::{Demand, LeaseWord, Qualified};
use crate::draft::Draft;
use crate::event::Noun;
use crate::fleet::Capacity;
use crate::market::clearing::Hourly;
use crate::model::Model;
use crate::order::{Order, OrderState};
use crate::partner::Partner;
use crate::placement::Outcome;
use crate::service::{AllocationState, Assignment, Service};

/// Sizes of a lease that nothing was metered behind yet. Who changes it more often waits for the next receipt.
const EARLIER_MAX: usize = 16;

/// How large a lease was and shall be, beside [`Lease::capacity`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Size {
    /// The epoch of the assignment from which on the lease is as large as it is. 0: it always was.
    pub from: u64,
    /// The demand that made it so: they are counted.
    pub turn: u64,
    /// What it was before, as long as use of then may be reported; oldest first, at most [`EARLIER_MAX`].
    pub earlier: Vec<Earlier>,
    /// Of [`Side::Sold`]: what its copy may still take, until its agent was heard under the present size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub still: Option<Capacity>,
    /// Of [`Side::Bought`]: what is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asked: Option<Sizing>,
    /// Of [`Side::Bought`]: the last demand that was asked for, given or not.
    pub last: u64,
    /// Of [`Side::Bought`]: a smaller size that its seller does not give.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<Capacity>,
}

impl Size {
    /// With something else asked for.
    fn asking(&self, wanted: Capacity, from: u64, order: Option<OrderId>) -> Self {
        let turn = self.last.max(self.turn).saturating_add(1);
        let asked = Some(Sizing { wanted, from: from.max(self.from).max(1), turn, order });
        Self { asked, last: turn, ..self.clone() }
    }
}

/// What a lease was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Earlier {
    /// The last epoch for which it was so large.
    pub last: u64,
    /// How large.
    pub capacity: Capacity,
}

/// What a lease shall become.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sizing {
    /// How large.
    pub wanted: Capacity,
    /// From which epoch of its assignment on.
    pub from: u64,
    /// Which demand it is.
    pub turn: u64,
    /// The order that waits for it; `None`: it follows what is ordered already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<OrderId>,
}

impl Lease {
    /// What was leased for use under an epoch.
    pub fn capacity_at(&self, epoch: u64) -> Capacity {
        self.watch.size.earlier.iter().find(|e| epoch <= e.last).map_or(self.capacity, |e| e.capacity)
    }

    /// The same lease at another size for use from an epoch on.
    #[must_use]
    pub(super) fn resized(&self, wanted: Capacity, from: u64, turn: u64) -> Self {
        let mut size = Size { from, turn, ..self.watch.size.clone() };
        let last = from.saturating_sub(1);
        // Nothing was told to run under a size that was changed again from the same epoch on.
        if wanted != self.capacity && size.earlier.last().is_none_or(|e| e.last < last) {
            size.earlier.push(Earlier { last, capacity: self.capacity });
        }
        Self { capacity: wanted, ..self.clone() }.with_size(size)
    }

    /// Use under an epoch was metered: of those before it nothing comes any more.
    #[must_use]
    pub(super) fn metered_under(&self, epoch: u64) -> Self {
        let mut size = self.watch.size.clone();
        size.earlier.retain(|e| e.last >= epoch);
        let sized = self.with_size(size);
        Self { watch: Watch { epoch, ..sized.watch }, ..sized }
    }

    /// The first epoch for which its size may still change.
    fn unsettled(&self) -> u64 {
        self.watch.epoch.saturating_add(1).max(self.watch.size.from)
    }

    pub(super) fn with_size(&self, size: Size) -> Self {
        Self { watch: Watch { size, ..self.watch.clone() }, ..self.clone() }
    }
}

/// The seller's side: another size for a lease of this buyer. One that a later one has overtaken changes nothing.
pub(super) fn resize(
    draft: &mut Draft<'_>,
    buyer: &Partner,
    id: AssignmentId,
    demand: &Demand,
) -> Result<Lease, Unsold> {
    let known = draft.model.leases.get(&id).cloned().ok_or(Unsold::Unknown)?;
    let lease = known.as_ref();
    if lease.side != Side::Sold || lease.partner != buyer.party {
        return Err(Unsold::Other);
    }
    if !lease.is_open() {
        return Err(Unsold::Over(lease.reason.clone()));
    }
    let size = &lease.watch.size;
    if demand.turn <= size.turn {
        return Ok(lease.clone());
    }
    sound(buyer, id, demand)?;
    fits(draft, lease, demand).map_err(Unsold::NothingFits)?;
    // What a buyer that was restored asks of an epoch that is paid counts from the next one on; its word says so.
    let mut next = lease.resized(demand.wanted, demand.epoch.max(lease.unsettled()), demand.turn);
    next.touched_at = draft.now;
    if lease.state != LeaseState::Reserved && !demand.wanted.holds(lease.taken()) {
        next.watch.size.still = Some(lease.taken());
    }
    let text = format!("{} instead of {}, as {} asks", told(next.capacity), told(lease.capacity), buyer.name);
    say(draft, lease, text);
    draft.put(next.clone());
    Ok(next)
}

/// Whether a lease may become so large; why not, in one sentence.
fn fits(draft: &Draft<'_>, lease: &Lease, demand: &Demand) -> Result<(), String> {
    if lease.watch.size.earlier.len() >= EARLIER_MAX {
        return Err("its size was changed too often: wait until its next use is metered".to_owned());
    }
    if lease.capacity.holds(demand.wanted) {
        return Ok(());
    }
    if lease.state == LeaseState::Reclaiming {
        return Err(format!("nothing more is given of what is taken back: {}", lease.reason));
    }
    let host = draft.model.hosts.get(&lease.host);
    let offered = offer_of(&draft.model, lease.host).map(|(_, posted)| posted);
    let (Some(host), Some(posted)) = (host, offered) else { return Err("it is not offered any more".to_owned()) };
    let room = free(&draft.model, host, &posted.offer).plus(lease.taken());
    if !room.holds(demand.wanted) {
        return Err(format!("{} has {} for it in all", host.name, told(room)));
    }
    if let Some(why) = posted.closed(&draft.model, host, draft.now) {
        return Err(why);
    }
    let larger = Lease { capacity: demand.wanted, ..lease.clone() };
    if is_raise(&larger, lease.rates, posted.offer.asked) {
        return Err(format!(
            "more than {} an hour is asked for it by now",
            Hourly::new(demand.wanted).cost(lease.rates)
        ));
    }
    Ok(())
}

/// An agent was heard under this epoch: what its copy took before is free.
pub(super) fn seen(draft: &mut Draft<'_>, id: AssignmentId, epoch: u64, rests: bool) {
    let Some(lease) = draft.model.leases.get(&id).cloned() else { return };
    let size = &lease.watch.size;
    if size.still.is_some() && (rests || epoch >= size.from) {
        draft.put(lease.with_size(Size { still: None, ..size.clone() }));
    }
}

/// The buyer's side: what a lease shall become, with its size as it is kept then; `None`: it is as it should be.
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
pub(super) fn is_sized(model: &Model, id: AssignmentId) -> bool {
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
pub(crate) fn waiting(model: &Model, service: chandler_protocol::ServiceId, but: OrderId) -> Vec<OrderId> {
    let leases = model.assignments_of(service).filter_map(|a| model.leases.get(&a.id));
    let orders = leases.filter_map(|l| l.watch.size.asked?.order);
    orders.filter(|o| *o != but && model.orders.get(o).is_some_and(|o| o.state == OrderState::Acknowledged)).collect()
}

/// The buyer's side: takes in how large a lease is in its seller's words, and gives the lease. What was not asked for is
/// not believed: it is said again what is wanted, as the seller may have forgotten it, or this controller.
pub(super) fn heard(draft: &mut Draft<'_>, lease: &Lease, word: &LeaseWord) -> Result<Lease, String> {
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

/// A capacity, for people.
fn told(capacity: Capacity) -> String {
    let Capacity { cpu, memory, gpus } = capacity;
    if gpus > 0 { format!("{cpu} of a processor, {memory} and {gpus} GPUs") } else { format!("{cpu} and {memory}") }
}

fn say(draft: &mut Draft<'_>, lease: &Lease, text: String) {
    let state = lease.state.as_str();
    draft.event((Noun::Lease, lease.id.to_string(), &lease.label), state, state, text);
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
