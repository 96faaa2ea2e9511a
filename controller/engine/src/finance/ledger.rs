//! The ledger: every rated row is posted once, in entries that sum to zero.

use chandler_protocol::{MicroMoney, PartyId};
use serde::{Deserialize, Serialize};

use super::UsageRow;
use super::dispute::Posting;

/// Where money is owed from or to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Account {
    /// What a customer owes.
    Receivable(PartyId),
    /// What a site's owner is owed: negative, for it is a debt.
    Payable(PartyId),
    /// What is left for the provider: negative, for it is owed to the provider's owners.
    Earnings,
    /// What is contested with a party until it is decided: positive, what it may have to pay; negative, what it may
    /// have to be paid.
    Held(PartyId),
}

/// One side of a posting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Which account changes.
    pub account: Account,
    /// By how much; the entries of one posting sum to zero.
    pub amount: MicroMoney,
}

/// The entries of a usage row. They sum to zero: what the customer pays is what the owner earns and what the
/// provider keeps. Use of one's own computers is posted the same way: what one pays for them comes back to one.
pub fn postings(row: &UsageRow) -> Vec<Entry> {
    let price = row.charge.price();
    let kept = price.0.saturating_sub(row.charge.cost.0);
    vec![
        Entry { account: Account::Receivable(row.customer), amount: price },
        Entry { account: Account::Payable(row.owner), amount: MicroMoney(row.charge.cost.0.saturating_neg()) },
        Entry { account: Account::Earnings, amount: MicroMoney(kept.saturating_neg()) },
    ]
}

/// Whether the books balance.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerCheck {
    /// Whether every check below holds.
    pub balanced: bool,
    /// Postings (groups of entries of one row) checked.
    pub postings: u64,
    /// Postings whose entries do not sum to zero.
    pub unbalanced: u64,
    /// Rows whose entries are missing, or are not those that [`postings`] gives.
    pub unposted: u64,
    /// What customers owe.
    pub receivable: MicroMoney,
    /// What is owed to site owners.
    pub payable: MicroMoney,
    /// What is left for the provider.
    pub earnings: MicroMoney,
    /// What is contested: what others may have to pay less what they may have to be paid.
    #[serde(default)]
    pub held: MicroMoney,
}

/// Checks rows with the entries that were stored for them.
pub fn check(rows: impl IntoIterator<Item = (UsageRow, Vec<Entry>)>) -> LedgerCheck {
    check_with_held(rows, [])
}

/// Checks rows, and what was contested and decided, with the entries that were stored for each.
pub fn check_with_held(
    rows: impl IntoIterator<Item = (UsageRow, Vec<Entry>)>,
    held: impl IntoIterator<Item = (Posting, Vec<Entry>)>,
) -> LedgerCheck {
    let mut sums = Sums::default();
    for (row, entries) in rows {
        sums.add(&entries, postings(&row));
    }
    for (posting, entries) in held {
        sums.add(&entries, posting.entries());
    }
    sums.result()
}

/// What was found so far, in the signs of [`LedgerCheck`].
#[derive(Default)]
struct Sums {
    found: LedgerCheck,
    receivable: i128,
    payable: i128,
    earnings: i128,
    held: i128,
}

impl Sums {
    fn add(&mut self, stored: &[Entry], expected: Vec<Entry>) {
        let mut sum = 0_i128;
        for entry in stored {
            let amount = i128::from(entry.amount.0);
            sum += amount;
            match entry.account {
                Account::Receivable(_) => self.receivable += amount,
                Account::Payable(_) => self.payable -= amount,
                Account::Earnings => self.earnings -= amount,
                Account::Held(_) => self.held += amount,
            }
        }
        self.found.postings += u64::from(!stored.is_empty());
        self.found.unbalanced += u64::from(sum != 0);
        self.found.unposted += u64::from(!same(stored.to_vec(), expected));
    }

    fn result(self) -> LedgerCheck {
        let is_whole = self.found.unbalanced == 0 && self.found.unposted == 0;
        LedgerCheck {
            balanced: is_whole && self.receivable + self.held == self.payable + self.earnings,
            receivable: money(self.receivable),
            payable: money(self.payable),
            earnings: money(self.earnings),
            held: money(self.held),
            ..self.found
        }
    }
}

