//! The report of the whole observed state, cut down where need be so that it always fits into one frame.

use chandler_protocol::frame::CONTROL_MAX;
use chandler_protocol::state::{ObservedAssignment, ObservedState};
use chandler_protocol::text::{TEXT_MAX, clean};

/// Most bytes of an assignment besides its message and its lists, and of the report besides its assignments.
const FIXED_MAX: usize = 192;
/// Most bytes of an item of a list besides its text.
const ITEM_MAX: usize = 48;
/// Most bytes of a character.
const CHAR_MAX: usize = 4;

/// How much is said of each assignment.
#[derive(Debug, Clone, Copy)]
struct Cut {
    /// Characters of its message.
    message: usize,
    /// Results of a task.
    outputs: usize,
    /// Ports.
    ports: usize,
}

/// From everything to what always fits. Messages are shortened before results are left out, ports go last.
const CUTS: [Cut; 6] = [
    Cut { message: TEXT_MAX, outputs: usize::MAX, ports: usize::MAX },
    Cut { message: 128, outputs: usize::MAX, ports: usize::MAX },
    Cut { message: 64, outputs: 64, ports: usize::MAX },
    Cut { message: 64, outputs: 8, ports: usize::MAX },
    Cut { message: 64, outputs: 0, ports: 32 },
    Cut { message: 64, outputs: 0, ports: 0 },
];

/// The report, with as much in it as fits.
pub(crate) fn fit(mut state: ObservedState) -> ObservedState {
    let fits = |cut: &&Cut| FIXED_MAX + state.assignments.iter().map(|a| size(a, cut)).sum::<usize>() <= CONTROL_MAX;
    let cut = *CUTS.iter().find(fits).unwrap_or(&CUTS[CUTS.len() - 1]);
    for assignment in &mut state.assignments {
        apply(assignment, &cut);
    }
    state
}

/// At most so many bytes it takes when it is cut.
fn size(a: &ObservedAssignment, cut: &Cut) -> usize {
    let ports: usize = a.ports.iter().take(cut.ports).map(|(name, _)| name.len() + ITEM_MAX).sum();
    let outputs: usize = a.outputs.iter().take(cut.outputs).map(|o| o.path.len() + ITEM_MAX).sum();
    FIXED_MAX + a.message.len().min(cut.message * CHAR_MAX) + ports + outputs
}

fn apply(a: &mut ObservedAssignment, cut: &Cut) {
    if a.outputs.len() > cut.outputs {
        // Said first, so that it is not cut off itself.
        a.message = format!("{} of {} results are reported; {}", cut.outputs, a.outputs.len(), a.message);
        a.outputs.truncate(cut.outputs);
    }
    a.ports.truncate(cut.ports);
    a.message = clean(&a.message, cut.message);
}

#[cfg(test)]
mod tests {
    use chandler_protocol::frame::encode;
    use chandler_protocol::message::AgentMessage;
    use chandler_protocol::state::{Exit, Health, OutputFile, Phase};
    use chandler_protocol::{AssignmentId, Digest, Micros};

    use super::*;
    use crate::reconcile::ASSIGNMENTS_MAX;

    fn largest(outputs: usize, ports: usize) -> ObservedAssignment {
        let most = Micros(i64::MIN);
        ObservedAssignment {
            id: AssignmentId::from_random([255; 10]),
            epoch: u64::MAX,
            phase: Phase::Completed(Exit::Code(i32::MIN)),
            ports: vec![("p".repeat(64), u16::MAX); ports],
            starts: u32::MAX,
            failures: u32::MAX,
            message: "\u{10ffff}".repeat(TEXT_MAX),
            health: Health {
                checks: u64::MAX,
                failures: u64::MAX,
                latency_p50: most,
                latency_p95: most,
                up: most,
                down: most,
            },
            outputs: vec![OutputFile { path: "o".repeat(1_024), digest: Digest([255; 32]), length: u64::MAX }; outputs],
        }
    }

    fn fitted(count: usize, one: &ObservedAssignment) -> ObservedState {
        let whole = ObservedState { generation: u64::MAX, assignments: vec![one.clone(); count] };
        let state = fit(whole);
        assert_eq!(state.assignments.len(), count, "an assignment is left out");
        let frame = encode(&AgentMessage::Observed(state.clone()), CONTROL_MAX);
        assert!(frame.is_ok(), "{count} assignments do not fit: {:?}", frame.err());
        state
    }

    #[test]
    fn what_fits_is_not_touched() {
        let one = largest(258, 32);
        assert_eq!(fitted(10, &one).assignments[9], one);
    }

    #[test]
    fn messages_go_first_then_results_then_ports() {
        let messages = &fitted(ASSIGNMENTS_MAX, &largest(0, 0)).assignments[0];
        assert!((64..=128).contains(&messages.message.chars().count()));
        let some = &fitted(100, &largest(258, 4)).assignments[0];
        assert_eq!((some.outputs.len(), some.ports.len()), (8, 4));
        assert!(some.message.starts_with("8 of 258 results are reported"), "{}", some.message);
        let none = &fitted(ASSIGNMENTS_MAX, &largest(258, 4)).assignments[0];
        assert_eq!((none.outputs.len(), none.ports.len()), (0, 4));
    }

    #[test]
    fn the_worst_of_all_reports_fits() {
        let cut = &fitted(ASSIGNMENTS_MAX, &largest(2, 2_000)).assignments[0];
        assert_eq!((cut.outputs.len(), cut.ports.len(), cut.epoch), (0, 0, u64::MAX));
    }
}
