//! Calls about settlement with partners.

use super::{Client, ClientError};
use crate::page::Page;
use crate::settlement::{
    Dispute, DisputeDecide, DisputeQuery, DisputeSay, ReceiptChain, Settlement, Statement, StatementQuery,
};

#[expect(clippy::missing_errors_doc, reason = "every method fails in the same ways, told by ClientError")]
impl Client {
    /// The receipts with a partner: one chain for each direction in which something was sold.
    pub async fn receipts(&self, partner: &str) -> Result<Vec<ReceiptChain>, ClientError> {
        self.get(&["partners", partner, "receipts"]).await
    }
    /// A month with a partner, both directions in one sum.
    pub async fn settlement(&self, partner: &str, month: &str) -> Result<Settlement, ClientError> {
        self.get(&["partners", partner, "settlements", month]).await
    }
    /// Marks a past month with a partner, of which both sides have the same, as paid.
    pub async fn settle(&self, partner: &str, month: &str) -> Result<Settlement, ClientError> {
        self.act(&["partners", partner, "settlements", month, "settle"]).await
    }
    /// Lists disputes.
    pub async fn disputes(&self, query: &DisputeQuery) -> Result<Page<Dispute>, ClientError> {
        self.list(&["disputes"], query).await
    }
    /// A dispute by id.
    pub async fn dispute(&self, id: &str) -> Result<Dispute, ClientError> {
        self.get(&["disputes", id]).await
    }
    /// Says something about a dispute.
    pub async fn dispute_say(&self, id: &str, say: &DisputeSay) -> Result<Dispute, ClientError> {
        self.post(&["disputes", id, "say"], say).await
    }
    /// Says what this side would settle a dispute for.
    pub async fn dispute_decide(&self, id: &str, decide: &DisputeDecide) -> Result<Dispute, ClientError> {
        self.post(&["disputes", id, "decide"], decide).await
    }
    /// What site owners and partners are owed for a month.
    pub async fn statements(&self, query: &StatementQuery) -> Result<Page<Statement>, ClientError> {
        self.list(&["statements"], query).await
    }
}
