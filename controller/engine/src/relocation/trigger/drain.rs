//! How a drain goes: what has gone, what goes, what waits for its turn, and exactly what cannot go and why.

use chandler_protocol::state::Target;
use chandler_protocol::{HostId, MoveId, ServiceId, Timestamp};

use super::declined::Why;
use crate::model::Model;
use crate::movement::{Move, MovePhase};
use crate::service::Assignment;

/// How it goes with one service on a host that is drained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Going {
    /// It has gone.
    Moved {
        /// Where to.
        to: HostId,
    },
    /// It goes.
    Moving(MoveId),
    /// It will go, or end by itself.
    Waits {
        /// What for.
        why: String,
    },
    /// It cannot go.
    Cannot {
        /// Why, with what comes nearest.
        why: String,
    },
}

/// How the drain of a host goes, in order of service. Finished when nothing but [`Going::Moved`] is left.
pub fn drain_report(model: &Model, host: HostId) -> Vec<(ServiceId, Going)> {
    let since = drained_since(model, host);
    let mut report: Vec<(ServiceId, Going)> = Vec::new();
    let gone = model.moves_since(since).filter(|m| m.from_host == host && m.phase == MovePhase::Done);
    for m in gone {
        let stays = model.assignments_of_host(host).any(|a| a.service == m.service && is_in_use(a));
        if !stays && report.iter().all(|(id, _)| *id != m.service) {
            report.push((m.service, Going::Moved { to: m.to_host }));
        }
    }
    for copy in model.assignments_of_host(host).filter(|a| is_in_use(a)) {
        report.push((copy.service, going(model, copy)));
    }
    report.sort_by_key(|(id, _)| *id);
    report
}

/// Since when a host shall be left: by itself, or with its site.
fn drained_since(model: &Model, host: HostId) -> Timestamp {
    let known = model.hosts.get(&host);
    let own = known.and_then(|h| h.drain.as_ref());
    let of_site = known.and_then(|h| model.criteria_of(Some(h.site))?.drain.as_ref());
    own.or(of_site).map_or(Timestamp(i64::MAX), |d| d.since)
}

/// What is kept for a while after a move is no reason to wait.
fn is_in_use(copy: &Assignment) -> bool {
    !matches!(copy.target, Target::Stopped | Target::Wiped | Target::Seal { .. })
}

fn going(model: &Model, copy: &Assignment) -> Going {
    let open = model.moves_of(copy.service).find(|m| m.from == Some(copy.id));
    if let Some(open) = open {
        return Going::Moving(open.id);
    }
    let Some(service) = model.services.get(&copy.service) else {
        return Going::Waits { why: "it is being removed".to_owned() };
    };
    if service.is_task() {
        return Going::Waits { why: "a task runs to its end where it is; no further one comes".to_owned() };
    }
    if let Some(other) = model.moves_of(copy.service).next() {
        return Going::Waits { why: format!("another copy of it moves first ({})", other.id) };
    }
    let last = model.moves_about(copy.service).find(|m| m.from_host == copy.host);
    match last {
        Some(m) if m.phase == MovePhase::Declined && is_final(m) => Going::Cannot { why: m.reason.clone() },
        Some(m) if m.phase == MovePhase::RolledBack => {
            Going::Waits { why: format!("the last attempt failed: {}", m.reason) }
        }
        _ => Going::Waits { why: "it is its turn in a moment".to_owned() },
    }
}

/// Whether what keeps it does not go away by itself.
fn is_final(declined: &Move) -> bool {
    [Why::Place, Why::Person].iter().any(|why| declined.reason.starts_with(why.as_str()))
}
