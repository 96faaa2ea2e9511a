//! Routes: which copies front doors send requests to, and what the doors say about it.

use chandler_protocol::state::Phase;
use chandler_protocol::workload::PortMode;
use chandler_protocol::{AssignmentId, Micros, ServiceId};

use super::phase::is_gone;
use super::settle::carries;
use crate::draft::Draft;
use crate::model::Model;
use crate::movement::{Move, MovePhase};
use crate::service::{AllocationState, Assignment, Route, Service};

/// After a restart the controller knows no doors; nothing is concluded from that before they had time to speak.
const DOORS_SPEAK: Micros = Micros::from_secs(5);

/// The furthest that a door is believed to be ahead: one that lies must not use the numbers up.
const AHEAD_MAX: u64 = 1 << 32;

/// Keeps a service's route as its copies are: those that are healthy and may serve. While requests wait for a move it
/// stays as it is.
pub(crate) fn keep_route(draft: &mut Draft<'_>, id: ServiceId) {
    overtake(draft, id);
    let Some(service) = draft.model.services.get(&id).cloned() else { return };
    if service.is_task() || service.route.hold.is_some() {
        return;
    }
    let backends = backends(&draft.model, &service);
    if backends != service.route.backends {
        let route = Route { sequence: service.route.sequence + 1, hold: None, backends };
        draft.put(Service { route, ..service.as_ref().clone() });
    }
}

/// Goes above what a door acts on: it passes over what is older. That it is ahead means that this controller was restored
/// from a backup.
fn overtake(draft: &mut Draft<'_>, id: ServiceId) {
    let Some(service) = draft.model.services.get(&id).cloned() else { return };
    let known = service.route.sequence;
    let ahead =
        draft.model.doors_of(id).map(|(_, door)| door.sequence).filter(|s| s.saturating_sub(known) <= AHEAD_MAX);
    if let Some(newest) = ahead.max().filter(|newest| *newest > known) {
        let route = Route { sequence: newest.saturating_add(1), ..service.route.clone() };
        draft.put(Service { route, ..service.as_ref().clone() });
    }
}

/// The copies that serve now, in order of id.
fn backends(model: &Model, service: &Service) -> Vec<AssignmentId> {
    let moves: Vec<_> = model.moves_of(service.id).collect();
    let owner = service.tenure.filter(|_| carries(service)).map(|t| t.owner);
    let healthy: Vec<_> = model
        .assignments_of(service.id)
        .filter(|a| owner.is_none_or(|o| o == Some(a.id)))
        .filter(|a| is_healthy(a) && model.hosts.get(&a.host).is_some_and(|h| !is_gone(h.state)))
        .filter(|a| moves.iter().all(|m| !is_out(m, a.id)))
        .collect();
    let staying = healthy.iter().filter(|a| !a.leaving).count();
    // A copy that leaves without another one in its stead serves until the others can do without it.
    let enough = staying >= service.copies.max(1) as usize;
    let leaves_with_move = |a: &Assignment| moves.iter().any(|m| m.from == Some(a.id));
    let kept = healthy.iter().filter(|a| !a.leaving || !enough || leaves_with_move(a));
    kept.map(|a| a.id).collect()
}

/// Whether a move keeps this copy out of the route: the new one before the switch, the old one after it.
fn is_out(on: &Move, copy: AssignmentId) -> bool {
    let switched = matches!(on.phase, MovePhase::Switching | MovePhase::Draining);
    (on.to == Some(copy) && !switched) || (on.from == Some(copy) && switched)
}

/// Whether a copy is told to run, and its agent says that it answers, under whatever epoch: a new price is no outage.
pub(super) fn is_healthy(a: &Assignment) -> bool {
    let answers = a.observed.as_ref().is_some_and(|o| o.phase == Phase::Running);
    a.state != AllocationState::Releasing && a.is_to_run() && answers
}

