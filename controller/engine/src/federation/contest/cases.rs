//! Two controllers and their disputes: whatever is said, in whatever order, both ledgers come to the same.

use chandler_protocol::{AssignmentId, HostId, Micros, SiteId, Timestamp};

use super::*;
use crate::finance::dispute::UNTOUCHED;
use crate::finance::receipt::{LeasedUse, Parties, append};
use crate::fleet::Capacity;
use crate::model::Change;
use crate::site::{Rates, Site, SiteRole};

const BUYER: PartyId = PartyId::from_random([1; 10]);
const SELLER: PartyId = PartyId::from_random([8; 10]);
const OWNER: PartyId = PartyId::from_random([6; 10]);
const LEASE: AssignmentId = AssignmentId::from_random([3; 10]);

fn money(amount: i64) -> MicroMoney {
    MicroMoney(amount)
}

fn receipt(parties: &Parties, head: Head, amount: i64) -> Receipt {
    let used = LeasedUse {
        lease: LEASE,
        host: HostId::from_random([2; 10]),
        sequence: head.number + 1,
        epoch: 1,
        before: Micros::ZERO,
        running: Micros::ZERO,
        cpu: Micros::ZERO,
        at: Timestamp(0),
        reserved: Capacity::default(),
        rates: Rates::default(),
        amount: money(amount),
    };
    append(parties, head, used).unwrap()
}

/// Two controllers that have the same two receipts of 100 each.
struct Two {
    seller: Model,
    buyer: Model,
    receipts: Vec<Receipt>,
    now: i64,
}

