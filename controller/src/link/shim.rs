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
