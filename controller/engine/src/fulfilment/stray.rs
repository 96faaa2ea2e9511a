//! Strays: software that runs on a host although no record of its home names it.
//!
//! There are none but at a controller that was restored from a backup: what was placed since is not in its records, and an
//! agent leaves running what it is not told about. Whoever wants it still has time to say so: a buyer asks again for what
//! its seller has forgotten ([`crate::federation::forgotten`]). What nobody has asked for until then serves nobody, is
//! metered for nobody and is stopped. Its files stay: they may be all that is left of somebody's work.

#[cfg(test)]
mod cases;

use std::collections::BTreeSet;

use chandler_protocol::state::{Assignment, ObservedAssignment, Phase, Target};
use chandler_protocol::workload::{
    DriverKind, Limits, RestartPolicy, Software, StopPolicy, WorkloadKind, WorkloadSpec,
};
use chandler_protocol::{AssignmentId, HostId, Micros, Timestamp};

use crate::draft::Draft;
use crate::event::Noun;
use crate::model::Model;

/// How long a stray runs on, for whoever wants it to say so: as long as a lease that came back is held for its buyer.
const STRAY_FOR: Micros = Micros::from_secs(600);
/// Most strays of one host that are known at a time: the rest is looked at when these have stopped.
const STRAYS_MAX: usize = 1_024;

/// Software that no record names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stray {
    /// Where.
    pub host: HostId,
    /// The epoch that its agent knows.
    pub epoch: u64,
    /// Since when it has been seen.
    pub since: Timestamp,
}

/// Takes in everything that an agent of this controller's observed on its host. Not kept in the store: agents say it again.
pub fn strays(draft: &mut Draft<'_>, host: HostId, observed: &[ObservedAssignment]) {
    let found: Vec<_> =
        observed.iter().filter(|seen| is_active(seen.phase) && !is_named(&draft.model, host, seen.id)).collect();
    let named: BTreeSet<AssignmentId> = found.iter().map(|seen| seen.id).collect();
    let known: Vec<_> = draft.model.strays.iter().filter(|(_, s)| s.host == host).map(|(id, s)| (*id, *s)).collect();
    let room = STRAYS_MAX.saturating_sub(known.len());
    for (id, stray) in known.iter().filter(|(id, _)| !named.contains(id)) {
        draft.model.strays.remove(id);
        if is_due(stray, draft.now) {
            tell(draft, host, *id, "nobody has asked for it: it was stopped, and its files stay");
        }
    }
    for seen in found.into_iter().filter(|seen| known.iter().all(|(id, _)| *id != seen.id)).take(room) {
        draft.model.strays.insert(seen.id, Stray { host, epoch: seen.epoch, since: draft.now });
        let text = "runs here or waits to, and no record names it, as after a restore from a backup: unless somebody asks \
                    for it, it is stopped in 10 min";
        tell(draft, host, seen.id, text);
    }
}

/// What the agent of a host is told of the strays whose time is over.
pub fn stray_orders(model: &Model, host: HostId, now: Timestamp) -> Vec<Assignment> {
    let due = model.strays.iter().filter(|(id, s)| s.host == host && is_due(s, now) && !is_named(model, host, **id));
    due.map(|(id, s)| Assignment { id: *id, epoch: s.epoch, target: Target::Stopped, spec: nothing() }).collect()
}

fn is_due(stray: &Stray, now: Timestamp) -> bool {
    now.since(stray.since) >= STRAY_FOR
}

fn tell(draft: &mut Draft<'_>, host: HostId, id: AssignmentId, text: &str) {
    let name = draft.model.host_name(host);
    draft.event((Noun::Host, host.to_string(), &name), "", "stray", format!("{id} {text}"));
}

/// Whether it runs, or would.
const fn is_active(phase: Phase) -> bool {
    !matches!(phase, Phase::Stopped | Phase::Sealed(_) | Phase::Wiped | Phase::Completed(_))
}

/// Whether there is a word about it: of this controller, or of a buyer that has leased it or has done with it.
fn is_named(model: &Model, host: HostId, id: AssignmentId) -> bool {
    let own = model.assignments.get(&id).is_some_and(|a| a.host == host);
    let lease = model.leases.get(&id).filter(|l| l.host == host);
    let said = || model.tenancies_of(host).any(|t| t.orders.assignments.iter().chain(&t.left).any(|a| a.id == id));
    own || lease.is_some_and(|l| l.is_open() || said())
}

/// What is said of software of which nothing is known: only that it stops.
fn nothing() -> WorkloadSpec {
    WorkloadSpec {
        name: "stray".to_owned(),
        kind: WorkloadKind::Service,
        driver: DriverKind::Process,
        software: Software::Installed { name: String::new(), path: String::new() },
        command: Vec::new(),
        environment: Vec::new(),
        limits: Limits::default(),
        ports: Vec::new(),
        state: None,
        health: None,
        restart: RestartPolicy::default(),
        stop: StopPolicy::default(),
        inputs: Vec::new(),
        outputs: Vec::new(),
        time_limit: None,
    }
}
