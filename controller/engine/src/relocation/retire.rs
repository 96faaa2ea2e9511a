//! What is kept of moves, and for how long.

use chandler_protocol::state::Target;
use chandler_protocol::{Micros, MoveId, Timestamp};

use super::{carries_owner, wipe};
use crate::draft::Draft;
use crate::model::Change;
use crate::movement::MovePhase;
use crate::service::AllocationState;

/// How long a move is remembered: two months of bills.
const KEPT_FOR: Micros = Micros::from_secs(62 * 86_400);
/// How many are remembered in any case.
const KEPT: usize = 1_000;

/// Wipes state that was kept after a move for as long as its order says, and forgets moves that ended long ago. State
/// that a move did not leave behind on purpose (its host was lost and came back) stays until its service is deleted.
pub fn retire(draft: &mut Draft<'_>) {
    let now = draft.now;
    let over: Vec<_> = draft
        .model
        .moves
        .values()
        .filter(|m| m.phase == MovePhase::Done)
        .filter_map(|m| Some((m.from?, m.service, m.ended_at?)))
        .collect();
    for (copy, service, ended) in over {
        let Some(copy) = draft.model.assignments.get(&copy).cloned() else { continue };
        let kept = draft.model.services.get(&service).map(|s| s.policy.mobility.undo_kept).unwrap_or_default();
        let is_kept = copy.state == AllocationState::Releasing && copy.target == Target::Stopped;
        if is_kept && now.since(ended) >= kept && !carries_owner(draft, &copy) {
            wipe(draft, &copy, "the time for which its state was kept is over");
        }
    }
    for id in old(draft) {
        draft.put(Change::ForgetMove(id));
    }
}

/// Moves that ended long ago, without the newest.
fn old(draft: &Draft<'_>) -> Vec<MoveId> {
    let mut ended: Vec<(Timestamp, MoveId)> =
        draft.model.moves.values().filter_map(|m| Some((m.ended_at?, m.id))).collect();
    ended.sort_unstable();
    let beyond = ended.len().saturating_sub(KEPT);
    let long_ago = |at: Timestamp| draft.now.since(at) > KEPT_FOR;
    ended.into_iter().take(beyond).filter(|(at, _)| long_ago(*at)).map(|(_, id)| id).collect()
}
