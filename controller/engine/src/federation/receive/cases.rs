//! What a buyer makes of receipts: it pays what it may have seen, and contests what it saw not to be.

use chandler_protocol::{AssignmentId, Bytes, HostId, MilliCpu, ServiceId, SiteId, Timestamp};

use super::*;
use crate::federation::lease::LeaseState;
use crate::finance::receipt::append;
use crate::finance::settlement::Reason;
use crate::fleet::Capacity;
use crate::site::Rates;

const SELLER: PartyId = PartyId::from_random([8; 10]);
const LEASE: AssignmentId = AssignmentId::from_random([3; 10]);
const HOST: HostId = HostId::from_random([2; 10]);
const HOUR: i64 = 3_600;
const RATES: Rates = Rates {
    core_hour: chandler_protocol::MicroMoney(1_000_000),
    gib_hour: chandler_protocol::MicroMoney(0),
    gpu_hour: chandler_protocol::MicroMoney(0),
};
const CAPACITY: Capacity = Capacity { cpu: MilliCpu(3_600), memory: Bytes(0), gpus: 0 };

fn parties() -> Parties {
    Parties { seller: "seller.example".to_owned(), buyer: "buyer.example".to_owned() }
}

/// A lease that was seen at rest for so many seconds.
fn model(rested: i64) -> Model {
    let mut model = Model::default();
    let lease = Lease {
        id: LEASE,
        side: Side::Bought,
        partner: SELLER,
        host: HOST,
        site: SiteId::from_random([5; 10]),
        service: ServiceId::from_random([4; 10]),
        label: "notes".to_owned(),
        capacity: CAPACITY,
        rates: RATES,
        demand: [0; 32],
        state: LeaseState::Active,
        since: Timestamp(0),
        made_at: Timestamp(0),
        ends_at: None,
        touched_at: Timestamp(0),
        reason: String::new(),
        closed: None,
        idle: false,
        metered: Micros::ZERO,
        watch: Watch { rested: Micros::from_secs(rested), ..Watch::default() },
    };
    model.apply(&Change::from(lease));
    model
}

/// Receipts of these many seconds each.
fn receipts(lease: AssignmentId, seconds: &[i64]) -> Vec<Receipt> {
    let (mut head, mut before, mut all) = (Head::start(&parties()), 0, Vec::new());
    for (running, sequence) in seconds.iter().zip(1..) {
        let used = LeasedUse {
            lease,
            host: HOST,
            sequence,
            epoch: 1,
            before: Micros::from_secs(before),
            running: Micros::from_secs(*running),
            cpu: Micros::ZERO,
            at: Timestamp((before + running) * 1_000_000),
            reserved: CAPACITY,
            rates: RATES,
            amount: chandler_protocol::MicroMoney(0),
        };
        let used = LeasedUse { amount: used.rated(), ..used };
        let link = append(&parties(), head, used).unwrap();
        head = Head { number: link.number, hash: link.hash };
        before += running;
        all.push(link);
    }
    all
}

fn taken(model: &Model, receipts: &[Receipt]) -> (Model, Result<Head, Untaken>) {
    let mut ids = || [7; 10];
    let mut draft = Draft::new(model, Timestamp(HOUR * 1_000_000), "partner seller", &mut ids);
    let result = receive(&mut draft, SELLER, parties(), receipts, 0);
    (draft.model, result)
}

fn contested(model: &Model) -> (i64, Option<Reason>) {
    let chain = model.chains.get(&(SELLER, Side::Bought)).unwrap();
    let held: i64 = model.disputes.values().map(|d| d.held().0).sum();
    assert_eq!(chain.sums.held.0, held, "the sums are those of the disputes");
    assert_eq!(chain.sums.agreed().0 + chain.sums.contested.0, chain.sums.amount.0);
    (held, model.disputes.values().next().map(|d| d.reason))
}

