//! A partner raises its price after it was accepted, or says later that another one was.

use chandler_protocol::{MicroMoney, Micros};

use super::super::{Market, Side};
use super::check;
use super::controller::{host, party};
use super::wire::Reply;
use super::world::World;
use super::{FEW, done, ordered, stateful};
use crate::market::clearing::{Hourly, Rule};
use crate::site::Rates;

/// What is paid for what runs stays what was agreed, whatever is posted, or said of the lease, later.
#[test]
fn a_price_that_was_agreed_stays() {
    for seed in 0..FEW {
        let mut world = World::new(seed);
        ordered(&mut world, stateful(seed.is_multiple_of(2)));
        let raised = world.wire.dice.below(12);
        for second in 0..60 {
            if second == raised {
                world.controllers[1].offers(11, 77_000, Micros::from_secs(40));
            }
            if second == raised + 5 && seed.is_multiple_of(3) {
                world.lie = Some(Box::new(|reply, _| {
                    if let Reply::News(news) = reply {
                        for lease in &mut news.leases {
                            lease.rates.core_hour = MicroMoney(77_000);
                        }
                    }
                }));
            }
            world.tick(1);
        }
        world.calm();
        done(&world);
        check::books(&world, 0, 1);
        check::orphans(&world, 0, 1);
        let contested = world.controllers[0].model.chains.get(&(party(1), Side::Bought)).map(|c| c.sums.contested.0);
        assert_eq!(contested.unwrap_or(0), 0, "seed {seed}: the meter goes by what was agreed");
    }
}

/// Raised between the look and the purchase: nobody pays more than the order allows.
#[test]
fn nobody_pays_more_than_the_order_allows() {
    for seed in 0..FEW {
        let mut world = World::new(seed);
        // Own machine: 66 a month. The order allows 70.
        ordered(&mut world, |spec| {
            stateful(seed.is_multiple_of(2))(spec);
            spec.terms.cost_max = Some(MicroMoney(70_000_000));
        });
        for n in [11, 12] {
            if seed % 3 != 0 || n == 11 {
                world.controllers[1].offers(n, 400_000, Micros::from_secs(40));
            }
        }
        for _ in 0..40 {
            world.tick(1);
            for lease in world.controllers[0].model.leases.values() {
                assert!(lease.rates.core_hour.0 <= 95_000, "seed {seed}: {:?}", lease.rates);
            }
        }
        world.calm();
        done(&world);
        assert!(world.places("notes") != [host(11)], "seed {seed}");
        check::books(&world, 0, 1);
        check::orphans(&world, 0, 1);
    }
}

/// The only seller of a market with the second score would be paid the buyer's limit: without one in the order, that is what
/// the dearest of the places costs that were chosen among.
#[test]
fn who_is_alone_in_a_market_of_second_scores_is_paid_what_was_reckoned_with() {
    for (alone, dearest) in [(true, 10_000), (false, 20_000)] {
        let mut world = World::new(0);
        world.controllers[1].transact(|draft| {
            let market = draft.model.market[&()].as_ref().clone();
            draft.put(Market { rule: Rule::SecondScore, ..market });
        });
        if alone {
            world.controllers[1].withdraw(12);
        }
        for _ in 0..8 {
            world.tick(1);
        }
        ordered(&mut world, |_| {});
        for _ in 0..20 {
            world.tick(1);
        }
        done(&world);
        let lease = world.controllers[0].model.leases.values().find(|l| l.is_open()).unwrap().clone();
        let hour = Hourly::new(lease.capacity);
        let posted = Rates { core_hour: MicroMoney(dearest), gib_hour: MicroMoney(7), gpu_hour: MicroMoney(0) };
        assert_eq!(lease.host, host(11));
        assert!(hour.cost(lease.rates) <= hour.cost(posted), "{:?} for a lease of {dearest}", lease.rates);
    }
}
