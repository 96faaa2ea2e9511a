//! Netting: what two partners owe each other for a month, both directions in one sum.

use chandler_protocol::{MicroMoney, PartyId, Timestamp};
use serde::{Deserialize, Serialize};

use super::{AMOUNT_MAX, month_of, month_range};

/// How far a settlement is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SettlementState {
    /// The month goes on, or receipts of it are not countersigned yet.
    Open,
    /// Both sides have the same receipts and nothing is held: the net sum may be paid.
    Matched,
    /// Money is held: the rest may not be paid as final.
    Disputed,
    /// Paid.
    Settled,
}

impl SettlementState {
    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Matched => "matched",
            Self::Disputed => "disputed",
            Self::Settled => "settled",
        }
    }

    /// Whether it may go on to another state. Use that is reported late opens a month again until it is paid.
    pub const fn may_become(self, next: Self) -> bool {
        matches!(
            (self, next),
            (Self::Open, Self::Matched | Self::Disputed)
                | (Self::Matched, Self::Open | Self::Disputed | Self::Settled)
                | (Self::Disputed, Self::Open | Self::Matched)
        )
    }
}

/// A receipt as both sides have it now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Countersigned {
    /// Its number.
    pub number: u64,
    /// When the use ended: the month that it belongs to.
    pub at: Timestamp,
    /// What the seller asks.
    pub amount: MicroMoney,
    /// Whether the buyer has countersigned it.
    pub is_countersigned: bool,
    /// How much of the amount the buyer contests.
    pub contested: MicroMoney,
    /// How much of that goes to the seller after all; `None` while it is not decided.
    pub decided: Option<MicroMoney>,
}

/// What one direction comes to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Direction {
    /// Number of receipts of the month.
    pub receipts: u64,
    /// How many of them are not countersigned; their money is in no sum.
    pub waiting: u64,
    /// What both sides agreed at once.
    pub agreed: MicroMoney,
    /// What the seller got by decisions.
    pub decided: MicroMoney,
    /// What is held.
    pub held: MicroMoney,
}

impl Direction {
    /// What is owed.
    pub const fn owed(&self) -> MicroMoney {
        MicroMoney(self.agreed.0.saturating_add(self.decided.0))
    }
}

/// A month between two partners, as one of them sees it. The other one sees the same with both directions turned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Settlement {
    /// With whom.
    pub partner: PartyId,
    /// The month, as `2026-11`.
    pub month: String,
    /// How far it is.
    pub state: SettlementState,
    /// What we sold.
    pub sold: Direction,
    /// What we bought.
    pub bought: Direction,
    /// What the partner pays us; negative: what we pay it. Without what is held.
    pub net: MicroMoney,
    /// When it was made.
    pub made_at: Timestamp,
}

/// Nets a month with a partner from the receipts of both directions, those of other months left out.
pub fn net<'a>(
    partner: PartyId,
    month: &str,
    now: Timestamp,
    sold: impl IntoIterator<Item = &'a Countersigned>,
    bought: impl IntoIterator<Item = &'a Countersigned>,
) -> Settlement {
    let (sold, bought) = (direction(month, sold), direction(month, bought));
    let is_over = month_range(month).is_some_and(|(_, end)| end <= now);
    let state = if !is_over || sold.waiting + bought.waiting > 0 {
        SettlementState::Open
    } else if sold.held.0 > 0 || bought.held.0 > 0 {
        SettlementState::Disputed
    } else {
        SettlementState::Matched
    };
    let net = MicroMoney(sold.owed().0.saturating_sub(bought.owed().0));
    Settlement { partner, month: month.to_owned(), state, sold, bought, net, made_at: now }
}

impl Settlement {
    /// The settlement as it was paid; `None` when it is not matched: nothing is paid on an open or disputed month.
    pub fn settled(&self, now: Timestamp) -> Option<Self> {
        let state = SettlementState::Settled;
        self.state.may_become(state).then(|| Self { state, made_at: now, ..self.clone() })
    }
}

