//! A partner speaks of what is not its own: another buyer's tenant, a copy on somebody else's machine, an older epoch.

use chandler_protocol::state::{Failure, ObservedAssignment, Phase, Sealed};
use chandler_protocol::{AssignmentId, Digest};

use super::super::{LeaseState, LeaseWord, Refused, Wrong};
use super::agent_word;
use super::check;
use super::controller::host;
use super::vanish::plot;
use super::wire::Reply;
use super::world::World;
use super::{FEW, done, ordered, stateful};

fn untrue(seed: u64, id: AssignmentId, epoch: u64) -> ObservedAssignment {
    let phases = [
        Phase::Stopped,
        Phase::Wiped,
        Phase::Failed(Failure::State),
        Phase::Sealed(Sealed { attempt: 1, root: Digest([9; 32]), lease: 1 }),
    ];
    agent_word(id, epoch, phases[usize::try_from(seed % 4).unwrap()])
}

/// While the service runs on the buyer's own machine, the partner says all kinds of things about it.
#[test]
fn a_partner_is_not_believed_about_what_is_not_its_own() {
    for seed in 0..FEW {
        let mut world = World::new(seed);
        ordered(&mut world, stateful(true));
        for second in 0..55 {
            if second < 40 {
                plot(&mut world, second);
            }
            world.tick(1);
        }
        assert_eq!(world.places("notes"), [host(1)], "seed {seed}");
        // Another service keeps the lines busy.
        world.controllers[0].order("other", crate::order::Action::Add, |_| {});
        for _ in 0..5 {
            world.tick(1);
        }
        let service = world.controllers[0].service("notes").unwrap().clone();
        let own: Vec<_> = world.controllers[0].model.assignments_of(service.id).map(|a| (a.id, a.epoch)).collect();
        let stranger = AssignmentId::from_random([88; 10]);
        world.lie = Some(Box::new(move |reply, _| {
            let Reply::News(news) = reply else { return };
            let mut words = Vec::new();
            for one in &mut news.hosts {
                let all = own.iter().copied().chain([(stranger, 1)]);
                one.observed
                    .get_or_insert_default()
                    .extend(all.map(|(id, epoch)| untrue(seed, id, epoch.saturating_sub(seed % 3))));
                words.extend(own.iter().map(|(id, _)| LeaseWord {
                    id: *id,
                    host: one.host,
                    capacity: Default::default(),
                    epoch: 0,
                    turn: 0,
                    rates: Default::default(),
                    state: LeaseState::Closed,
                    ends_in: None,
                    closed_by: None,
                    reason: "not yours".to_owned(),
                    price_notice: Default::default(),
                    next: None,
                }));
            }
            news.leases.extend(words);
        }));
        let before = world.controllers[0].service("notes").unwrap().tenure;
        for _ in 0..20 {
            world.tick(1);
            assert_eq!(world.places("notes"), [host(1)], "seed {seed}");
        }
        assert_eq!(world.controllers[0].service("notes").unwrap().tenure, before, "seed {seed}");
        assert!(!world.controllers[0].model.leases.contains_key(&stranger));
        world.calm();
        done(&world);
        check::orphans(&world, 0, 1);
        check::books(&world, 0, 1);
    }
}

/// A partner claims a later epoch of a copy than there ever was: that brings nothing to a standstill, and is written down.
#[test]
fn an_epoch_that_was_never_given_out_freezes_nothing() {
    for seed in 0..FEW {
        let mut world = World::new(seed);
        ordered(&mut world, stateful(seed % 4 != 3));
        let from = i64::try_from(world.wire.dice.below(20)).unwrap();
        let more = 1 + world.wire.dice.below(9);
        for second in 0..90 {
            plot(&mut world, second.min(71));
            if second == from {
                world.lie = Some(Box::new(move |reply, _| {
                    let Reply::News(news) = reply else { return };
                    for seen in news.hosts.iter_mut().filter_map(|h| h.observed.as_mut()).flatten() {
                        seen.epoch = if seed.is_multiple_of(3) { u64::MAX } else { seen.epoch + more };
                    }
                }));
            }
            if second == from + 12 {
                world.lie = None;
            }
            world.tick(1);
            let notes = world.controllers[0].service("notes").unwrap();
            assert!(notes.tenure.is_none_or(|t| t.owner.is_some()), "seed {seed} second {second}: {}", notes.reason);
        }
        world.calm();
        done(&world);
        let claimed = world.controllers[0].model.leases.values().filter(|l| l.watch.claimed).count();
        assert!(claimed > 0, "seed {seed}: nobody is told");
        check::orphans(&world, 0, 1);
        check::books(&world, 0, 1);
    }
}

/// A partner that plays back what was so under an earlier epoch of its own copy: one owner, and the same end.
#[test]
fn an_older_epoch_is_not_taken_for_now() {
    for seed in 0..FEW {
        let mut world = World::new(seed);
        ordered(&mut world, stateful(true));
        world.lie = Some(Box::new(move |reply, _| {
            let Reply::News(news) = reply else { return };
            for seen in news.hosts.iter_mut().filter_map(|h| h.observed.as_mut()).flatten() {
                if seen.epoch > 1 {
                    *seen = untrue(seed, seen.id, seen.epoch - 1);
                }
            }
        }));
        for second in 0..90 {
            plot(&mut world, second.min(71));
            world.tick(1);
        }
        world.calm();
        done(&world);
        check::orphans(&world, 0, 1);
        check::books(&world, 0, 1);
    }
}

/// A partner refuses one of two copies: that one goes elsewhere, and the other is told and runs on.
#[test]
fn what_a_partner_refuses_goes_elsewhere_and_nothing_else_does() {
    for seed in 0..FEW {
        let mut world = World::new(seed);
        world.lie = Some(Box::new(|reply, _| {
            let Reply::Holds(_, orders, Ok(taken)) = reply else { return };
            let notes = orders.assignments.iter().filter(|a| a.spec.name == "notes");
            let why = "no such thing here".to_owned();
            taken.refused = notes.map(|a| Refused { id: a.id, wrong: Wrong::Limits, why: why.clone() }).collect();
        }));
        ordered(&mut world, stateful(false));
        world.controllers[0].order("other", crate::order::Action::Add, |spec| {
            stateful(seed.is_multiple_of(2))(spec);
            spec.workload.name = "other".to_owned();
        });
        for _ in 0..90 {
            world.tick(1);
        }
        let notes = world.controllers[0].service("notes").unwrap();
        assert_eq!(world.places("notes"), [host(1)], "seed {seed}: {}", notes.reason);
        assert!([[host(11)], [host(12)]].iter().any(|at| world.places("other") == at), "seed {seed}");
        let other = world.controllers[0].service("other").unwrap();
        assert_eq!(other.status, crate::service::OperatingStatus::Running, "seed {seed}: {}", other.reason);
        world.calm();
        check::orphans(&world, 0, 1);
        check::books(&world, 0, 1);
    }
}
