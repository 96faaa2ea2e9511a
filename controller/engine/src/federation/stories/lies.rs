//! A seller lies about what was used: what its buyer cannot believe is contested, to the micro-unit, and nothing else is.

use chandler_protocol::{AssignmentId, MicroMoney, Micros};

use super::super::{Chain, Lease, Side};
use super::check;
use super::controller::party;
use super::world::World;
use super::{FEW, ordered, stateful};
use crate::finance::Meter;
use crate::finance::receipt::{Head, LeasedUse, append};
use crate::finance::settlement::Reason;
use crate::model::Change;

/// Puts a receipt into the seller's chain that its meter knows nothing of, made from the last true one. Gives its number
/// and what it asks for.
fn forge(world: &mut World, change: impl FnOnce(&mut LeasedUse)) -> (u64, i64) {
    let (seller, machines) = (&mut world.controllers[1], &mut world.machines);
    let last = seller.disk.receipts[&(party(0), Side::Sold)].last_key_value().unwrap().1.used;
    let mut used = LeasedUse { sequence: last.sequence + 1, before: Micros(last.before.0 + last.running.0), ..last };
    change(&mut used);
    // The machine goes on counting behind it.
    let machine = machines.iter_mut().find(|m| m.id == last.host).unwrap();
    machine.skips();
    seller.transact(|draft| draft.put(Meter { host: last.host, acknowledged: last.sequence + 1 }));
    let goes_on = used.sequence > last.sequence && used.epoch == last.epoch;
    let made = seller.transact(|draft| {
        let chain = draft.model.chains[&(party(0), Side::Sold)].as_ref().clone();
        let link = append(&chain.parties, chain.head, used).unwrap();
        let (head, sums) = (Head { number: link.number, hash: link.hash }, chain.sums.with(used.amount));
        draft.put(Change::Receipt(party(0), Side::Sold, std::sync::Arc::new(link)));
        draft.put(Chain { head, sums, ..chain });
        if let Some(lease) = draft.model.leases.get(&used.lease).filter(|_| goes_on).cloned() {
            // Who lies well goes on from the lie.
            draft.put(Lease { metered: Micros(lease.metered.0 + used.running.0), ..lease.as_ref().clone() });
        }
        head.number
    });
    world.seen.forged += used.amount.0;
    (made, used.amount.0)
}

/// What the lie is, what its buyer finds, and whether all of it is contested.
fn lie(world: &mut World, kind: u64) -> (u64, i64, Reason) {
    let other = AssignmentId::from_random([77; 10]);
    let (number, asked, reason) = match kind {
        // A lease is paid for no longer than it was there.
        0 => {
            let (n, a) = forge(world, |u| {
                u.running = Micros::from_secs(3_600 * 50);
                u.amount = u.rated();
            });
            (n, a, Reason::Life)
        }
        1 => {
            let (n, a) = forge(world, |u| {
                u.running = Micros::from_secs(10);
                u.rates.core_hour = MicroMoney(u.rates.core_hour.0 * 3);
                u.amount = u.rated();
            });
            (n, a, Reason::Rates)
        }
        2 => {
            let (n, a) = forge(world, |u| u.lease = other);
            (n, a, Reason::UnknownLease)
        }
        3 => {
            let (n, a) = forge(world, |u| u.sequence -= 1);
            (n, a, Reason::Duplicate)
        }
        4 => {
            let (n, a) = forge(world, |u| u.amount = MicroMoney(u.rated().0 + 1));
            (n, a, Reason::Arithmetic)
        }
        _ => {
            let (n, a) = forge(world, |u| u.epoch += 7);
            (n, a, Reason::Epoch)
        }
    };
    (number, asked, reason)
}

#[test]
fn what_was_not_used_is_contested_and_nothing_else() {
    for seed in 0..FEW {
        let mut world = World::new(seed);
        ordered(&mut world, stateful(seed.is_multiple_of(2)));
        for _ in 0..25 + world.wire.dice.below(20) {
            world.tick(1);
        }
        let (number, asked, reason) = lie(&mut world, seed % 6);
        for _ in 0..20 {
            world.tick(1);
        }
        while !check::are_signed(&world) {
            world.tick(1);
        }
        check::books(&world, 0, 1);
        let all: Vec<_> = world.controllers[0].model.disputes.values().map(|d| (d.id.receipt, d.reason)).collect();
        assert_eq!(all.first(), Some(&(number, reason)), "seed {seed}");
        // What is believed of a lease is used up by a claim beyond its life: the next true minute waits for a decision too.
        assert!(reason == Reason::Life || all.len() == 1, "seed {seed}: {all:?}");
        let sums = world.controllers[0].model.chains[&(party(1), Side::Bought)].sums;
        assert!(
            sums.contested.0 > 0 && (reason == Reason::Life || sums.contested.0 <= asked),
            "seed {seed}: {sums:?} of {asked}"
        );
        if matches!(reason, Reason::UnknownLease | Reason::Duplicate | Reason::Epoch) {
            assert_eq!(sums.contested.0, asked, "seed {seed}");
        }
        // Nobody touches it: it is decided for what both agreed, on both sides, and is over.
        for _ in 0..16 {
            world.tick(86_400);
            world.tick(1);
        }
        while !check::are_signed(&world) {
            world.tick(1);
        }
        for n in 0..2 {
            let open = world.controllers[n].model.disputes.values().filter(|d| d.held().0 > 0).count();
            assert_eq!(open, 0, "seed {seed}: controller {n}");
        }
        check::books(&world, 0, 1);
    }
}