#[test]
fn what_was_seen_at_rest_is_not_paid() {
    // It rested for 3,000 of 3,600 seconds; 60 are allowed for clocks: 2,940 at 1,000 micro-units a second are contested.
    for parts in [vec![HOUR], vec![60; 60]] {
        let (after, head) = taken(&model(3_000), &receipts(LEASE, &parts));
        assert_eq!(head.unwrap().number, parts.len() as u64);
        assert_eq!(contested(&after), (2_940_000, Some(Reason::Unseen)), "in {} parts", parts.len());
        let lease = after.leases.get(&LEASE).unwrap();
        assert_eq!((lease.watch.believed, lease.metered), (Micros::from_secs(660), Micros::from_secs(HOUR)));
    }
}

#[test]
fn what_nobody_saw_is_paid() {
    // The buyer was down all the time, or nobody could reach it: it saw nothing, which proves nothing.
    let (after, _) = taken(&model(0), &receipts(LEASE, &[60; 60]));
    assert_eq!(contested(&after), (0, None));
    // And little enough for two clocks is no lie.
    assert_eq!(contested(&taken(&model(50), &receipts(LEASE, &[HOUR])).0), (0, None));
}

#[test]
fn what_is_not_ours_counts_for_nothing_but_the_dispute() {
    let other = AssignmentId::from_random([9; 10]);
    let (after, _) = taken(&model(0), &receipts(other, &[HOUR]));
    assert_eq!(contested(&after), (3_600_000, Some(Reason::UnknownLease)));
    assert!(after.meters.is_empty(), "the host's next record is not taken for one that was there");
    assert_eq!(after.leases.get(&LEASE), model(0).leases.get(&LEASE));
    let (of_nothing, _) = taken(&model(0), &receipts(other, &[0]));
    assert_eq!(contested(&of_nothing), (0, None));
}

#[test]
fn an_epoch_that_was_over_is_not_paid_again() {
    let mut links = receipts(LEASE, &[60, 60]);
    let first = links[0].clone();
    let late = LeasedUse { epoch: 0, ..links[1].used };
    links[1] = append(&parties(), Head { number: 1, hash: first.hash }, late).unwrap();
    let (after, _) = taken(&model(0), &links);
    assert_eq!(contested(&after), (60_000, Some(Reason::Epoch)));
}

#[test]
fn a_flood_is_refused() {
    let many = vec![receipts(LEASE, &[1])[0].clone(); RECEIPTS_MAX + 1];
    assert_eq!(taken(&model(0), &many).1, Err(Untaken::Many(RECEIPTS_MAX + 1)));
    let other = AssignmentId::from_random([9; 10]);
    let lies = receipts(other, &[1; 1_001]);
    let mut now = model(0);
    for part in lies[..1_000].chunks(RECEIPTS_MAX) {
        now = taken(&now, part).0;
    }
    assert_eq!(taken(&now, &lies[1_000..]).1, Err(Untaken::Contested));
}

#[test]
fn a_higher_rate_is_paid_from_when_it_was_announced_to_hold_and_not_before() {
    let dear = Rates { core_hour: chandler_protocol::MicroMoney(3_000_000), ..RATES };
    let raised = |starts: i64| {
        let mut model = model(0);
        let known = model.leases.get(&LEASE).unwrap().as_ref().clone();
        let next = Some(super::term::Raise { rates: dear, at: Timestamp(starts * 1_000_000) });
        let watch = Watch { term: super::term::Term { next, ..Default::default() }, ..known.watch.clone() };
        model.apply(&Change::from(Lease { watch, ..known }));
        // The first 600 seconds at the old rates, the next 600 at the new ones.
        let mut links = receipts(LEASE, &[600, 600]);
        let later = LeasedUse { rates: dear, ..links[1].used };
        let later = LeasedUse { amount: later.rated(), ..later };
        links[1] = append(&parties(), Head { number: 1, hash: links[0].hash }, later).unwrap();
        taken(&model, &links).0
    };
    let after = raised(600);
    assert_eq!(contested(&after), (0, None));
    assert_eq!(after.chains.get(&(SELLER, Side::Bought)).unwrap().sums.agreed().0, 600_000 + 1_800_000);
    assert_eq!(after.leases.get(&LEASE).unwrap().rates, dear);
    let early = raised(1_000);
    assert_eq!(contested(&early), (1_200_000, Some(Reason::Rates)), "what is above the old rates is held");
    assert_eq!(early.leases.get(&LEASE).unwrap().rates, RATES);
}
