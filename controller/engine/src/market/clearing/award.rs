//! What the winner is paid, as an amount an hour and as the terms of its lease.

use chandler_protocol::{MicroMoney, Micros};

use super::rank::{Hourly, Judged};
use super::{Award, Rule};
use crate::finance::{AMOUNT_MAX, rate};
use crate::fleet::Capacity;
use crate::market::demand::Demand;
use crate::service::PriceTerms;
use crate::site::Rates;

/// One of the rates.
type Of = fn(&mut Rates) -> &mut MicroMoney;

/// All of them, in the order in which they take up what is left.
const EACH: [Of; 3] = [|r| &mut r.core_hour, |r| &mut r.gib_hour, |r| &mut r.gpu_hour];

/// The winner and its pay.
pub(super) fn award(rule: Rule, demand: &Demand, judged: &Judged<'_>) -> Option<Award> {
    let winner = judged.fits.first()?;
    let lot = &winner.opened.lot;
    let paid = match (rule, judged.runner_up.and_then(|i| judged.fits.get(i))) {
        (Rule::PostedRate, _) => winner.rate,
        (Rule::SecondScore, None) => demand.cap,
        // The runner-up's score is not below the winner's, so this is not below what the winner asks for.
        (Rule::SecondScore, Some(next)) => {
            MicroMoney(next.score.0.saturating_sub(winner.extra.0).saturating_sub(lot.risk.0)).min(demand.cap)
        }
    };
    Some(Award {
        host: lot.host,
        offer: lot.offer,
        version: lot.version,
        owner: lot.owner,
        rates: lot.rates,
        posted: winner.rate,
        paid,
    })
}

impl Award {
    /// What is paid an hour on top of the posted rates, however much of the capacity is used. Never negative; 0 as
    /// posted.
    pub const fn premium(&self) -> MicroMoney {
        MicroMoney(self.paid.0.saturating_sub(self.posted.0))
    }

    /// What is paid for a stretch of the lease, exactly: the posted rates by [`rate`], and the premium for the same
    /// time, each rounded once to the nearest millionth. An hour of `wanted` is exactly what is paid an hour.
    pub fn charge(&self, running: Micros, wanted: Capacity) -> MicroMoney {
        let terms = PriceTerms { offering: (String::new(), 0), margin_percent: 0, management_hour: self.premium() };
        let charge = rate(running, wanted, self.rates, &terms);
        MicroMoney(charge.cost.0.saturating_add(charge.management.0))
    }

    /// The pay as rates alone, for who keeps nothing else: each at least as posted, and an hour of `wanted` comes to
    /// at most what is paid. Short of it by less than the number of its cores, GiB or GPUs, whichever is least, in
    /// millionths of the currency: rates are whole. What is posted is never changed.
    pub fn scaled_rates(&self, wanted: Capacity) -> Rates {
        let hourly = Hourly::new(wanted);
        if self.paid <= self.posted {
            return self.rates;
        }
        // First in proportion, then what is left by cores, by memory, by GPUs: each step is the most that still fits.
        let scale = |rate: MicroMoney| {
            let posted = i128::from(self.posted.0.max(1));
            let scaled = (i128::from(rate.0) * i128::from(self.paid.0)).div_euclid(posted);
            MicroMoney(i64::try_from(scaled).unwrap_or(AMOUNT_MAX).clamp(rate.0, AMOUNT_MAX))
        };
        let Rates { core_hour, gib_hour, gpu_hour } = self.rates;
        let mut rates = Rates { core_hour: scale(core_hour), gib_hour: scale(gib_hour), gpu_hour: scale(gpu_hour) };
        if hourly.cost(rates) > self.paid {
            rates = self.rates;
        }
        let with = |mut rates: Rates, of: Of, rate: MicroMoney| {
            *of(&mut rates) = rate;
            rates
        };
        for of in EACH {
            // A rate that costs nothing, because there is hardly any of it, would have no end.
            if hourly.cost(with(Rates::default(), of, MicroMoney(AMOUNT_MAX))).0 > 0 {
                let least = *of(&mut rates);
                let rate = most(least, |rate| hourly.cost(with(rates, of, rate)) <= self.paid);
                rates = with(rates, of, rate);
            }
        }
        rates
    }
}

/// The greatest rate from `least` on that fits; `least` does. Fitting ends at one point, and is looked for by halves.
fn most(least: MicroMoney, fits: impl Fn(MicroMoney) -> bool) -> MicroMoney {
    let (mut good, mut bad) = (least.0, AMOUNT_MAX);
    while bad - good > 1 {
        let middle = good + (bad - good) / 2;
        if fits(MicroMoney(middle)) { good = middle } else { bad = middle }
    }
    MicroMoney(good)
}

