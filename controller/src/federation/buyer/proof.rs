//! Epochs that this controller gave out: signed when they are said, and looked up when a partner claims a later one.

use std::collections::BTreeMap;

use chandler_engine::federation::{News, Orders, Said, claims_later};
use chandler_protocol::{AssignmentId, HostId};

use super::Talk;
use crate::federation::Identity;

/// What the signature is for.
const CONTEXT: &str = "chandler orders epochs";
/// Signatures of one word that are looked at: who claims more has to be heard again.
const PROOFS_MAX: usize = 64;

impl Talk {
    /// The orders with this controller's signature over their epochs. Without one nothing is lost but the proof.
    pub(super) fn signed(&self, host: HostId, orders: Orders) -> Orders {
        signed(self.federation.identity(), host, orders)
    }

    /// The epochs that this controller signed once, as far as the partner claims later ones than it knows.
    pub(super) fn proven(&self, news: &News) -> BTreeMap<AssignmentId, u64> {
        let (model, identity) = (self.writer.snapshot(), self.federation.identity());
        let claims = news.hosts.iter().filter(|h| claims_later(&model, h.host, h.observed.as_deref().unwrap_or(&[])));
        let shown = claims.filter_map(|h| Some((h.host, h.said.as_ref()?))).take(PROOFS_MAX);
        let mut proven = BTreeMap::new();
        for (_, said) in shown.filter(|(host, said)| is_own(identity, *host, said)) {
            for (id, epoch) in &said.epochs {
                let known = proven.entry(*id).or_insert(0);
                *known = (*epoch).max(*known);
            }
        }
        proven
    }
}

fn signed(identity: &Identity, host: HostId, orders: Orders) -> Orders {
    let epochs: Vec<_> = orders.assignments.iter().map(|a| (a.id, a.epoch)).collect();
    match identity.sign(CONTEXT, &Said::to_sign(host, orders.generation, &epochs)) {
        Ok(signature) => Orders { signature: data_encoding::HEXLOWER.encode(&signature), ..orders },
        Err(error) => {
            tracing::error!(%error, "orders cannot be signed");
            orders
        }
    }
}

/// Whether this controller has said that.
fn is_own(identity: &Identity, host: HostId, said: &Said) -> bool {
    let signature = data_encoding::HEXLOWER.decode(said.signature.as_bytes()).unwrap_or_default();
    identity.has_signed(CONTEXT, &Said::to_sign(host, said.generation, &said.epochs), &signature)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use chandler_protocol::Timestamp;

    use super::*;
    use crate::world::SystemRandom;

    /// Of epochs only those that it said itself are believed, about the host that it said them of.
    #[test]
    fn what_was_said_is_proven_by_who_said_it() {
        let identity = || Identity::ephemeral(Timestamp(1_750_000_000_000_000), Arc::new(SystemRandom)).unwrap();
        let (buyer, seller) = (identity(), identity());
        let (id, host) = (AssignmentId::from_random([3; 10]), HostId::from_random([2; 10]));
        let said = Said::of(&signed(&buyer, host, Orders { generation: 7, ..Orders::default() })).unwrap();
        assert!(is_own(&buyer, host, &said));
        assert!(!is_own(&seller, host, &said), "another's word");
        assert!(!is_own(&buyer, HostId::from_random([9; 10]), &said), "of another host");
        let more = Said { epochs: vec![(id, 9)], ..said.clone() };
        assert!(!is_own(&buyer, host, &more), "an epoch that was never given out");
        assert!(!is_own(&buyer, host, &Said { signature: String::new(), ..said }));
    }
}
