//! A seller's answer to a demand, as its buyer checks it before anything is told to run: what was asked for, at one of the
//! places that were named, for no more than was said. What is taken once is what receipts are compared with.

use chandler_protocol::AssignmentId;

use super::word::{Demand, LeaseWord};
use crate::finance::AMOUNT_MAX;
use crate::market::clearing::Hourly;

/// Fine where a lease is what was asked for.
///
/// # Errors
/// One sentence: what of it is not.
pub fn answers(id: AssignmentId, demand: &Demand, word: &LeaseWord) -> Result<(), String> {
    if word.id != id {
        return Err(format!("{} was given, and {id} asked for", word.id));
    }
    // The buyer's own rules chose these: another host may be in another country.
    if demand.candidates.iter().all(|c| c.host != word.host) {
        return Err(format!("{id}: it was given on {}, which is none of the hosts that were asked for", word.host));
    }
    if word.capacity != demand.wanted {
        return Err(format!("{id}: another capacity was given than was asked for"));
    }
    if let Some((name, rate)) = word.rates.out_of_range(AMOUNT_MAX) {
        return Err(format!("{id}: its rate {name} is {rate}"));
    }
    let hour = Hourly::new(word.capacity).cost(word.rates);
    if hour > demand.cap {
        return Err(format!("{id}: {hour} an hour are asked for it, and at most {} were said", demand.cap));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use chandler_protocol::{Bytes, HostId, MicroMoney, Micros, MilliCpu, ServiceId};

    use super::*;
    use crate::federation::{LeaseState, Qualified};
    use crate::fleet::Capacity;
    use crate::site::Rates;

    const ID: AssignmentId = AssignmentId::from_random([1; 10]);

    fn host(n: u8) -> HostId {
        HostId::from_random([n; 10])
    }

    /// What is wrong with the answer to a demand for one core that may cost 500 an hour.
    fn check(change: impl FnOnce(&mut LeaseWord)) -> String {
        let wanted = Capacity { cpu: MilliCpu(1_000), memory: Bytes(0), gpus: 0 };
        let demand = Demand {
            service: ServiceId::from_random([4; 10]),
            label: "notes".to_owned(),
            wanted,
            cap: MicroMoney(500),
            candidates: [2, 3].map(|n| Qualified { host: host(n), extra: MicroMoney(0) }).to_vec(),
            epoch: 0,
            turn: 0,
        };
        let mut word = LeaseWord {
            id: ID,
            host: host(3),
            capacity: wanted,
            rates: Rates { core_hour: MicroMoney(500), gib_hour: MicroMoney(9_000), gpu_hour: MicroMoney(0) },
            state: LeaseState::Reserved,
            ends_in: None,
            closed_by: None,
            reason: String::new(),
            price_notice: Micros::ZERO,
            next: None,
            epoch: 0,
            turn: 0,
        };
        change(&mut word);
        answers(ID, &demand, &word).err().unwrap_or_default()
    }

    #[test]
    fn what_was_not_asked_for_is_not_taken() {
        assert_eq!(check(|_| ()), "", "a rate of what is not wanted counts for nothing");
        assert!(check(|w| w.id = AssignmentId::from_random([9; 10])).contains("asked for"));
        assert!(check(|w| w.host = host(4)).contains("none of the hosts"));
        assert!(check(|w| w.capacity.cpu = MilliCpu(8_000)).contains("another capacity"), "more is paid for too");
        assert!(check(|w| w.capacity.cpu = MilliCpu(500)).contains("another capacity"));
        assert!(check(|w| w.rates.core_hour = MicroMoney(501)).contains("at most 0.0005"));
        assert!(check(|w| w.rates.gib_hour = MicroMoney(-1)).contains("its rate"));
    }
}
