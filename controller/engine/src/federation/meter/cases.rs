//! What a sold lease earns, from the demand to the receipt.

use chandler_protocol::inventory::Gpu;
use chandler_protocol::{AssignmentId, Bytes, Digest, MicroMoney, MilliCpu, ServiceId};

use super::*;
use crate::federation::repute::cases::{HOUR, Place, host, lease, partner, site};
use crate::federation::word::{Demand, Qualified};
use crate::federation::{LeaseState, Posted, Unsold, lots, reserve};
use crate::finance::receipt::verify;
use crate::fleet::{Capacity, Host};
use crate::site::Rates;

/// A machine with two GPUs, of which its owner offers these, at rates of a core, a GiB and a GPU.
fn place(offered: Option<u32>) -> Place {
    let mut place = Place::of(&[20_000]);
    place.step(|draft| {
        let known = draft.model.hosts[&host(1)].as_ref().clone();
        let mut inventory = known.inventory.clone().unwrap();
        inventory.gpus = vec![Gpu { model: "A100".to_owned(), memory: None }; 2];
        draft.put(Host { inventory: Some(inventory), ..known });
        let mut offer = draft.model.offers_of(site(1)).next().unwrap().offer.clone();
        offer.asked =
            Rates { core_hour: MicroMoney(20_000), gib_hour: MicroMoney(3_000), gpu_hour: MicroMoney(900_000) };
        offer.capacity = offered.map(|gpus| Capacity { cpu: MilliCpu(4_000), memory: Bytes(8 << 30), gpus });
        draft.put(Posted::new(offer, Digest([1; 32])));
    });
    place
}

fn buy(place: &mut Place, n: u8, gpus: u32) -> Result<Lease, Unsold> {
    let demand = Demand {
        service: ServiceId::from_random([4; 10]),
        label: "training".to_owned(),
        wanted: Capacity { cpu: MilliCpu(1_000), memory: Bytes(1 << 30), gpus },
        cap: MicroMoney(1_000_000_000),
        candidates: vec![Qualified { host: host(1), extra: MicroMoney(0) }],
        epoch: 0,
        turn: 0,
    };
    place.step(|draft| reserve(draft, &partner(), lease(n), &demand)).map(|(lease, _)| lease)
}

fn record(id: AssignmentId, sequence: u64, seconds: i64) -> UsageRecord {
    let (running, cpu) = (Micros::from_secs(seconds), Micros::ZERO);
    UsageRecord { sequence, assignment: id, epoch: 1, running, cpu, age: Some(Micros::ZERO) }
}

/// GPUs that a buyer sees of the machine.
fn seen(place: &Place) -> u32 {
    lots(&place.model, partner().party, place.now)[0].available.gpus
}

#[test]
fn a_gpu_is_sold_once_and_paid_by_the_hour() {
    let mut place = place(None);
    let with = buy(&mut place, 1, 1).unwrap();
    let without = buy(&mut place, 2, 0).unwrap();
    assert_eq!(with.rates.gpu_hour, MicroMoney(900_000));
    let Err(Unsold::NothingFits(why)) = buy(&mut place, 3, 2) else { panic!("there is one GPU left") };
    assert!(why.contains("noGpus"), "{why}");
    for known in [&with, &without] {
        place.step(|draft| draft.put(known.to(LeaseState::Active, draft.now, "used").unwrap()));
    }
    // Its buyer has said that it has no receipts yet.
    let chain = chain_with(&place.model, partner().party).unwrap();
    place.step(|draft| draft.put(Chain { heard: true, ..chain.clone() }));
    place.pass(HOUR);
    let earned = |place: &mut Place, n, sequence| {
        place.step(|draft| {
            let row = rate_sold(draft, host(1), &record(lease(n), sequence, 1_800)).unwrap();
            let mut receipts = draft.changes.iter().filter_map(|change| match change {
                Change::Receipt(_, _, link) => Some(link.as_ref().clone()),
                _ => None,
            });
            (row, receipts.next().unwrap())
        })
    };
    let ((a, first), (b, second)) = (earned(&mut place, 1, 1), earned(&mut place, 2, 2));
    assert_eq!((a.charge.gpu_hours_micros, b.charge.gpu_hours_micros), (500_000, 0));
    assert_eq!((a.charge.cost.0, b.charge.cost.0), (11_500 + 450_000, 11_500));
    // The buyer checks the receipts, GPUs and all, and comes to the same amount.
    let links = [first, second];
    let end = verify(&chain.parties, chain.head, &links).unwrap();
    assert_eq!((end.number, links[0].used.rated(), links[0].used.amount), (2, a.charge.cost, a.charge.cost));
    assert_eq!(links[0].used.reserved.gpus, 1);
}

#[test]
fn an_owner_keeps_gpus_that_are_not_in_the_offer() {
    assert_eq!((seen(&place(None)), seen(&place(Some(1))), seen(&place(Some(0)))), (2, 1, 0));
    let mut place = place(Some(1));
    buy(&mut place, 1, 1).unwrap();
    assert_eq!(seen(&place), 1, "what a buyer has leased is part of what it could have");
    assert!(buy(&mut place, 2, 1).is_err());
}
