//! A seller before and after its backup: what it lost comes back as it was, and nothing is counted twice.

use chandler_protocol::{Bytes, Digest, MilliCpu, SiteId};

use super::*;
use crate::federation::{LeaseState, Market, Unsold, rate_sold, reserve};
use crate::finance::receipt::{Fault, Parties};
use crate::fleet::{Capacity, Host, HostState};
use crate::market::clearing::Rule;
use crate::partner::Partner;
use crate::site::{Rates, SiteRole};

const BUYER: PartyId = PartyId::from_random([1; 10]);
const LEASE: AssignmentId = AssignmentId::from_random([3; 10]);
const HOST: HostId = HostId::from_random([2; 10]);
const SITE: SiteId = SiteId::from_random([5; 10]);
const OWNER: PartyId = PartyId::from_random([6; 10]);
const CAPACITY: Capacity = Capacity { cpu: MilliCpu(1_000), memory: Bytes(0), gpus: 0 };
const RATES: Rates = Rates { core_hour: MicroMoney(3_600_000), gib_hour: MicroMoney(0), gpu_hour: MicroMoney(0) };

fn partner() -> Partner {
    Partner {
        party: BUYER,
        name: "nova".to_owned(),
        address: None,
        trust: Vec::new(),
        retired: Vec::new(),
        trust_domain: "buyer.example".to_owned(),
        may_buy: true,
        may_sell: false,
        state: PartnerState::Active,
        since: Timestamp(0),
        reason: String::new(),
        version: 1,
    }
}

fn host() -> Host {
    Host {
        id: HOST,
        site: SITE,
        name: "attic".to_owned(),
        state: HostState::Active,
        note: String::new(),
        since: Timestamp(0),
        key_fingerprint: [0; 32],
        agent_version: String::new(),
        starts: 1,
        inventory: None,
        history: Default::default(),
        rtt: None,
        failures: Vec::new(),
        protocol: 1,
        listens: Vec::new(),
        drain: None,
        terms: None,
    }
}

/// A controller that sells one host, and whether it knows the lease.
fn seller(is_leased: bool) -> Model {
    let site = Site {
        id: SITE,
        name: "cellar".to_owned(),
        owner: OWNER,
        role: SiteRole::Remote,
        country: "DE".to_owned(),
        rates: RATES,
        version: 1,
        home: None,
    };
    let (seed, head) = (Digest([0; 32]), Digest([0; 32]));
    let market = Market { domain: "seller.example".to_owned(), rule: Rule::PostedRate, seed, head, cleared: 0 };
    let mut model = Model::default();
    model.apply(&Change::from(site.clone()));
    model.apply(&Change::from(host()));
    model.apply(&Change::from(market));
    model.apply(&Change::from(partner()));
    if is_leased {
        let used = LeasedUse { reserved: CAPACITY, ..nothing() };
        work(&mut model, 0, |draft| {
            let lease = held(draft, BUYER, &site, &used);
            draft.put(Lease { state: LeaseState::Active, ends_at: None, demand: [9; 32], ..lease });
        });
    }
    model
}

fn nothing() -> LeasedUse {
    LeasedUse {
        lease: LEASE,
        host: HOST,
        sequence: 0,
        epoch: 1,
        before: Micros::ZERO,
        running: Micros::ZERO,
        cpu: Micros::ZERO,
        at: Timestamp(0),
        reserved: CAPACITY,
        rates: RATES,
        amount: MicroMoney(0),
    }
}

