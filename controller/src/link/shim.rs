//! Stand-ins for what the engine decides, until it does.

pub(crate) mod way {
    use chandler_engine::model::Model;
    use chandler_protocol::way::{Door, Grant, Notice};
    use chandler_protocol::{HostId, ServiceId};
    pub(crate) fn doors(_: &Model, _: HostId) -> Vec<Door> {
        Vec::new()
    }
    pub(crate) fn grants(_: &Model, _: HostId) -> Vec<Grant> {
        Vec::new()
    }
    pub(crate) fn notices(_: &Model, _: HostId) -> Vec<Notice> {
        Vec::new()
    }
    pub(crate) fn hosts_concerned(model: &Model, service: ServiceId) -> std::collections::BTreeSet<HostId> {
        model.assignments_of(service).map(|a| a.host).collect()
    }
}

pub(crate) mod relocation {
    use chandler_engine::draft::Draft;
    use chandler_engine::model::Model;
    use chandler_protocol::lease::{LeaseRequest, LeaseWanted};
    use chandler_protocol::{HostId, Timestamp};
    pub(crate) fn lease(_: &mut Draft<'_>, _: HostId, _: &LeaseRequest) -> Vec<LeaseWanted> {
        Vec::new()
    }
    pub(crate) fn move_deadline(_: &Model) -> Option<Timestamp> {
        None
    }
    pub(crate) fn retire(_: &mut Draft<'_>) {}
}

pub(crate) mod assurance {
    use chandler_engine::draft::Draft;
    use chandler_protocol::HostId;
    use chandler_protocol::way::ObservedDoor;
    pub(crate) fn seen_door(_: &mut Draft<'_>, _: HostId, _: &ObservedDoor) {}
}
