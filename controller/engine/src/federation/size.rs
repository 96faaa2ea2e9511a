//! The size of a lease follows what its assignment wants, while it lasts.
//!
//! The buyer says how much, and from which epoch of the assignment on: use under an earlier epoch is paid by what was
//! leased then, which both sides find by the receipt alone. More is given where there is room, at the rates of the lease;
//! an order waits for that, so that it is refused or served elsewhere before anything has changed. Less is given always,
//! and is free for others once the copy was seen under the smaller size.

mod asking;
#[cfg(test)]
mod cases;

use chandler_protocol::{AssignmentId, OrderId};
use serde::{Deserialize, Serialize};

pub(super) use self::asking::{heard, is_sized};
pub use self::asking::{is_resized, not_sized, resize_all, resizing};
pub(crate) use self::asking::{waiting, waits_for_room};
use super::catalogue::{free, offer_of};
use super::lease::{Lease, LeaseState, Side};
use super::sell::{Unsold, sound};
use super::term::is_raise;
use super::watch::Watch;
use super::word::Demand;
use crate::draft::Draft;
use crate::event::Noun;
use crate::fleet::Capacity;
use crate::market::clearing::Hourly;
use crate::partner::Partner;

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

/// A capacity, for people.
fn told(capacity: Capacity) -> String {
    let Capacity { cpu, memory, gpus } = capacity;
    if gpus > 0 { format!("{cpu} of a processor, {memory} and {gpus} GPUs") } else { format!("{cpu} and {memory}") }
}

fn say(draft: &mut Draft<'_>, lease: &Lease, text: String) {
    let state = lease.state.as_str();
    draft.event((Noun::Lease, lease.id.to_string(), &lease.label), state, state, text);
}
