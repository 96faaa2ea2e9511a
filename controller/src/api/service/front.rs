//! The front doors of a service and the owner of its state, as the API shows them.

use chandler_api::service::{DoorAddress, FrontDoor, Tenure as ShownTenure};
use chandler_engine::model::Model;
use chandler_engine::relocation::tenure::{Stage, Tenure};
use chandler_protocol::ServiceId;
use chandler_protocol::text::{NAME_MAX, TEXT_MAX, clean};

/// The front doors of a service, in order of host.
pub(super) fn doors(model: &Model, service: ServiceId) -> Vec<FrontDoor> {
    let shown = |(host, door): (_, &std::sync::Arc<chandler_protocol::way::ObservedDoor>)| {
        let c = &door.counters;
        let address = |(port, address): &(String, std::net::SocketAddr)| DoorAddress {
            port: clean(port, NAME_MAX),
            address: address.to_string(),
        };
        FrontDoor {
            host: model.host_name(host),
            host_id: host,
            connected: model.pulse(host).connected,
            addresses: door.addresses.iter().map(address).collect(),
            holding: door.holding,
            waiting: door.waiting,
            message: clean(&door.message, TEXT_MAX),
            requests: c.requests,
            failed: c.failed,
            errors: c.errors,
            held: c.held,
            retried: c.retried,
            cut: c.cut,
            p50_micros: c.first_byte.quantile(500_000),
            p95_micros: c.first_byte.quantile(950_000),
        }
    };
    model.doors_of(service).map(shown).collect()
}

/// Who owns a service's state.
pub(super) fn tenure(model: &Model, tenure: &Tenure) -> ShownTenure {
    let owner = tenure.owner.and_then(|id| model.assignments.get(&id)).map(|a| model.host_name(a.host));
    let stage = match tenure.stage {
        Stage::Settled => "settled",
        Stage::Sealing { root: None, .. } => "sealing",
        Stage::Sealing { root: Some(_), .. } => "sealed",
        Stage::Committed { .. } => "committed",
        Stage::Returning { .. } => "returning",
    };
    ShownTenure { epoch: tenure.epoch, owner, stage: stage.to_owned() }
}
