//! Truthfulness by brute force: in many small markets, every owner tries every false rate that could make a difference.

use std::collections::BTreeSet;

use chandler_protocol::{AssignmentId, Bytes, Digest, HostId, MicroMoney, MilliCpu, OfferId, PartyId, Ppm, Timestamp};

use super::Numbers;
use crate::fleet::Capacity;
use crate::market::book::Book;
use crate::market::clearing::{Call, Hourly, Rule, outcome};
use crate::market::demand::{Demand, Qualified};
use crate::market::lot::{LotOffer, commitment};
use crate::market::offer::RATE_MAX;
use crate::site::Rates;

/// Most owners of one market.
const OWNERS: u32 = 6;

/// What false rates gained.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Findings {
    /// Markets that were tried.
    pub trials: u64,
    /// False rates that were tried, over all owners of all markets.
    pub deviations: u64,
    /// Those with which an owner had more than with its true costs.
    pub profitable_lies: u64,
    /// The most that one gained, an hour.
    pub most_gained: MicroMoney,
}

/// Tries so many random markets of one to six owners with one lot each. What an owner has is what it is paid less what
/// the hour truly costs it, and nothing if it is not chosen; all others say their true costs. The false rates lie around
/// every amount at which an outcome can change: each other's score, the buyer's cap, the own costs.
pub fn profitable_lies(rule: Rule, trials: u32, seed: u64) -> Findings {
    let mut numbers = Numbers(seed);
    let mut found = Findings::default();
    for _ in 0..trials {
        found.trials += 1;
        let market = Market::random(rule, &mut numbers);
        for owner in 0..market.lots.len() {
            let honest = market.gain(owner, market.lots[owner].rates);
            for lie in market.lies(owner) {
                found.deviations += 1;
                let more = market.gain(owner, lie) - honest;
                if more > 0 {
                    found.profitable_lies += 1;
                    found.most_gained = found.most_gained.max(MicroMoney(more));
                }
            }
        }
    }
    found
}

/// One market; what its lots ask for is what they truly cost.
struct Market {
    call: Call,
    demand: Demand,
    lots: Vec<LotOffer>,
    hourly: Hourly,
}

impl Market {
    fn random(rule: Rule, numbers: &mut Numbers) -> Self {
        // Every other market counts in a few millionths: there, scores are equal and caps are met often.
        let coarse = numbers.below(2) == 0;
        let (core, gib, gpu, extra, risk, cap) =
            if coarse { (5, 3, 4, 3, 2, 10) } else { (20_000, 4_000, 30_000, 5_000, 2_000, 60_000) };
        // Two of three want no GPU, and what is asked for one does not count.
        let gpus = numbers.below(3) / 2;
        let wanted = if coarse {
            Capacity { cpu: MilliCpu(1_000), memory: Bytes(1 << 30), gpus }
        } else {
            let memory = u64::from(1 + numbers.below(64)) * (256 << 20);
            Capacity { cpu: MilliCpu(250 * (1 + numbers.below(32))), memory: Bytes(memory), gpus }
        };
        let mut lots = Vec::new();
        let mut candidates = Vec::new();
        for _ in 0..=numbers.below(OWNERS) {
            let lot = LotOffer {
                host: HostId::from_random(numbers.id()),
                offer: OfferId::from_random(numbers.id()),
                version: 1,
                owner: PartyId::from_random(numbers.id()),
                rates: Rates {
                    core_hour: numbers.money(core),
                    gib_hour: numbers.money(gib),
                    gpu_hour: numbers.money(gpu),
                },
                free: wanted,
                country: "CH".to_owned(),
                availability: Ppm::ONE,
                risk: numbers.money(risk),
                closed: None,
                salt: numbers.digest(),
                commitment: Digest([0; 32]),
            };
            candidates.push(Qualified { host: lot.host, extra: numbers.money(extra) });
            lots.push(lot);
        }
        candidates.sort_unstable_by_key(|c| c.host);
        let demand = Demand {
            id: AssignmentId::from_random(numbers.id()),
            buyer: PartyId::from_random(numbers.id()),
            wanted,
            cap: numbers.money(cap),
            candidates,
            countries: Vec::new(),
            availability_min: None,
            not_owners: Vec::new(),
            same: Vec::new(),
        };
        let call = Call { rule, seed: numbers.digest(), at: Timestamp(0), previous: Digest([0; 32]) };
        Self { call, lots, hourly: Hourly::new(demand.wanted), demand }
    }

