//! Disputes: what two partners see differently. The contested money is held in both ledgers until it is decided.

#[cfg(test)]
mod cases;
mod id;
mod price;

use chandler_protocol::text::{TEXT_MAX, clean};
use chandler_protocol::{AssignmentId, MicroMoney, Micros, PartyId, Timestamp};
use serde::{Deserialize, Serialize};

pub use self::id::{DisputeId, NotADispute};
pub use self::price::Bidder;
use super::ledger::{Account, Entry};
use super::receipt::DOMAIN_MAX;
use super::settlement::Reason;

/// Most that is kept of what was said about one dispute.
pub const EVIDENCE_MAX: usize = 16;
/// Most that is kept of what one side said: neither can take the other's room.
pub const STATEMENTS_MAX: usize = EVIDENCE_MAX / 2;
/// How long a dispute waits for somebody to say something before the timer decides it: our own choice.
pub const UNTOUCHED: Micros = Micros::from_secs(14 * 86_400);
/// Who decides where nobody does.
pub const TIMER: &str = "timer";

/// Which side of the sale this ledger is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Side {
    /// The partner sold to us.
    Buyer,
    /// We sold to the partner.
    Seller {
        /// Who owns what was sold: it waits for the contested part as we do.
        owner: PartyId,
    },
}

/// Money that is contested with a partner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Hold {
    /// Our side of the sale.
    pub side: Side,
    /// With whom.
    pub partner: PartyId,
    /// How much; never negative.
    pub contested: MicroMoney,
}

/// What is posted about contested money, once each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Posting {
    /// When it is found.
    Contested(Hold),
    /// When it is decided.
    Decided {
        /// What was held.
        hold: Hold,
        /// How much of it the seller gets; the rest is the buyer's.
        to_seller: MicroMoney,
    },
}

impl Posting {
    /// The entries. They sum to zero.
    pub fn entries(&self) -> Vec<Entry> {
        match *self {
            Self::Contested(hold) => postings_contested(hold),
            Self::Decided { hold, to_seller } => postings_decided(hold, to_seller),
        }
    }
}

const fn entry(account: Account, amount: i64) -> Entry {
    Entry { account, amount: MicroMoney(amount) }
}

/// Contested money goes to [`Account::Held`].
///
/// The buyer has posted only what it believes: it sets the contested part aside from its earnings, for it may have to
/// pay it. The seller has posted all that it asks: the contested part is neither owed to it nor by it to the owner
/// until it is decided.
pub fn postings_contested(hold: Hold) -> Vec<Entry> {
    let amount = hold.contested.0.max(0);
    match hold.side {
        Side::Buyer => vec![entry(Account::Held(hold.partner), -amount), entry(Account::Earnings, amount)],
        Side::Seller { owner } => vec![
            entry(Account::Receivable(hold.partner), -amount),
            entry(Account::Held(hold.partner), amount),
            entry(Account::Payable(owner), amount),
            entry(Account::Held(owner), -amount),
        ],
    }
}

/// Decided money leaves [`Account::Held`]: the seller's part is owed, the rest was never used. `to_seller` is held
/// between nothing and all that was contested.
pub fn postings_decided(hold: Hold, to_seller: MicroMoney) -> Vec<Entry> {
    let amount = hold.contested.0.max(0);
    let share = to_seller.0.clamp(0, amount);
    match hold.side {
        Side::Buyer => vec![
            entry(Account::Held(hold.partner), amount),
            entry(Account::Payable(hold.partner), -share),
            entry(Account::Earnings, share - amount),
        ],
        Side::Seller { owner } => vec![
            entry(Account::Held(hold.partner), -amount),
            entry(Account::Receivable(hold.partner), share),
            entry(Account::Held(owner), amount),
            entry(Account::Payable(owner), -share),
        ],
    }
}

/// How far a dispute is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DisputeState {
    /// Found; nobody has said anything.
    Open,
    /// A side has said something.
    Evidence,
    /// Decided and posted.
    Decided,
    /// Both sides know the decision; nothing changes any more.
    Closed,
}

impl DisputeState {
    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Evidence => "evidence",
            Self::Decided => "decided",
            Self::Closed => "closed",
        }
    }

    /// Whether it may go on to another state.
    pub const fn may_become(self, next: Self) -> bool {
        matches!(
            (self, next),
            (Self::Open, Self::Evidence | Self::Decided)
                | (Self::Evidence, Self::Evidence | Self::Decided)
                | (Self::Decided, Self::Closed)
        )
    }
}

/// What a side said about a dispute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// Who.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// What.
    pub text: String,
    /// Whether the other side said it.
    #[serde(default)]
    pub theirs: bool,
}

/// How a dispute was decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// How much of the contested money the seller gets.
    pub to_seller: MicroMoney,
    /// By whom; [`TIMER`] where nobody did.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// A receipt that its buyer does not believe whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dispute {
    /// Which receipt.
    pub id: DisputeId,
    /// The lease it is about.
    pub lease: AssignmentId,
    /// The money.
    pub hold: Hold,
    /// What is not believed.
    pub reason: Reason,
    /// How far it is.
    pub state: DisputeState,
    /// When it was found.
    pub opened_at: Timestamp,
    /// When somebody last did something about it.
    pub touched_at: Timestamp,
    /// What was said, oldest first.
    pub evidence: Vec<Evidence>,
    /// How it was decided, once it is.
    pub decided: Option<Decision>,
    /// How much of it the buyer would pay, so far.
    #[serde(default)]
    pub offer: MicroMoney,
    /// How much of it the seller would take; all, while it has not said so.
    #[serde(default)]
    pub ask: Option<MicroMoney>,
}

