//! A usage row and a leased use for tests.

use chandler_protocol::{
    AssignmentId, Bytes, HostId, MicroMoney, Micros, MilliCpu, PartyId, ServiceId, SiteId, Timestamp,
};

use super::receipt::{LeasedUse, Parties};
use super::{UsageRow, rate};
use crate::fleet::Capacity;
use crate::service::PriceTerms;
use crate::site::Rates;

/// Who pays in [`row`].
pub(crate) const CUSTOMER: PartyId = PartyId::from_random([1; 10]);

/// A stretch of so many seconds of half a core and 256 MiB.
pub(crate) fn row(sequence: u64, service: &str, seconds: i64) -> UsageRow {
    let reserved = Capacity { cpu: MilliCpu(500), memory: Bytes(256 << 20), gpus: 0 };
    let rates = Rates { core_hour: MicroMoney(20_000), gib_hour: MicroMoney(3_000), gpu_hour: MicroMoney(0) };
    let price =
        PriceTerms { offering: ("standard".to_owned(), 1), margin_percent: 20, management_hour: MicroMoney(1_000) };
    let running = Micros::from_secs(seconds);
    UsageRow {
        host: HostId::from_random([2; 10]),
        sequence,
        assignment: AssignmentId::from_random([3; 10]),
        service: ServiceId::from_random([4; 10]),
        service_name: service.to_owned(),
        customer: CUSTOMER,
        site: SiteId::from_random([5; 10]),
        owner: PartyId::from_random([6; 10]),
        at: Timestamp(0),
        running,
        cpu: running,
        reserved,
        rates,
        price: price.clone(),
        charge: rate(running, reserved, rates, &price),
    }
}

/// Who sells to whom in [`leased`].
pub(crate) fn parties() -> Parties {
    Parties { seller: "shop.example".to_owned(), buyer: "acme.example".to_owned() }
}

/// The use of [`row`] as it is sold to another controller: so many seconds, with so many metered before.
pub(crate) fn leased(sequence: u64, before: i64, seconds: i64) -> LeasedUse {
    let row = row(sequence, "notes", seconds);
    let mut used = LeasedUse {
        lease: row.assignment,
        host: row.host,
        sequence,
        epoch: 1,
        before: Micros::from_secs(before),
        running: row.running,
        cpu: row.cpu,
        at: Timestamp::default().after(Micros::from_secs(before + seconds)),
        reserved: row.reserved,
        rates: row.rates,
        amount: MicroMoney(0),
    };
    used.amount = used.rated();
    used
}
