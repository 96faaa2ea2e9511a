//! What a seller gives of another size, by what it is rated, and what an agent's word frees.

use chandler_protocol::state::{Assignment as Told, Health, ObservedAssignment, Phase, Target};
use chandler_protocol::usage::UsageRecord;
use chandler_protocol::{Bytes, MicroMoney, Micros, MilliCpu, ServiceId};

use super::*;
use crate::federation::repute::cases::{Place, host, lease, partner, site};
use crate::federation::sell::{reserve, sweep};
use crate::federation::word::Qualified;
use crate::federation::{Chain, Orders, Posted, Taken, Wrong, chain_with, guests, rate_sold, take_orders};
use crate::market::offer::Offer;
use crate::placement::example::wish;
use crate::site::Rates;

const RATE: i64 = 1_000;

fn cores(cpu: u32) -> Capacity {
    Capacity { cpu: MilliCpu(cpu), memory: Bytes(1 << 30), gpus: 0 }
}

fn demand(cpu: u32, epoch: u64, turn: u64) -> Demand {
    Demand {
        service: ServiceId::from_random([4; 10]),
        label: "notes".to_owned(),
        wanted: cores(cpu),
        cap: MicroMoney(1_000_000_000),
        candidates: vec![Qualified { host: host(1), extra: MicroMoney(0) }],
        epoch,
        turn,
    }
}

fn say(place: &mut Place, n: u8, demand: &Demand) -> Result<Lease, Unsold> {
    place.step(|draft| reserve(draft, &partner(), lease(n), demand)).map(|(lease, _)| lease)
}

/// One machine of four cores, of which one is leased and used under epoch 1.
fn place() -> Place {
    let mut place = Place::of(&[RATE]);
    say(&mut place, 1, &demand(1_000, 0, 0)).unwrap();
    assert_eq!(tells(&mut place, 1, 1_000, Target::Running).refused, []);
    hears(&mut place, 1);
    let chain = chain_with(&place.model, partner().party).unwrap();
    place.step(|draft| draft.put(Chain { heard: true, ..chain }));
    place
}

/// The buyer says what its copy shall do.
fn tells(place: &mut Place, epoch: u64, cpu: u32, target: Target) -> Taken {
    let mut spec = wish().spec;
    spec.limits.cpu = Some(MilliCpu(cpu));
    let assignments = vec![Told { id: lease(1), epoch, target, spec }];
    place.step(|draft| {
        let generation = draft.model.tenancies.values().map(|t| t.orders.generation).max().unwrap_or(0) + 1;
        let orders = Orders { generation, assignments, ..Orders::default() };
        take_orders(draft, partner().party, host(1), orders).unwrap()
    })
}

/// Its agent runs it under an epoch.
fn hears(place: &mut Place, epoch: u64) {
    let (ports, message, outputs) = (Vec::new(), String::new(), Vec::new());
    let health = Health::default();
    let phase = Phase::Running;
    let seen =
        ObservedAssignment { id: lease(1), epoch, phase, ports, starts: 1, failures: 0, message, health, outputs };
    place.step(|draft| guests(draft, host(1), &[seen]));
}

/// An hour of use under an epoch; the thousandths of a core that it is rated by.
fn used(place: &mut Place, sequence: u64, epoch: u64) -> u32 {
    place.pass(3_600_000_000);
    let (running, cpu) = (Micros::from_secs(3_600), Micros::ZERO);
    let record = UsageRecord { sequence, assignment: lease(1), epoch, running, cpu, age: Some(Micros::ZERO) };
    let row = place.step(|draft| rate_sold(draft, host(1), &record)).unwrap();
    assert_eq!(row.charge.cost.0, i64::from(row.reserved.cpu.0) * RATE / 1_000);
    row.reserved.cpu.0
}

fn taken(place: &Place) -> u32 {
    place.model.reserved[&host(1)].cpu.0
}

