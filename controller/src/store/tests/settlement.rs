//! What every store keeps of settlement: receipts, who earned what, and the postings of disputes.

use std::sync::Arc;

use chandler_engine::federation::Side;
use chandler_engine::finance::dispute::{self, Dispute, DisputeId, Hold};
use chandler_engine::finance::receipt::{Head, LeasedUse, Parties, Receipt, append};
use chandler_engine::finance::settlement::Reason;
use chandler_engine::model::Change;
use chandler_protocol::{AssignmentId, MicroMoney, PartyId, Timestamp};

use super::super::sqlite::SqliteStore;
use super::super::{Settled, Store, StoreError};
use super::{tamper, usage};

const PARTNER: PartyId = PartyId::from_random([8; 10]);
const OWNER: PartyId = PartyId::from_random([6; 10]);

/// What every store does.
pub(super) async fn suite(store: &dyn Store) {
    receipts_are_found_by_number_and_by_time(store).await;
    earnings_are_of_one_owner(store).await;
    contested_money_is_posted_once(store).await;
}

fn receipts() -> Vec<Receipt> {
    let parties = Parties { seller: "seller.example".to_owned(), buyer: "buyer.example".to_owned() };
    let (mut head, mut all) = (Head::start(&parties), Vec::new());
    for sequence in 1..=4 {
        let row = usage(sequence, 60, 0);
        let used = LeasedUse {
            lease: row.assignment,
            host: row.host,
            sequence,
            epoch: 1,
            before: chandler_protocol::Micros::ZERO,
            running: row.running,
            cpu: row.cpu,
            at: Timestamp(i64::try_from(sequence).unwrap() * 100),
            reserved: row.reserved,
            rates: row.rates,
            amount: row.charge.cost,
        };
        let link = append(&parties, head, used).unwrap();
        head = Head { number: link.number, hash: link.hash };
        all.push(link);
    }
    all
}

async fn receipts_are_found_by_number_and_by_time(store: &dyn Store) {
    let all = receipts();
    let batch: Vec<_> = all.iter().map(|r| Change::Receipt(PARTNER, Side::Sold, Arc::new(r.clone()))).collect();
    store.commit(6, &batch).await.unwrap();
    assert_eq!(store.receipts(PARTNER, Side::Sold, 1, 2).await.unwrap(), all[1..3]);
    let within = |from, to| store.receipts_within(PARTNER, Side::Sold, Timestamp(from), Timestamp(to));
    assert_eq!(within(200, 400).await.unwrap(), all[1..3], "from is in it, to is not");
    assert_eq!(within(401, i64::MAX).await.unwrap(), []);
    let other_side = store.receipts_within(PARTNER, Side::Bought, Timestamp(0), Timestamp(i64::MAX)).await.unwrap();
    assert_eq!(other_side, []);
}

async fn earnings_are_of_one_owner(store: &dyn Store) {
    let all = store.earned(OWNER, Timestamp(0), Timestamp(i64::MAX)).await.unwrap();
    assert!(!all.is_empty() && all.iter().all(|r| r.owner == OWNER));
    assert_eq!(store.earned(OWNER, Timestamp(20), Timestamp(40)).await.unwrap().len(), 2);
    assert_eq!(store.earned(PARTNER, Timestamp(0), Timestamp(i64::MAX)).await.unwrap(), []);
}

fn dispute(receipt: u64, side: dispute::Side) -> Dispute {
    let id = DisputeId { partner: PARTNER, ours: side != dispute::Side::Buyer, receipt };
    let hold = Hold { side, partner: PARTNER, contested: MicroMoney(700) };
    Dispute::open(id, AssignmentId::from_random([3; 10]), hold, Reason::Unseen, Timestamp(1))
}

