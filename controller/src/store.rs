//! The store: what survives. One trait, several keepers, one writer in front of them.
//!
//! What is kept: every record, every event, decisions, usage with its postings, answers to requests with an
//! idempotency key. What is not: telemetry and round-trip times, which are measured anew after a restart. The
//! [`Writer`] is the only one who commits; it keeps the [`Model`] in step with what is on disk.

pub mod blobs;
pub mod memory;
mod settled;
pub mod sqlite;
#[cfg(test)]
mod tests;
pub mod writer;

use async_trait::async_trait;
use chandler_engine::event::Event;
use chandler_engine::federation::Side;
use chandler_engine::finance::dispute::Dispute;
use chandler_engine::finance::receipt::Receipt;
use chandler_engine::finance::{LedgerCheck, UsageRow};
use chandler_engine::market::clearing::Clearing;
use chandler_engine::model::{Answer, Change, Codec, Model};
use chandler_engine::placement::Decision;
use chandler_protocol::{AssignmentId, DecisionId, PartyId, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use settled::Settled;
pub use writer::{Refused, Writer};

/// What went wrong with the store.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The database could not be opened, read or written. Nothing of the batch was kept.
    #[error("the store cannot be read or written: {0}")]
    Io(String),
    /// What is kept cannot be understood.
    #[error("the store holds a record that cannot be read: {0}")]
    Corrupt(String),
    /// The amounts in it are of another currency than the settings say.
    #[error("the store's amounts are in {kept}, the settings say {wanted}: set currency = \"{kept}\"")]
    Currency {
        /// Of the amounts in the store.
        kept: String,
        /// Of the settings.
        wanted: String,
    },
    /// A newer version wrote this database.
    #[error("the database is of a newer version of the controller: {0}")]
    Newer(String),
}

/// Which events are wanted.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    /// Only events with a higher id.
    pub after: u64,
    /// At most this many.
    pub limit: u32,
    /// Only those about this thing.
    pub subject: Option<String>,
}

/// A keeper of records.
#[async_trait]
pub trait Store: Send + Sync {
    /// Everything, as of the last commit.
    async fn load(&self) -> Result<Model, StoreError>;
    /// Keeps the currency of all amounts: at the first start, once for ever.
    async fn keep_currency(&self, currency: &str) -> Result<(), StoreError>;
    /// Keeps a batch: all of it, durably, or nothing. `generation` is the model's after it.
    async fn commit(&self, generation: u64, changes: &[Change]) -> Result<(), StoreError>;
    /// Events in order of id.
    async fn events(&self, filter: &EventFilter) -> Result<Vec<Event>, StoreError>;
    /// A decision.
    async fn decision(&self, id: DecisionId) -> Result<Option<Decision>, StoreError>;
    /// The record of the last clearing of a demand.
    async fn clearing(&self, id: AssignmentId) -> Result<Option<Clearing>, StoreError>;
    /// Records of clearings that were made before one (all, if none is named), newest first, at most `limit`.
    async fn clearings(
        &self,
        before: Option<(Timestamp, AssignmentId)>,
        limit: u32,
    ) -> Result<Vec<Clearing>, StoreError>;
    /// Receipts of a chain with a partner behind a number, at most `limit`, in order.
    async fn receipts(&self, partner: PartyId, side: Side, after: u64, limit: u32) -> Result<Vec<Receipt>, StoreError>;
    /// Usage rows of a customer in `[from, to)`, in order of host and sequence.
    async fn usage(&self, customer: PartyId, from: Timestamp, to: Timestamp) -> Result<Vec<UsageRow>, StoreError>;
    /// Receipts of a chain whose use ended in `[from, to)`, in order.
    async fn receipts_within(
        &self,
        partner: PartyId,
        side: Side,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<Receipt>, StoreError>;
    /// Usage rows of who is paid in `[from, to)`, in order of host and sequence.
    async fn earned(&self, owner: PartyId, from: Timestamp, to: Timestamp) -> Result<Vec<UsageRow>, StoreError>;
    /// Disputes that were settled long ago and are not in the model any more, in order of id.
    async fn settled_disputes(&self, wanted: &Settled) -> Result<Vec<Dispute>, StoreError>;
    /// Whether the books balance.
    async fn ledger(&self) -> Result<LedgerCheck, StoreError>;
    /// The answer given to an earlier request with this key.
    async fn answer(&self, caller: &str, key: &str) -> Result<Option<Answer>, StoreError>;
    /// Forgets answers given before this moment.
    async fn forget_answers(&self, before: Timestamp) -> Result<(), StoreError>;
}

/// Records as JSON.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Json;

impl Codec for Json {
    type Error = StoreError;
    fn encode<T: Serialize>(&self, value: &T) -> Result<String, StoreError> {
        serde_json::to_string(value).map_err(|e| StoreError::Corrupt(e.to_string()))
    }
    fn decode<T: DeserializeOwned>(&self, body: &str) -> Result<T, StoreError> {
        serde_json::from_str(body).map_err(|e| StoreError::Corrupt(e.to_string()))
    }
}