fn direction<'a>(month: &str, receipts: impl IntoIterator<Item = &'a Countersigned>) -> Direction {
    let mut sum = Direction::default();
    for receipt in receipts.into_iter().filter(|r| month_of(r.at) == month) {
        sum.receipts += 1;
        if !receipt.is_countersigned {
            sum.waiting += 1;
            continue;
        }
        let amount = receipt.amount.0.clamp(0, AMOUNT_MAX);
        let contested = receipt.contested.0.clamp(0, amount);
        add(&mut sum.agreed, amount - contested);
        match receipt.decided {
            Some(to_seller) => add(&mut sum.decided, to_seller.0.clamp(0, contested)),
            None => add(&mut sum.held, contested),
        }
    }
    sum
}

const fn add(sum: &mut MicroMoney, amount: i64) {
    sum.0 = sum.0.saturating_add(amount);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PARTNER: PartyId = PartyId::from_random([8; 10]);
    const NOVEMBER: i64 = 1_793_491_200_000_000;
    const DECEMBER: Timestamp = Timestamp(NOVEMBER + 30 * 86_400_000_000);

    fn receipt(number: u64, amount: i64, contested: i64, decided: Option<i64>) -> Countersigned {
        Countersigned {
            number,
            at: Timestamp(NOVEMBER),
            amount: MicroMoney(amount),
            is_countersigned: true,
            contested: MicroMoney(contested),
            decided: decided.map(MicroMoney),
        }
    }

    #[test]
    fn a_month_is_paid_when_it_is_over_and_nobody_disputes_it() {
        use SettlementState::{Disputed, Matched, Open, Settled};
        let check = |sold: &[Countersigned], bought: &[Countersigned], now, state, sum| {
            let made = net(PARTNER, "2026-11", now, sold, bought);
            assert_eq!((made.state, made.net.0), (state, sum));
            assert_eq!(made.settled(now).map(|s| s.state), (state == Matched).then_some(Settled));
        };
        let (whole, held, ruled) = (receipt(1, 100, 0, None), receipt(2, 50, 20, None), receipt(2, 50, 20, Some(5)));
        let waiting = Countersigned { is_countersigned: false, ..whole };
        let other_month = Countersigned { at: DECEMBER, ..whole };
        check(&[], &[], DECEMBER, Matched, 0);
        check(&[whole], &[], DECEMBER, Matched, 100);
        check(&[whole], &[whole, other_month], DECEMBER, Matched, 0);
        check(&[whole], &[ruled], DECEMBER, Matched, 100 - 35);
        check(&[whole], &[held], DECEMBER, Disputed, 100 - 30);
        check(&[whole, waiting], &[held], DECEMBER, Open, 100 - 30);
        check(&[whole], &[], Timestamp(DECEMBER.0 - 1), Open, 100);
    }

    #[test]
    fn a_settlement_that_is_paid_stays_so() {
        use SettlementState::{Disputed, Matched, Open, Settled};
        let all = [Open, Matched, Disputed, Settled];
        assert!(all.iter().all(|next| !Settled.may_become(*next)));
        assert!(!Open.may_become(Settled) && !Disputed.may_become(Settled) && Matched.may_become(Settled));
    }

    /// Amounts, what is contested of them, and what was decided.
    fn claims() -> impl Strategy<Value = Vec<(i64, i64, Option<i64>)>> {
        prop::collection::vec((0..1_000_000_i64, 0..2_000_000_i64, prop::option::of(0..1_000_000_i64)), 0..20)
    }

    proptest! {
        /// Two partners with the same receipts find the same sum with the sign turned, and no money is lost: what is
        /// owed, held and given up is what was asked.
        #[test]
        fn both_sides_find_the_same(
            one in claims(), two in claims(),
        ) {
            let receipts = |list: &[(i64, i64, Option<i64>)]| -> Vec<_> {
                list.iter().zip(1..).map(|(r, n)| receipt(n, r.0, r.1, r.2)).collect()
            };
            let (one, two) = (receipts(&one), receipts(&two));
            let (a, b) = (net(PARTNER, "2026-11", DECEMBER, &one, &two), net(PARTNER, "2026-11", DECEMBER, &two, &one));
            prop_assert_eq!(a.net.0, -b.net.0);
            prop_assert_eq!((a.state, a.sold), (b.state, b.bought));
            let asked: i64 = one.iter().map(|r| r.amount.0).sum();
            let given_up: i64 = one.iter().filter_map(|r| {
                let contested = r.contested.0.min(r.amount.0);
                r.decided.map(|d| contested - d.0.min(contested))
            }).sum();
            prop_assert_eq!(a.sold.owed().0 + a.sold.held.0 + given_up, asked);
        }
    }
}
