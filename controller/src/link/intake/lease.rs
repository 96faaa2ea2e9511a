//! Requests for leases: answered at once for what this controller owns; for its guests they wait for their buyers.

use std::collections::BTreeSet;
use std::sync::Arc;

use chandler_engine::draft::Draft;
use chandler_engine::federation::Side;
use chandler_engine::relocation;
use chandler_protocol::handshake::VERSION_GUESTS;
use chandler_protocol::lease::{LEASES_MAX, LeaseGrant, LeasePart, LeaseRequest};
use chandler_protocol::message::ControllerMessage;
use chandler_protocol::{AssignmentId, HostId};

use super::Intake;
use crate::link::session::LinkError;

/// Requests of one host that wait for buyers. An agent asks again before it misses an answer to an older one.
const ASKS_KEPT: usize = 8;

impl Intake {
    pub(super) async fn lease(&self, request: LeaseRequest) -> Result<(), LinkError> {
        if request.wanted.len() > LEASES_MAX {
            return Err(LinkError::Protocol("too many leases asked for"));
        }
        let host = self.host;
        let by = host.to_string();
        let wanted: Vec<_> = request.wanted.iter().map(|w| w.assignment).collect();
        let answered = self.shared.writer.transact(&by, move |draft| Ok::<_, ()>(answer(draft, host, &request)));
        match answered.await {
            Ok((grant, guests)) if guests.is_empty() => self.answer(ControllerMessage::Lease(grant)).await,
            Ok((grant, guests)) if self.version >= VERSION_GUESTS => {
                let about = wanted.into_iter().filter(|id| !guests.contains(id)).collect();
                self.answer(ControllerMessage::LeasePart(LeasePart { grant, about })).await
            }
            Ok((grant, _)) => self.answer(ControllerMessage::Lease(grant)).await,
            // Not given: it asks again before what it holds is over.
            Err(_) => Ok(()),
        }
    }
}

/// The answer for what this controller owns, and what it does not: that is kept for the buyers.
/// A home never answers for a guest, not even with what its buyer gave before.
fn answer(draft: &mut Draft<'_>, host: HostId, request: &LeaseRequest) -> (LeaseGrant, BTreeSet<AssignmentId>) {
    let is_guest = |id: &AssignmentId| {
        draft.model.leases.get(id).is_some_and(|l| l.side == Side::Sold && l.host == host && l.is_open())
    };
    let (guests, own): (Vec<_>, Vec<_>) = request.wanted.iter().copied().partition(|w| is_guest(&w.assignment));
    let named = guests.iter().map(|w| w.assignment).collect();
    if !guests.is_empty() {
        let mut asks = draft.model.guest_asks.get(&host).map(|asks| asks.as_ref().clone()).unwrap_or_default();
        asks.push(LeaseRequest { nonce: request.nonce, wanted: guests });
        asks.drain(..asks.len().saturating_sub(ASKS_KEPT));
        draft.model.guest_asks.insert(host, Arc::new(asks));
    }
    (relocation::lease(draft, host, &LeaseRequest { nonce: request.nonce, wanted: own }), named)
}
