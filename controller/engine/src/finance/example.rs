//! A usage row for tests.

use chandler_protocol::{
    AssignmentId, Bytes, HostId, MicroMoney, Micros, MilliCpu, PartyId, ServiceId, SiteId, Timestamp,
};

use super::{UsageRow, rate};
use crate::fleet::Capacity;
use crate::service::PriceTerms;
use crate::site::Rates;

/// Who pays in [`row`].
pub(crate) const CUSTOMER: PartyId = PartyId::from_random([1; 10]);

/// A stretch of so many seconds of half a core and 256 MiB.
pub(crate) fn row(sequence: u64, service: &str, seconds: i64) -> UsageRow {
    let reserved = Capacity { cpu: MilliCpu(500), memory: Bytes(256 << 20) };
    let rates = Rates { core_hour: MicroMoney(20_000), gib_hour: MicroMoney(3_000) };
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
