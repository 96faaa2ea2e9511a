//! What every store must do, said once and held against each of them; and what only a file can suffer.

mod settlement;

use std::path::Path;

use chandler_engine::event::{Event, Noun};
use chandler_engine::finance::{UsageRow, postings, rate};
use chandler_engine::fleet::Capacity;
use chandler_engine::market::book::Book;
use chandler_engine::market::clearing::{Call, Rule, clear};
use chandler_engine::market::demand::{Demand, Qualified};
use chandler_engine::model::{Answer, Change, Model};
use chandler_engine::party::{Party, PartyRole};
use chandler_engine::service::PriceTerms;
use chandler_engine::site::{Rates, Site, SiteRole};
use chandler_protocol::{
    AssignmentId, Bytes, Digest, HostId, MicroMoney, Micros, MilliCpu, PartyId, ServiceId, SiteId, Timestamp, TokenId,
};
use sqlx::AssertSqlSafe;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};

use super::memory::MemoryStore;
use super::sqlite::SqliteStore;
use super::{EventFilter, Store, StoreError};

const CUSTOMER: PartyId = PartyId::from_random([1; 10]);

fn party(number: u8, name: &str) -> Change {
    Party { id: PartyId::from_random([number; 10]), name: name.to_owned(), roles: vec![PartyRole::Customer] }.into()
}

fn site() -> Change {
    let rates = Rates { core_hour: MicroMoney(20_000), gib_hour: MicroMoney(3_000), gpu_hour: MicroMoney(0) };
    let id = SiteId::from_random([5; 10]);
    let (name, country) = ("cellar".to_owned(), "DE".to_owned());
    Site { id, name, owner: CUSTOMER, role: SiteRole::Provider, country, rates, version: 1, home: None }.into()
}

fn event(id: u64, subject: &str) -> Change {
    Change::Event(Event {
        id,
        at: Timestamp(i64::try_from(id).unwrap()),
        by: "test".to_owned(),
        noun: Noun::Party,
        subject: subject.to_owned(),
        name: "acme".to_owned(),
        from: String::new(),
        to: "validated".to_owned(),
        reason: "a \"reason\" with 'quotes' and \u{1f4e6}".to_owned(),
    })
}

fn usage(sequence: u64, seconds: i64, at: i64) -> UsageRow {
    let reserved = Capacity { cpu: MilliCpu(500), memory: Bytes(256 << 20), gpus: 0 };
    let rates = Rates { core_hour: MicroMoney(20_000), gib_hour: MicroMoney(3_000), gpu_hour: MicroMoney(0) };
    let price =
        PriceTerms { offering: ("standard".to_owned(), 1), margin_percent: 20, management_hour: MicroMoney(1_000) };
    let running = Micros::from_secs(seconds);
    UsageRow {
        host: HostId::from_random([2; 10]),
        sequence,
        assignment: AssignmentId::from_random([3; 10]),
        service: ServiceId::from_random([4; 10]),
        service_name: "notes".to_owned(),
        customer: CUSTOMER,
        site: SiteId::from_random([5; 10]),
        owner: PartyId::from_random([6; 10]),
        at: Timestamp(at),
        running,
        cpu: running,
        reserved,
        rates,
        price: price.clone(),
        charge: rate(running, reserved, rates, &price),
    }
}

fn answer(key: &str, at: i64) -> Answer {
    let (caller, body) = ("admin".to_owned(), "{\"id\": 1}".to_owned());
    Answer { caller, key: key.to_owned(), fingerprint: [9; 32], status: 201, body, at: Timestamp(at) }
}

/// What two models have in common or not, as far as a store keeps it.
fn shown(model: &Model) -> String {
    let Model { parties, sites, tokens, assignments, generation, last_event, totals, .. } = model;
    format!("{parties:?} {sites:?} {tokens:?} {assignments:?} {generation} {last_event} {totals:?}")
}

async fn events_after(store: &dyn Store, after: u64, limit: u32, subject: Option<&str>) -> Vec<u64> {
    let filter = EventFilter { after, limit, subject: subject.map(str::to_owned) };
    store.events(&filter).await.unwrap().iter().map(|e| e.id).collect()
}

/// The suite that every store passes.
async fn suite(store: &dyn Store) {
    assert_eq!(shown(&store.load().await.unwrap()), shown(&Model::default()), "a new store is empty");
    the_first_currency_is_kept(store).await;
    loads_what_was_committed(store).await;
    a_failed_batch_leaves_nothing(store).await;
    events_come_in_order(store).await;
    usage_and_ledger(store).await;
    clearings_come_newest_first(store).await;
    settlement::suite(store).await;
    answers(store).await;
}

async fn the_first_currency_is_kept(store: &dyn Store) {
    for currency in ["EUR", "CHF", "EUR"] {
        store.keep_currency(currency).await.unwrap();
        assert_eq!(store.load().await.unwrap().currency, "EUR");
    }
}

