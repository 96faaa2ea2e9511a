//! Settlement with partners: receipts of what was used, what is contested of them, and what is owed for a month.

use chandler_protocol::Digest;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::value::Money;

/// On which side of a sale this controller is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum ChainSide {
    /// It is paid.
    Sold,
    /// It pays.
    Bought,
}

impl ChainSide {
    /// As it stands in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sold => "sold",
            Self::Bought => "bought",
        }
    }
}

/// The receipts with a partner in one direction: a chain that both keep, and that is equal on both sides when nothing is
/// under way. `agreed` and `contested` sum to `amount`; what of `contested` is not `held` is decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReceiptChain {
    /// On which side of it this controller is.
    pub side: ChainSide,
    /// Trust domain of the controller that sells.
    pub seller: String,
    /// Trust domain of the controller that buys.
    pub buyer: String,
    /// How many receipts there are.
    pub receipts: u64,
    /// Hash of the last one.
    #[schema(value_type = String)]
    pub head: Digest,
    /// How many of them the buyer has countersigned, as far as this controller knows.
    pub countersigned: u64,
    /// What the seller asks for all of them.
    pub amount: Money,
    /// What both agreed at once.
    pub agreed: Money,
    /// What the buyer contested, decided by now or not.
    pub contested: Money,
    /// What of that is not decided.
    pub held: Money,
    /// What of it the seller got by decisions.
    pub decided: Money,
}
