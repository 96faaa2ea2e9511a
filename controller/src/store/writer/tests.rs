//! The writer's promises: order, all or nothing, and no word before it is on disk.

use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use chandler_engine::event::{Event, Noun};
use chandler_engine::federation::Side;
use chandler_engine::finance::dispute::Dispute;
use chandler_engine::finance::receipt::Receipt;
use chandler_engine::finance::{LedgerCheck, UsageRow};
use chandler_engine::market::clearing::Clearing;
use chandler_engine::model::Answer;
use chandler_engine::party::{Party, PartyRole};
use chandler_engine::placement::Decision;
use chandler_protocol::{AssignmentId, DecisionId, PartyId, Timestamp};
use futures_util::future::join_all;
use tokio::sync::Semaphore;

use super::*;
use crate::store::memory::MemoryStore;
use crate::store::{EventFilter, Settled};
use crate::world::{SystemClock, SystemRandom};

/// A store that can be told to fail, and that commits only when it has a permit.
#[derive(Debug)]
struct Moody {
    inner: MemoryStore,
    is_failing: AtomicBool,
    permits: Semaphore,
    begun: Semaphore,
    commits: std::sync::atomic::AtomicUsize,
}

impl Moody {
    fn new(permits: usize) -> Arc<Self> {
        let (is_failing, commits) = (AtomicBool::new(false), 0.into());
        Arc::new(Self {
            inner: MemoryStore::default(),
            is_failing,
            permits: Semaphore::new(permits),
            begun: Semaphore::new(0),
            commits,
        })
    }
}

#[async_trait]
impl Store for Moody {
    async fn load(&self) -> Result<Model, StoreError> {
        self.inner.load().await
    }

    async fn keep_currency(&self, currency: &str) -> Result<(), StoreError> {
        self.inner.keep_currency(currency).await
    }

    async fn commit(&self, generation: u64, changes: &[Change]) -> Result<(), StoreError> {
        self.begun.add_permits(1);
        self.permits.acquire().await.unwrap().forget();
        self.commits.fetch_add(1, Ordering::Relaxed);
        if self.is_failing.load(Ordering::Relaxed) {
            return Err(StoreError::Io("no space left on device".to_owned()));
        }
        self.inner.commit(generation, changes).await
    }

    async fn events(&self, filter: &EventFilter) -> Result<Vec<Event>, StoreError> {
        self.inner.events(filter).await
    }

    async fn decision(&self, id: DecisionId) -> Result<Option<Decision>, StoreError> {
        self.inner.decision(id).await
    }

    async fn clearing(&self, id: AssignmentId) -> Result<Option<Clearing>, StoreError> {
        self.inner.clearing(id).await
    }

    async fn clearings(
        &self,
        before: Option<(Timestamp, AssignmentId)>,
        limit: u32,
    ) -> Result<Vec<Clearing>, StoreError> {
        self.inner.clearings(before, limit).await
    }

    async fn receipts(&self, partner: PartyId, side: Side, after: u64, limit: u32) -> Result<Vec<Receipt>, StoreError> {
        self.inner.receipts(partner, side, after, limit).await
    }

    async fn usage(&self, customer: PartyId, from: Timestamp, to: Timestamp) -> Result<Vec<UsageRow>, StoreError> {
        self.inner.usage(customer, from, to).await
    }

    async fn receipts_within(
        &self,
        partner: PartyId,
        side: Side,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<Receipt>, StoreError> {
        self.inner.receipts_within(partner, side, from, to).await
    }

    async fn earned(&self, owner: PartyId, from: Timestamp, to: Timestamp) -> Result<Vec<UsageRow>, StoreError> {
        self.inner.earned(owner, from, to).await
    }

    async fn settled_disputes(&self, wanted: &Settled) -> Result<Vec<Dispute>, StoreError> {
        self.inner.settled_disputes(wanted).await
    }

    async fn ledger(&self) -> Result<LedgerCheck, StoreError> {
        self.inner.ledger().await
    }

    async fn answer(&self, caller: &str, key: &str) -> Result<Option<Answer>, StoreError> {
        self.inner.answer(caller, key).await
    }

    async fn forget_answers(&self, before: Timestamp) -> Result<(), StoreError> {
        self.inner.forget_answers(before).await
    }
}

async fn writer(store: Arc<dyn Store>) -> Writer {
    Writer::start(store, Arc::new(SystemClock), Arc::new(SystemRandom), "EUR").await.unwrap()
}

/// Makes a party unless its name is taken.
async fn make(writer: &Writer, name: &str) -> Result<(), Refused<&'static str>> {
    let name = name.to_owned();
    writer
        .transact("test", move |draft| {
            let id = PartyId::from_random(draft.id());
            draft.event((Noun::Party, id.to_string(), &name), "", "validated", "");
            draft.put(Party { id, name: name.clone(), roles: vec![PartyRole::Customer] });
            // Refused only now: what was composed before must be gone as well.
            let namesakes = draft.model.parties.values().filter(|p| p.name == name).count();
            if namesakes > 1 { Err("the name is taken") } else { Ok(()) }
        })
        .await
}

