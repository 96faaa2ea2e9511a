//! Row 36: every fault in every phase of a move that carries state, and what becomes of it.

use chandler_protocol::state::Phase;

use super::*;
use crate::relocation::tenure::Stage;

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// The controller is killed: what it only remembered is gone.
    Controller,
    /// A host is gone for longer than its lease, and comes back.
    Gone(u8),
    /// A host is not heard for a moment.
    Cut(u8),
    /// The two hosts do not reach each other.
    Apart,
}

const SOURCE: u8 = 1;
const TARGET: u8 = 2;

const FAULTS: [Fault; 6] =
    [Fault::Controller, Fault::Gone(SOURCE), Fault::Gone(TARGET), Fault::Cut(SOURCE), Fault::Cut(TARGET), Fault::Apart];

fn strike(world: &mut World, fault: Fault) {
    match fault {
        Fault::Controller => {
            let was = world.model.pulses.clone();
            world.now.0 += 3_000_000;
            world.model.doors = Default::default();
            world.model.told = Default::default();
            world.model.lease_given = Default::default();
            world.model.pulses = Default::default();
            world.model.observable_since = world.now;
            world.model.leasing_since = world.boot();
            world.watch();
            world.model.pulses = was;
        }
        Fault::Gone(n) => {
            world.cut(n);
            for _ in 0..30 {
                world.pass(1);
                world.watch();
                others(world, n);
            }
        }
        Fault::Cut(n) => {
            world.cut(n);
            for _ in 0..3 {
                world.pass(1);
                world.watch();
                others(world, n);
            }
        }
        Fault::Apart => {
            let new = newest(world).to.unwrap();
            for _ in 0..60 {
                let receives = world.model.assignments.get(&new).map(|a| a.target);
                match receives {
                    Some(Target::Receive(order)) => {
                        let stuck = Progress { attempt: order.attempt, rounds: 1, ..Progress::default() };
                        world.says.insert(new, Phase::Receiving(stuck));
                    }
                    _ => {
                        world.says.remove(&new);
                    }
                }
                world.pass(1);
                world.watch();
                world.agents(&[]);
                world.door(DOOR, "notes", &[], &[]);
            }
            world.says.clear();
        }
    }
}

/// Everybody but one host goes on.
fn others(world: &mut World, but: u8) {
    for n in (1..=3).filter(|n| *n != but) {
        world.report(n, false);
    }
    world.door(DOOR, "notes", &[], &[]);
}

#[test]
fn row_36_each_phase_times_six_faults() {
    use MovePhase::*;
    // In the order of FAULTS: done, or rolled back. What was not yet served by the target goes back when the target is
    // gone; what was sealed goes on when the target has all of it; everything else goes on.
    let table = [
        (Preparing, [Done, RolledBack, RolledBack, Done, Done, Done]),
        (Copying, [Done, RolledBack, RolledBack, Done, Done, Done]),
        (Standby, [Done, RolledBack, RolledBack, Done, Done, Done]),
        (Holding, [Done, RolledBack, RolledBack, Done, Done, Done]),
        (FinalCopy, [Done, RolledBack, RolledBack, Done, Done, RolledBack]),
        (Starting, [Done, Done, RolledBack, Done, Done, Done]),
        (Verifying, [Done, Done, RolledBack, Done, Done, Done]),
        (Switching, [Done, Done, Done, Done, Done, Done]),
        (Draining, [Done, Done, Done, Done, Done, Done]),
    ];
    for (at, expect) in table {
        for (fault, expect) in FAULTS.into_iter().zip(expect) {
            let mut world = with(|spec| {
                stateful(true)(spec);
                if at == Standby {
                    let tell = chandler_protocol::workload::Probe::Exec { command: Vec::new() };
                    let within = chandler_protocol::Micros::from_secs(60);
                    spec.policy.mobility.prepare = Some(crate::order::Prepare { tell, within });
                }
            });
            order_to(&mut world, TARGET);
            drive(&mut world, at);
            strike(&mut world, fault);
            // A try that was put off is made again after its pause.
            calm(&mut world);
            if !phase(&world).is_final() {
                world.pass(601);
                calm(&mut world);
            }
            let ended = newest(&world);
            assert_eq!(ended.phase, expect, "{fault:?} in {at:?}: {} {:?}", ended.reason, ended.phases);
            let place = if expect == Done { TARGET } else { SOURCE };
            assert_eq!(world.places("notes"), [place], "{fault:?} in {at:?}");
            let service = world.service("notes");
            let tenure = service.tenure.unwrap();
            let owner = tenure.owner.map(|o| side(&world, Some(o)).host);
            assert_eq!((owner, tenure.stage), (Some(host(place)), Stage::Settled), "{fault:?} in {at:?}");
            assert_eq!((service.route.hold, service.route.backends.len()), (None, 1), "{fault:?} in {at:?}");
        }
    }
}
