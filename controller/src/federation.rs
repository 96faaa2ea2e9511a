//! The federation: this controller among others. Who it is to them, whom it trusts, where they call it, and how it calls
//! them.
//!
//! Each partner has a bundle of its own that is good for it alone. A partner's certificate opens this listener and
//! nothing else, and no other certificate opens this one.

pub mod buyer;
mod client;
pub mod document;
pub mod identity;
pub(crate) mod invitation;
mod listener;
pub(crate) mod onboarding;
pub(crate) mod peer;
mod routes;
mod seller;
#[cfg(test)]
mod tests;
pub mod tls;
mod trunk;
pub mod trust;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use chandler_api::problem::{NOT_FOUND, NOT_LISTENING, PARTNER_CUT, PARTNER_UNREACHABLE, Problem};
use chandler_engine::partner::{Introduction, Partner, PartnerState};
use chandler_protocol::PartyId;
use chandler_protocol::world::Clock;

pub use self::client::{CallError, FederationClient};
pub use self::identity::Identity;
pub use self::listener::Listener;
pub use self::peer::Peer;
pub use self::seller::Brought;
pub(crate) use self::seller::Part;
pub use self::trunk::Dialler;
use crate::link::{Relay, Sessions};
use crate::store::Writer;
use crate::store::blobs::Blobs;

/// What the handlers of partners' calls work on.
#[derive(Debug)]
pub struct Desk {
    /// The model and the one way to change it.
    pub writer: Writer,
    /// Artifacts, inputs and results.
    pub blobs: Arc<Blobs>,
    /// Connected hosts.
    pub sessions: Arc<Sessions>,
    /// Packets between agents without a straight way.
    pub relay: Arc<Relay>,
    /// Who this controller is, and how it calls others.
    pub federation: Arc<Federation>,
    /// What content its buyers have brought.
    pub brought: Brought,
}

/// This controller among others.
#[derive(Debug)]
pub struct Federation {
    identity: Arc<Identity>,
    writer: Writer,
    /// `HOST:PORT` where partners call, once it listens.
    address: Mutex<Option<String>>,
    clients: Mutex<BTreeMap<PartyId, Kept>>,
}

/// A client, and what it was made from.
#[derive(Debug)]
struct Kept {
    version: u64,
    generation: u64,
    client: Arc<FederationClient>,
}

impl Federation {
    /// A controller that does not listen for partners yet.
    pub fn new(identity: Arc<Identity>, writer: Writer) -> Self {
        Self { identity, writer, address: Mutex::default(), clients: Mutex::default() }
    }

    /// Who it is to its partners.
    pub const fn identity(&self) -> &Arc<Identity> {
        &self.identity
    }

    fn clock(&self) -> &Arc<dyn Clock> {
        self.writer.clock()
    }

    /// From now on, partners call at this `HOST:PORT`.
    pub fn set_address(&self, address: String) {
        *self.address.lock().unwrap_or_else(PoisonError::into_inner) = Some(address);
    }

    /// Where partners call.
    pub fn address(&self) -> Option<String> {
        self.address.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What partners are told of this controller.
    pub fn introduction(&self) -> Introduction {
        self.identity.introduction(self.address())
    }

    /// Where partners call, which must be somewhere.
    ///
    /// # Errors
    /// It does not listen.
    pub fn listening(&self) -> Result<String, Box<Problem>> {
        let silent = || Box::new(Problem::new(NOT_LISTENING, "it was started without --federation"));
        self.address().ok_or_else(silent)
    }

    /// How a partner is called. Ask for it at each call: it is another one once the partner's address or bundle, or this
    /// controller's own CA, has changed, and none for a partner who is not active.
    ///
    /// # Errors
    /// There is no such partner, it is not active, or does not listen.
    pub fn client(&self, party: PartyId) -> Result<Arc<FederationClient>, CallError> {
        let model = self.writer.snapshot();
        let unknown = || not_made(Problem::new(NOT_FOUND, format!("there is no partner {party}")));
        let partner = model.partners.get(&party).ok_or_else(unknown)?;
        if partner.state != PartnerState::Active {
            let detail = format!("partner {} is {}", partner.name, partner.state.as_str());
            return Err(not_made(Problem::new(PARTNER_CUT, detail)));
        }
        let generation = self.identity.generation();
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = clients.get(&party)
            && (kept.version, kept.generation) == (partner.version, generation)
        {
            return Ok(kept.client.clone());
        }
        let client = Arc::new(self.made(partner)?);
        clients.insert(party, Kept { version: partner.version, generation, client: client.clone() });
        Ok(client)
    }

    fn made(&self, partner: &Partner) -> Result<FederationClient, CallError> {
        let Some(address) = &partner.address else {
            let detail = format!("partner {} does not listen: nothing can be bought from it", partner.name);
            return Err(not_made(Problem::new(PARTNER_UNREACHABLE, detail)));
        };
        let anchors = tls::Anchors::Pinned(partner.trust.clone());
        let tls = tls::calling(&self.identity, self.clock(), anchors, &partner.trust_domain)
            .map_err(|e| CallError::NotMade(document::internal(e).0))?;
        Ok(FederationClient::new(&partner.name, address, tls))
    }
}

fn not_made(problem: Problem) -> CallError {
    CallError::NotMade(Box::new(problem))
}
