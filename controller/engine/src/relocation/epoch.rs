//! Epochs: one numbering for each service, above which every new order goes.

use chandler_protocol::state::{Own, Target};
use chandler_protocol::{AssignmentId, ServiceId};

use super::lease::is_free;
use super::tenure::{Stage, Tenure};
use crate::draft::Draft;
use crate::model::Model;
use crate::service::{Assignment, Route, Service};

/// The next epoch of a service: above every one of its copies and of its tenure.
pub(super) fn next_epoch(model: &Model, service: ServiceId) -> u64 {
    let tenure = model.services.get(&service).and_then(|s| s.tenure).map_or(0, |t| t.epoch);
    model.assignments_of(service).map(|a| a.epoch).max().unwrap_or(0).max(tenure).saturating_add(1)
}

/// Keeps a copy under a new epoch, which it gives. Where it owns the state its tenure goes along, and where it serves
/// the doors are told: they name the epoch with every request.
pub(crate) fn renew(draft: &mut Draft<'_>, copy: Assignment) -> u64 {
    let epoch = next_epoch(&draft.model, copy.service);
    raise(draft, copy, epoch);
    epoch
}

/// The same with an epoch of which the caller knows that it is above all others.
pub(super) fn raise(draft: &mut Draft<'_>, mut copy: Assignment, epoch: u64) {
    copy.epoch = epoch;
    let was = draft.model.assignments.get(&copy.id).is_some_and(|a| a.free || is_free(a.target));
    copy.free = was || is_free(copy.target);
    let service = draft.model.services.get(&copy.service).cloned();
    if let Some(service) = service {
        let tenure = service.tenure.map(|t| match t {
            Tenure { owner: Some(owner), stage: Stage::Settled, .. } if owner == copy.id => {
                // What it received long ago is no longer what it begins with.
                if let Target::Own(own) = copy.target {
                    copy.target = Target::Own(Own { from: None, ..own });
                }
                Tenure { epoch, lease: 0, ..t }
            }
            other => other,
        });
        let mut route = service.route.clone();
        if route.backends.contains(&copy.id) {
            route = Route { sequence: route.sequence + 1, ..route };
        }
        if tenure != service.tenure || route != service.route {
            draft.put(Service { tenure, route, ..service.as_ref().clone() });
        }
    }
    draft.put(copy);
}

/// This copy owns the state from now on: whoever did before has surely stopped. Gives its epoch.
pub(super) fn hand_to(draft: &mut Draft<'_>, service: &Service, to: AssignmentId) -> u64 {
    let epoch = next_epoch(&draft.model, service.id);
    let anew = Tenure { owner: Some(to), stage: Stage::Settled, epoch, lease: 0, ..Tenure::first(to, epoch) };
    let tenure = match service.tenure {
        None => anew,
        Some(t) => match t.holder().filter(|holder| *holder != to) {
            Some(gone) => t.fail_over(gone, to).unwrap_or(anew),
            None => Tenure { attempt: t.attempt, ..anew },
        },
    };
    commit(draft, service.id, tenure).epoch
}

/// Commits a tenure and gives it as it is kept: where its epoch grew, it is above every epoch of the service.
pub(super) fn commit(draft: &mut Draft<'_>, service: ServiceId, tenure: Tenure) -> Tenure {
    let Some(known) = draft.model.services.get(&service).cloned() else { return tenure };
    let grew = known.tenure.is_none_or(|t| tenure.epoch > t.epoch);
    let epoch = if grew { tenure.epoch.max(next_epoch(&draft.model, service)) } else { tenure.epoch };
    let tenure = Tenure { epoch, ..tenure };
    draft.put(Service { tenure: Some(tenure), ..known.as_ref().clone() });
    tenure
}
