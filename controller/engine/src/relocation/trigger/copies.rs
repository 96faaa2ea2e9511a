//! The number of copies that the customer wants at certain hours.

use std::sync::Arc;

use crate::draft::Draft;
use crate::order::Policy;
use crate::relocation::{decide, replan, terms_of};
use crate::service::{AllocationState, Service, Trigger};

/// Brings the number of copies to what the customer wants at this hour, within the policy's limits. Gives whether
/// something was changed.
pub(super) fn keep_count(draft: &mut Draft<'_>, service: &Arc<Service>) -> bool {
    let policy = &service.policy;
    if policy.criteria.at.iter().all(|t| t.replicas.is_none()) || policy.criteria.blackout(draft.now).is_some() {
        return false;
    }
    let staying =
        draft.model.assignments_of(service.id).filter(|a| a.state == AllocationState::Allocated && !a.leaving);
    let now = staying.count();
    let wanted = policy
        .criteria
        .replicas(draft.now)
        .map_or(policy.replicas_min, |n| n.clamp(policy.replicas_min, policy.replicas_max));
    if now == wanted as usize || now != service.copies as usize {
        return false;
    }
    let at_least = Service { policy: Policy { replicas_min: wanted, ..policy.clone() }, ..service.as_ref().clone() };
    let terms = terms_of(draft, service);
    let trigger = Trigger::CustomerCriterion;
    if (wanted as usize) < now {
        // Fewer may not do: the SLA comes first.
        let (outcome, _) = decide(draft, &at_least, &terms, trigger, &[]);
        if outcome.refusal.is_some() || outcome.chosen().count() >= now {
            return false;
        }
    }
    let done = replan(draft, &Arc::new(at_least), &terms, trigger, &[]).is_ok();
    // The order's own policy stays what it is.
    if let Some(after) = draft.model.services.get(&service.id).filter(|s| s.policy != *policy).cloned() {
        draft.put(Service { policy: policy.clone(), ..after.as_ref().clone() });
    }
    done
}
