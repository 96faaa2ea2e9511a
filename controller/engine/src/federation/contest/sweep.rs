//! The timer: what nobody touches is decided and closed.

use chandler_protocol::Micros;

use super::{decision, keep};
use crate::draft::Draft;
use crate::finance::dispute::{Dispute, UNTOUCHED, sweep as due};

/// How long a buyer that has offered something waits for the seller's word: the seller's own timer runs out first, so that
/// both come to the same.
const OFFERED: Micros = Micros(2 * UNTOUCHED.0);

/// Decides and closes what nobody has touched for [`UNTOUCHED`]. Gives how many there were.
pub fn sweep(draft: &mut Draft<'_>) -> usize {
    let waits = |d: &Dispute| {
        let has_offered = !d.id.ours && d.decided.is_none() && d.offered().0 > 0;
        has_offered && d.touched_at.after(OFFERED) > draft.now
    };
    let all: Vec<_> = draft.model.disputes.values().filter(|d| !waits(d)).cloned().collect();
    let next = due(all.iter().map(AsRef::as_ref), draft.now, UNTOUCHED);
    let count = next.len();
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
