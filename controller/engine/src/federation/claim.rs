//! Epochs that a partner claims for a copy of this controller's.
//!
//! Who has seen a later epoch than the buyer knows says that the buyer has forgotten: it was restored from an older
//! backup. Then who owns a state is not guessed any more, and the service stands still until a person decides
//! ([`crate::relocation`]). A partner could bring any service to a standstill that way by making an epoch up. But epochs
//! come from the buyer alone, and it signs what it says of them: so a claim is believed up to what this controller has
//! signed itself, which its seller keeps to remind it by. Beyond that nothing can be true, unless both were restored from
//! backups at once: that is then told to people by an event, and the copy is not heard until somebody moves its service.
//!
//! Its own agents are not asked for proof: nobody is between them and their controller.

use std::collections::BTreeMap;

use chandler_protocol::state::ObservedAssignment;
use chandler_protocol::{AssignmentId, HostId, PartyId};
use serde::{Deserialize, Serialize};

use super::lease::{Lease, Side};
use super::repute;
use super::watch::Watch;
use super::word::Orders;
use crate::draft::Draft;
use crate::event::Noun;

/// Longest signature that is kept, in hexadecimal digits.
const SIGNATURE_MAX: usize = 1_024;

/// What a buyer has signed of its orders for one host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Said {
    /// The generation of the orders.
    pub generation: u64,
    /// The epoch of each assignment, in the order in which they stood there.
    pub epochs: Vec<(AssignmentId, u64)>,
    /// Over [`Said::to_sign`], by the buyer's federation CA; hexadecimal.
    pub signature: String,
}

impl Said {
    /// What is signed of orders; `None` where they bear no signature.
    pub fn of(orders: &Orders) -> Option<Self> {
        let is_signed = !orders.signature.is_empty() && orders.signature.len() <= SIGNATURE_MAX;
        let epochs = orders.assignments.iter().map(|a| (a.id, a.epoch)).collect();
        let (generation, signature) = (orders.generation, orders.signature.clone());
        is_signed.then_some(Self { generation, epochs, signature })
    }

    /// The bytes that are signed: where, under which generation, and each epoch.
    pub fn to_sign(host: HostId, generation: u64, epochs: &[(AssignmentId, u64)]) -> Vec<u8> {
        let mut bytes = host.as_bytes().to_vec();
        bytes.extend_from_slice(&generation.to_be_bytes());
        for (id, epoch) in epochs {
            bytes.extend_from_slice(id.as_bytes());
            bytes.extend_from_slice(&epoch.to_be_bytes());
        }
        bytes
    }
}

/// What a partner's host has seen, without the copies of which it claims an epoch that this controller never gave out:
/// `proven` are the epochs that it has signed, as far as they were looked at. Such a claim counts against the seller.
pub fn believed(
    draft: &mut Draft<'_>,
    partner: PartyId,
    host: HostId,
    said: Vec<ObservedAssignment>,
    proven: &BTreeMap<AssignmentId, u64>,
) -> Vec<ObservedAssignment> {
    let (untrue, true_ones): (Vec<_>, Vec<_>) = said.into_iter().partition(|seen| {
        let known = draft.model.assignments.get(&seen.id).filter(|a| a.host == host);
        let signed = proven.get(&seen.id).copied().unwrap_or(0);
        known.is_some_and(|a| seen.epoch > a.epoch.max(signed))
    });
    for seen in untrue {
        claimed(draft, partner, &seen);
    }
    true_ones
}

/// Whether a host's word claims a later epoch than this controller knows: then its proof is to be looked at.
pub fn claims_later(model: &crate::model::Model, host: HostId, said: &[ObservedAssignment]) -> bool {
    let later = |seen: &ObservedAssignment| {
        model.assignments.get(&seen.id).is_some_and(|a| a.host == host && seen.epoch > a.epoch)
    };
    said.iter().any(later)
}

/// Written down once for each lease, however often it is claimed.
fn claimed(draft: &mut Draft<'_>, partner: PartyId, seen: &ObservedAssignment) {
    let known = draft.model.leases.get(&seen.id).filter(|l| l.side == Side::Bought && l.partner == partner).cloned();
    let Some(lease) = known.filter(|l| !l.watch.claimed) else { return };
    let state = lease.state.as_str();
    let text = format!(
        "its seller claims epoch {}, which this controller never gave out: what it says of this copy is not believed",
        seen.epoch
    );
    draft.event((Noun::Lease, lease.id.to_string(), &lease.label), state, state, text);
    draft.put(Lease { watch: Watch { claimed: true, ..lease.watch.clone() }, ..lease.as_ref().clone() });
    repute::untrue(draft, &lease);
}
