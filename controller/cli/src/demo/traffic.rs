//! The demo's users: each asks one service something twenty times a second through its front door on one of acme's
//! computers, always at the same address, and remembers what became of it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use tokio::task::JoinHandle;

/// Time between two requests.
const PACE: Duration = Duration::from_millis(50);
/// A request that takes longer has failed: as long as requests may be held, and a little.
const PATIENCE: Duration = Duration::from_secs(12);

/// What became of the requests so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Record {
    /// The service that was asked.
    pub(super) service: String,
    /// Requests.
    pub(super) total: u64,
    /// Those that got no good answer.
    pub(super) failed: u64,
    /// What the first of these got instead.
    pub(super) first_failure: Option<String>,
    /// The longest that any answer took.
    pub(super) longest: Duration,
    /// Notes that were acknowledged.
    pub(super) written: Vec<String>,
}

/// A user of one service.
#[derive(Debug)]
pub(super) struct User {
    address: String,
    record: Arc<Mutex<Record>>,
    task: JoinHandle<()>,
}

impl User {
    /// Begins to ask at a front door; every second request writes a note when `writes`.
    pub(super) fn start(service: &str, address: String, writes: bool) -> Self {
        let record = Record { service: service.to_owned(), ..Record::default() };
        let record = Arc::new(Mutex::new(record));
        let task = tokio::spawn(ask(address.clone(), writes, record.clone()));
        Self { address, record, task }
    }

    /// What became of the requests so far.
    pub(super) fn record(&self) -> Record {
        self.record.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Counts the notes that were acknowledged and are not there once. Ends the asking.
    ///
    /// # Errors
    /// The service does not answer.
    pub(super) async fn lost(&self) -> anyhow::Result<usize> {
        self.task.abort();
        let answer = client()?.get(format!("{}/notes", self.address)).send().await.context("reading the notes")?;
        ensure!(answer.status().is_success(), "the notes could not be read: {}", answer.status());
        let text = answer.text().await?;
        let written = self.record().written;
        Ok(written.iter().filter(|note| text.lines().filter(|line| line == note).count() != 1).count())
    }
}

impl Drop for User {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn client() -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder().no_proxy().timeout(PATIENCE).build()
}

async fn ask(address: String, writes: bool, record: Arc<Mutex<Record>>) {
    let Ok(client) = client() else { return };
    let mut pace = tokio::time::interval(PACE);
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for n in 0_u64.. {
        pace.tick().await;
        let note = (writes && n % 2 == 1).then(|| format!("note {n}"));
        let request = match &note {
            Some(note) => client.post(format!("{address}/notes")).body(note.clone()),
            None => client.get(format!("{address}/")),
        };
        let begin = Instant::now();
        let answer = match request.send().await {
            Ok(answer) if answer.status().is_success() => answer.bytes().await.map(drop).map_err(|e| e.to_string()),
            Ok(answer) => Err(format!("{}: {}", answer.status(), answer.text().await.unwrap_or_default())),
            Err(error) => Err(format!("{:#}", anyhow::Error::from(error))),
        };
        let took = begin.elapsed();
        let mut record = record.lock().unwrap_or_else(PoisonError::into_inner);
        record.total += 1;
        record.longest = record.longest.max(took);
        match answer {
            Ok(()) => record.written.extend(note),
            Err(why) => {
                record.failed += 1;
                record.first_failure.get_or_insert(format!("{why} after {} ms", took.as_millis()));
            }
        }
    }
}