async fn events(store: &dyn Store) -> Vec<(u64, String)> {
    let all = EventFilter { after: 0, limit: 10_000, subject: None };
    store.events(&all).await.unwrap().into_iter().map(|e| (e.id, e.name)).collect()
}

#[tokio::test]
async fn work_shares_commits_and_keeps_its_order() {
    const JOBS: usize = 700;
    let store = Moody::new(1_000);
    let writer = writer(store.clone()).await;
    let order = Arc::new(Mutex::new(Vec::new()));
    let jobs = (0..JOBS).map(|n| {
        let order = order.clone();
        writer.transact("test", move |draft| {
            let name = format!("party-{n}");
            draft.event((Noun::Party, String::new(), &name), "", "validated", "");
            order.lock().unwrap().push(name);
            Ok::<_, ()>(())
        })
    });
    let done = join_all(jobs).await;
    assert!(done.iter().all(Result::is_ok));
    let expected: Vec<_> = (1..).zip(order.lock().unwrap().clone()).collect();
    assert_eq!(expected.len(), JOBS);
    assert!(events(store.as_ref()).await == expected, "events are in the order in which the work was done");
    let commits = store.commits.load(Ordering::Relaxed);
    assert!((JOBS / GROUP..=JOBS / 8).contains(&commits), "{commits} commits for {JOBS} pieces of work");
    assert_eq!(writer.snapshot().generation, commits as u64);
}

#[tokio::test]
async fn refused_work_writes_nothing_and_sees_what_came_before_it() {
    let store = Moody::new(1_000);
    let writer = writer(store.clone()).await;
    // In one group: the second sees the first, though nothing is on disk yet.
    let names = ["a", "a", "b", "a", "c"];
    let done = join_all(names.map(|name| make(&writer, name))).await;
    let refused: Vec<_> = done.iter().map(|d| matches!(d, Err(Refused::By("the name is taken")))).collect();
    assert_eq!(refused, [false, true, false, true, false]);
    let named = |n: u64, name: &str| (n, name.to_owned());
    assert_eq!(events(store.as_ref()).await, [named(1, "a"), named(2, "b"), named(3, "c")], "without gaps");
    let before = store.commits.load(Ordering::Relaxed);
    assert!(matches!(make(&writer, "a").await, Err(Refused::By(_))));
    assert_eq!(store.commits.load(Ordering::Relaxed), before, "nothing to write, nothing written");
    assert_eq!(store.load().await.unwrap().parties.len(), 3);
}

#[tokio::test]
async fn a_store_that_fails_acknowledges_nothing_and_recovers() {
    let store = Moody::new(1_000);
    let writer = writer(store.clone()).await;
    make(&writer, "before").await.unwrap();
    let generation = writer.snapshot().generation;
    store.is_failing.store(true, Ordering::Relaxed);
    let done = join_all(["x", "y", "z"].map(|name| make(&writer, name))).await;
    assert!(done.iter().all(|d| matches!(d, Err(Refused::Store(StoreError::Io(_))))), "{done:?}");
    assert_eq!((writer.snapshot().generation, writer.snapshot().parties.len()), (generation, 1));
    store.is_failing.store(false, Ordering::Relaxed);
    make(&writer, "x").await.unwrap();
    assert_eq!(events(store.as_ref()).await, [(1, "before".to_owned()), (2, "x".to_owned())], "without gaps");
}

#[tokio::test]
async fn nobody_hears_of_what_is_not_on_disk() {
    let store = Moody::new(0);
    let writer = writer(store.clone()).await;
    let working = tokio::spawn({
        let writer = writer.clone();
        async move { make(&writer, "a").await }
    });
    // Everything before the commit has been done by then.
    store.begun.acquire().await.unwrap().forget();
    assert!(!working.is_finished());
    assert_eq!((writer.snapshot().generation, writer.snapshot().parties.len()), (0, 0));
    store.permits.add_permits(1);
    working.await.unwrap().unwrap();
    assert_eq!((writer.snapshot().generation, writer.snapshot().parties.len()), (1, 1));
}

#[tokio::test]
async fn the_currency_of_the_first_start_stays() {
    let store = Arc::new(MemoryStore::default());
    assert_eq!(writer(store.clone()).await.snapshot().currency, "EUR");
    assert_eq!(writer(store.clone()).await.snapshot().currency, "EUR");
    let other = Writer::start(store.clone(), Arc::new(SystemClock), Arc::new(SystemRandom), "CHF").await;
    assert!(matches!(other, Err(StoreError::Currency { kept, wanted }) if kept == "EUR" && wanted == "CHF"));
    assert_eq!(store.load().await.unwrap().currency, "EUR");
}
