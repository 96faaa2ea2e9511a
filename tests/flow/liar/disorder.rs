//! Answers out of order: some are held back until later ones have been given, some for longer than the caller waits, and of
//! two answers to the same question the older may come last.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use axum::http::Method;
use tokio::sync::watch;

use super::{Answer, Asked, Tongue};

/// So many answers pass before one that is held back.
const OVERTAKEN: u64 = 3;
/// One of so many is held back until then.
const HELD: u64 = 3;
/// One of so many is held back for longer than anybody waits for news.
const FORGOTTEN: u64 = 11;
/// What is held back is given by then at the latest, when nothing else is said.
const SILENCE: Duration = Duration::from_secs(2);
/// Longer than news are waited for.
const TOO_LONG: Duration = Duration::from_secs(8);
/// One of so many answers to the same question is given twice: the second time instead of a newer one.
const AGAIN: u64 = 5;

/// The disorder.
pub(crate) struct Disorder {
    count: AtomicU64,
    passed: watch::Sender<u64>,
    /// By question, what was answered before, and how often it was asked.
    before: Mutex<BTreeMap<String, (u64, Answer)>>,
    is_calm: AtomicBool,
    held: AtomicU64,
    again: AtomicU64,
}

impl Disorder {
    pub(crate) fn new() -> Self {
        Self {
            count: AtomicU64::new(0),
            passed: watch::Sender::new(0),
            before: Mutex::default(),
            is_calm: AtomicBool::new(false),
            held: AtomicU64::new(0),
            again: AtomicU64::new(0),
        }
    }

    /// From now on all is in order.
    pub(crate) fn calm(&self) {
        self.is_calm.store(true, Ordering::Relaxed);
    }

    /// How many were overtaken by later ones, and how many came after newer ones.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.held.load(Ordering::Relaxed), self.again.load(Ordering::Relaxed))
    }

    /// The answer that was given before to the same question, now and then.
    fn older(&self, asked: &Asked, answer: &Answer) -> Option<Answer> {
        let question = format!("{} {}", asked.method, asked.path);
        let mut before = self.before.lock().unwrap_or_else(PoisonError::into_inner);
        let (times, last) = before.get(&question).map_or((0, None), |(n, last)| (*n, Some(last.clone())));
        before.insert(question, (times + 1, answer.clone()));
        // What is the same as before is out of order for nobody.
        last.filter(|last| times % AGAIN == AGAIN - 1 && last.body != answer.body)
    }

    async fn overtaken(&self, by: u64) -> bool {
        let mut passed = self.passed.subscribe();
        let until = *passed.borrow_and_update() + by;
        let later = passed.wait_for(|n| *n >= until);
        tokio::time::timeout(SILENCE, later).await.is_ok_and(|passed| passed.is_ok())
    }
}

#[async_trait]
impl Tongue for Disorder {
    async fn tell(&self, asked: &Asked, answer: Answer) -> Answer {
        let mut told = answer;
        if !self.is_calm.load(Ordering::Relaxed) && asked.path != "accept" {
            let n = self.count.fetch_add(1, Ordering::Relaxed);
            // Content goes both ways by its hash: nothing of it can be old.
            let is_said = asked.method != Method::GET || !asked.path.starts_with("content");
            if let Some(older) = self.older(asked, &told).filter(|_| is_said) {
                self.again.fetch_add(1, Ordering::Relaxed);
                told = older;
            }
            if n % FORGOTTEN == FORGOTTEN - 1 {
                // The fault itself: whoever asked has given up by then.
                tokio::time::sleep(TOO_LONG).await;
            } else if n % HELD == HELD - 1 && self.overtaken(OVERTAKEN).await {
                self.held.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.passed.send_modify(|n| *n += 1);
        told
    }
}
