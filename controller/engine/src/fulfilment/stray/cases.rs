//! What a restored controller finds running that it does not know.

use chandler_protocol::state::Health;

use super::*;
use crate::fulfilment::example::World;

const HOST: HostId = HostId::from_random([1; 10]);
const COPY: AssignmentId = AssignmentId::from_random([9; 10]);

fn seen(phase: Phase) -> ObservedAssignment {
    ObservedAssignment {
        id: COPY,
        epoch: 4,
        phase,
        ports: Vec::new(),
        starts: 1,
        failures: 0,
        message: String::new(),
        health: Health::default(),
        outputs: Vec::new(),
    }
}

fn told(world: &World) -> Vec<(AssignmentId, u64, Target)> {
    let all = stray_orders(&world.model, HOST, world.now);
    all.into_iter().map(|a| (a.id, a.epoch, a.target)).collect()
}

fn says(world: &mut World, phase: Phase) {
    world.step(|draft| strays(draft, HOST, &[seen(phase)]));
}

#[test]
fn what_nobody_asks_for_is_stopped_after_ten_minutes() {
    let mut world = World::of(2);
    says(&mut world, Phase::Running);
    let found = world.now;
    for _ in 0..3 {
        world.now = world.now.after(Micros::from_secs(199));
        says(&mut world, Phase::Running);
        assert_eq!(told(&world), [], "it may still be asked for");
    }
    world.now = found.after(STRAY_FOR);
    assert_eq!(told(&world), [(COPY, 4, Target::Stopped)]);
    assert_eq!(stray_orders(&world.model, HostId::from_random([2; 10]), world.now), [], "there and nowhere else");
    says(&mut world, Phase::Stopped);
    assert_eq!(told(&world), [], "its agent keeps to what it was told last");
    says(&mut world, Phase::Running);
    assert_eq!(told(&world), [], "what is started anew is another one");
}

#[test]
fn what_does_not_run_is_left_alone() {
    let mut world = World::of(1);
    for rests in [Phase::Stopped, Phase::Wiped] {
        says(&mut world, rests);
        world.now = world.now.after(STRAY_FOR);
        assert_eq!((told(&world), world.model.strays.len()), (Vec::new(), 0));
    }
}
