//! Leases that an agent asks for. A renewal changes nothing that is kept; a new one is on disk before it is given.

use chandler_engine::relocation;
use chandler_protocol::lease::{LEASES_MAX, LeaseRequest};
use chandler_protocol::message::ControllerMessage;

use super::Intake;
use crate::link::session::LinkError;

impl Intake {
    pub(super) async fn lease(&self, request: LeaseRequest) -> Result<(), LinkError> {
        if request.wanted.len() > LEASES_MAX {
            return Err(LinkError::Protocol("too many leases asked for"));
        }
        let host = self.host;
        let by = host.to_string();
        let given =
            self.shared.writer.transact(&by, move |draft| Ok::<_, ()>(relocation::lease(draft, host, &request)));
        match given.await {
            Ok(grant) => self.answer(ControllerMessage::Lease(grant)).await,
            // Not given: it asks again before what it holds is over.
            Err(_) => Ok(()),
        }
    }
}
