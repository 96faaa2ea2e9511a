//! The usage journal: what ran for how long, numbered without gaps, kept until the controller has stored it.
//!
//! Durations come from the boot clock. A stretch begins at the last record or at the start of the program, so time
//! in which the agent was dead but the software ran counts; time that a reboot made unknowable does not.

use std::collections::BTreeMap;

use chandler_protocol::state::Health;
use chandler_protocol::usage::UsageRecord;
use chandler_protocol::{AssignmentId, Micros};
use serde::{Deserialize, Serialize};

use crate::disk::{self, Disk, DiskError};

/// Records that are kept; beyond, neighbours are merged.
pub const RECORDS_MAX: usize = 100_000;
/// Records in one message.
pub const BATCH_MAX: usize = 1_024;
/// Records that are sent and not yet acknowledged, at most: an answer is waited for before more are sent.
pub const UNACKNOWLEDGED_MAX: u64 = 8_192;
/// While nobody takes them, neighbouring stretches grow into one up to this long.
const MERGED_MAX: Micros = Micros::from_secs(3_600);
/// Where it is kept.
const KEY: &str = "usage";

/// A finished stretch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Stretch {
    sequence: u64,
    assignment: AssignmentId,
    epoch: u64,
    running: Micros,
    cpu: Micros,
    /// When it ended, by the clock of `boot`.
    ended: Micros,
    boot: [u8; 16],
}

/// A run that goes on: up to where it is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    epoch: u64,
    started: Micros,
    upto: Micros,
    cpu: Micros,
    health: Health,
}

/// Everything that is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    boot: [u8; 16],
    /// The sequence of the next stretch.
    next: u64,
    /// The highest sequence that may have been sent: those must never change any more.
    sent: u64,
    stretches: Vec<Stretch>,
    marks: BTreeMap<AssignmentId, Mark>,
    /// Start of the last run of each assignment whose end is recorded: it must not be recorded again.
    closed: BTreeMap<AssignmentId, Micros>,
}

/// The usage journal of this computer.
#[derive(Debug)]
pub struct Journal {
    kept: Kept,
    changed: bool,
}

impl Journal {
    /// The journal on this disk.
    ///
    /// # Errors
    /// It is damaged beyond its previous generation.
    pub fn load(disk: &dyn Disk, boot: [u8; 16]) -> Result<Self, DiskError> {
        let mut kept: Kept = disk::load(disk, KEY)?.unwrap_or_default();
        kept.next = kept.next.max(1);
        if kept.boot != boot {
            // Runs of another boot are over; how long they went on after their last record nobody knows.
            kept.marks.clear();
            kept.closed.clear();
            kept.boot = boot;
        }
        Ok(Self { kept, changed: false })
    }

    /// Writes it down if it changed.
    ///
    /// # Errors
    /// It is not kept; the next call tries again.
    pub fn save(&mut self, disk: &dyn Disk) -> Result<(), DiskError> {
        if self.changed {
            disk::save(disk, KEY, &self.kept)?;
            self.changed = false;
        }
        Ok(())
    }

    /// A run is watched from now on. One that was watched before goes on where it was recorded up to. Gives its
    /// health as last written down.
    pub fn begin(&mut self, id: AssignmentId, epoch: u64, started: Micros) -> Health {
        match self.kept.marks.get_mut(&id) {
            Some(mark) if mark.started == started => mark.health,
            _ => {
                let mark = Mark { epoch, started, upto: started, cpu: Micros::ZERO, health: Health::default() };
                self.kept.marks.insert(id, mark);
                self.changed = true;
                Health::default()
            }
        }
    }

    /// Runs that go on.
    pub fn running(&self) -> Vec<AssignmentId> {
        self.kept.marks.keys().copied().collect()
    }

    /// A run goes on and has used `cpu` since its start; `health` is written down along with it.
    pub fn advance(&mut self, id: AssignmentId, now: Micros, cpu: Option<Micros>, health: Health) {
        let Some(mut mark) = self.kept.marks.get(&id).copied() else { return };
        self.add(id, &mark, now, cpu);
        mark.upto = now.max(mark.upto);
        mark.cpu = cpu.unwrap_or(mark.cpu).max(mark.cpu);
        mark.health = health;
        self.kept.marks.insert(id, mark);
        self.changed = true;
    }

    /// A run goes on under another epoch.
    pub fn change_epoch(&mut self, id: AssignmentId, epoch: u64, now: Micros, cpu: Option<Micros>) {
        let Some(mark) = self.kept.marks.get(&id).copied().filter(|m| m.epoch != epoch) else { return };
        self.advance(id, now, cpu, mark.health);
        if let Some(mark) = self.kept.marks.get_mut(&id) {
            mark.epoch = epoch;
        }
    }

