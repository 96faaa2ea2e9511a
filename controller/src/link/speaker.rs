//! The writing half of a control connection: answers, commands, and what the agent shall run and keep whenever that has
//! changed.
//!
//! Level-triggered: what the agent does not say it has stored is sent again. It may have had no room on its disk, or have
//! heard a later controller before.

use std::time::Duration;

use chandler_engine::model::Model;
use chandler_engine::{federation, fulfilment, way};

use chandler_protocol::command::Command;
use chandler_protocol::frame::{CONTROL_MAX, encode};
use chandler_protocol::handshake::VERSION_MOVES;
use chandler_protocol::message::ControllerMessage;
use chandler_protocol::state::{Assignment, DesiredState, Own, Target};
use chandler_protocol::way::Ways;
use chandler_protocol::{HostId, Timestamp};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::intake::Reported;
use super::listener::Shared;
use super::session::{LinkError, send};

/// Bytes of assignments, or of ways, in one message: a frame less some room for its head.
const MESSAGE_MAX: usize = CONTROL_MAX - (64 << 10);
/// Assignments in one desired state.
const ASSIGNMENTS_MAX: usize = 2_048;
/// How long an agent whose host was given up for lost may take to say what runs there, before it is told what shall.
const RETURN_TIME: Duration = Duration::from_secs(2);

/// Says what has changed.
pub(super) struct Speaker<'s> {
    host: HostId,
    version: u16,
    shared: &'s Shared,
    reported: &'s Reported,
    state: Level<Vec<Assignment>>,
    ways: Level<Ways>,
}

impl<'s> Speaker<'s> {
    pub(super) fn new(host: HostId, version: u16, shared: &'s Shared, reported: &'s Reported) -> Self {
        Self { host, version, shared, reported, state: Level::default(), ways: Level::default() }
    }

    /// Speaks until the connection ends. A host `was_lost` when its work was placed elsewhere: what it is told depends
    /// on what still runs there, so that it speaks first.
    pub(super) async fn speak(
        mut self,
        tx: &mut quinn::SendStream,
        was_lost: bool,
        mut answers: mpsc::Receiver<ControllerMessage>,
        mut commands: mpsc::Receiver<Command>,
    ) -> Result<(), LinkError> {
        let changed = self.shared.writer.wake_of_host(self.host);
        let heartbeat = self.shared.config.heartbeat.to_std();
        let patience = Instant::now() + if was_lost { RETURN_TIME } else { Duration::ZERO };
        let mut beat = Instant::now() + heartbeat;
        loop {
            let may_tell = self.reported.is_observed() || Instant::now() >= patience;
            if may_tell {
                self.tell(tx).await?;
            }
            let look = if may_tell { beat } else { beat.min(patience) };
            tokio::select! {
                biased;
                answer = answers.recv() => match answer {
                    Some(answer) => send(tx, &answer, CONTROL_MAX).await?,
                    None => return Ok(()),
                },
                command = commands.recv() => match command {
                    Some(command) => send(tx, &ControllerMessage::Command(command), CONTROL_MAX).await?,
                    None => return Ok(()),
                },
                () = changed.notified() => {}
                // It knows a later state than ours: ours goes above it.
                () = self.reported.changed() => {
                    self.state.overtaken(self.reported.state());
                    self.ways.overtaken(self.reported.ways());
                }
                // A wake-up may have gone to a session that was ending; what was said may not have been stored.
                () = tokio::time::sleep_until(look) => {
                    if Instant::now() >= beat {
                        beat = Instant::now() + heartbeat;
                        self.state.missed(self.reported.state());
                        self.ways.missed(self.reported.ways());
                    }
                }
            }
        }
    }

    /// Tells what the agent has not been told yet.
    async fn tell(&mut self, tx: &mut quinn::SendStream) -> Result<(), LinkError> {
        let model = self.shared.writer.snapshot();
        // The ways first: a copy that starts finds its doors and its peers known.
        if self.version >= VERSION_MOVES {
            let wanted = wanted_ways(&model, self.host);
            if let Some(generation) = self.ways.next(&wanted, model.generation, self.reported.ways()) {
                let ways = Ways { generation, ..wanted.clone() };
                send(tx, &ControllerMessage::Ways(ways), CONTROL_MAX).await?;
                self.ways.told(generation, wanted);
            }
        }
        let wanted = desired(&model, self.host, self.version, self.shared.writer.clock().now());
        if let Some(generation) = self.state.next(&wanted, model.generation, self.reported.state()) {
            let state = DesiredState { generation, assignments: wanted.clone() };
            send(tx, &ControllerMessage::Desired(state), CONTROL_MAX).await?;
            self.state.told(generation, wanted);
        }
        Ok(())
    }
}

/// What was told last of one thing, and under which generation.
#[derive(Debug)]
struct Level<T> {
    last: Option<(u64, T)>,
    /// It has to be told again, changed or not.
    again: bool,
}

impl<T> Default for Level<T> {
    fn default() -> Self {
        Self { last: None, again: true }
    }
}

impl<T: PartialEq> Level<T> {
    /// The generation under which `wanted` is to be told; `None` when it has been.
    fn next(&self, wanted: &T, model: u64, reported: u64) -> Option<u64> {
        let last = self.last.as_ref();
        if !self.again && last.is_some_and(|(_, before)| before == wanted) {
            return None;
        }
        // An agent listens to higher generations only, also when our store is an older copy of what it knows.
        let after = reported.max(last.map_or(0, |(generation, _)| *generation));
        Some(model.max(after.saturating_add(1)))
    }

