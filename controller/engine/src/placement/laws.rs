//! Laws of placement, on fleets and requests that nobody thought of.

use chandler_protocol::{MicroMoney, Micros, MilliCpu, Ppm};
use proptest::prelude::*;

use super::example::{Spot, Wish, spot, views, wish};
use super::filter::{Ask, p95};
use super::risk::risk_of;
use super::search::survey;
use super::{BOTH, HostView, around, is_placeable, place};
use crate::availability::of_any;
use crate::sla::{Alternative, Predicted};

prop_compose! {
    fn any_spot(n: u8)(
        price in 1_i64..40, rtt in prop::option::of(1_i64..80), up in 800_000_u32..1_000_000, taken in 0_u32..4_500,
        country in prop::sample::select(vec!["CH", "DE", "FR"]), recent_failures in 0_u32..2,
        breach in prop::sample::select(vec![0_u32, 0, 300_000, 1_000_000]),
    ) -> Spot {
        let mut spot = spot(n, price).up(up).taken(taken).at(country).odds(breach, breach);
        spot.rtt = rtt.map(Micros::from_millis);
        spot.recent_failures = recent_failures;
        spot
    }
}

fn any_fleet() -> impl Strategy<Value = Vec<Spot>> {
    (0_u8..9).prop_flat_map(|n| (1..=n).map(any_spot).collect::<Vec<_>>())
}

prop_compose! {
    fn any_wish()(
        min in 1_u32..3, more in 0_u32..3, cpu in 1_u32..3_000, current in prop::option::of(1_u8..9),
        cost in prop::option::of(1_i64..60), p95 in prop::option::of(1_i64..80),
        up in prop::option::of(800_000_u32..=999_999), within in prop::sample::subsequence(vec!["CH", "DE", "FR"], 0..3),
    ) -> Wish {
        let mut wish = wish().copies(min, min + more).within(&within);
        wish.terms.cost_max = cost.map(|c| MicroMoney(c * 1_000_000));
        wish.terms.p95_max = p95.map(Micros::from_millis);
        wish.terms.availability_min = up.map(Ppm);
        wish.spec.limits.cpu = Some(MilliCpu(cpu));
        wish.current = current.into_iter().map(|n| chandler_protocol::HostId::from_random([n; 10])).collect();
        wish
    }
}

