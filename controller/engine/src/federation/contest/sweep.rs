//! The timer: what nobody touches is decided and closed.

use chandler_protocol::Micros;

use super::{decision, keep};
use crate::draft::Draft;
use crate::finance::dispute::{Dispute, DisputeState, UNTOUCHED, sweep as due};
use crate::model::Change;

/// How long a buyer that has offered something waits for the seller's word: the seller's own timer runs out first, so that
/// both come to the same.
const OFFERED: Micros = Micros(2 * UNTOUCHED.0);

/// How long a settled one is remembered: two months of bills, as with leases and moves. Until then a partner that is
/// restored from a backup is told how it was decided; the store keeps it for ever.
const KEPT_FOR: Micros = Micros::from_secs(62 * 86_400);

/// Decides and closes what nobody has touched for [`UNTOUCHED`], and forgets what was settled long ago. Gives how many
/// there were.
pub fn sweep(draft: &mut Draft<'_>) -> usize {
    let waits = |d: &Dispute| {
        let has_offered = !d.id.ours && d.decided.is_none() && d.offered().0 > 0;
        has_offered && d.touched_at.after(OFFERED) > draft.now
    };
    let all: Vec<_> = draft.model.disputes.values().filter(|d| !waits(d)).cloned().collect();
    let next = due(all.iter().map(AsRef::as_ref), draft.now, UNTOUCHED);
    let settled = |d: &&std::sync::Arc<Dispute>| d.state == DisputeState::Closed;
    let old = draft.model.disputes.values().filter(settled).filter(|d| d.touched_at.after(KEPT_FOR) <= draft.now);
    let old: Vec<_> = old.map(|d| d.id).collect();
    let count = next.len() + old.len();
    for id in old {
        draft.put(Change::ForgetDispute(id));
    }
    for dispute in next {
        let Some(before) = draft.model.disputes.get(&dispute.id).cloned() else { continue };
        let text = match (&before.decided, &dispute.decided) {
            (None, Some(decided)) => format!("{}: nobody has touched it", decision(decided.to_seller, &before)),
            _ => "nobody has touched it since it was decided".to_owned(),
        };
        keep(draft, &before, dispute, text);
    }
    count
}
