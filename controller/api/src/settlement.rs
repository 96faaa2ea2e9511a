//! Settlement with partners: receipts of what was used, what is contested of them, and what is owed for a month.

use chandler_protocol::{AssignmentId, Digest, PartyId};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::value::{Money, Time};

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

/// Which disputes are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DisputeQuery {
    /// Only those with this partner (name or id).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partner: Option<String>,
    /// Only those in this state: `open`, `evidence`, `decided` or `closed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Most items wanted, 1 to 500 (default 100).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// The `nextPageToken` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page_token: Option<String>,
}

/// A receipt that its buyer does not believe whole. Its money is held on both sides until it is decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Dispute {
    /// The partner's id, the side, and the number of the receipt, with dots between.
    pub id: String,
    /// With whom.
    pub partner: String,
    /// Whether this controller sold or bought.
    pub side: ChainSide,
    /// Number of the receipt.
    pub receipt: u64,
    /// The lease: the buyer's assignment.
    #[schema(value_type = String)]
    pub lease: AssignmentId,
    /// `open`, `evidence` (a side has said something), `decided`, or `closed` (both know the decision).
    pub state: String,
    /// What is not believed, as one word.
    pub reason: String,
    /// The same in a sentence.
    pub text: String,
    /// How much is contested.
    pub contested: Money,
    /// How much of that the buyer would pay, so far.
    pub offered: Money,
    /// How much of it the seller would take, so far. Once no more is asked than is offered, this is what the seller gets.
    pub asked: Money,
    /// When it was found.
    #[schema(value_type = String)]
    pub opened_at: Time,
    /// When somebody last did something about it.
    #[schema(value_type = String)]
    pub touched_at: Time,
    /// When the timer decides or closes it, if nobody touches it until then; absent once it is closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub due_at: Option<Time>,
    /// What was said, oldest first.
    pub evidence: Vec<Evidence>,
    /// How it was decided, once it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided: Option<Decision>,
}

/// What a side said about a dispute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Evidence {
    /// Who.
    pub by: String,
    /// Whether it was the partner.
    pub theirs: bool,
    /// When.
    #[schema(value_type = String)]
    pub at: Time,
    /// What.
    pub text: String,
}

/// How a dispute was decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Decision {
    /// How much of the contested money the seller gets.
    pub to_seller: Money,
    /// By whom; `timer` where nobody did.
    pub by: String,
    /// When.
    #[schema(value_type = String)]
    pub at: Time,
}

/// Says something about a dispute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DisputeSay {
    /// What: 1 to 512 characters, which the partner sees.
    pub text: String,
}

/// Says what this side would settle a dispute for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DisputeDecide {
    /// How much of the contested money the seller shall get. Where this controller bought: the most that it pays; where it
    /// sold: the least that it takes. A price can only move towards the other side.
    pub to_seller: Money,
}

/// Which statements are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct StatementQuery {
    /// Only that of this site owner or partner (name or id).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payee: Option<String>,
    /// The month, as `2026-11`; the current one when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub month: Option<String>,
    /// Most items wanted, 1 to 500 (default 100).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// The `nextPageToken` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page_token: Option<String>,
}

/// What a site's owner or a partner is owed for a month: what was used of its machines, and what disputes took from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Statement {
    /// Name of who is paid.
    pub payee: String,
    /// Its id.
    #[schema(value_type = String)]
    pub payee_id: PartyId,
    /// The month, as `2026-11`.
    pub month: String,
    /// `new` while the month is open, then `sent`.
    pub state: String,
    /// When it was made.
    #[schema(value_type = String)]
    pub made_at: Time,
    /// ISO 4217 code.
    pub currency: String,
    /// What is owed: lines and corrections together.
    pub total: Money,
    /// What was used.
    pub lines: Vec<StatementLine>,
    /// What disputes took from it, and gave.
    pub corrections: Vec<Correction>,
}

/// One line of a statement: one lease or assignment on one host under the same rates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatementLine {
    /// Name of the site.
    pub site: String,
    /// Name of the computer.
    pub host: String,
    /// What ran: the id of the assignment, which is that of its lease.
    #[schema(value_type = String)]
    pub lease: AssignmentId,
    /// Number of usage rows in this line.
    pub usage_rows: u64,
    /// How long it ran, in microseconds.
    pub running_micros: i64,
    /// Reserved processor time used up, in millionths of a core-hour.
    pub core_hours_micros: i64,
    /// Reserved memory time used up, in millionths of a GiB-hour.
    pub gib_hours_micros: i64,
    /// Reserved GPU time used up, in millionths of a GPU-hour.
    #[serde(default)]
    pub gpu_hours_micros: i64,
    /// Rate of a core-hour.
    pub core_hour: Money,
    /// Rate of a GiB-hour.
    pub gib_hour: Money,
    /// Rate of a GPU-hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu_hour: Option<Money>,
    /// What is owed for it.
    pub amount: Money,
}

/// What a dispute changed of a statement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Correction {
    /// The lease it is about.
    #[schema(value_type = String)]
    pub lease: AssignmentId,
    /// When.
    #[schema(value_type = String)]
    pub at: Time,
    /// What it changes; negative while it is held.
    pub amount: Money,
    /// What happened, in one sentence.
    pub text: String,
}

/// A month between two partners: both directions in one sum. The partner sees the same with the directions turned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Settlement {
    /// With whom.
    pub partner: String,
    /// The month, as `2026-11`.
    pub month: String,
    /// `open` (the month goes on, or receipts are not countersigned), `disputed` (money is held), `matched` (both sides have
    /// the same: the net sum may be paid), or `settled` (it was paid).
    pub state: String,
    /// What this controller sold.
    pub sold: Direction,
    /// What it bought.
    pub bought: Direction,
    /// What the partner pays; negative: what it is paid. Without what is held.
    pub net: Money,
    /// When this was found, or paid.
    #[schema(value_type = String)]
    pub made_at: Time,
}

/// What one direction of a settlement comes to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Direction {
    /// Number of receipts of the month.
    pub receipts: u64,
    /// How many of them are not countersigned; their money is in no sum.
    pub waiting: u64,
    /// What both sides agreed at once.
    pub agreed: Money,
    /// What the seller got by decisions.
    pub decided: Money,
    /// What is held.
    pub held: Money,
    /// What is owed: agreed and decided.
    pub owed: Money,
}