    /// A run ended. Said twice, it counts once; not begun here, it counts from its start.
    pub fn close(&mut self, id: AssignmentId, epoch: u64, started: Micros, ended: Micros, cpu: Option<Micros>) {
        let mark = match self.kept.marks.remove(&id) {
            Some(mark) => mark,
            None if self.kept.closed.get(&id) == Some(&started) => return,
            None => Mark { epoch, started, upto: started, cpu: Micros::ZERO, health: Health::default() },
        };
        self.add(id, &mark, ended, cpu);
        self.kept.closed.insert(id, started);
        self.changed = true;
    }

    /// An assignment is gone for good.
    pub fn forget(&mut self, id: AssignmentId) {
        self.changed |= self.kept.closed.remove(&id).is_some();
    }

    fn add(&mut self, id: AssignmentId, mark: &Mark, now: Micros, cpu: Option<Micros>) {
        let running = Micros((now.0 - mark.upto.0).max(0));
        let cpu = Micros((cpu.unwrap_or(mark.cpu).0 - mark.cpu.0).max(0));
        if running == Micros::ZERO && cpu == Micros::ZERO {
            return;
        }
        let boot = self.kept.boot;
        let full = self.kept.stretches.len() >= RECORDS_MAX;
        let sent = self.kept.sent;
        let grown = self.kept.stretches.iter_mut().rev().take_while(|s| s.sequence > sent).find(|s| {
            s.assignment == id
                && s.epoch == mark.epoch
                && s.boot == boot
                && (full || (s.ended == mark.upto && s.running.0 + running.0 <= MERGED_MAX.0))
        });
        if let Some(stretch) = grown {
            stretch.running = Micros(stretch.running.0.saturating_add(running.0));
            stretch.cpu = Micros(stretch.cpu.0.saturating_add(cpu.0));
            stretch.ended = now;
            return;
        }
        let sequence = self.kept.next;
        self.kept.next += 1;
        self.kept.stretches.push(Stretch {
            sequence,
            assignment: id,
            epoch: mark.epoch,
            running,
            cpu,
            ended: now,
            boot,
        });
    }

    /// The controller has stored everything up to and with `sequence`.
    pub fn acknowledge(&mut self, sequence: u64) {
        let before = self.kept.stretches.len();
        self.kept.stretches.retain(|s| s.sequence > sequence);
        // A disk that lost its journal must not use numbers twice.
        if self.kept.next <= sequence {
            self.kept.next = sequence.saturating_add(1);
            self.changed = true;
        }
        self.changed |= self.kept.stretches.len() != before;
    }

    /// Whether something waits that was not sent since `sent_before`.
    pub fn has_after(&self, sent_before: u64) -> bool {
        let first = self.kept.stretches.first().map_or(u64::MAX, |s| s.sequence);
        let window_open = sent_before < first.saturating_add(UNACKNOWLEDGED_MAX);
        window_open && self.kept.stretches.last().is_some_and(|s| s.sequence > sent_before)
    }

    /// Records after `sent_before`, to be sent now. They never change from here on, and that is on disk first.
    ///
    /// # Errors
    /// That they are sent could not be written down; nothing may be sent.
    pub fn take_after(
        &mut self,
        sent_before: u64,
        now: Micros,
        disk: &dyn Disk,
    ) -> Result<Vec<UsageRecord>, DiskError> {
        let boot = self.kept.boot;
        let records: Vec<UsageRecord> = self
            .kept
            .stretches
            .iter()
            .filter(|s| s.sequence > sent_before)
            .take(BATCH_MAX)
            .map(|s| UsageRecord {
                sequence: s.sequence,
                assignment: s.assignment,
                epoch: s.epoch,
                running: s.running,
                cpu: s.cpu,
                age: (s.boot == boot).then(|| Micros((now.0 - s.ended.0).max(0))),
            })
            .collect();
        let last = records.last().map_or(0, |r| r.sequence);
        if last > self.kept.sent {
            self.kept.sent = last;
            self.changed = true;
        }
        self.save(disk)?;
        Ok(records)
    }

    /// Everything that waits is about to be sent: said before the interval's one write, it saves a second one.
    pub fn will_send_all(&mut self) {
        let last = self.kept.next - 1;
        if last > self.kept.sent {
            self.kept.sent = last;
            self.changed = true;
        }
    }
}

#[cfg(test)]
#[path = "usage_tests.rs"]
mod tests;
