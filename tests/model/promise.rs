//! What must always be so, and what must be possible: a protocol that does nothing breaks no promise.

use crate::message::Who;
use crate::step::Protocol;
use crate::world::{Bounds, World};

type Is = fn(&Protocol, &World) -> bool;
/// Whether the bounds allow for it.
type If = fn(&Bounds) -> bool;

/// Must be so at every moment.
pub(crate) const ALWAYS: [(&str, Is); 4] = [
    ("at most one copy runs", at_most_one_runs),
    ("who runs as the owner has every write that was acknowledged", the_owner_has_all),
    ("nothing is lost while both machines live", nothing_is_lost),
    ("until customers are switched the old owner has everything", the_source_has_all),
];

/// Must be so at some moment, if the bounds allow it.
pub(crate) const SOMETIMES: [(&str, Is, If); 6] = [
    ("customers write at the new owner", writes_at_the_new, |b| b.writes > 1),
    ("the old copy is deleted and the new one serves", is_deleted, |_| true),
    ("a second attempt is switched", is_switched_later, |b| b.attempts > 1),
    ("what was committed is given back and runs", is_given_back, |_| true),
    ("the state comes back to where it was first", is_moved_back, |b| b.attempts > 1),
    ("another copy runs after the owner was given up", is_failed_over, |b| b.failovers > 0),
];

fn at_most_one_runs(_: &Protocol, world: &World) -> bool {
    world.machines.iter().filter(|m| m.running).count() <= 1
}

fn the_owner_has_all(_: &Protocol, world: &World) -> bool {
    let Some(owner) = world.controller.tenure.owner else { return true };
    let owner = world.machine(Who::of(owner));
    !owner.running || world.promised & !owner.state == 0
}

fn nothing_is_lost(_: &Protocol, world: &World) -> bool {
    let [s, t] = &world.machines;
    s.burnt || t.burnt || world.acknowledged & !(s.state | t.state) == 0
}

/// Whatever becomes of the new owner before customers are switched to it, nothing is lost with it.
fn the_source_has_all(_: &Protocol, world: &World) -> bool {
    let source = world.machine(Who::S);
    let is_over = world.controller.switched || world.spent.failovers > 0;
    is_over || source.burnt || world.acknowledged & !source.state == 0
}

fn runs_as_owner(world: &World, who: Who) -> bool {
    let tenure = &world.controller.tenure;
    let machine = world.machine(who);
    tenure.owner == Some(who.id()) && machine.running && machine.custody.epoch == tenure.epoch
}

fn writes_at_the_new(_: &Protocol, world: &World) -> bool {
    let [s, t] = &world.machines;
    world.controller.switched && runs_as_owner(world, Who::T) && t.state & !s.state != 0 && t.state & s.state != 0
}

fn is_deleted(_: &Protocol, world: &World) -> bool {
    let [s, t] = &world.machines;
    runs_as_owner(world, Who::T) && t.state != 0 && s.state == 0 && world.spent.failovers == 0 && !s.burnt
}

fn is_switched_later(_: &Protocol, world: &World) -> bool {
    world.controller.switched && runs_as_owner(world, Who::T) && world.controller.tenure.attempt == 2
}

fn is_given_back(_: &Protocol, world: &World) -> bool {
    let tenure = &world.controller.tenure;
    // Committed, taken back, given back: three changes of hands in one attempt.
    tenure.attempt == 1 && tenure.epoch == 4 && runs_as_owner(world, Who::S) && world.spent.failovers == 0
}

fn is_moved_back(_: &Protocol, world: &World) -> bool {
    let tenure = &world.controller.tenure;
    world.controller.switched && tenure.attempt == 2 && tenure.epoch == 3 && runs_as_owner(world, Who::S)
}

fn is_failed_over(_: &Protocol, world: &World) -> bool {
    world.spent.failovers > 0 && runs_as_owner(world, Who::T)
}
