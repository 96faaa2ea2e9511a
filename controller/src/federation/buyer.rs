//! Buying from partners: one conversation with each partner that sells here, for as long as it is one.
//!
//! Level-triggered like a session with an agent: what a partner's hosts shall do is said whole whenever it has changed, and
//! what they did is taken in whole. A partner that cannot be reached makes its hosts silent, and nothing else.

mod content;
mod dispute;
mod hear;
mod order;
mod proof;
mod receipt;
mod restore;
mod supply;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chandler_engine::fulfilment;
use chandler_engine::model::Model;
use chandler_engine::partner::PartnerState;
use chandler_protocol::{Digest, HostId, Micros, PartyId, ServiceId};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::{CallError, Federation, FederationClient};
use crate::store::Writer;
use crate::store::blobs::Blobs;

/// The first pause after a partner could not be reached.
const PAUSE: Duration = Duration::from_millis(100);
/// The longest.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// What the conversation with one partner works on.
#[derive(Debug, Clone)]
pub(super) struct Talk {
    partner: PartyId,
    writer: Writer,
    blobs: Arc<Blobs>,
    federation: Arc<Federation>,
    sent: Arc<Sent>,
    /// Everything has to be said again: the partner lost some of it.
    again: Arc<Notify>,
}

/// Content that a partner was sent.
#[derive(Debug, Default)]
struct Sent(Mutex<BTreeSet<Digest>>);

impl Sent {
    fn contains(&self, digest: Digest) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(&digest)
    }

    fn insert(&self, digest: Digest) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(digest);
    }
}

/// Keeps a conversation with every partner that sells here. Ends when the returned future is dropped.
pub async fn run(writer: Writer, blobs: Arc<Blobs>, federation: Arc<Federation>) {
    let mut talks = Talks::default();
    let mut models = writer.watch();
    loop {
        let model = models.borrow_and_update().clone();
        let sellers = sellers(&model);
        talks.0.retain(|party, handle| {
            let goes_on = sellers.contains(party) && !handle.is_finished();
            if !goes_on {
                handle.abort();
            }
            goes_on
        });
        for partner in sellers {
            talks.0.entry(partner).or_insert_with(|| {
                let (writer, blobs, federation) = (writer.clone(), blobs.clone(), federation.clone());
                tokio::spawn(Talk::new(partner, writer, blobs, federation).run()).abort_handle()
            });
        }
        drop(model);
        if models.changed().await.is_err() {
            return;
        }
    }
}

/// The conversations that go on. They end with whoever holds them.
#[derive(Debug, Default)]
struct Talks(BTreeMap<PartyId, AbortHandle>);

impl Drop for Talks {
    fn drop(&mut self) {
        for handle in self.0.values() {
            handle.abort();
        }
    }
}

fn sellers(model: &Model) -> Vec<PartyId> {
    let is_one =
        |p: &chandler_engine::partner::Partner| p.state == PartnerState::Active && p.may_sell && p.address.is_some();
    model.partners.values().filter(|p| is_one(p)).map(|p| p.party).collect()
}

impl Talk {
    pub(super) fn new(partner: PartyId, writer: Writer, blobs: Arc<Blobs>, federation: Arc<Federation>) -> Self {
        Self { partner, writer, blobs, federation, sent: Arc::default(), again: Arc::default() }
    }

    async fn run(self) {
        tokio::join!(self.supplied(), self.heard(), self.orders(), self.receipts(), self.disputes());
    }

    fn client(&self) -> Result<Arc<FederationClient>, CallError> {
        self.federation.client(self.partner)
    }

    /// Who stands in events.
    fn by(&self) -> String {
        let model = self.writer.snapshot();
        let name = model.partners.get(&self.partner).map(|p| p.name.clone());
        format!("partner {}", name.unwrap_or_else(|| self.partner.to_string()))
    }

    /// Does something again and again; what fails is tried again after a pause that grows.
    async fn again<F: Future<Output = Result<(), CallError>>>(&self, what: &'static str, step: impl Fn() -> F) {
        let mut pause = PAUSE;
        loop {
            match step().await {
                Ok(()) => pause = PAUSE,
                Err(error) => {
                    tracing::debug!(partner = %self.partner, what, %error, "a partner gave no answer");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
    }

    /// The grace after which a silent host is lost; answers must come well within it.
    fn grace(&self) -> Micros {
        let grace = self.writer.snapshot().grace;
        if grace.0 > 0 { grace } else { Micros::from_secs(12) }
    }
}

/// The partner's hosts that are known here.
fn hosts_of(model: &Model, partner: PartyId) -> Vec<HostId> {
    let sites = model.sites_of(partner).filter(|s| s.home == Some(partner));
    sites.flat_map(|s| model.hosts_of(s.id)).map(|h| h.id).collect()
}

/// Takes the next step of every service that something is new of.
fn advance(draft: &mut chandler_engine::draft::Draft<'_>, services: impl IntoIterator<Item = ServiceId>) {
    for service in services {
        fulfilment::advance(draft, service);
    }
}