/// Whether requests wait for a move, within the time that was agreed: nobody is refused, so that the service counts as
/// being there.
pub(crate) fn is_held(draft: &Draft<'_>, service: &Service) -> bool {
    let Some((id, _)) = service.route.hold else { return false };
    let began = draft.model.moves.get(&id).and_then(|m| m.phases.iter().rfind(|p| p.phase == MovePhase::Holding));
    began.is_some_and(|p| draft.now.since(p.at) <= service.policy.mobility.hold_max)
}

/// Lets requests wait for a move, in this attempt.
pub(super) fn hold(draft: &mut Draft<'_>, on: &Move) {
    change(draft, on.service, |route| route.hold = Some((on.id, on.attempt)));
}

/// Requests go on, to whoever serves now.
pub(super) fn release(draft: &mut Draft<'_>, id: ServiceId) {
    let Some(service) = draft.model.services.get(&id).cloned() else { return };
    if service.route.hold.is_some() {
        let backends = backends(&draft.model, &service);
        change(draft, id, |route| (route.hold, route.backends) = (None, backends));
    }
}

fn change(draft: &mut Draft<'_>, id: ServiceId, how: impl FnOnce(&mut Route)) {
    let Some(service) = draft.model.services.get(&id).cloned() else { return };
    let mut route = service.route.clone();
    how(&mut route);
    route.sequence += 1;
    draft.put(Service { route, ..service.as_ref().clone() });
}

/// What the doors of connected hosts say together. A door that cannot be heard is not waited for: what it still sends to
/// a copy that has stopped is refused there, and sent anew.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Doors {
    /// All act on the newest route.
    pub acted: bool,
    /// All of them let requests wait.
    pub holding: bool,
    /// Requests under way at the copy, without those that end only when a side closes them.
    pub under_way: u32,
    /// Those.
    pub long_lived: u32,
    /// Requests and connections that wait.
    pub waiting: u32,
}

/// What the doors say of one copy.
pub(super) fn doors(draft: &Draft<'_>, service: &Service, copy: Option<AssignmentId>) -> Doors {
    let model = &draft.model;
    let of = |counts: &[(AssignmentId, u32)]| {
        let own = counts.iter().filter(|(id, _)| Some(*id) == copy);
        own.fold(0_u32, |sum, (_, n)| sum.saturating_add(*n))
    };
    let all = Doors { acted: !is_deaf(draft), holding: true, under_way: 0, long_lived: 0, waiting: 0 };
    model.doors_of(service.id).filter(|(host, _)| model.pulse(*host).connected).fold(all, |all, (_, door)| {
        let long = of(&door.long_lived);
        Doors {
            acted: all.acted && door.sequence >= service.route.sequence,
            holding: all.holding && door.holding,
            under_way: all.under_way.saturating_add(of(&door.under_way).saturating_sub(long)),
            long_lived: all.long_lived.saturating_add(long),
            waiting: all.waiting.saturating_add(door.waiting),
        }
    })
}

/// Whether all doors act on the newest route and have nothing under way at this copy that ends by itself.
pub(crate) fn is_quiet(draft: &Draft<'_>, id: ServiceId, copy: AssignmentId) -> bool {
    let Some(service) = draft.model.services.get(&id) else { return true };
    let said = doors(draft, service, Some(copy));
    said.acted && said.under_way == 0
}

/// Whether the controller has just begun to listen: doors that it does not know may be there.
pub(super) fn is_deaf(draft: &Draft<'_>) -> bool {
    let since = draft.model.observable_since;
    // A model that never restarted begins at zero.
    since.0 > 0 && draft.now.since(since) < DOORS_SPEAK
}

/// Whether connections that only a side can end may be ended by a move.
pub(super) fn may_cut(service: &Service) -> bool {
    service.policy.mobility.cut_allowed || service.spec.ports.iter().any(|p| p.mode == PortMode::Tcp)
}
