//! What must hold of several controllers and machines together, whatever happens.

use std::collections::BTreeMap;

use chandler_protocol::{AssignmentId, ServiceId};

use super::super::{LeaseState, Side, Sums};
use super::controller::{Controller, party};
use super::world::World;

/// What was seen so far.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The most that was written to the state of each service.
    written: BTreeMap<ServiceId, u64>,
    /// A state may be lost: its order says that it may begin anew.
    pub may_lose: bool,
    /// What forged receipts come to: they are in the chain, and in no honest ledger.
    pub forged: i64,
    /// Which was restored.
    pub restored: Option<usize>,
    /// The service of each copy that there ever was.
    copies: BTreeMap<AssignmentId, ServiceId>,
}

/// After each word: at most one copy of a service that has one owner runs.
pub(super) fn step(world: &mut World) {
    let now = world.now();
    let mut running: BTreeMap<ServiceId, Vec<(AssignmentId, u64)>> = BTreeMap::new();
    // A copy of an assignment that is gone from its model may run all the same.
    for controller in &world.controllers {
        for a in controller.model.assignments.values() {
            let one = controller.model.services.get(&a.service).is_some_and(|s| s.is_exclusive());
            if one && !world.seen.copies.contains_key(&a.id) {
                world.seen.copies.insert(a.id, a.service);
            }
        }
    }
    for machine in &world.machines {
        for (id, copy) in machine.copies.iter().filter(|(id, _)| machine.is_running(**id, now)) {
            if let Some(service) = world.seen.copies.get(id) {
                running.entry(*service).or_default().push((*id, copy.written));
            }
        }
    }
    for (service, copies) in running {
        assert!(
            copies.len() <= 1,
            "seed {} second {}: {service} runs {} times: {copies:?}",
            world.seed,
            world.second,
            copies.len()
        );
        for (id, written) in copies {
            // What nobody is sent to yet is no work of a customer: a move may go back before its switch.
            let serves =
                |c: &Controller| c.model.services.get(&service).is_some_and(|s| s.route.backends.contains(&id));
            if world.seen.may_lose || !world.controllers.iter().any(serves) {
                continue;
            }
            let before = world.seen.written.entry(service).or_default();
            assert!(
                written + 1 >= *before,
                "seed {} second {}: {service} goes on from {written}, {before} were written",
                world.seed,
                world.second
            );
            *before = (*before).max(written);
        }
    }
}

/// After each second.
pub(super) fn after(world: &mut World) {
    step(world);
    for controller in &mut world.controllers {
        controller.is_sound();
    }
    for (buyer, seller) in world.pairs.clone() {
        leases(world, buyer, seller);
        chains(world, buyer, seller);
    }
}

/// No lease is bought that was not sold, on other terms than it was sold, or twice.
fn leases(world: &World, buyer: usize, seller: usize) {
    let at = (world.seed, world.second);
    let (b, s) = (&world.controllers[buyer], &world.controllers[seller]);
    for lease in b.model.leases.values().filter(|l| l.side == Side::Bought && l.partner == index(seller)) {
        let Some(sold) = s.model.leases.get(&lease.id) else { continue };
        // One that becomes larger or smaller is not known to be so by both at once.
        let sized = lease.watch.size.turn == sold.watch.size.turn;
        let capacity = |l: &super::super::Lease| if sized { l.capacity } else { Default::default() };
        assert_eq!(
            (lease.host, capacity(lease), lease.rates),
            (sold.host, capacity(sold), sold.rates),
            "{at:?}: {} is another lease for each of them",
            lease.id
        );
        // Of what is over at its seller nothing comes back.
        assert!(lease.closed.is_none() || lease.state == LeaseState::Closed, "{at:?}");
    }
}

fn index(i: usize) -> chandler_protocol::PartyId {
    party(u8::try_from(i).unwrap())
}

/// Both have the same receipts as far as both have any.
fn chains(world: &World, buyer: usize, seller: usize) {
    let (b, s) = (&world.controllers[buyer], &world.controllers[seller]);
    let (Some(bought), Some(sold)) =
        (b.disk.receipts.get(&(index(seller), Side::Bought)), s.disk.receipts.get(&(index(buyer), Side::Sold)))
    else {
        return;
    };
    for (number, receipt) in bought {
        if let Some(own) = sold.get(number) {
            assert_eq!(own.hash, receipt.hash, "seed {}: receipt {number} differs", world.seed);
        }
    }
}

