//! Rating: what a stretch of use costs and is charged, in whole millionths, rounded in one place.

use chandler_protocol::{MicroMoney, Micros};

use super::Charge;
use crate::fleet::Capacity;
use crate::service::PriceTerms;
use crate::site::Rates;

/// Most that one part of a charge can come to: a thousand million units of the currency. What would be more is
/// held there, so that sums of charges cannot wrap.
pub(crate) const AMOUNT_MAX: i64 = 1_000_000_000_000_000;

const MICROS_PER_HOUR: i128 = 3_600_000_000;
const BYTES_PER_GIB: i128 = 1 << 30;

/// `n / d`, rounded to the nearest whole number, and to the even one when two are as near: over many rows this
/// favours nobody. `d` is positive.
pub(crate) fn round_div(n: i128, d: i128) -> i128 {
    // Nearly always both are small, and a division of small numbers is many times as quick: a clearing does thousands.
    if let (Ok(n), Ok(d)) = (u64::try_from(n), u64::try_from(d)) {
        let (down, rest) = (n / d, n % d);
        let up = rest > d - rest || (rest == d - rest && down % 2 != 0);
        return i128::from(down) + i128::from(up);
    }
    let (down, rest) = (n.div_euclid(d), n.rem_euclid(d));
    // `rest > d - rest` is `2 * rest > d` without the room for an overflow.
    if rest > d - rest || (rest == d - rest && down % 2 != 0) { down + 1 } else { down }
}

fn hold(value: i128, most: i64) -> i64 {
    i64::try_from(value.clamp(0, i128::from(most))).unwrap_or(most)
}

/// Rates a stretch of use: what was reserved, for as long as it ran.
///
/// Money is computed from the rounded core-hours, GiB-hours and GPU-hours that the bill shows, so that a customer can check
/// every line by hand. A negative time or rate counts as zero.
pub fn rate(running: Micros, reserved: Capacity, rates: Rates, price: &PriceTerms) -> Charge {
    let running = i128::from(running.0.max(0));
    let rate_of = |rate: MicroMoney| i128::from(rate.0.max(0));
    // A core-hour is 1,000 millicores for an hour; counted in millionths, the millions cancel out.
    let core_hours = hold(round_div(i128::from(reserved.cpu.0) * running, MICROS_PER_HOUR / 1_000), i64::MAX);
    let gib_hours =
        hold(round_div(i128::from(reserved.memory.0) * running, BYTES_PER_GIB * MICROS_PER_HOUR / 1_000_000), i64::MAX);
    let gpu_hours = hold(round_div(i128::from(reserved.gpus) * running, MICROS_PER_HOUR / 1_000_000), i64::MAX);
    let parts = [(core_hours, rates.core_hour), (gib_hours, rates.gib_hour), (gpu_hours, rates.gpu_hour)];
    // Of numbers that nobody has, three products do not fit: they are held below anyway.
    let sum = parts.iter().fold(0_i128, |sum, (hours, rate)| sum.saturating_add(i128::from(*hours) * rate_of(*rate)));
    let cost = round_div(sum, 1_000_000);
    let cost = hold(cost, AMOUNT_MAX);
    let margin = round_div(i128::from(cost) * i128::from(price.margin_percent), 100);
    let management = round_div(running * rate_of(price.management_hour), MICROS_PER_HOUR);
    Charge {
        core_hours_micros: core_hours,
        gib_hours_micros: gib_hours,
        gpu_hours_micros: gpu_hours,
        cost: MicroMoney(cost),
        margin: MicroMoney(hold(margin, AMOUNT_MAX)),
        management: MicroMoney(hold(management, AMOUNT_MAX)),
    }
}

/// Rates the next stretch of something that was metered for `before` already: the difference of the two totals. Many
/// short stretches so come to exactly what one long one would; each by itself would lose what is below a millionth.
pub fn rate_next(before: Micros, running: Micros, reserved: Capacity, rates: Rates, price: &PriceTerms) -> Charge {
    let after = Micros(before.0.max(0).saturating_add(running.0.max(0)));
    let (a, b) = (rate(before, reserved, rates, price), rate(after, reserved, rates, price));
    Charge {
        core_hours_micros: b.core_hours_micros - a.core_hours_micros,
        gib_hours_micros: b.gib_hours_micros - a.gib_hours_micros,
        gpu_hours_micros: b.gpu_hours_micros - a.gpu_hours_micros,
        cost: MicroMoney(b.cost.0 - a.cost.0),
        margin: MicroMoney(b.margin.0 - a.margin.0),
        management: MicroMoney(b.management.0 - a.management.0),
    }
}