/// The least total of price and risk, by trying every set of hosts that pass the rules about one host
/// alone and have room.
fn by_brute_force(hosts: &[HostView<'_>], wish: &Wish) -> Option<i64> {
    let request = wish.request();
    // Without the terms about all copies together, only the rules about one host are left.
    let mut terms = wish.terms.clone();
    terms.cost_max = None;
    terms.availability_min = None;
    let all: Vec<&HostView<'_>> = hosts.iter().collect();
    let fits = survey(&all, &Ask::new(&super::Request { terms: &terms, ..request })).fits;
    let sets = 0_u32..1 << fits.len();
    let totals = sets.filter_map(|set| {
        let chosen: Vec<_> = fits.iter().enumerate().filter(|(i, _)| set >> i & 1 == 1).map(|(_, f)| f).collect();
        let count = u32::try_from(chosen.len()).unwrap();
        let total: i64 = chosen.iter().map(|f| f.price.total().0).sum();
        let expected: i64 =
            chosen.iter().map(|f| f.price.total().0 + risk_of(f.view, &Ask::new(&request), f.price).0).sum();
        let up = of_any(&chosen.iter().map(|f| f.view.availability).collect::<Vec<_>>());
        let holds = (wish.policy.replicas_min..=wish.policy.replicas_max).contains(&count)
            && wish.terms.cost_max.is_none_or(|most| total <= most.0)
            && wish.terms.availability_min.is_none_or(|least| up >= least);
        holds.then_some(expected)
    });
    totals.min()
}

/// The order as a customer would write it after reading an alternative.
fn apply(wish: &Wish, alternative: &Alternative) -> Wish {
    let mut wish = wish.clone();
    for (term, value) in alternative.term.split(BOTH).zip(alternative.value.split(BOTH)) {
        match term {
            "sla.cost.max" => {
                let amount = value.strip_suffix(" EUR/month").unwrap();
                wish.terms.cost_max = Some(MicroMoney(chandler_protocol::unit::decimal(amount, 6).unwrap()));
            }
            "sla.interactivity.p95" => wish.terms.p95_max = Some(value.parse().unwrap()),
            "sla.availability.min" => wish.terms.availability_min = Some(value.parse().unwrap()),
            "sla.residency" => {
                let list = value.trim_matches(['[', ']']).split(", ");
                wish.terms.residency = list.map(|c| c.trim_matches('"').to_owned()).collect();
            }
            "software.limits.cpu" => {
                let milli = chandler_protocol::unit::decimal(value, 3).unwrap();
                wish.spec.limits.cpu = Some(MilliCpu(u32::try_from(milli).unwrap()));
            }
            "software.limits.memory" => wish.spec.limits.memory = Some(value.parse().unwrap()),
            other => panic!("no such term: {other}"),
        }
    }
    wish
}

fn meets(predicted: Predicted, wish: &Wish) -> bool {
    wish.terms.cost_max.is_none_or(|most| predicted.monthly_cost <= most)
        && wish.terms.p95_max.is_none_or(|most| predicted.p95.is_some_and(|p95| p95 <= most))
        && wish.terms.availability_min.is_none_or(|least| predicted.availability >= least)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// What is chosen is the best there is, and nothing is said to be impossible that is not.
    #[test]
    fn nothing_cheaper_meets_the_sla(fleet in any_fleet(), wish in any_wish()) {
        let views = views(&fleet);
        let outcome = place(&views, &wish.request());
        let expected = outcome.predicted.map(|_| outcome.chosen().map(|c| c.price.total().0 + c.risk.0).sum::<i64>());
        prop_assert_eq!(expected, by_brute_force(&views, &wish));
        prop_assert_eq!(outcome.refusal.is_none(), outcome.predicted.is_some());
        prop_assert_eq!(is_placeable(&views, &wish.request()), outcome.predicted.is_some());
    }

    /// The chosen hosts meet every rule, are different, and are as many as allowed; their prediction meets the SLA.
    #[test]
    fn what_is_chosen_holds(fleet in any_fleet(), wish in any_wish()) {
        let views = views(&fleet);
        let outcome = place(&views, &wish.request());
        prop_assert_eq!(outcome.candidates.len() + outcome.refused.len(), views.len());
        let Some(predicted) = outcome.predicted else {
            prop_assert_eq!(outcome.chosen().count(), 0);
            return Ok(());
        };
        let chosen: std::collections::BTreeSet<_> = outcome.chosen().map(|c| c.host).collect();
        let count = u32::try_from(chosen.len()).unwrap();
        prop_assert_eq!(chosen.len(), outcome.chosen().count());
        prop_assert!((wish.policy.replicas_min..=wish.policy.replicas_max).contains(&count));
        prop_assert!(outcome.refused.iter().all(|r| !chosen.contains(&r.host)));
        prop_assert!(meets(predicted, &wish), "{:?}", predicted);
        for view in views.iter().filter(|v| chosen.contains(&v.host.id)) {
            let own = if wish.current.contains(&view.host.id) { wish.spec.limits.cpu.unwrap().0 } else { 0 };
            prop_assert!(view.reserved.cpu.0.saturating_sub(own) + wish.spec.limits.cpu.unwrap().0 <= view.offered.cpu.0);
            prop_assert!(wish.terms.residency.is_empty() || wish.terms.residency.iter().any(|c| c == view.country));
            prop_assert!(wish.terms.p95_max.is_none() || p95(view, &wish.request()) <= wish.terms.p95_max);
        }
    }

    /// Every alternative, written into the order, is placed as it says.
    #[test]
    fn alternatives_are_faithful(fleet in any_fleet(), wish in any_wish()) {
        let views = views(&fleet);
        let before = place(&views, &wish.request());
        for alternative in around(&views, &wish.request()) {
            let changed = apply(&wish, &alternative);
            // What a copy holds now is what was asked before; a test that shrinks it has no current host to share.
            if changed.spec.limits != wish.spec.limits && !wish.current.is_empty() {
                continue;
            }
            let after = place(&views, &changed.request());
            prop_assert_eq!(after.predicted, Some(alternative.predicted), "{:?}", alternative);
            prop_assert!(before.predicted.is_none() || before.predicted != after.predicted);
        }
    }

    /// What is said to fit one refused host lifts the rule that refused it.
    #[test]
    fn a_refusal_for_cost_or_distance_says_what_lifts_it(fleet in any_fleet(), wish in any_wish()) {
        let views = views(&fleet);
        for refused in place(&views, &wish.request()).refused {
            let Some((term, value)) = refused.would_fit.split_once(" = ") else { continue };
            if !term.starts_with("sla.") {
                continue;
            }
            let value = value.trim_matches('"').to_owned();
            let change = Alternative {
                term: term.to_owned(), value, host: String::new(), site: String::new(),
                predicted: Predicted { monthly_cost: MicroMoney(0), p95: None, availability: Ppm(0) },
            };
            let after = place(&views, &apply(&wish, &change).request());
            let still = after.refused.iter().find(|r| r.host == refused.host);
            prop_assert!(still.is_none_or(|r| r.rule > refused.rule), "{:?} then {:?}", refused, still);
        }
    }

    /// The order in which hosts are given does not matter.
    #[test]
    fn the_order_of_hosts_does_not_matter(
        (fleet, shuffled) in any_fleet().prop_flat_map(|f| (Just(f.clone()), Just(f).prop_shuffle())), wish in any_wish(),
    ) {
        prop_assert_eq!(place(&views(&fleet), &wish.request()), place(&views(&shuffled), &wish.request()));
        prop_assert_eq!(around(&views(&fleet), &wish.request()), around(&views(&shuffled), &wish.request()));
    }
}
