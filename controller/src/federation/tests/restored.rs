//! A seller that was restored from an older backup: its buyer gives it back what it signed.

use std::sync::Arc;
use std::time::Duration;

use chandler_engine::federation::{Chain, Side};
use chandler_engine::finance::receipt::{Head, LeasedUse, Parties, Receipt, append};
use chandler_engine::fleet::{Capacity, Host, HostState};
use chandler_engine::model::Change;
use chandler_engine::site::{Rates, Site, SiteRole};
use chandler_protocol::{AssignmentId, Bytes, HostId, MicroMoney, Micros, MilliCpu, PartyId, SiteId, Timestamp};

use super::house::House;
use crate::federation::seller::CONTEXT;

const HOST: HostId = HostId::from_random([2; 10]);
const SITE: SiteId = SiteId::from_random([5; 10]);
/// More than goes into two words.
const COUNT: u64 = 1_203;
const EACH: MicroMoney = MicroMoney(1_000);

fn chain(house: &House, side: Side) -> Option<Arc<Chain>> {
    house.api.writer.snapshot().chains.values().find(|c| c.side == side).cloned()
}

async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    for _ in 0..600 {
        if is_so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it never came to this: {what}");
}

fn receipts(parties: &Parties, now: Timestamp) -> Vec<Receipt> {
    let mut head = Head::start(parties);
    let links = (1..=COUNT).map(|sequence| {
        let hours = i64::try_from(sequence).unwrap() - 1;
        let used = LeasedUse {
            lease: AssignmentId::from_random([3; 10]),
            host: HOST,
            sequence,
            epoch: 1,
            before: Micros::from_secs(3_600 * hours),
            running: Micros::from_secs(3_600),
            cpu: Micros::ZERO,
            at: now,
            reserved: Capacity { cpu: MilliCpu(1_000), memory: Bytes(0), gpus: 0 },
            rates: Rates { core_hour: EACH, gib_hour: MicroMoney(0), gpu_hour: MicroMoney(0) },
            amount: EACH,
        };
        let link = append(parties, head, used).unwrap();
        head = Head { number: link.number, hash: link.hash };
        link
    });
    links.collect()
}

/// The machine that was sold.
async fn sells(seller: &House) {
    let put = |draft: &mut chandler_engine::draft::Draft<'_>| {
        let rates = Rates { core_hour: EACH, gib_hour: MicroMoney(0), gpu_hour: MicroMoney(0) };
        let (name, country) = ("attic".to_owned(), "DE".to_owned());
        let (owner, role) = (PartyId::from_random([6; 10]), SiteRole::Remote);
        draft.put(Site { id: SITE, name, owner, role, country, rates, version: 1, home: None });
        draft.put(Host {
            id: HOST,
            site: SITE,
            name: "machine".to_owned(),
            state: HostState::Lost,
            note: String::new(),
            since: draft.now,
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
        });
        Ok::<_, ()>(())
    };
    seller.api.writer.transact("test", put).await.unwrap();
}

/// What the buyer has of a seller that has forgotten all of it, with a signature under its end.
async fn remembers(seller: &House, buyer: &House, receipts: Vec<Receipt>, signature: Vec<u8>) {
    let (partner, parties) = (buyer.partner("acme-cloud").party, receipts[0].parties.clone());
    let put = move |draft: &mut chandler_engine::draft::Draft<'_>| {
        let chain = Chain::new(partner, Side::Bought, parties.clone());
        let sums = receipts.iter().fold(chain.sums, |sums, r| sums.with(r.used.amount));
        let head = receipts.last().map(|r| Head { number: r.number, hash: r.hash }).unwrap();
        for receipt in &receipts {
            draft.put(Change::Receipt(partner, Side::Bought, Arc::new(receipt.clone())));
        }
        draft.put(Chain { head, sums, told: head.number, signed: Some((head, signature)), ..chain });
        Ok::<_, ()>(())
    };
    assert!(chain(seller, Side::Sold).is_none());
    buyer.api.writer.transact("test", put).await.unwrap();
}

async fn two() -> (House, House, Vec<Receipt>, Vec<u8>) {
    let (seller, buyer) = (House::open().await, House::open().await);
    seller.befriend(&buyer, "nova", "acme-cloud").await;
    sells(&seller).await;
    let parties = Parties {
        seller: seller.api.federation.identity().trust_domain(),
        buyer: buyer.api.federation.identity().trust_domain(),
    };
    let all = receipts(&parties, seller.now());
    let head = all.last().map(|r| Head { number: r.number, hash: r.hash }).unwrap();
    let signature = seller.api.federation.identity().sign(CONTEXT, &head.to_sign(&parties)).unwrap();
    (seller, buyer, all, signature)
}

#[tokio::test]
async fn a_seller_gets_its_lost_receipts_back() {
    let (seller, buyer, all, signature) = two().await;
    remembers(&seller, &buyer, all, signature).await;
    until("both have the same chain, signed by both", async || {
        let (sold, bought) = (chain(&seller, Side::Sold), chain(&buyer, Side::Bought));
        sold.zip(bought).is_some_and(|(s, b)| s.head == b.head && s.sums == b.sums && s.countersigned() == COUNT)
    })
    .await;
    let check = seller.get("ledger/check").await.unwrap();
    assert_eq!(check["balanced"], true, "{check}");
    let model = seller.api.writer.snapshot();
    let earned = EACH.0 * i64::try_from(COUNT).unwrap();
    assert_eq!((model.totals.rows, model.totals.receivable.0, model.totals.payable.0), (COUNT, earned, earned));
    assert_eq!(model.usage_acknowledged(HOST), COUNT);
    let events = seller.get("events?limit=500").await.unwrap();
    assert!(events.to_string().contains("receipts came back from nova"), "people are told");
}

#[tokio::test]
async fn what_the_seller_never_signed_is_not_taken() {
    let (seller, buyer, all, _) = two().await;
    let head = all.last().map(|r| Head { number: r.number, hash: r.hash }).unwrap();
    let by_buyer = buyer.api.federation.identity().sign(CONTEXT, &head.to_sign(&all[0].parties)).unwrap();
    let client = buyer.api.federation.client(buyer.partner("acme-cloud").party).unwrap();
    let part = |receipts: &[Receipt], head: Head, signature: &[u8]| {
        let signature = data_encoding::HEXLOWER.encode(signature);
        crate::federation::seller::Lost {
            receipts: receipts.to_vec(),
            head: crate::federation::seller::Signed { head, signature },
        }
    };
    let last = all.len() - 1;
    for lost in [part(&all[last..], head, &by_buyer), part(&[], head, &by_buyer), part(&all[..2], head, &by_buyer)] {
        let refused = client.post::<_, serde_json::Value>("receipts/restored", &lost).await.unwrap_err();
        assert_eq!(refused.code(), chandler_api::problem::BAD_REQUEST.code);
    }
    assert!(chain(&seller, Side::Sold).is_none());
}
