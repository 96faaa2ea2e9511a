//! Epochs that this controller gave out: signed when they are said, and looked up when a partner claims a later one.

use std::collections::BTreeMap;

use chandler_engine::federation::{News, Orders, Said, claims_later};
use chandler_protocol::{AssignmentId, HostId};

use super::Talk;

/// What the signature is for.
const CONTEXT: &str = "chandler orders epochs";
/// Signatures of one word that are looked at: who claims more has to be heard again.
const PROOFS_MAX: usize = 64;

impl Talk {
    /// The orders with this controller's signature over their epochs. Without one nothing is lost but the proof.
    pub(super) fn signed(&self, host: HostId, orders: Orders) -> Orders {
        let epochs: Vec<_> = orders.assignments.iter().map(|a| (a.id, a.epoch)).collect();
        let bytes = Said::to_sign(host, orders.generation, &epochs);
        match self.federation.identity().sign(CONTEXT, &bytes) {
            Ok(signature) => Orders { signature: data_encoding::HEXLOWER.encode(&signature), ..orders },
            Err(error) => {
                tracing::error!(%error, "orders cannot be signed");
                orders
            }
        }
    }

    /// The epochs that this controller signed once, as far as the partner claims later ones than it knows.
    pub(super) fn proven(&self, news: &News) -> BTreeMap<AssignmentId, u64> {
        let model = self.writer.snapshot();
        let claims = news.hosts.iter().filter(|h| claims_later(&model, h.host, h.observed.as_deref().unwrap_or(&[])));
        let shown = claims.filter_map(|h| Some((h.host, h.said.as_ref()?))).take(PROOFS_MAX);
        let mut proven = BTreeMap::new();
        for (host, said) in shown {
            let bytes = Said::to_sign(host, said.generation, &said.epochs);
            let signature = data_encoding::HEXLOWER.decode(said.signature.as_bytes()).unwrap_or_default();
            if self.federation.identity().has_signed(CONTEXT, &bytes, &signature) {
                for (id, epoch) in &said.epochs {
                    let known = proven.entry(*id).or_insert(0);
                    *known = (*epoch).max(*known);
                }
            }
        }
        proven
    }
}
