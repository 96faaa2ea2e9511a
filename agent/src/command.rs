//! Commands take effect at most once: what was done is remembered and answered from memory.

use std::collections::{BTreeMap, VecDeque};

use chandler_protocol::Micros;
use chandler_protocol::command::{Command, Outcome};

/// Commands that are remembered.
pub const REMEMBERED_MAX: usize = 1_024;
/// Most bytes of a log in one answer.
pub const LOG_MAX: usize = 256 << 10;
/// Bytes of logs in remembered answers.
const REMEMBERED_BYTES_MAX: usize = 512 << 10;

/// What is to be done with a command that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Do it, then [`Memory::done`].
    Do,
    /// Answer this; nothing is done.
    Answer(Outcome),
}

/// Remembers commands.
#[derive(Debug, Default)]
pub struct Memory {
    outcomes: BTreeMap<u64, Outcome>,
    order: VecDeque<u64>,
    bytes: usize,
}

impl Memory {
    /// A command that arrived at `arrived` is looked at at `now`, both by the boot clock.
    pub fn judge(&mut self, command: &Command, arrived: Micros, now: Micros) -> Verdict {
        if let Some(outcome) = self.outcomes.get(&command.id) {
            return Verdict::Answer(outcome.clone());
        }
        if arrived.0.saturating_add(command.expires_in.0) <= now.0 {
            self.done(command.id, &Outcome::Expired);
            return Verdict::Answer(Outcome::Expired);
        }
        // Remembered before it is done: should it be cut off, it is not done again.
        self.done(command.id, &Outcome::Failed("it was begun, and how it ended is not known".into()));
        Verdict::Do
    }

    /// What came of a command.
    pub fn done(&mut self, id: u64, outcome: &Outcome) {
        match self.outcomes.insert(id, outcome.clone()) {
            Some(old) => self.bytes -= size(&old),
            None => self.order.push_back(id),
        }
        self.bytes += size(outcome);
        while self.order.len() > REMEMBERED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.bytes -= self.outcomes.remove(&oldest).as_ref().map_or(0, size);
        }
        if self.bytes > REMEMBERED_BYTES_MAX {
            self.drop_logs(id);
        }
    }

    /// Old logs are let go of, their ids are not.
    fn drop_logs(&mut self, but: u64) {
        for (_, outcome) in self.outcomes.iter_mut().filter(|(id, _)| **id != but) {
            if size(outcome) > 0 {
                self.bytes -= size(outcome);
                *outcome = Outcome::Failed("it was answered, and the answer is no longer kept".into());
            }
        }
    }
}

fn size(outcome: &Outcome) -> usize {
    if let Outcome::Log { bytes, .. } = outcome { bytes.len() } else { 0 }
}

#[cfg(test)]
mod tests {
    use chandler_protocol::command::Action;

    use super::*;

    fn command(id: u64) -> Command {
        Command { id, expires_in: Micros::from_secs(10), action: Action::Inventory }
    }

    #[test]
    fn a_command_is_done_once_and_answered_from_memory() {
        let mut memory = Memory::default();
        assert_eq!(memory.judge(&command(1), Micros(0), Micros(0)), Verdict::Do);
        assert!(matches!(memory.judge(&command(1), Micros(0), Micros(0)), Verdict::Answer(Outcome::Failed(_))));
        memory.done(1, &Outcome::Done);
        assert_eq!(memory.judge(&command(1), Micros(0), Micros(0)), Verdict::Answer(Outcome::Done));
        let late = Micros::from_secs(10);
        assert_eq!(memory.judge(&command(2), Micros(0), late), Verdict::Answer(Outcome::Expired));
        assert_eq!(memory.judge(&command(2), late, late), Verdict::Answer(Outcome::Expired), "it stays expired");
    }

    #[test]
    fn memory_is_bounded_in_number_and_bytes() {
        let mut memory = Memory::default();
        for id in 0..2_000 {
            memory.done(id, &Outcome::Log { offset: 0, bytes: vec![0; LOG_MAX], end: 0 });
            assert!(memory.bytes <= REMEMBERED_BYTES_MAX);
        }
        assert_eq!((memory.outcomes.len(), memory.order.len()), (REMEMBERED_MAX, REMEMBERED_MAX));
        assert_eq!(memory.judge(&command(0), Micros(0), Micros(0)), Verdict::Do, "the oldest are forgotten");
        assert!(matches!(memory.judge(&command(1_990), Micros(0), Micros(0)), Verdict::Answer(_)));
    }
}