/// Whether each has signed all that the other has.
pub(super) fn are_signed(world: &World) -> bool {
    world.pairs.iter().all(|(buyer, seller)| {
        let bought = world.controllers[*buyer].model.chains.get(&(index(*seller), Side::Bought));
        let sold = world.controllers[*seller].model.chains.get(&(index(*buyer), Side::Sold));
        let head = bought.map(|c| c.head);
        head == sold.map(|c| c.head) && [bought, sold].into_iter().flatten().all(|c| c.countersigned() == c.head.number)
    })
}

/// Once faults are over: the books of both agree to the micro-unit, or say by how much they do not.
pub(super) fn books(world: &World, buyer: usize, seller: usize) {
    let at = (world.seed, world.second);
    let (b, s) = (&world.controllers[buyer], &world.controllers[seller]);
    let bought = b.model.chains.get(&(index(seller), Side::Bought));
    let sold = s.model.chains.get(&(index(buyer), Side::Sold));
    let (Some(bought), Some(sold)) = (bought, sold) else {
        assert!(sold.is_none(), "{at:?}: receipts were never taken");
        return;
    };
    assert_eq!(bought.head, sold.head, "{at:?}: one has more receipts than the other");
    assert_eq!(bought.countersigned(), bought.head.number, "{at:?}: not all is signed");
    assert_eq!(sold.countersigned(), sold.head.number, "{at:?}: not all is signed");
    // A buyer that was restored contests what it had agreed to, finds its own signature there, and pays.
    let due = |s: Sums| (s.amount, s.held, s.open, s.agreed().0 + s.decided.0);
    assert_eq!(due(bought.sums), due(sold.sums), "{at:?}: what is asked, held, owed");
    assert!(
        world.seen.restored == Some(buyer) || bought.sums == sold.sums,
        "{at:?}: {:?}, {:?}",
        bought.sums,
        sold.sums
    );
    let rows = |c: &Controller, of: &dyn Fn(&crate::finance::UsageRow) -> bool| -> i64 {
        c.disk.rows.values().filter(|r| of(r)).map(|r| r.charge.cost.0).sum()
    };
    let owed = rows(s, &|r| r.customer == index(buyer)) + world.seen.forged;
    assert_eq!(owed, sold.sums.amount.0, "{at:?}: the seller's ledger is not what its receipts come to");
    let paid = rows(b, &|r| r.owner == index(seller));
    assert_eq!(paid, bought.sums.agreed().0, "{at:?}: the buyer's ledger is not what was agreed");
    assert_eq!(owed - paid, bought.sums.contested.0, "{at:?}: the difference is what is contested");
}

/// Once faults are over: every bought lease has its sold one and the reverse, nothing runs that nobody has leased, and
/// everything leased is used by somebody.
pub(super) fn orphans(world: &World, buyer: usize, seller: usize) {
    let at = (world.seed, world.second);
    let (b, s) = (&world.controllers[buyer], &world.controllers[seller]);
    let open = |c: &Controller, side: Side, partner| -> Vec<AssignmentId> {
        let mine = c.model.leases.values().filter(|l| l.side == side && l.partner == partner && l.is_open());
        mine.map(|l| l.id).collect()
    };
    let (bought, sold) = (open(b, Side::Bought, index(seller)), open(s, Side::Sold, index(buyer)));
    assert_eq!(bought, sold, "{at:?}: bought leases, sold leases");
    for id in &bought {
        assert!(b.model.assignments.contains_key(id), "{at:?}: {id} is paid for and not used");
    }
    let now = world.now();
    for machine in world.machines.iter().filter(|m| m.home == seller) {
        for id in machine.copies.keys().filter(|id| machine.is_running(**id, now)) {
            assert!(
                sold.contains(id) || s.model.assignments.contains_key(id),
                "{at:?}: {id} runs and nobody has leased it"
            );
        }
    }
}