async fn contested_money_is_posted_once(store: &dyn Store) {
    let before = store.ledger().await.unwrap();
    // A partner may own the site that was sold to it: two of the entries are then on one account.
    let sides =
        [dispute::Side::Buyer, dispute::Side::Seller { owner: PARTNER }, dispute::Side::Seller { owner: OWNER }];
    let open: Vec<_> = sides.into_iter().zip(1..).map(|(side, receipt)| dispute(receipt, side)).collect();
    store.commit(7, &open.iter().cloned().map(Change::from).collect::<Vec<_>>()).await.unwrap();
    let held = store.ledger().await.unwrap();
    assert!(held.balanced, "{held:?}");
    assert_eq!((held.postings, held.held), (before.postings + 3, MicroMoney(-700)));
    assert_eq!(held.receivable.0, before.receivable.0 - 1_400);

    let said = open[0].say("x", "look", Timestamp(2)).unwrap();
    let decided = said.decide(MicroMoney(300), "x", Timestamp(3)).unwrap();
    store.commit(8, &[said.into(), decided.clone().into(), decided.into()]).await.unwrap();
    let after = store.ledger().await.unwrap();
    assert!(after.balanced, "{after:?}");
    assert_eq!((after.postings, after.held), (before.postings + 4, MicroMoney(0)));
    assert_eq!(after.payable.0, held.payable.0 + 300);
    assert_eq!(store.load().await.unwrap().disputes.len(), 3);
    what_was_settled_is_out_of_memory_and_still_there(store, &open).await;
}

async fn what_was_settled_is_out_of_memory_and_still_there(store: &dyn Store, all: &[Dispute]) {
    let before = store.ledger().await.unwrap();
    let wanted = |wanted: Settled| async move {
        store.settled_disputes(&wanted).await.unwrap().iter().map(|d| d.id.receipt).collect::<Vec<_>>()
    };
    let everything = || Settled::all(10);
    assert_eq!(wanted(everything()).await, [0; 0]);
    let ids = [all[0].id, all[2].id];
    store.commit(9, &ids.map(Change::ForgetDispute)).await.unwrap();
    let left: Vec<_> = store.load().await.unwrap().disputes.values().map(|d| d.id).collect();
    assert_eq!(left, [all[1].id]);
    assert_eq!(store.ledger().await.unwrap(), before, "what it posted is in the books, and found right");
    let kept = store.settled_disputes(&everything()).await.unwrap();
    assert_eq!((kept[0].id, kept[0].evidence[0].text.as_str(), kept[0].decided.is_some()), (all[0].id, "look", true));
    assert_eq!(wanted(everything()).await, [1, 3]);
    assert_eq!(wanted(Settled::all(1)).await, [1]);
    assert_eq!(wanted(Settled { after: Some(all[0].id), ..everything() }).await, [3]);
    assert_eq!(wanted(Settled { to: Some(all[0].id), ..everything() }).await, [1]);
    assert_eq!(wanted(Settled::with(PARTNER, Some(all[0].id), 10)).await, [3]);
    assert_eq!(wanted(Settled::with(OWNER, None, 10)).await, [0; 0]);
    let posted = |from, to| Settled { posted: Some((Timestamp(from), Timestamp(to))), ..everything() };
    assert_eq!(wanted(posted(1, 2)).await, [1, 3], "contested then");
    assert_eq!(wanted(posted(2, 4)).await, [1], "decided then");
    assert_eq!(wanted(posted(4, 9)).await, [0; 0]);
}

#[tokio::test]
async fn tampered_disputes_are_found() -> Result<(), StoreError> {
    let cases = [
        ("UPDATE dispute_postings SET amount = amount + 1 WHERE position = 0", 1, 1),
        ("DELETE FROM dispute_postings", 0, 1),
        ("DELETE FROM disputes", 2, 0),
        ("UPDATE dispute_postings SET step = 1", 2, 1),
        // Somebody makes less of what is contested.
        ("UPDATE disputes SET body = json_set(body, '$.hold.contested', 7)", 0, 1),
    ];
    for (sql, unbalanced, unposted) in cases {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store.db");
        let store = SqliteStore::open(&path).await?;
        store.commit(1, &[dispute(1, dispute::Side::Buyer).into()]).await?;
        assert!(store.ledger().await?.balanced);
        assert!(tamper(&path, sql).await > 0, "{sql}");
        let check = store.ledger().await?;
        assert_eq!((check.balanced, check.unbalanced, check.unposted), (false, unbalanced, unposted), "{sql}");
    }
    Ok(())
}