async fn loads_what_was_committed(store: &dyn Store) {
    let mut model = Model::default();
    let batches = [
        vec![party(1, "acme"), site(), event(1, "p1")],
        vec![party(2, "other"), party(1, "acme renamed"), event(2, "p2"), event(3, "p1")],
        vec![Change::RemoveToken(TokenId::from_random([8; 10])), Change::Usage(usage(1, 60, 10))],
    ];
    for (generation, batch) in (1..).zip(&batches) {
        store.commit(generation, batch).await.unwrap();
        model.apply_all(batch);
        model.generation = generation;
        assert_eq!(shown(&store.load().await.unwrap()), shown(&model), "after batch {generation}");
    }
    assert_eq!(model.parties.len(), 2);
    assert_eq!(model.party_named("acme renamed").unwrap().id, CUSTOMER);
}

/// Each of these batches has something new first and ends with what is there already.
async fn a_failed_batch_leaves_nothing(store: &dyn Store) {
    let before = shown(&store.load().await.unwrap());
    let bad = [event(3, "again"), Change::Usage(usage(1, 5, 11))];
    for bad in bad {
        let batch = [party(7, "never"), Change::Answer(answer("never", 1)), Change::Usage(usage(99, 1, 1)), bad];
        let refused = store.commit(9, &batch).await;
        assert!(matches!(refused, Err(StoreError::Io(_))), "{refused:?}");
        assert_eq!(shown(&store.load().await.unwrap()), before);
        assert_eq!(store.answer("admin", "never").await.unwrap(), None);
        assert_eq!(events_after(store, 0, 100, None).await, [1, 2, 3]);
        assert!(store.ledger().await.unwrap().balanced);
    }
}

async fn events_come_in_order(store: &dyn Store) {
    let batch: Vec<_> = (4..=50).map(|id| event(id, if id % 2 == 0 { "even" } else { "odd" })).collect();
    store.commit(4, &batch).await.unwrap();
    assert_eq!(events_after(store, 0, 1_000, None).await, (1..=50).collect::<Vec<_>>());
    assert_eq!(events_after(store, 47, 2, None).await, [48, 49]);
    assert_eq!(events_after(store, 40, 3, Some("even")).await, [42, 44, 46]);
    assert!(events_after(store, 50, 10, None).await.is_empty());
    let Change::Event(expected) = event(4, "even") else { unreachable!() };
    let filter = EventFilter { after: 3, limit: 1, subject: None };
    assert_eq!(store.events(&filter).await.unwrap(), [expected]);
}

async fn usage_and_ledger(store: &dyn Store) {
    let rows: Vec<_> = (2..=5).map(|n| usage(n, 30, i64::try_from(n).unwrap() * 10)).collect();
    let batch: Vec<_> = rows.iter().cloned().map(Change::Usage).collect();
    store.commit(5, &batch).await.unwrap();
    let within = store.usage(CUSTOMER, Timestamp(20), Timestamp(40)).await.unwrap();
    assert_eq!(within, rows[..2], "from is in it, to is not");
    let of_nobody = store.usage(PartyId::from_random([77; 10]), Timestamp(0), Timestamp(i64::MAX)).await.unwrap();
    assert!(of_nobody.is_empty());

    let check = store.ledger().await.unwrap();
    let sum = |of: fn(&UsageRow) -> i64| rows.iter().map(of).sum::<i64>() + of(&usage(1, 60, 10));
    assert!(check.balanced);
    assert_eq!((check.postings, check.unbalanced, check.unposted), (5, 0, 0));
    assert_eq!(check.receivable.0, sum(|r| r.charge.price().0));
    assert_eq!(check.payable.0, sum(|r| r.charge.cost.0));
    assert!(postings(&rows[0]).iter().map(|e| e.amount.0).sum::<i64>() == 0 && check.receivable.0 > 0);
}

async fn clearings_come_newest_first(store: &dyn Store) {
    // The first demand is cleared again: both records stay, for each is a link of the chain.
    let mut previous = Digest([0; 32]);
    let mut links = Vec::new();
    for (n, at) in [(1, 1), (2, 2), (3, 2), (1, 3)] {
        let demand = Demand {
            id: AssignmentId::from_random([n; 10]),
            buyer: CUSTOMER,
            wanted: Capacity { cpu: MilliCpu(500), memory: Bytes(256 << 20), gpus: 0 },
            cap: MicroMoney(5_000),
            candidates: vec![Qualified { host: HostId::from_random([2; 10]), extra: MicroMoney(0) }],
            countries: Vec::new(),
            availability_min: None,
            not_owners: Vec::new(),
            same: Vec::new(),
        };
        let call = Call { rule: Rule::PostedRate, seed: Digest([9; 32]), at: Timestamp(at), previous };
        let record = clear(&call, &demand, &Book::open([])).unwrap();
        previous = record.hash;
        links.insert(0, record.clone());
        store.commit(9, &[Change::Clearing(std::sync::Arc::new(record))]).await.unwrap();
    }
    links.sort_by_key(|c| std::cmp::Reverse((c.call.at, c.demand.id)));
    let (mut before, mut found) = (None, Vec::new());
    loop {
        let page = store.clearings(before, 3).await.unwrap();
        let Some(last) = page.last() else { break };
        before = Some((last.call.at, last.demand.id));
        found.extend(page);
    }
    assert_eq!(found, links);
    assert_eq!(store.clearing(links[0].demand.id).await.unwrap().as_ref(), Some(&links[0]), "the last one");
}