#[cfg(test)]
mod tests {
    use chandler_protocol::{Bytes, HostId, MilliCpu, OfferId, PartyId};
    use proptest::prelude::*;

    use super::*;

    fn award_of(wanted: Capacity, [core, gib, gpu]: [i64; 3], premium: i64) -> Award {
        let rates = Rates { core_hour: MicroMoney(core), gib_hour: MicroMoney(gib), gpu_hour: MicroMoney(gpu) };
        let posted = Hourly::new(wanted).cost(rates);
        Award {
            host: HostId::from_random([1; 10]),
            offer: OfferId::from_random([2; 10]),
            version: 1,
            owner: PartyId::from_random([3; 10]),
            rates,
            posted,
            paid: MicroMoney(posted.0 + premium),
        }
    }

    #[test]
    fn a_premium_is_paid_by_the_hour() {
        let wanted = Capacity { cpu: MilliCpu(2_000), memory: Bytes(4 << 30), gpus: 0 };
        let award = award_of(wanted, [8_000, 1_000, 0], 501);
        assert_eq!(
            (award.posted, award.paid, award.premium()),
            (MicroMoney(20_000), MicroMoney(20_501), MicroMoney(501))
        );
        assert_eq!(award.charge(Micros::from_secs(3_600), wanted), MicroMoney(20_501));
        assert_eq!(award.charge(Micros::from_secs(36_000), wanted), MicroMoney(205_010));
        // 20,501 cannot be made of whole rates for 2 cores and 4 GiB: it is rounded to the buyer's good.
        let scaled = award.scaled_rates(wanted);
        assert_eq!(Hourly::new(wanted).cost(scaled), MicroMoney(20_500), "{scaled:?}");
    }

    #[test]
    fn a_premium_raises_the_rates_that_count_and_no_other() {
        let wanted = Capacity { cpu: MilliCpu(2_000), memory: Bytes(4 << 30), gpus: 1 };
        let scaled = award_of(wanted, [8_000, 1_000, 100_000], 60_000).scaled_rates(wanted);
        // 120,000 are posted and 180,000 paid: each half as much again.
        let half_more =
            Rates { core_hour: MicroMoney(12_000), gib_hour: MicroMoney(1_500), gpu_hour: MicroMoney(150_000) };
        assert_eq!(scaled, half_more);
        // A GPU takes up what whole rates of cores and memory cannot.
        let odd = award_of(wanted, [8_000, 1_000, 100_000], 501);
        assert_eq!(Hourly::new(wanted).cost(odd.scaled_rates(wanted)), odd.paid);
    }

    proptest! {
        /// Quickly computed, it is what rating says of an hour.
        #[test]
        fn an_hour_is_rated_as_finance_rates_it(cpu in 1_u32..100_000_000, memory in 1_u64..(100 << 40), core in 0_i64..=1_000_000_000, gib in 0_i64..=1_000_000_000, gpus in 0_u32..=4_096, gpu in 0_i64..=1_000_000_000) {
            let wanted = Capacity { cpu: MilliCpu(cpu), memory: Bytes(memory), gpus };
            let award = award_of(wanted, [core, gib, gpu], 0);
            prop_assert_eq!(award.charge(Micros::from_secs(3_600), wanted), award.posted);
        }

        /// As rates alone: never above what is paid, never below what is posted, and as near as whole rates can be.
        #[test]
        fn scaled_rates_stay_between_posted_and_paid(
            cpu in 1_u32..64_000, memory in (1_u64 << 20)..(64 << 30), core in 0_i64..100_000, gib in 0_i64..100_000,
            premium in 0_i64..1_000_000, gpus in 0_u32..9, gpu in 0_i64..1_000_000,
        ) {
            let wanted = Capacity { cpu: MilliCpu(cpu), memory: Bytes(memory), gpus };
            let award = award_of(wanted, [core, gib, gpu], premium);
            let hour = Micros::from_secs(3_600);
            prop_assert_eq!(award.charge(hour, wanted), award.paid);
            let rates = award.scaled_rates(wanted);
            prop_assert!(rates.core_hour.0 >= core && rates.gib_hour.0 >= gib && rates.gpu_hour.0 >= gpu);
            let cost = Hourly::new(wanted).cost(rates);
            prop_assert!(cost >= award.posted && cost <= award.paid);
            let step = i64::from(cpu.div_ceil(1_000)).min(i64::try_from(memory.div_ceil(1 << 30)).unwrap());
            prop_assert!(award.paid.0 - cost.0 < step.max(1) + 1, "{cost} of {} by {rates:?}", award.paid);
        }
    }
}
