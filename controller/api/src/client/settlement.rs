//! Calls about settlement with partners.

use super::{Client, ClientError};
use crate::settlement::ReceiptChain;

#[expect(clippy::missing_errors_doc, reason = "every method fails in the same ways, told by ClientError")]
impl Client {
    /// The receipts with a partner: one chain for each direction in which something was sold.
    pub async fn receipts(&self, partner: &str) -> Result<Vec<ReceiptChain>, ClientError> {
        self.get(&["partners", partner, "receipts"]).await
    }
}