fn why(result: Result<Lease, Unsold>) -> String {
    match result {
        Err(Unsold::NothingFits(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn more_is_leased_from_an_epoch_on_and_use_of_before_is_paid_as_it_was() {
    let mut place = place();
    assert_eq!(tells(&mut place, 2, 3_000, Target::Running).refused[0].wrong, Wrong::Limits, "not before it is leased");
    let larger = say(&mut place, 1, &demand(3_000, 2, 1)).unwrap();
    assert_eq!((larger.capacity, larger.state, taken(&place)), (cores(3_000), LeaseState::Active, 3_000));
    assert_eq!(
        tells(&mut place, 1, 3_000, Target::Running).refused[0].wrong,
        Wrong::Limits,
        "nor under the epoch before"
    );
    assert_eq!(tells(&mut place, 2, 3_000, Target::Running).refused, []);
    assert_eq!((used(&mut place, 1, 1), used(&mut place, 2, 2)), (1_000, 3_000));
    assert_eq!(place.model.leases[&lease(1)].watch.size.earlier, [], "nothing of before comes any more");
    assert_eq!(
        say(&mut place, 1, &demand(1_000, 0, 0)).unwrap().capacity,
        cores(3_000),
        "the first demand, said again"
    );
}

#[test]
fn what_is_leased_less_is_free_once_it_runs_so() {
    let mut place = place();
    say(&mut place, 1, &demand(500, 2, 1)).unwrap();
    assert_eq!(taken(&place), 1_000, "it still runs as it did");
    assert_eq!(tells(&mut place, 2, 500, Target::Running).refused, []);
    hears(&mut place, 1);
    assert_eq!(taken(&place), 1_000);
    hears(&mut place, 2);
    assert_eq!(taken(&place), 500);
    assert_eq!((used(&mut place, 1, 1), used(&mut place, 2, 2)), (1_000, 500));
    place.step(sweep);
}

#[test]
fn a_word_that_a_later_one_has_overtaken_changes_nothing() {
    let mut place = place();
    let later = say(&mut place, 1, &demand(2_000, 2, 2)).unwrap();
    for overtaken in [demand(4_000, 2, 1), demand(4_000, 3, 1), demand(2_000, 2, 2), demand(1_500, 9, 2)] {
        assert_eq!(say(&mut place, 1, &overtaken), Ok(later.clone()));
    }
    // Changed again before anything ran so: what was between never counts.
    say(&mut place, 1, &demand(3_000, 2, 3)).unwrap();
    assert_eq!((used(&mut place, 1, 1), used(&mut place, 2, 2)), (1_000, 3_000));
}

#[test]
fn more_is_refused_where_it_cannot_be_given() {
    let mut place = place();
    assert_eq!(say(&mut place, 9, &demand(2_000, 2, 1)), Err(Unsold::Unknown));
    assert!(matches!(say(&mut place, 1, &demand(0, 2, 1)), Err(Unsold::Demand("wanted", _))));
    say(&mut place, 2, &demand(2_000, 0, 0)).unwrap();
    assert_eq!(why(say(&mut place, 1, &demand(3_000, 2, 1))), "h-1 has 2 cores and 7 GiB for it in all");
    assert_eq!(used(&mut place, 1, 1), 1_000);
    let offer = |place: &mut Place, change: &dyn Fn(&mut Offer)| {
        place.step(|draft| {
            let posted = draft.model.offers_of(site(1)).next().unwrap().clone();
            let mut offer = posted.offer.clone();
            change(&mut offer);
            draft.put(Posted { offer, ..posted });
        });
    };
    let dear = Rates { core_hour: MicroMoney(3 * RATE), gib_hour: MicroMoney(0), gpu_hour: MicroMoney(0) };
    let cheap = place.model.leases[&lease(1)].rates;
    offer(&mut place, &|o| o.asked = dear);
    assert!(why(say(&mut place, 1, &demand(2_000, 2, 1))).starts_with("more than 0.002 an hour is asked"));
    offer(&mut place, &|o| (o.asked, o.state) = (cheap, crate::market::offer::OfferState::Paused));
    assert_eq!(why(say(&mut place, 1, &demand(2_000, 2, 1))), "the offer is paused");
    // Less is given all the same; from the first epoch on that is not settled, whatever is asked.
    let less = say(&mut place, 1, &demand(500, 1, 1)).unwrap();
    assert_eq!((less.capacity, less.watch.size.from), (cores(500), 2));
    let known = place.model.leases[&lease(1)].as_ref().clone();
    let reclaiming = known.to(LeaseState::Reclaiming, place.now, "its owner needs it").unwrap();
    place.step(|draft| draft.put(reclaiming));
    assert!(why(say(&mut place, 1, &demand(2_000, 3, 2))).contains("its owner needs it"));
}

#[test]
fn nobody_makes_a_seller_remember_without_end() {
    let mut place = place();
    for n in 1..=u64::try_from(EARLIER_MAX).unwrap() {
        say(&mut place, 1, &demand(1_000 + u32::try_from(n).unwrap(), n + 1, n)).unwrap();
    }
    assert!(why(say(&mut place, 1, &demand(500, 90, 90))).contains("too often"));
    assert_eq!(used(&mut place, 1, 9), 1_008);
    assert_eq!(say(&mut place, 1, &demand(500, 90, 91)).unwrap().capacity, cores(500));
}

#[test]
fn what_is_to_end_needs_no_room() {
    let mut place = place();
    assert_eq!(tells(&mut place, 2, 3_000, Target::Wiped).refused, [], "amended to want more, and deleted at once");
}
