//! Disputes: what two partners see differently. The contested money is held in both ledgers until it is decided.

use chandler_protocol::text::{TEXT_MAX, clean};
use chandler_protocol::{AssignmentId, MicroMoney, Micros, PartyId, Timestamp};
use serde::{Deserialize, Serialize};

use super::ledger::{Account, Entry};
use super::receipt::DOMAIN_MAX;
use super::settlement::Reason;

/// Most that is kept of what was said about one dispute.
pub const EVIDENCE_MAX: usize = 16;
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

/// The receipt that a dispute is about: one receipt has at most one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DisputeId {
    /// With whom.
    pub partner: PartyId,
    /// Whether it is a receipt of ours, or of the partner.
    pub ours: bool,
    /// Its number.
    pub receipt: u64,
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
    #[error("a dispute takes at most {EVIDENCE_MAX} statements: have it decided")]
    EvidenceFull,
    /// The share is no part of what is contested.
    #[error("toSeller must be from 0 to the {0} that are contested")]
    Share(MicroMoney),
}

impl Dispute {
    /// A dispute that was just found. Its money is posted at the same time.
    pub fn open(id: DisputeId, lease: AssignmentId, hold: Hold, reason: Reason, now: Timestamp) -> Self {
        let state = DisputeState::Open;
        Self { id, lease, hold, reason, state, opened_at: now, touched_at: now, evidence: Vec::new(), decided: None }
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

    /// A side says something about it: the timer begins anew. The text is cleaned and cut to [`TEXT_MAX`] characters.
    ///
    /// # Errors
    /// It is decided already, or [`EVIDENCE_MAX`] statements are there.
    pub fn say(&self, by: &str, text: &str, now: Timestamp) -> Result<Self, DisputeError> {
        let mut next = self.moved(DisputeState::Evidence, now)?;
        if next.evidence.len() >= EVIDENCE_MAX {
            return Err(DisputeError::EvidenceFull);
        }
        next.evidence.push(Evidence { by: clean(by, DOMAIN_MAX), at: now, text: clean(text, TEXT_MAX) });
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
/// given. One that was never decided is decided for what both agreed: the contested part is not paid. A seller that wants it says so
/// in time. A decided one is closed.
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PARTNER: PartyId = PartyId::from_random([8; 10]);
    const OWNER: PartyId = PartyId::from_random([9; 10]);

    fn dispute(contested: i64) -> Dispute {
        let id = DisputeId { partner: PARTNER, ours: false, receipt: 7 };
        let hold = Hold { side: Side::Buyer, partner: PARTNER, contested: MicroMoney(contested) };
        Dispute::open(id, AssignmentId::from_random([3; 10]), hold, Reason::Life, Timestamp(0))
    }

    #[test]
    fn a_dispute_goes_only_forward() {
        use DisputeState::{Closed, Decided, Evidence, Open};
        let legal = [(Open, Evidence), (Open, Decided), (Evidence, Evidence), (Evidence, Decided), (Decided, Closed)];
        for from in [Open, Evidence, Decided, Closed] {
            for to in [Open, Evidence, Decided, Closed] {
                assert_eq!(from.may_become(to), legal.contains(&(from, to)), "{from:?} to {to:?}");
            }
        }
        let said = dispute(10).say("shop.example", "the meter\u{7}", Timestamp(1)).unwrap();
        assert_eq!((said.state, said.evidence[0].text.as_str()), (Evidence, "the meter"));
        let decided = said.decide(MicroMoney(4), "auditor", Timestamp(2)).unwrap();
        assert_eq!(
            decided.decide(MicroMoney(5), "x", Timestamp(3)).unwrap_err().to_string(),
            "a dispute that is decided cannot become decided"
        );
        assert!(decided.say("x", "but", Timestamp(3)).is_err());
        assert_eq!((decided.held(), said.held()), (MicroMoney(0), MicroMoney(10)));
        assert_eq!(decided.close(Timestamp(3)).unwrap().state, Closed);
        assert!(said.close(Timestamp(3)).is_err());
        for share in [-1, 11, i64::MIN, i64::MAX] {
            assert_eq!(said.decide(MicroMoney(share), "x", Timestamp(3)), Err(DisputeError::Share(MicroMoney(10))));
        }
    }

    #[test]
    fn talk_is_bounded() {
        let mut on = dispute(10);
        for n in 0..EVIDENCE_MAX {
            on = on.say("x", &"y".repeat(5_000), Timestamp(i64::try_from(n).unwrap())).unwrap();
        }
        assert!(on.evidence.iter().all(|e| e.text.len() <= TEXT_MAX));
        assert_eq!(on.say("x", "y", Timestamp(99)), Err(DisputeError::EvidenceFull));
    }

    #[test]
    fn what_nobody_touches_is_closed_for_what_both_agreed() {
        let day = |n: i64| Timestamp(n * 86_400_000_000);
        let quiet = dispute(10);
        let spoken = dispute(10).say("shop.example", "look again", day(10)).unwrap();
        assert_eq!(sweep([&quiet, &spoken], Timestamp(day(14).0 - 1), UNTOUCHED), []);
        let first = sweep([&quiet, &spoken], day(14), UNTOUCHED);
        assert_eq!(first.len(), 1, "who speaks is given more time");
        let decision = first[0].decided.clone().unwrap();
        assert_eq!((decision.to_seller, decision.by.as_str()), (MicroMoney(0), TIMER));
        let last = sweep(&first, day(28), UNTOUCHED);
        assert_eq!(last[0].state, DisputeState::Closed);
        assert_eq!(sweep(&last, day(99), UNTOUCHED), []);
    }

    fn balance(entries: &[Entry], account: Account) -> i64 {
        entries.iter().filter(|e| e.account == account).map(|e| e.amount.0).sum()
    }

    proptest! {
        /// Whatever is contested and decided: each posting sums to zero, nothing stays held, and what the buyer comes
        /// to owe is what the seller gets and the owner earns.
        #[test]
        fn contested_money_is_neither_made_nor_lost(contested in 0..=i64::MAX, share in any::<i64>()) {
            let hold = |side, partner| Hold { side, partner, contested: MicroMoney(contested) };
            let buyer = hold(Side::Buyer, PARTNER);
            let seller = hold(Side::Seller { owner: OWNER }, PARTNER);
            let mut all = Vec::new();
            for hold in [buyer, seller] {
                let posted = [
                    Posting::Contested(hold).entries(),
                    Posting::Decided { hold, to_seller: MicroMoney(share) }.entries(),
                ];
                for entries in &posted {
                    prop_assert_eq!(entries.iter().map(|e| i128::from(e.amount.0)).sum::<i128>(), 0);
                }
                all.push(posted.concat());
            }
            for (entries, party) in [(&all[0], PARTNER), (&all[1], PARTNER), (&all[1], OWNER)] {
                let held: i128 = entries.iter().filter(|e| e.account == Account::Held(party)).map(|e| i128::from(e.amount.0)).sum();
                prop_assert_eq!(held, 0);
            }
            let to_seller = share.clamp(0, contested);
            prop_assert_eq!(-balance(&all[0], Account::Payable(PARTNER)), to_seller);
            prop_assert_eq!(contested + balance(&all[1], Account::Receivable(PARTNER)), to_seller);
            prop_assert_eq!(contested - balance(&all[1], Account::Payable(OWNER)), to_seller);
        }
    }
}