/// Whether these are the same entries; a store may give them back in any order.
fn same(mut a: Vec<Entry>, mut b: Vec<Entry>) -> bool {
    a.sort_by_key(|e| (e.account, e.amount));
    b.sort_by_key(|e| (e.account, e.amount));
    a == b
}

fn money(sum: i128) -> MicroMoney {
    let held = sum.clamp(i128::from(i64::MIN), i128::from(i64::MAX));
    MicroMoney(i64::try_from(held).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::finance::dispute::{Hold, Side};
    use crate::finance::example::row;

    #[test]
    fn a_missing_a_doubled_and_a_forged_posting_are_found() {
        let row = row(1, "notes", 3_600);
        let good = postings(&row);
        assert!(check([(row.clone(), good.clone())]).balanced);
        let mut turned = good.clone();
        turned.reverse();
        assert!(check([(row.clone(), turned)]).balanced, "the order of entries says nothing");

        let none = check([(row.clone(), vec![])]);
        assert_eq!((none.balanced, none.postings, none.unposted, none.unbalanced), (false, 0, 1, 0));

        let twice = check([(row.clone(), [good.clone(), good.clone()].concat())]);
        assert_eq!((twice.balanced, twice.unposted, twice.unbalanced), (false, 1, 0));

        let mut forged = good;
        forged[1].amount.0 += 1;
        let forged = check([(row, forged)]);
        assert_eq!((forged.balanced, forged.unposted, forged.unbalanced), (false, 1, 1));
    }

    #[test]
    fn contested_money_is_part_of_the_books() {
        let row = row(1, "notes", 3_600);
        let rows = || [(row.clone(), postings(&row))];
        let hold = Hold { side: Side::Buyer, partner: row.owner, contested: MicroMoney(700) };
        let contested = Posting::Contested(hold);
        let open = check_with_held(rows(), [(contested, contested.entries())]);
        assert!(open.balanced);
        assert_eq!((open.postings, open.held), (2, MicroMoney(-700)));
        assert_eq!(open.earnings.0, check(rows()).earnings.0 - 700, "what may have to be paid is not earned");

        let decided = Posting::Decided { hold, to_seller: MicroMoney(300) };
        let done = check_with_held(rows(), [contested, decided].map(|p| (p, p.entries())));
        assert!(done.balanced);
        assert_eq!((done.held.0, done.payable.0), (0, row.charge.cost.0 + 300));

        let more = Posting::Contested(Hold { contested: MicroMoney(701), ..hold });
        let forged = check_with_held(rows(), [(contested, more.entries())]);
        assert_eq!((forged.balanced, forged.unposted, forged.unbalanced), (false, 1, 0));
        let missing = check_with_held(rows(), [(contested, vec![])]);
        assert_eq!((missing.balanced, missing.unposted), (false, 1));
    }

    proptest! {
        /// Whatever is rated, its entries sum to zero and the totals are what the rows say.
        #[test]
        fn postings_sum_to_zero(stretches in prop::collection::vec((any::<i64>(), any::<u32>(), any::<i64>()), 0..20)) {
            let rows: Vec<_> = stretches.iter().zip(1..).map(|(&(seconds, cpu, core_hour), n)| {
                let mut row = row(n, "notes", seconds);
                row.reserved.cpu.0 = cpu;
                row.rates.core_hour.0 = core_hour;
                row.charge = crate::finance::rate(row.running, row.reserved, row.rates, &row.price);
                row
            }).collect();
            for row in &rows {
                prop_assert_eq!(postings(row).iter().map(|e| i128::from(e.amount.0)).sum::<i128>(), 0);
            }
            let owed: i64 = rows.iter().map(|r| r.charge.price().0).sum();
            let earned: i64 = rows.iter().map(|r| r.charge.cost.0).sum();
            let result = check(rows.into_iter().map(|r| { let p = postings(&r); (r, p) }));
            prop_assert!(result.balanced);
            prop_assert_eq!(result.receivable.0, owed);
            prop_assert_eq!(result.payable.0, earned);
            prop_assert_eq!(result.earnings.0, owed - earned);
        }
    }
}