fn work<T>(model: &mut Model, now: i64, by: &str, work: impl FnOnce(&mut Draft<'_>) -> T) -> T {
    let mut ids = || [7; 10];
    let mut draft = Draft::new(model, Timestamp(now), by, &mut ids);
    let done = work(&mut draft);
    *model = draft.model;
    done
}

impl Two {
    fn new() -> Self {
        let parties = Parties { seller: "seller.example".to_owned(), buyer: "buyer.example".to_owned() };
        let first = receipt(&parties, Head::start(&parties), 100);
        let second = receipt(&parties, Head { number: 1, hash: first.hash }, 100);
        let head = Head { number: 2, hash: second.hash };
        let (mut seller, mut buyer) = (Model::default(), Model::default());
        for (model, partner, side) in [(&mut seller, BUYER, Side::Sold), (&mut buyer, SELLER, Side::Bought)] {
            let chain = Chain::new(partner, side, parties.clone());
            let sums = chain.sums.with(money(100)).with(money(100));
            model.apply(&Change::from(Chain { head, sums, ..chain }));
        }
        let site = Site {
            id: SiteId::from_random([5; 10]),
            name: "cellar".to_owned(),
            owner: OWNER,
            role: SiteRole::Remote,
            country: "DE".to_owned(),
            rates: Rates::default(),
            version: 1,
            home: None,
        };
        seller.apply(&Change::from(site));
        Self { seller, buyer, receipts: vec![first, second], now: 1 }.hosted()
    }

    /// The seller knows whose machine it was.
    fn hosted(mut self) -> Self {
        let lease = crate::federation::lease::Lease {
            id: LEASE,
            side: Side::Sold,
            partner: BUYER,
            host: HostId::from_random([2; 10]),
            site: SiteId::from_random([5; 10]),
            service: chandler_protocol::ServiceId::from_random([4; 10]),
            label: "notes".to_owned(),
            capacity: Capacity::default(),
            rates: Rates::default(),
            demand: [0; 32],
            state: crate::federation::lease::LeaseState::Active,
            since: Timestamp(0),
            made_at: Timestamp(0),
            ends_at: None,
            touched_at: Timestamp(0),
            reason: String::new(),
            closed: None,
            idle: false,
            metered: Micros::ZERO,
            watch: crate::federation::watch::Watch::default(),
        };
        self.seller.apply(&Change::from(lease));
        self
    }

    fn contests(&self, number: u64, amount: i64) -> (Contested, Receipt) {
        let receipt = self.receipts[usize::try_from(number).unwrap() - 1].clone();
        (Contested { number, amount: money(amount), reason: Reason::Unseen }, receipt)
    }

    fn signs(&mut self, contested: &[(Contested, Receipt)]) -> Result<bool, String> {
        let head = Head { number: 2, hash: self.receipts[1].hash };
        work(&mut self.seller, self.now, "partner buyer", |d| countersign(d, BUYER, (head, vec![1]), contested))
    }

    /// 60 of the second receipt are contested, on both sides.
    fn disputed() -> Self {
        let mut two = Self::new();
        let id = two.id(false);
        let hold = Hold { side: dispute::Side::Buyer, partner: SELLER, contested: money(60) };
        work(&mut two.buyer, 1, "partner seller", |d| {
            open(d, Dispute::open(id, LEASE, hold, Reason::Unseen, Timestamp(1)));
        });
        let told = contested(&two.buyer, SELLER, 0, 2);
        assert_eq!(told.iter().map(|c| (c.number, c.amount.0)).collect::<Vec<_>>(), [(2, 60)]);
        assert_eq!(two.signs(&[two.contests(2, 60)]), Ok(true));
        two.same();
        two
    }

    const fn id(&self, ours: bool) -> DisputeId {
        DisputeId { partner: if ours { BUYER } else { SELLER }, ours, receipt: 2 }
    }

    fn says(&mut self, ours: bool, price: i64) -> Result<Option<Dispute>, DisputeError> {
        self.now += 1;
        let (id, now) = (self.id(ours), self.now);
        let model = if ours { &mut self.seller } else { &mut self.buyer };
        work(model, now, "token", |d| propose(d, id, money(price)))
    }

    /// One exchange.
    fn talk(&mut self) {
        self.now += 1;
        let said = words(&self.buyer, SELLER, false, 0);
        let answer = work(&mut self.seller, self.now, "partner buyer", |d| hear(d, BUYER, &said));
        work(&mut self.buyer, self.now, "partner seller", |d| heard(d, SELLER, &said, &answer));
    }

    fn sums(&self) -> [super::super::chain::Sums; 2] {
        [self.seller.chains[&(BUYER, Side::Sold)].sums, self.buyer.chains[&(SELLER, Side::Bought)].sums]
    }

    #[track_caller]
    fn same(&self) {
        let [seller, buyer] = self.sums();
        assert_eq!(seller, buyer);
    }

    fn states(&self) -> [&'static str; 2] {
        [self.seller.disputes[&self.id(true)].state.as_str(), self.buyer.disputes[&self.id(false)].state.as_str()]
    }
}

#[test]
fn the_seller_holds_what_the_buyer_contests_once() {
    let mut two = Two::disputed();
    let before = two.seller.disputes.clone();
    assert_eq!(two.signs(&[two.contests(2, 60)]), Ok(false), "a repetition");
    assert_eq!(two.signs(&[two.contests(1, 5)]), Ok(false), "what was countersigned is not contested later");
    assert_eq!(two.seller.disputes, before);
    let hold = before.values().next().unwrap().hold;
    assert_eq!(hold.side, dispute::Side::Seller { owner: OWNER });
}

#[test]
fn no_more_is_contested_than_a_receipt_asks() {
    for (number, amount) in [(2, 101), (2, 0), (2, -1), (2, i64::MAX)] {
        let mut two = Two::new();
        assert!(two.signs(&[two.contests(1, 10), two.contests(number, amount)]).is_err(), "{amount}");
        assert!(two.seller.disputes.is_empty() && two.seller.chains[&(BUYER, Side::Sold)].signed.is_none());
    }
    let mut two = Two::new();
    let (word, receipt) = two.contests(1, 10);
    assert!(two.signs(&[(Contested { number: 3, ..word }, receipt)]).is_err(), "another receipt than it names");
}

#[test]
fn each_side_decides_against_itself_alone() {
    // The seller waives: it is decided there, and the buyer learns of it.
    let mut two = Two::disputed();
    assert_eq!(two.says(true, 0).unwrap().unwrap().decided.unwrap().to_seller, money(0));
    two.talk();
    two.same();
    two.talk();
    assert_eq!((two.states(), two.sums()[0].decided), (["closed", "closed"], money(0)));

    // The buyer pays: decided with the seller's next word.
    let mut two = Two::disputed();
    assert!(two.says(false, 60).unwrap().unwrap().decided.is_none());
    two.talk();
    two.same();
    two.talk();
    assert_eq!((two.states(), two.sums()[1].decided, two.sums()[1].held), (["closed", "closed"], money(60), money(0)));
}

#[test]
fn a_decision_is_not_closed_before_the_seller_was_told_that_it_is_known() {
    let mut two = Two::disputed();
    two.says(true, 0).unwrap();
    for said in [words(&two.buyer, SELLER, false, 0), Vec::new()] {
        let answer = work(&mut two.seller, two.now, "partner buyer", |d| hear(d, BUYER, &said));
        work(&mut two.buyer, two.now, "partner seller", |d| heard(d, SELLER, &said, &answer));
    }
    assert_eq!(two.states(), ["decided", "decided"]);
    two.talk();
    assert_eq!(two.states(), ["closed", "closed"]);
}

#[test]
fn what_costs_the_other_side_needs_it() {
    let mut two = Two::disputed();
    two.says(false, 20).unwrap();
    two.says(true, 40).unwrap();
    two.talk();
    two.talk();
    assert_eq!(two.states(), ["evidence", "evidence"], "20 are offered and 40 asked");
    assert_eq!(two.says(false, 10), Err(DisputeError::Back(money(20))));
    assert_eq!(two.says(true, 41), Err(DisputeError::Back(money(40))));
    assert_eq!(two.says(false, 61), Err(DisputeError::Share(money(60))));
    two.says(false, 50).unwrap();
    two.talk();
    two.same();
    assert_eq!(two.sums()[0].decided, money(40), "the seller asked for no more");
    two.talk();
    assert_eq!(two.states(), ["closed", "closed"]);
    assert!(two.says(true, 0).is_err(), "it is over");
}

#[test]
fn a_seller_cannot_decide_for_the_buyer() {
    let mut two = Two::disputed();
    two.says(false, 20).unwrap();
    let word = DisputeWord { number: 2, contested: money(60), price: money(0), decided: Some(money(21)), said: vec![] };
    work(&mut two.buyer, 5, "partner seller", |d| heard(d, SELLER, &[], std::slice::from_ref(&word)));
    assert_eq!(two.sums()[1].held, money(60), "more than was offered is no decision");
    // Nor can a buyer, by saying that it was decided.
    let word = DisputeWord { price: money(0), decided: Some(money(0)), ..word };
    work(&mut two.seller, 5, "partner buyer", |d| hear(d, BUYER, &[word]));
    assert_eq!(two.sums()[0].held, money(60));
}

#[test]
fn what_is_said_is_heard_once_and_has_an_end() {
    let mut two = Two::disputed();
    for n in 0..STATEMENTS_MAX {
        let (id, now) = (two.id(false), two.now);
        work(&mut two.buyer, now, "token", |d| say(d, id, &format!("look {n}"))).unwrap();
        two.talk();
        two.talk();
    }
    let there = &two.seller.disputes[&two.id(true)];
    assert_eq!(there.statements(true).count(), STATEMENTS_MAX);
    assert!(there.statements(true).all(|e| e.by == "partner buyer"));
    let many = DisputeWord { said: vec!["x".to_owned(); 100], ..words(&two.buyer, SELLER, false, 0)[0].clone() };
    work(&mut two.seller, 9, "partner buyer", |d| hear(d, BUYER, &[many]));
    assert_eq!(two.seller.disputes[&two.id(true)].evidence.len(), STATEMENTS_MAX);
}

#[test]
fn the_timer_brings_both_to_the_same() {
    let mut two = Two::disputed();
    let late = UNTOUCHED.0 + 10;
    assert_eq!(work(&mut two.seller, late - 100, "timer", sweep), 0);
    for model in [&mut two.seller, &mut two.buyer] {
        assert_eq!(work(model, late, "timer", sweep), 1);
    }
    two.same();
    assert_eq!((two.sums()[0].held, two.sums()[0].decided), (money(0), money(0)));
    two.now = late;
    two.talk();
    assert_eq!(two.states()[0], "closed");

    // A buyer that has offered something leaves it to the seller.
    let mut two = Two::disputed();
    two.says(false, 20).unwrap();
    assert_eq!(work(&mut two.buyer, late, "timer", sweep), 0);
    assert_eq!(work(&mut two.buyer, 2 * late, "timer", sweep), 1);
}

#[test]
fn what_was_settled_is_forgotten_after_two_months_and_its_sums_are_not() {
    let mut two = Two::disputed();
    two.says(true, 0).unwrap();
    two.talk();
    two.talk();
    assert_eq!(two.states(), ["closed", "closed"]);
    let (sums, day) = (two.sums(), 86_400_000_000);
    for model in [&mut two.seller, &mut two.buyer] {
        assert_eq!((work(model, 61 * day, "timer", sweep), model.disputes.len()), (0, 1));
        assert_eq!((work(model, 63 * day, "timer", sweep), model.disputes.len()), (1, 0));
    }
    assert_eq!(two.sums(), sums);
    // Nobody begins it again.
    two.now = 64 * day;
    two.talk();
    two.talk();
    assert!(two.seller.disputes.is_empty() && two.buyer.disputes.is_empty());
    assert_eq!(two.sums(), sums);
}

#[test]
fn a_buyer_from_a_backup_pays_what_it_does_not_know_to_be_contested() {
    let mut two = Two::disputed();
    let chain = Chain { told: 2, ..two.buyer.chains[&(SELLER, Side::Bought)].as_ref().clone() };
    two.buyer = Model::default();
    two.buyer.apply(&Change::from(chain));
    let answer = work(&mut two.seller, 3, "partner buyer", |d| hear(d, BUYER, &[]));
    let left = work(&mut two.buyer, 3, "partner seller", |d| heard(d, SELLER, &[], &answer));
    work(&mut two.seller, 4, "partner buyer", |d| hear(d, BUYER, &left));
    assert_eq!(two.sums()[0].decided, money(60));
}
