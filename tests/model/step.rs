//! The steps that lead from one moment to the next, for the checker.

use std::fmt::Write as _;

use stateright::{Model, Path, Property};

use crate::controller::Decision;
use crate::fault::Fault;
use crate::message::{Message, Who};
use crate::promise;
use crate::world::{Bounds, World};

/// What is checked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Protocol {
    /// How much is tried.
    pub bounds: Bounds,
    /// What is done wrong, if anything.
    pub fault: Option<Fault>,
}

/// Something that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// The controller decides something.
    Decide(Decision),
    /// The controller ends and starts again.
    ControllerRestarts,
    /// What was said arrives.
    Arrive(Message),
    /// A copy asks for a lease.
    Ask(Who),
    /// Its software is started.
    Start(Who),
    /// A customer writes.
    Write(Who),
    /// Its lease ends.
    LeaseEnds(Who),
    /// Its machine crashes.
    Crash(Who),
    /// Its machine burns.
    Burn(Who),
    /// Its disk is copied.
    CopyDisk(Who),
    /// Its machine wakes up with the copied disk.
    Forget(Who),
}

impl Model for Protocol {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        vec![World::first()]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        steps.extend(Decision::ALL.map(Step::Decide));
        steps.push(Step::ControllerRestarts);
        for who in Who::BOTH {
            if world.machine(who).burnt {
                steps.push(Step::LeaseEnds(who));
                continue;
            }
            steps.extend([
                Step::Ask(who),
                Step::Start(who),
                Step::Write(who),
                Step::LeaseEnds(who),
                Step::Crash(who),
                Step::Burn(who),
                Step::CopyDisk(who),
                Step::Forget(who),
            ]);
        }
        steps.extend(world.air.iter().copied().map(Step::Arrive));
    }

    fn next_state(&self, last: &World, step: Step) -> Option<World> {
        let mut world = last.clone();
        let done = self.take(&mut world, step);
        if done && self.fault.is_none() {
            only_grows(last, &world, step);
        }
        // Where something is wrong on purpose, what seems void need not be. To clear it all the same can only hide what
        // is wrong, and that would be noticed.
        if done && !self.fault.is_some_and(Fault::hears_the_void) {
            world.clear_air();
        }
        (done && world != *last).then_some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let always = promise::ALWAYS.iter().map(|p| Property::always(p.0, p.1));
        // Where something is wrong on purpose only what breaks is of interest.
        let sometimes = promise::SOMETIMES.iter().filter(|_| self.fault.is_none());
        always.chain(sometimes.map(|p| Property::sometimes(p.0, p.1))).collect()
    }
}

impl Protocol {
    fn take(&self, world: &mut World, step: Step) -> bool {
        let Self { bounds, fault } = self;
        match step {
            Step::Decide(decision) => world.decide(decision, bounds, *fault),
            Step::ControllerRestarts => world.controller_restarts(),
            Step::Arrive(message) => self.arrive(world, message),
            Step::Ask(who) => world.ask(who, *fault),
            Step::Start(who) => world.start(who, *fault),
            Step::Write(who) => world.write(who, bounds),
            Step::LeaseEnds(who) => world.lease_ends(who, *fault),
            Step::Crash(who) => world.crash(who, bounds, *fault),
            Step::Burn(who) => world.burn(who, bounds),
            Step::CopyDisk(who) => world.copy_disk(who, bounds),
            Step::Forget(who) => world.forget(who, bounds, *fault),
        }
    }

    fn arrive(&self, world: &mut World, message: Message) -> bool {
        let Self { bounds, fault } = self;
        match message {
            Message::Order { to, epoch, order } => world.obey(to, epoch, order, *fault),
            Message::State { to, attempt, state } => world.receive(to, attempt, state, *fault),
            Message::Sealed { by, epoch, attempt, state, lease } => {
                world.heard_sealed((by, epoch, attempt), (state, lease), *fault)
            }
            Message::Verified { by, attempt, state } => world.heard_verified(by, attempt, state, *fault),
            Message::Stopped { by, epoch } => world.heard_stopped(by, epoch),
            // Looked at when it is decided whether to switch.
            Message::Healthy { .. } => false,
            Message::Ask { by, epoch, generation, start } => {
                world.heard_ask((by, epoch, generation, start), bounds, *fault)
            }
            Message::Grant { to, epoch, generation, start } => world.lease(to, (epoch, generation, start), *fault),
        }
    }
}

/// What it relies on who tells what can have no effect any more.
fn only_grows(last: &World, next: &World, step: Step) {
    let (before, after) = (last.controller.tenure, next.controller.tenure);
    assert!(before.epoch <= after.epoch && before.attempt <= after.attempt, "{step:?} sets the tenure back");
    let is_excused = matches!(step, Step::Forget(_) | Step::Burn(_));
    for who in Who::BOTH {
        let (before, after) = (last.machine(who).custody.epoch, next.machine(who).custody.epoch);
        assert!(before <= after || is_excused, "{step:?} sets the custody of {who:?} back");
    }
}

/// The way to some moment, step by step.
pub(crate) fn story(path: Path<World, Step>) -> String {
    path.into_actions().iter().enumerate().fold(String::new(), |mut text, (n, step)| {
        let _ = write!(text, "\n{:3}. {step:?}", n + 1);
        text
    })
}
