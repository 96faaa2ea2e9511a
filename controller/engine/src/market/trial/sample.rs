//! A large market to clear: lots of many owners, and demands that name every one of them.

use chandler_protocol::{AssignmentId, Bytes, Digest, HostId, MicroMoney, MilliCpu, OfferId, PartyId, Ppm};

use super::Numbers;
use crate::fleet::Capacity;
use crate::market::book::Book;
use crate::market::clearing::Clearing;
use crate::market::demand::{Demand, Qualified};
use crate::market::lot::{LotOffer, commitment};
use crate::site::Rates;

const COUNTRIES: [&str; 6] = ["CH", "DE", "FR", "AT", "IT", "NL"];

/// A large market.
#[derive(Debug, Clone)]
pub struct Sample {
    numbers: Numbers,
    owners: u32,
}

impl Sample {
    /// A market with so many owners at least.
    pub const fn new(seed: u64, owners: u32) -> Self {
        Self { numbers: Numbers(seed), owners }
    }

    /// So many lots, one a machine, all of them open.
    pub fn lots(&mut self, count: u32) -> Vec<LotOffer> {
        (0..count).map(|n| self.lot(n)).collect()
    }

    fn lot(&mut self, number: u32) -> LotOffer {
        let owner = self.numbers.below(self.owners);
        let mut bytes = [0; 10];
        bytes[..4].copy_from_slice(&owner.to_be_bytes());
        let mut offer = bytes;
        offer[4..8].copy_from_slice(&number.to_be_bytes());
        let cores = 2 + self.numbers.below(63);
        let mut lot = LotOffer {
            host: HostId::from_random(self.numbers.id()),
            offer: OfferId::from_random(offer),
            version: 1 + u64::from(self.numbers.below(9)),
            owner: PartyId::from_random(bytes),
            rates: Rates {
                core_hour: MicroMoney(4_000 + self.numbers.money(16_000).0),
                gib_hour: MicroMoney(500 + self.numbers.money(3_500).0),
                gpu_hour: MicroMoney(0),
            },
            free: Capacity { cpu: MilliCpu(cores * 1_000), memory: Bytes(u64::from(cores) << 31), gpus: 0 },
            country: COUNTRIES[self.numbers.below(6) as usize].to_owned(),
            availability: Ppm(900_000 + self.numbers.below(100_000)),
            risk: self.numbers.money(2_000),
            closed: None,
            salt: self.numbers.digest(),
            commitment: Digest([0; 32]),
        };
        lot.commitment = commitment(&lot);
        lot
    }

    /// A demand that names every lot of a market: the most that one clearing can have to do.
    pub fn demand(&mut self, lots: &[LotOffer]) -> Demand {
        let extra = |numbers: &mut Numbers| numbers.money(5_000);
        let candidates = lots.iter().map(|l| Qualified { host: l.host, extra: extra(&mut self.numbers) }).collect();
        let memory = u64::from(1 + self.numbers.below(16)) << 29;
        Demand {
            id: AssignmentId::from_random(self.numbers.id()),
            buyer: PartyId::from_random(self.numbers.id()),
            wanted: Capacity { cpu: MilliCpu(250 * (1 + self.numbers.below(16))), memory: Bytes(memory), gpus: 0 },
            cap: MicroMoney(20_000 + self.numbers.money(100_000).0),
            candidates,
            countries: if self.numbers.below(2) == 0 { Vec::new() } else { vec!["CH".to_owned(), "DE".to_owned()] },
            availability_min: (self.numbers.below(2) == 0).then_some(Ppm(950_000)),
            not_owners: Vec::new(),
            same: Vec::new(),
        }
    }

    /// Takes what a clearing sold out of the book.
    pub fn sell(book: &mut Book, clearing: &Clearing) {
        let Some(winner) = clearing.winner else { return };
        let sold = book.of_host(winner.host).find(|l| l.offer == winner.offer).cloned();
        if let Some(mut lot) = sold {
            lot.free = lot.free.minus(clearing.demand.wanted);
            book.renew(lot);
        }
    }
}

#[cfg(test)]
mod tests {
    use chandler_protocol::Timestamp;

    use super::*;
    use crate::market::clearing::{Call, Rule, clear, replay, replay_with};

    #[test]
    fn a_large_market_is_cleared_and_its_records_replay() {
        let mut sample = Sample::new(5, 50);
        let lots = sample.lots(600);
        let mut book = Book::open(lots.clone());
        let mut previous = Digest([0; 32]);
        for number in 0..20 {
            let rule = Rule::ALL[number % 2];
            let demand = sample.demand(&lots);
            let call = Call { rule, seed: Digest([1; 32]), at: Timestamp(0), previous };
            let record = clear(&call, &demand, &book).unwrap();
            assert!(record.winner.is_some() && !record.is_whole(), "{}", record.explain());
            assert_eq!(replay(&record), Ok(()));
            let now: Vec<_> = lots.iter().flat_map(|l| book.of_host(l.host).cloned().collect::<Vec<_>>()).collect();
            assert_eq!(replay_with(&record, &demand, now), Ok(()));
            Sample::sell(&mut book, &record);
            previous = record.hash;
        }
    }
}