/// Why nothing was done about a dispute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DisputeError {
    /// It is too late for it, or too early.
    #[error("a dispute that is {} cannot become {}", .from.as_str(), .to.as_str())]
    State {
        /// As it is.
        from: DisputeState,
        /// As it was to be.
        to: DisputeState,
    },
    /// Enough was said.
    #[error("a dispute takes at most {STATEMENTS_MAX} statements of each side: have it decided")]
    EvidenceFull,
    /// It takes back what was said before.
    #[error("{0} was said before: a buyer can only offer more, a seller only ask for less")]
    Back(MicroMoney),
    /// The share is no part of what is contested.
    #[error("toSeller must be from 0 to the {0} that are contested")]
    Share(MicroMoney),
}

impl Dispute {
    /// A dispute that was just found. Its money is posted at the same time.
    pub fn open(id: DisputeId, lease: AssignmentId, hold: Hold, reason: Reason, now: Timestamp) -> Self {
        let state = DisputeState::Open;
        Self {
            id,
            lease,
            hold,
            reason,
            state,
            opened_at: now,
            touched_at: now,
            evidence: Vec::new(),
            decided: None,
            offer: MicroMoney(0),
            ask: None,
        }
    }

    /// What is posted when it is opened, then what is posted once it is decided.
    pub fn postings(&self) -> Vec<Posting> {
        let hold = self.hold;
        let decided = self.decided.as_ref().map(|d| Posting::Decided { hold, to_seller: d.to_seller });
        std::iter::once(Posting::Contested(hold)).chain(decided).collect()
    }

    /// How much is still held.
    pub fn held(&self) -> MicroMoney {
        if self.decided.is_none() { self.hold.contested } else { MicroMoney::default() }
    }

    fn moved(&self, to: DisputeState, now: Timestamp) -> Result<Self, DisputeError> {
        if !self.state.may_become(to) {
            return Err(DisputeError::State { from: self.state, to });
        }
        Ok(Self { state: to, touched_at: now, ..self.clone() })
    }

    /// This side says something about it: the timer begins anew. The text is cleaned and cut to [`TEXT_MAX`] characters.
    ///
    /// # Errors
    /// It is decided already, or [`STATEMENTS_MAX`] statements of this side are there.
    pub fn say(&self, by: &str, text: &str, now: Timestamp) -> Result<Self, DisputeError> {
        self.said(false, by, text, now)
    }

    /// The other side says something about it, as in [`Dispute::say`].
    ///
    /// # Errors
    /// It is decided already, or [`STATEMENTS_MAX`] statements of the other side are there.
    pub fn hear(&self, by: &str, text: &str, now: Timestamp) -> Result<Self, DisputeError> {
        self.said(true, by, text, now)
    }

    /// What one side said, oldest first.
    pub fn statements(&self, theirs: bool) -> impl Iterator<Item = &Evidence> {
        self.evidence.iter().filter(move |e| e.theirs == theirs)
    }

    fn said(&self, theirs: bool, by: &str, text: &str, now: Timestamp) -> Result<Self, DisputeError> {
        let mut next = self.moved(DisputeState::Evidence, now)?;
        if next.statements(theirs).count() >= STATEMENTS_MAX {
            return Err(DisputeError::EvidenceFull);
        }
        next.evidence.push(Evidence { by: clean(by, DOMAIN_MAX), at: now, text: clean(text, TEXT_MAX), theirs });
        Ok(next)
    }

    /// It is decided: the caller posts [`Posting::Decided`] with it.
    ///
    /// # Errors
    /// It is decided already, or `to_seller` is not from 0 to what is contested.
    pub fn decide(&self, to_seller: MicroMoney, by: &str, now: Timestamp) -> Result<Self, DisputeError> {
        if !(0..=self.hold.contested.0.max(0)).contains(&to_seller.0) {
            return Err(DisputeError::Share(self.hold.contested));
        }
        let decided = Some(Decision { to_seller, by: clean(by, DOMAIN_MAX), at: now });
        Ok(Self { decided, ..self.moved(DisputeState::Decided, now)? })
    }

    /// Both sides know the decision.
    ///
    /// # Errors
    /// It is not decided, or closed already.
    pub fn close(&self, now: Timestamp) -> Result<Self, DisputeError> {
        self.moved(DisputeState::Closed, now)
    }
}

/// What the timer does: disputes that nobody has touched for `after` go on to their next state, and only those are
/// given. One that was never decided is decided for what both agreed: the contested part is not paid, and a seller that
/// wants it says so in time. A decided one is closed.
pub fn sweep<'a>(disputes: impl IntoIterator<Item = &'a Dispute>, now: Timestamp, after: Micros) -> Vec<Dispute> {
    let untouched = disputes.into_iter().filter(|d| d.touched_at.after(after) <= now);
    untouched
        .filter_map(|d| match d.state {
            DisputeState::Open | DisputeState::Evidence => d.decide(MicroMoney::default(), TIMER, now).ok(),
            DisputeState::Decided => d.close(now).ok(),
            DisputeState::Closed => None,
        })
        .collect()
}
