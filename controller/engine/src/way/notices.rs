//! Notices: workloads that asked to be told before they are moved.

use chandler_protocol::HostId;
use chandler_protocol::way::Notice;

use crate::model::Model;
use crate::relocation::is_told;

/// The workloads of a host that are to be told of their move now, in order of assignment. Each is told once for each
/// attempt; it is told again when a hold did not come about.
pub fn notices(model: &Model, host: HostId) -> Vec<Notice> {
    let here = model.assignments_of_host(host);
    here.filter_map(|copy| {
        let on = model.moves_of(copy.service).find(|m| m.from == Some(copy.id) && is_told(m))?;
        let prepare = model.services.get(&copy.service)?.policy.mobility.prepare.clone()?;
        let (tell, within) = (prepare.tell, prepare.within);
        Some(Notice { assignment: copy.id, r#move: on.id, attempt: on.attempt, tell, within })
    })
    .collect()
}
