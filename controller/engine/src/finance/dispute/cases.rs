//! Disputes in cases: what may follow what, the timer, and the books.

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
    for n in 0..STATEMENTS_MAX {
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
            prop_assert_eq!(balance(entries, Account::Held(party)), 0);
        }
        let to_seller = share.clamp(0, contested);
        prop_assert_eq!(-balance(&all[0], Account::Payable(PARTNER)), to_seller);
        prop_assert_eq!(contested + balance(&all[1], Account::Receivable(PARTNER)), to_seller);
        prop_assert_eq!(contested - balance(&all[1], Account::Payable(OWNER)), to_seller);
    }
}
