//! Two controllers settle: what one asks for and the other does not believe is held by both, and decided by both alike.

use std::sync::Arc;
use std::time::Duration;

use chandler_engine::federation::{Chain, Lease, LeaseState, Side, Watch};
use chandler_engine::finance::receipt::{Head, LeasedUse, Parties, append};
use chandler_engine::fleet::Capacity;
use chandler_engine::model::Change;
use chandler_engine::party::{Party, PartyRole};
use chandler_engine::site::{Rates, Site, SiteRole};
use chandler_protocol::{
    AssignmentId, Bytes, HostId, MicroMoney, Micros, MilliCpu, PartyId, ServiceId, SiteId, Timestamp,
};
use serde_json::{Value, json};

use super::house::House;

const OWNER: PartyId = PartyId::from_random([6; 10]);

/// What both operators see of the chain between them is the same.
const SAME: [&str; 9] =
    ["seller", "buyer", "receipts", "head", "countersigned", "amount", "agreed", "contested", "held"];

/// The seller's controller says that work ran for an hour under a lease that the buyer never took.
async fn invents_use(seller: &House, buyer: PartyId) {
    let parties = Parties {
        seller: seller.api.federation.identity().trust_domain(),
        buyer: seller.api.writer.snapshot().partners.get(&buyer).unwrap().trust_domain.clone(),
    };
    let rates = Rates { core_hour: MicroMoney(1_000), gib_hour: MicroMoney(0), gpu_hour: MicroMoney(0) };
    let reserved = Capacity { cpu: MilliCpu(1_000), memory: Bytes(0), gpus: 0 };
    let (id, host, site) =
        (AssignmentId::from_random([3; 10]), HostId::from_random([2; 10]), SiteId::from_random([5; 10]));
    let put = move |draft: &mut chandler_engine::draft::Draft<'_>| {
        draft.put(Party { id: OWNER, name: "lab".to_owned(), roles: vec![PartyRole::SiteOwner] });
        draft.put(Site {
            id: site,
            name: "attic".to_owned(),
            owner: OWNER,
            role: SiteRole::Remote,
            country: "DE".to_owned(),
            rates,
            version: 1,
            home: None,
        });
        draft.put(Lease {
            id,
            side: Side::Sold,
            partner: buyer,
            host,
            site,
            service: ServiceId::from_random([4; 10]),
            label: "notes".to_owned(),
            capacity: reserved,
            rates,
            demand: [0; 32],
            state: LeaseState::Active,
            since: draft.now,
            made_at: draft.now,
            ends_at: None,
            touched_at: draft.now,
            reason: String::new(),
            closed: None,
            idle: false,
            metered: Micros::ZERO,
            watch: Watch::default(),
        });
        let used = LeasedUse {
            lease: id,
            host,
            sequence: 1,
            epoch: 1,
            before: Micros::ZERO,
            running: Micros::from_secs(3_600),
            cpu: Micros::ZERO,
            at: Timestamp(draft.now.0),
            reserved,
            rates,
            amount: MicroMoney(1_000),
        };
        let chain = Chain::new(buyer, Side::Sold, parties.clone());
        let link = append(&parties, chain.head, used).unwrap();
        let (head, sums) = (Head { number: 1, hash: link.hash }, chain.sums.with(used.amount));
        draft.put(Change::Receipt(buyer, Side::Sold, Arc::new(link)));
        draft.put(Chain { head, sums, ..chain });
        Ok::<_, ()>(())
    };
    seller.api.writer.transact("test", put).await.unwrap();
}

/// Looks until it is so.
async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    for _ in 0..600 {
        if is_so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it never came to this: {what}");
}

async fn chain(house: &House, partner: &str) -> Value {
    house.get(&format!("partners/{partner}/receipts")).await.unwrap()[0].clone()
}

async fn dispute(house: &House) -> Value {
    house.get("disputes").await.unwrap()["items"][0].clone()
}

async fn alike(seller: &House, buyer: &House) -> bool {
    let (sold, bought) = (chain(seller, "nova").await, chain(buyer, "acme-cloud").await);
    sold["side"] == "sold" && bought["side"] == "bought" && SAME.iter().all(|field| sold[field] == bought[field])
}

/// A seller and a buyer that contests all of its one receipt.
async fn disputed() -> (House, House) {
    let (seller, buyer) = (House::open().await, House::open().await);
    seller.befriend(&buyer, "nova", "acme-cloud").await;
    invents_use(&seller, seller.partner("nova").party).await;
    until("both hold what is contested", async || alike(&seller, &buyer).await).await;
    (seller, buyer)
}

fn amount(micros: i64) -> Value {
    json!({ "micros": micros, "currency": "EUR" })
}

async fn decide(house: &House, micros: i64) -> Value {
    let id = dispute(house).await["id"].as_str().unwrap().to_owned();
    house.post(&format!("disputes/{id}/decide"), json!({ "toSeller": amount(micros) })).await.unwrap()
}

#[tokio::test]
async fn what_the_buyer_does_not_believe_is_held_by_both() {
    let (seller, buyer) = disputed().await;
    let sold = chain(&seller, "nova").await;
    assert_eq!((&sold["held"], &sold["agreed"], &sold["countersigned"]), (&amount(1_000), &amount(0), &json!(1)));
    assert_eq!(dispute(&seller).await["reason"], "unknownLease");
    let check = buyer.get("ledger/check").await.unwrap();
    assert_eq!((&check["balanced"], &check["held"], &check["payable"]), (&json!(true), &amount(-1_000), &amount(0)));

    let id = dispute(&buyer).await["id"].as_str().unwrap().to_owned();
    buyer.post(&format!("disputes/{id}/say"), json!({ "text": "we never asked for it" })).await.unwrap();
    until("the seller hears it", async || {
        let said = dispute(&seller).await["evidence"][0].clone();
        said["text"] == "we never asked for it" && said["theirs"] == true
    })
    .await;
}

#[tokio::test]
async fn a_decision_travels_whoever_makes_it() {
    // Each of them alone, against itself; and both, who meet.
    for (asks, offers, paid) in [(Some(0), None, 0), (None, Some(1_000), 1_000), (Some(400), Some(700), 400)] {
        let (seller, buyer) = disputed().await;
        if let Some(asks) = asks {
            decide(&seller, asks).await;
        }
        if let Some(offers) = offers {
            assert!(
                decide(&buyer, offers).await.get("decided").is_none(),
                "it is the seller's controller that decides"
            );
        }
        until("both have closed it", async || {
            let closed = json!("closed");
            dispute(&seller).await["state"] == closed && dispute(&buyer).await["state"] == closed
        })
        .await;
        assert!(alike(&seller, &buyer).await);
        for (house, partner) in [(&seller, "nova"), (&buyer, "acme-cloud")] {
            assert_eq!(chain(house, partner).await["decided"], amount(paid), "{asks:?} {offers:?}");
            assert_eq!(house.get("ledger/check").await.unwrap()["held"], amount(0));
        }
    }
}
