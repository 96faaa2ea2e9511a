//! Laws of clearing, on markets that nobody thought of.

use chandler_protocol::{Digest, HostId, MicroMoney, PartyId, Ppm};
use proptest::prelude::*;

use super::super::book::Book;
use super::super::demand::Demand;
use super::super::example::{call, demand, lot, with};
use super::super::lot::LotOffer;
use super::{Call, Clearing, Hourly, Rule, clear, replay, replay_with};

prop_compose! {
    /// Lots of few owners at few rates: equal scores, two offers for a machine and several of one owner are common.
    fn any_lot()(
        n in 1_u8..40, host in 1_u8..30, owner in 1_u8..6, rate in 0_i64..12, risk in 0_i64..3, up in 0_u32..4,
        closed in prop::bool::weighted(0.1), broken in prop::bool::weighted(0.1), ch in any::<bool>(),
    ) -> LotOffer {
        let mut lot = with(lot(n, rate), |l| {
            l.host = HostId::from_random([host; 10]);
            l.owner = PartyId::from_random([owner; 10]);
            l.risk = MicroMoney(risk);
            l.availability = Ppm(900_000 + up * 30_000);
            l.country = if ch { "CH" } else { "DE" }.to_owned();
            l.closed = closed.then(|| "closed".to_owned());
        });
        if broken {
            lot.commitment = Digest([0; 32]);
        }
        lot
    }
}

prop_compose! {
    fn any_demand()(
        hosts in prop::sample::subsequence((1_u8..32).collect::<Vec<_>>(), 1..31),
        extras in prop::collection::vec(0_i64..4, 31), cap in 0_i64..16, up in prop::option::of(900_000_u32..1_000_000),
        ch in any::<bool>(), out in 0_u8..8, buyer in 1_u8..8,
    ) -> Demand {
        let named: Vec<_> = hosts.into_iter().zip(extras).collect();
        let mut demand = demand(cap, &named);
        demand.availability_min = up.map(Ppm);
        demand.countries = if ch { vec!["CH".to_owned()] } else { Vec::new() };
        demand.not_owners = vec![PartyId::from_random([out; 10])];
        demand.same = vec![PartyId::from_random([buyer; 10])];
        demand
    }
}

fn any_rule() -> impl Strategy<Value = Rule> {
    prop::sample::select(Rule::ALL.to_vec())
}

fn any_market() -> impl Strategy<Value = (Vec<LotOffer>, Demand, Rule)> {
    (prop::collection::vec(any_lot(), 0..40), any_demand(), any_rule())
}

fn cleared(rule: Rule, demand: &Demand, lots: &[LotOffer]) -> Clearing {
    clear(&Call { ..call(rule) }, demand, &Book::open(lots.to_vec())).unwrap()
}

/// The winner by the words of the rule, and nothing else: the least of (score, tie's digest).
fn by_hand(record: &Clearing) -> Option<(HostId, i64)> {
    let demand = &record.demand;
    let key = |c: &&super::Candidate| (c.score, c.tie, c.lot.host);
    let first = record.ranked.iter().min_by_key(key)?;
    let others = record.ranked.iter().filter(|c| c.lot.owner != first.lot.owner);
    let next = others.map(|c| c.score.0).min().map_or(demand.cap.0, |s| s - first.extra.0 - first.lot.risk.0);
    let paid = match record.call.rule {
        Rule::PostedRate => Hourly::new(demand.wanted).cost(first.lot.rates).0,
        Rule::SecondScore => next.min(demand.cap.0),
    };
    Some((first.lot.host, paid))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// The winner is the best of what fits, is paid between what it asked for and the cap, and the record replays.
    #[test]
    fn what_wins_is_the_best((lots, demand, rule) in any_market()) {
        let record = cleared(rule, &demand, &lots);
        prop_assert_eq!(record.winner.map(|w| (w.host, w.paid.0)), by_hand(&record));
        if let Some(winner) = record.winner {
            prop_assert!(winner.posted <= winner.paid && winner.paid <= demand.cap);
            prop_assert!(!demand.is_buyer(winner.owner));
        }
        prop_assert_eq!(record.fit + record.refusals.values().sum::<u64>(), lots.len() as u64);
        prop_assert_eq!(replay(&record), Ok(()));
        prop_assert_eq!(replay_with(&record, &demand, lots), Ok(()));
    }

    /// In whatever order lots and candidates come, and whichever were renewed one by one: the record is the same.
    #[test]
    fn the_order_of_arrival_does_not_matter((lots, demand, rule) in any_market(), cut in 0_usize..40) {
        let record = cleared(rule, &demand, &lots);
        let (mut turned, mut asked) = (lots.clone(), demand);
        turned.reverse();
        asked.candidates.reverse();
        prop_assert_eq!(&cleared(rule, &asked, &turned), &record);
        // Renewing puts one lot in place of those of the same machine and offer, so these must be different.
        let mut seen = std::collections::BTreeSet::new();
        let once: Vec<_> = lots.into_iter().filter(|l| seen.insert((l.host, l.offer))).collect();
        let mut book = Book::open(once.iter().skip(cut).cloned());
        once.iter().for_each(|l| book.renew(l.clone()));
        prop_assert_eq!(book.digest(), Book::open(once.clone()).digest());
        let renewed = clear(&call(rule), &asked, &book).unwrap();
        prop_assert_eq!(renewed, cleared(rule, &asked, &once));
    }

    /// Who raises its rate never wins by it; under `secondScore`, a winner that still wins is paid the same.
    #[test]
    fn raising_a_rate_never_makes_it_win((lots, demand, rule) in any_market(), which in 0_usize..40, more in 1_i64..6) {
        prop_assume!(!lots.is_empty());
        let which = which % lots.len();
        // One lot for each owner and machine: else another of the same owner may win in its place.
        let before = cleared(rule, &demand, &lots);
        let mut raised = lots.clone();
        let intact = super::super::lot::commitment(&raised[which]) == raised[which].commitment;
        prop_assume!(intact);
        raised[which] = with(raised[which].clone(), |l| l.rates.core_hour.0 += more);
        let after = cleared(rule, &demand, &raised);
        let wins = |record: &Clearing, lot: &LotOffer| {
            record.winner.is_some_and(|w| w.host == lot.host && w.offer == lot.offer)
        };
        let twins = lots.iter().filter(|l| (l.host, l.offer) == (lots[which].host, lots[which].offer)).count();
        if twins == 1 && wins(&after, &lots[which]) {
            prop_assert!(wins(&before, &lots[which]));
            if rule == Rule::SecondScore {
                prop_assert_eq!(before.winner.map(|w| w.paid), after.winner.map(|w| w.paid));
            }
        }
    }
}
