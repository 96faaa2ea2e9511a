//! Lots and demands for tests: one core and one GiB, so that an hour costs what the rates say.

use chandler_protocol::{AssignmentId, Bytes, Digest, HostId, MicroMoney, MilliCpu, OfferId, PartyId, Ppm, Timestamp};

use super::clearing::{Call, Rule};
use super::demand::{Demand, Qualified};
use super::lot::{LotOffer, commitment};
use crate::fleet::Capacity;
use crate::site::Rates;

/// Who buys.
pub(crate) const BUYER: PartyId = PartyId::from_random([250; 10]);

/// The lot of machine, offer and owner `n` at a rate an hour.
pub(crate) fn lot(n: u8, rate: i64) -> LotOffer {
    sealed(LotOffer {
        host: HostId::from_random([n; 10]),
        offer: OfferId::from_random([n; 10]),
        version: 1,
        owner: PartyId::from_random([n; 10]),
        rates: Rates { core_hour: MicroMoney(rate), gib_hour: MicroMoney(0), gpu_hour: MicroMoney(0) },
        free: Capacity { cpu: MilliCpu(4_000), memory: Bytes(8 << 30), gpus: 0 },
        country: "CH".to_owned(),
        availability: Ppm(990_000),
        risk: MicroMoney(0),
        closed: None,
        salt: Digest([n; 32]),
        commitment: Digest([0; 32]),
    })
}

/// The same, committed to as it is now.
pub(crate) fn sealed(mut lot: LotOffer) -> LotOffer {
    lot.commitment = commitment(&lot);
    lot
}

/// Changes a lot before its owner commits to it.
pub(crate) fn with(mut lot: LotOffer, change: impl FnOnce(&mut LotOffer)) -> LotOffer {
    change(&mut lot);
    sealed(lot)
}

/// Wants one core and one GiB on one of these machines, each with what it costs on top.
pub(crate) fn demand(cap: i64, candidates: &[(u8, i64)]) -> Demand {
    let qualified =
        |(n, extra): &(u8, i64)| Qualified { host: HostId::from_random([*n; 10]), extra: MicroMoney(*extra) };
    Demand {
        id: AssignmentId::from_random([7; 10]),
        buyer: BUYER,
        wanted: Capacity { cpu: MilliCpu(1_000), memory: Bytes(1 << 30), gpus: 0 },
        cap: MicroMoney(cap),
        candidates: candidates.iter().map(qualified).collect(),
        countries: Vec::new(),
        availability_min: None,
        not_owners: Vec::new(),
        same: Vec::new(),
    }
}

/// By a rule, with a seed.
pub(crate) fn call(rule: Rule) -> Call {
    Call { rule, seed: Digest([9; 32]), at: Timestamp(0), previous: Digest([0; 32]) }
}