/// What a site's owner earns for the next stretch, as [`rate_next`] has it. The provider's part of the price has no
/// share in it, so that two parties find the same amount whatever each of them adds.
pub fn rate_cost_next(before: Micros, running: Micros, reserved: Capacity, rates: Rates) -> MicroMoney {
    let nothing_added =
        PriceTerms { offering: (String::new(), 0), margin_percent: 0, management_hour: MicroMoney::default() };
    rate_next(before, running, reserved, rates, &nothing_added).cost
}

#[cfg(test)]
mod tests {
    use chandler_protocol::{Bytes, MilliCpu};
    use proptest::prelude::*;

    use super::*;

    fn terms(margin_percent: u32, management_hour: i64) -> PriceTerms {
        PriceTerms {
            offering: ("standard".to_owned(), 1),
            margin_percent,
            management_hour: MicroMoney(management_hour),
        }
    }

    #[test]
    fn halves_go_to_the_even_neighbour() {
        let check = |n, d, expect| assert_eq!(round_div(n, d), expect, "{n} / {d}");
        check(1, 2, 0);
        check(3, 2, 2);
        check(5, 2, 2);
        check(-1, 2, 0);
        check(-3, 2, -2);
        check(7, 3, 2);
        check(8, 3, 3);
        check(i128::MAX, 1, i128::MAX);
    }

    #[test]
    fn what_is_reserved_is_billed() {
        let reserved = Capacity { cpu: MilliCpu(500), memory: Bytes(2 << 30), gpus: 0 };
        let rates = Rates { core_hour: MicroMoney(20_000), gib_hour: MicroMoney(3_000), gpu_hour: MicroMoney(0) };
        let charge = rate(Micros::from_secs(7_200), reserved, rates, &terms(20, 1_000));
        assert_eq!(charge.core_hours_micros, 1_000_000);
        assert_eq!(charge.gib_hours_micros, 4_000_000);
        assert_eq!(charge.cost, MicroMoney(32_000));
        assert_eq!(charge.margin, MicroMoney(6_400));
        assert_eq!(charge.management, MicroMoney(2_000));
        assert_eq!(charge.price(), MicroMoney(40_400));
        assert_eq!(rate(Micros(-1), reserved, rates, &terms(20, 1_000)), Charge::default());
    }

    #[test]
    fn gpus_are_billed_by_the_hour_and_only_where_they_are_reserved() {
        let plain = Capacity { cpu: MilliCpu(500), memory: Bytes(2 << 30), gpus: 0 };
        let rates = Rates { core_hour: MicroMoney(20_000), gib_hour: MicroMoney(3_000), gpu_hour: MicroMoney(900_000) };
        let cost = |reserved| rate(Micros::from_secs(5_400), reserved, rates, &terms(0, 0));
        let (without, with) = (cost(plain), cost(Capacity { gpus: 2, ..plain }));
        assert_eq!((without.gpu_hours_micros, with.gpu_hours_micros), (0, 3_000_000));
        assert_eq!(with.cost.0 - without.cost.0, 2_700_000);
    }

    proptest! {
        /// However a time is cut into stretches, the customer owes the same.
        #[test]
        fn stretches_add_up_to_the_whole(stretches in prop::collection::vec(0_i64..60_000_000, 1..50)) {
            let reserved = Capacity { cpu: MilliCpu(100), memory: Bytes(64 << 20), gpus: 3 };
            let rates = Rates { core_hour: MicroMoney(6_000), gib_hour: MicroMoney(900), gpu_hour: MicroMoney(70_001) };
            let price = terms(20, 1_000);
            let (mut before, mut owed) = (0, 0);
            for running in &stretches {
                let charge = rate_next(Micros(before), Micros(*running), reserved, rates, &price);
                prop_assert!(charge.cost.0 >= 0 && charge.margin.0 >= 0 && charge.management.0 >= 0);
                owed += charge.price().0;
                before += running;
            }
            prop_assert_eq!(owed, rate(Micros(before), reserved, rates, &price).price().0);
        }

        /// The worst numbers anybody can send neither wrap nor panic, and the parts still sum to the price.
        #[test]
        fn hostile_numbers_are_held(
            running in any::<i64>(), cpu in any::<u32>(), memory in any::<u64>(), core in any::<i64>(),
            gib in any::<i64>(), margin in any::<u32>(), management in any::<i64>(), gpus in any::<u32>(), gpu in any::<i64>(),
        ) {
            let reserved = Capacity { cpu: MilliCpu(cpu), memory: Bytes(memory), gpus };
            let rates = Rates { core_hour: MicroMoney(core), gib_hour: MicroMoney(gib), gpu_hour: MicroMoney(gpu) };
            let c = rate(Micros(running), reserved, rates, &terms(margin, management));
            for part in [c.cost.0, c.margin.0, c.management.0] {
                prop_assert!((0..=AMOUNT_MAX).contains(&part));
            }
            prop_assert_eq!(c.price().0, c.cost.0 + c.margin.0 + c.management.0);
        }
    }
}