async fn answers(store: &dyn Store) {
    let (old, new) = (answer("old", 100), answer("new", 200));
    store.commit(6, &[Change::Answer(old.clone()), Change::Answer(new.clone())]).await.unwrap();
    assert_eq!(store.answer("admin", "old").await.unwrap(), Some(old));
    assert_eq!(store.answer("somebody", "old").await.unwrap(), None, "a key is its caller's");
    store.forget_answers(Timestamp(200)).await.unwrap();
    assert_eq!(store.answer("admin", "old").await.unwrap(), None);
    assert_eq!(store.answer("admin", "new").await.unwrap(), Some(new));
}

#[tokio::test]
async fn memory() {
    suite(&MemoryStore::default()).await;
}

#[tokio::test]
async fn sqlite() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    let store = SqliteStore::open(&path).await.unwrap();
    suite(&store).await;
    let before = shown(&store.load().await.unwrap());
    drop(store);
    let again = SqliteStore::open(&path).await.unwrap();
    assert_eq!(shown(&again.load().await.unwrap()), before, "after it was opened again");
}

/// Changes the file behind the store's back.
async fn tamper(path: &Path, sql: &str) -> u64 {
    let pool = SqlitePool::connect_with(SqliteConnectOptions::new().filename(path)).await.unwrap();
    let changed = sqlx::query(AssertSqlSafe(sql.to_owned())).execute(&pool).await.unwrap().rows_affected();
    pool.close().await;
    changed
}

#[tokio::test]
async fn a_tampered_ledger_is_found() {
    let cases = [
        ("UPDATE postings SET amount = amount + 1 WHERE sequence = 2 AND account LIKE '%eceivable%'", 1, 1),
        ("DELETE FROM postings WHERE sequence = 2", 0, 1),
        ("UPDATE postings SET sequence = 40 WHERE sequence = 2", 3, 1),
        ("UPDATE postings SET amount = amount * 2 WHERE sequence = 2", 0, 1),
        ("DELETE FROM usage WHERE sequence = 2", 3, 0),
    ];
    for (sql, unbalanced, unposted) in cases {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store.db");
        let store = SqliteStore::open(&path).await.unwrap();
        let rows: Vec<_> = (1..=3).map(|n| Change::Usage(usage(n, 3_600, 1))).collect();
        store.commit(1, &rows).await.unwrap();
        assert!(store.ledger().await.unwrap().balanced);
        assert!(tamper(&path, sql).await > 0, "{sql}");
        let check = store.ledger().await.unwrap();
        assert!(!check.balanced, "{sql}: {check:?}");
        assert_eq!((check.unbalanced, check.unposted), (unbalanced, unposted), "{sql}");
    }
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    drop(SqliteStore::open(&path).await.unwrap());
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                 VALUES (9999, 'of the future', 1, x'00', 0)";
    tamper(&path, newer).await;
    let refused = SqliteStore::open(&path).await.map(drop);
    assert!(matches!(&refused, Err(StoreError::Newer(why)) if why.contains("9999")), "{refused:?}");
}

#[tokio::test]
async fn a_damaged_file_is_refused() {
    type Damage = fn(&mut Vec<u8>);
    let damages: [(&str, Damage); 4] = [
        ("not a database", |bytes| bytes[..64].fill(b'x')),
        ("overwritten pages", |bytes| bytes[4_096..].fill(0xa5)),
        ("cut off", |bytes| bytes.truncate(5_000)),
        ("zeroes from the middle", |bytes| {
            let middle = bytes.len() / 2;
            bytes[middle..].fill(0);
        }),
    ];
    for (what, damage) in damages {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store.db");
        let store = SqliteStore::open(&path).await.unwrap();
        let batch: Vec<_> = (1..=500).map(|id| event(id, "a subject that takes some room")).collect();
        store.commit(1, &batch).await.unwrap();
        tamper(&path, "PRAGMA wal_checkpoint(TRUNCATE)").await;
        drop(store);
        let mut bytes = std::fs::read(&path).unwrap();
        damage(&mut bytes);
        std::fs::write(&path, bytes).unwrap();
        let refused = SqliteStore::open(&path).await.map(drop);
        assert!(refused.is_err(), "{what} was not noticed");
    }
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    let store = SqliteStore::open(&path).await.unwrap();
    store.commit(1, &[party(1, "acme")]).await.unwrap();
    tamper(&path, "UPDATE parties SET body = '{\"id\": 3}'").await;
    let refused = store.load().await.map(drop);
    assert!(matches!(refused, Err(StoreError::Corrupt(_))), "{refused:?}");
}