    fn told(&mut self, generation: u64, what: T) {
        (self.last, self.again) = (Some((generation, what)), false);
    }

    /// The agent acts on a later generation than it was told here.
    fn overtaken(&mut self, reported: u64) {
        self.again |= self.last.as_ref().is_some_and(|(generation, _)| reported > *generation);
    }

    /// Some time has passed: what it does not report yet was not stored.
    fn missed(&mut self, reported: u64) {
        self.again |= self.last.as_ref().is_some_and(|(generation, _)| reported < *generation);
    }
}

/// What a host shall run, from its assignments. Beyond what a frame holds, the rest waits until others are done: what is
/// not named is left as it is, so that holding back is safe. What gives resources back goes first.
fn desired(model: &Model, host: HostId, version: u16, now: Timestamp) -> Vec<Assignment> {
    let own = model.assignments_of_host(host).map(|a| {
        let told = Assignment { id: a.id, epoch: a.epoch, target: a.target, spec: a.spec.clone() };
        (a.observed.is_none(), told)
    });
    // What buyers say that their software shall do here is passed on as they said it.
    let guests = federation::desired(model, host, now).into_iter().map(|a| (!model.guests.contains_key(&a.id), a));
    let strays = fulfilment::stray_orders(model, host, now).into_iter().map(|a| (false, a));
    let mut all: Vec<_> = own.chain(guests).chain(strays).collect();
    all.sort_by_key(|(is_new, a)| (takes(a.target), *is_new, a.id));
    let list = all.into_iter().filter_map(|(_, a)| Some(Assignment { target: understood(a.target, version)?, ..a }));
    let mut wanted = fitting(list.take(ASSIGNMENTS_MAX), &mut 0);
    wanted.sort_by_key(|a| a.id);
    wanted
}

/// Whether it takes resources rather than gives them back.
const fn takes(target: Target) -> bool {
    matches!(target, Target::Running | Target::Own(_) | Target::Receive(_))
}

/// A target in the words of a version; `None` when it has none for it.
const fn understood(target: Target, version: u16) -> Option<Target> {
    match target {
        Target::Running | Target::Stopped | Target::Wiped => Some(target),
        _ if version >= VERSION_MOVES => Some(target),
        // To run without a lease, from what is there: that is all that version 1 can say.
        Target::Own(Own { leased: false, from: None }) => Some(Target::Running),
        Target::Own(_) | Target::Receive(_) | Target::Seal { .. } => None,
    }
}

/// The doors a host keeps and whom it may talk to, without a generation.
fn wanted_ways(model: &Model, host: HostId) -> Ways {
    let mut size = 0;
    let all = federation::guest_ways(model, host, way::ways(model, host));
    // What tells software of its move and lets state through goes before what could only serve more doors.
    let notices = fitting(all.notices.into_iter(), &mut size);
    let doors = fitting(all.doors.into_iter(), &mut size);
    let grants = fitting(all.grants.into_iter(), &mut size);
    if size > MESSAGE_MAX {
        tracing::warn!(%host, "more doors and grants than one message holds: some are left out");
    }
    Ways { generation: 0, doors, grants, notices }
}

/// As many of these as fit into what a message has left.
fn fitting<T: Serialize>(list: impl Iterator<Item = T>, size: &mut usize) -> Vec<T> {
    let fits = |item: &T| {
        *size += encode(item, CONTROL_MAX).map_or(CONTROL_MAX, |frame| frame.len());
        *size <= MESSAGE_MAX
    };
    list.take_while(fits).collect()
}

#[cfg(test)]
mod tests {
    use chandler_protocol::Digest;
    use chandler_protocol::state::Received;

    use super::*;

    #[test]
    fn a_level_is_told_once_and_above_what_the_agent_knows() {
        let mut level = Level::default();
        assert_eq!(level.next(&1, 5, 0), Some(5));
        level.told(5, 1);
        assert_eq!(level.next(&1, 9, 5), None);
        assert_eq!(level.next(&2, 9, 5), Some(9));
        // A lower generation of ours, because the store is an older copy.
        level.overtaken(40);
        assert_eq!(level.next(&1, 9, 40), Some(41));
        level.told(41, 1);
        level.missed(41);
        assert_eq!(level.next(&1, 9, 41), None);
        level.missed(40);
        assert_eq!(level.next(&1, 9, 40), Some(42));
    }

    #[test]
    fn version_1_hears_no_word_it_does_not_know() {
        let own = |leased, from| Target::Own(Own { leased, from });
        let received = Received { attempt: 1, root: Digest([1; 32]) };
        for (target, expect) in [
            (Target::Running, Some(Target::Running)),
            (Target::Wiped, Some(Target::Wiped)),
            (own(false, None), Some(Target::Running)),
            (own(true, None), None),
            (own(false, Some(received)), None),
            (Target::Seal { attempt: 1 }, None),
        ] {
            assert_eq!(understood(target, 1), expect, "{target:?}");
            assert_eq!(understood(target, 2), Some(target), "{target:?}");
        }
    }
}