    /// What an owner has an hour when it asks for these rates.
    fn gain(&self, owner: usize, asked: Rates) -> i64 {
        let mut lots = self.lots.clone();
        lots[owner].rates = asked;
        lots.iter_mut().for_each(|lot| lot.commitment = commitment(lot));
        let truth = &self.lots[owner];
        match outcome(&self.call, &self.demand, &Book::open(lots)) {
            Some(award) if award.offer == truth.offer => award.paid.0 - self.hourly.cost(truth.rates).0,
            _ => 0,
        }
    }

    fn extra(&self, lot: &LotOffer) -> i64 {
        self.demand.candidates.iter().find(|c| c.host == lot.host).map_or(0, |c| c.extra.0) + lot.risk.0
    }

    /// False rates of an owner.
    fn lies(&self, owner: usize) -> Vec<Rates> {
        let own = &self.lots[owner];
        let cost = self.hourly.cost(own.rates).0;
        let mut amounts = BTreeSet::from([0, cost / 2, cost * 9 / 10, cost * 11 / 10, cost * 2, self.demand.cap.0 * 2]);
        for (_, other) in self.lots.iter().enumerate().filter(|(i, _)| *i != owner) {
            amounts.insert(self.hourly.cost(other.rates).0 + self.extra(other) - self.extra(own));
        }
        amounts.extend([cost, self.demand.cap.0]);
        let near: BTreeSet<i64> = amounts.iter().flat_map(|a| [a - 1, *a, a + 1]).filter(|a| *a >= 0).collect();
        let mut lies = Vec::new();
        for amount in near {
            for rates in self.rates_of(amount) {
                if rates != own.rates && !lies.contains(&rates) {
                    lies.push(rates);
                }
            }
        }
        lies
    }

    /// Rates that come to about an amount an hour: just below and just above it, by cores, by memory and by GPUs.
    fn rates_of(&self, amount: i64) -> Vec<Rates> {
        let each: [fn(MicroMoney) -> Rates; 3] = [
            |core_hour| Rates { core_hour, ..Rates::default() },
            |gib_hour| Rates { gib_hour, ..Rates::default() },
            |gpu_hour| Rates { gpu_hour, ..Rates::default() },
        ];
        let all = each.into_iter().flat_map(|of| {
            // What a million an hour comes to tells how many there are, in millionths.
            let many = i128::from(self.hourly.cost(of(MicroMoney(1_000_000))).0.max(1));
            let rate = i64::try_from(i128::from(amount) * 1_000_000 / many).unwrap_or(RATE_MAX).min(RATE_MAX - 1);
            [of(MicroMoney(rate)), of(MicroMoney(rate + 1))]
        });
        all.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_under_posted_rate_does_an_owner_gain_by_a_false_rate() {
        let posted = profitable_lies(Rule::PostedRate, 100, 1);
        assert!(posted.profitable_lies > 0 && posted.most_gained.0 > 0, "{posted:?}");
        let second = profitable_lies(Rule::SecondScore, 200, 1);
        assert_eq!((second.trials, second.profitable_lies), (200, 0), "{second:?}");
        assert!(second.deviations > 5_000, "{second:?}");
    }

    #[test]
    fn the_same_seed_finds_the_same() {
        let find = |seed| profitable_lies(Rule::PostedRate, 20, seed);
        assert_eq!(find(3), find(3));
        assert_ne!(find(3), find(4));
    }
}