/// Does something; gives what it gave and the ledger's rows.
fn work<T>(model: &mut Model, second: i64, work: impl FnOnce(&mut Draft<'_>) -> T) -> (T, Vec<UsageRow>) {
    let mut ids = || [7; 10];
    let mut draft = Draft::new(model, Timestamp(second * 1_000_000), "partner nova", &mut ids);
    let done = work(&mut draft);
    let rows = draft.changes.iter().filter_map(|c| if let Change::Usage(row) = c { Some(row.clone()) } else { None });
    let rows = rows.collect();
    *model = draft.model;
    (done, rows)
}

fn record(sequence: u64) -> UsageRecord {
    let (running, cpu) = (Micros::from_secs(10), Micros::ZERO);
    UsageRecord { sequence, assignment: LEASE, epoch: 1, running, cpu, age: Some(Micros::ZERO) }
}

/// The agent's record of the ten seconds that end at ten times its number.
fn meter(model: &mut Model, sequence: u64) -> Vec<UsageRow> {
    let (_, rows) = work(model, i64::try_from(sequence).unwrap() * 10, |draft| {
        draft.put(Meter { host: HOST, acknowledged: sequence });
        if let Some(row) = rate_sold(draft, HOST, &record(sequence)) {
            draft.put(Change::Usage(row));
        }
    });
    rows
}

fn chain(model: &Model) -> Chain {
    model.chains.get(&(BUYER, Side::Sold)).unwrap().as_ref().clone()
}

/// Its receipts, made as the seller makes them.
fn receipts(count: u64) -> (Vec<Receipt>, Vec<UsageRow>, Model) {
    let (mut model, mut links, mut rows) = (seller(true), Vec::new(), Vec::new());
    meter(&mut model, 1);
    let (_, first) = work(&mut model, 10, |draft| said(draft, BUYER, 0));
    rows.extend(first);
    for sequence in 2..=count {
        rows.extend(meter(&mut model, sequence));
    }
    let parties = Parties { seller: "seller.example".to_owned(), buyer: "buyer.example".to_owned() };
    let mut head = Head::start(&parties);
    for row in &rows {
        let before = Micros((i64::try_from(row.sequence).unwrap() - 1) * 10_000_000);
        let used = LeasedUse {
            sequence: row.sequence,
            before,
            running: row.running,
            at: row.at,
            amount: row.charge.cost,
            ..nothing()
        };
        let link = crate::finance::receipt::append(&parties, head, used).unwrap();
        head = Head { number: link.number, hash: link.hash };
        links.push(link);
    }
    assert_eq!(chain(&model).head, head, "they are the seller's own");
    (links, rows, model)
}

fn end(receipts: &[Receipt]) -> Head {
    receipts.last().map(|r| Head { number: r.number, hash: r.hash }).unwrap()
}

#[test]
fn what_was_lost_comes_back_as_it_was() {
    let (all, rows, before) = receipts(5);
    for (kept, is_leased) in [(0, true), (0, false), (2, true)] {
        let mut model = seller(is_leased);
        if kept > 0 {
            work(&mut model, 20, |draft| restored(draft, BUYER, &all[..kept], end(&all[..kept]))).0.unwrap();
        }
        let (head, back) = work(&mut model, 60, |draft| restored(draft, BUYER, &all[kept..], end(&all)));
        assert_eq!(head.unwrap(), end(&all));
        assert_eq!((chain(&model).head, chain(&model).sums), (chain(&before).head, chain(&before).sums));
        assert_eq!(model.usage_acknowledged(HOST), 5, "the agent's next record is the next");
        let money = |rows: &[UsageRow]| -> Vec<_> {
            rows.iter().map(|r| (r.sequence, r.customer, r.owner, r.running, r.charge)).collect()
        };
        assert_eq!(money(&back), money(&rows[kept..]));
        let (lease, was) = (model.leases[&LEASE].clone(), before.leases[&LEASE].clone());
        assert_eq!((lease.metered, lease.rates, lease.capacity), (was.metered, was.rates, was.capacity));
        // And it goes on where it was: the next is believed, and continues the chain.
        work(&mut model, 60, |draft| said(draft, BUYER, 5));
        assert_eq!(meter(&mut model, 6).len(), 1, "kept {kept}, leased {is_leased}");
        assert_eq!(chain(&model).head.number, 6);
    }
}

#[test]
fn what_was_not_made_here_or_does_not_fit_is_not_taken() {
    let (all, _, _) = receipts(3);
    let mut model = seller(true);
    let mut refused = |receipts: &[Receipt], end| work(&mut model, 60, |d| restored(d, BUYER, receipts, end)).0;
    let gap = Fault::Gap;
    assert_eq!(refused(&all[1..], end(&all)), Err(Unrestored::Chain(ChainError { number: 2, what: gap })));
    assert_eq!(refused(&all[..2], end(&all)), Err(Unrestored::End), "another end was signed");
    let many = vec![all[0].clone(); RECEIPTS_MAX + 1];
    assert_eq!(refused(&many, end(&all)), Err(Unrestored::Many(RECEIPTS_MAX + 1)));
    assert!(model.chains.is_empty());
}

#[test]
fn nothing_new_is_appended_before_the_buyer_has_said_how_long_the_chain_is() {
    let (all, _, _) = receipts(3);
    let mut model = seller(true);
    // The third was stored, but its agent was never told: it sends it again to the restored one, and then a fourth.
    assert!(meter(&mut model, 3).is_empty() && meter(&mut model, 4).is_empty());
    let (_, rows) = work(&mut model, 50, |draft| said(draft, BUYER, 3));
    assert!(rows.is_empty() && chain(&model).head.number == 0, "it has more than are here");
    let (_, back) = work(&mut model, 60, |draft| restored(draft, BUYER, &all, end(&all)));
    let (_, late) = work(&mut model, 70, |draft| said(draft, BUYER, 3));
    let sequences: Vec<_> = back.iter().chain(&late).map(|r| r.sequence).collect();
    assert_eq!(sequences, [1, 2, 3, 4], "each once");
    assert_eq!(late[0].at, Timestamp(40_000_000), "it ended when it did, not when it was entered");
    assert_eq!(chain(&model).head.number, 4);
}

#[test]
fn a_lease_that_came_back_is_given_again_where_it_is() {
    let (all, _, _) = receipts(3);
    let mut model = seller(false);
    work(&mut model, 60, |draft| restored(draft, BUYER, &all, end(&all))).0.unwrap();
    assert_eq!(model.leases[&LEASE].state, LeaseState::Reserved, "nobody has asked for it yet");
    let other = HostId::from_random([8; 10]);
    let demand = |host| Demand {
        service: ServiceId::from_random([4; 10]),
        label: "notes".to_owned(),
        wanted: CAPACITY,
        cap: MicroMoney(0),
        candidates: vec![Qualified { host, extra: MicroMoney(0) }],
        epoch: 0,
        turn: 0,
    };
    let mut ask = |host| work(&mut model, 61, |draft| reserve(draft, &partner(), LEASE, &demand(host))).0;
    assert_eq!(ask(other), Err(Unsold::Other));
    let (lease, is_new) = ask(HOST).unwrap();
    assert_eq!(
        (lease.label.as_str(), lease.rates, lease.metered, is_new),
        ("notes", RATES, Micros::from_secs(30), false)
    );
    assert_eq!(ask(HOST).unwrap().0, lease, "the same again");
}

#[test]
fn what_a_seller_forgot_is_asked_for_again() {
    let mut model = seller(true);
    let mine = Lease { side: Side::Bought, ..model.leases[&LEASE].as_ref().clone() };
    model.apply(&Change::from(mine));
    let none = BTreeSet::new();
    let asked = |model: &Model, named: &BTreeSet<_>, at| forgotten(model, BUYER, named, Timestamp(at)).len();
    assert_eq!(asked(&model, &none, 1), 0, "nothing of ours is there any more");
    assert_eq!(asked(&model, &BTreeSet::from([LEASE]), 1), 0);
}
