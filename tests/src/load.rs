//! A constant load of real HTTP requests on one address, and a record of what became of each.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::ensure;
use chandler_harness::wait::eventually;
use tokio::task::JoinSet;

use crate::fleet::PATIENCE;

/// A request that takes longer has failed.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How much is asked.
#[derive(Debug, Clone, Copy)]
pub struct Demand {
    /// Clients, each with a connection of its own that it keeps.
    pub clients: usize,
    /// Time between the starts of two requests of one client; a late answer delays the next.
    pub pace: Duration,
    /// Whether every second request writes a note.
    pub writes: bool,
}

/// A load that goes on until it is stopped.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    /// Requests that were answered so far.
    answered: Arc<AtomicUsize>,
    clients: JoinSet<Record>,
}

/// What became of the requests.
#[derive(Debug, Clone, Default)]
pub struct Record {
    /// Each answered request: when it was sent and how long it took.
    pub answered: Vec<(Instant, Duration)>,
    /// Each failed one, in words.
    pub failed: Vec<String>,
    /// Notes that were acknowledged.
    pub written: Vec<String>,
}

impl Load {
    /// Begins. `name` makes the notes of this load unlike those of others.
    pub fn start(address: SocketAddr, name: &str, demand: Demand) -> Self {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let mut clients = JoinSet::new();
        for n in 0..demand.clients {
            clients.spawn(client(address, format!("{name}-{n}"), demand, stop.clone(), answered.clone()));
        }
        Self { stop, answered, clients }
    }

    /// Waits until so many more requests were answered: what happens next happens under load, on a busy machine too.
    ///
    /// # Errors
    /// It takes too long.
    pub async fn answers(&self, more: usize) -> anyhow::Result<()> {
        let enough = self.answered.load(Ordering::Relaxed) + more;
        let answered = || async { (self.answered.load(Ordering::Relaxed) >= enough).then_some(()) };
        Ok(eventually("more requests to be answered", PATIENCE, answered).await?)
    }

    /// Ends it, and gives what became of all requests.
    ///
    /// # Errors
    /// A client of it panicked.
    pub async fn stop(mut self) -> anyhow::Result<Record> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Record::default();
        while let Some(one) = self.clients.join_next().await {
            let one = one?;
            all.answered.extend(one.answered);
            all.failed.extend(one.failed);
            all.written.extend(one.written);
        }
        Ok(all)
    }
}

impl Record {
    /// The longest that any answer took that was asked for between these moments.
    pub fn longest(&self, from: Instant, to: Instant) -> Duration {
        let within = self.answered.iter().filter(|(at, took)| *at + *took >= from && *at <= to);
        within.map(|(_, took)| *took).max().unwrap_or_default()
    }

    /// Half of the answers took no longer.
    pub fn median(&self) -> Duration {
        let mut all: Vec<_> = self.answered.iter().map(|(_, took)| *took).collect();
        all.sort_unstable();
        all.get(all.len() / 2).copied().unwrap_or_default()
    }
}

async fn client(
    address: SocketAddr,
    name: String,
    demand: Demand,
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
) -> Record {
    let mut record = Record::default();
    let built = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(1).timeout(TIMEOUT).build();
    let http = match built {
        Ok(http) => http,
        Err(error) => {
            record.failed.push(error.to_string());
            return record;
        }
    };
    let mut n = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        n += 1;
        let begin = Instant::now();
        let note = format!("{name}-{n}");
        let request = if demand.writes && n.is_multiple_of(2) {
            http.post(format!("http://{address}/notes")).body(note.clone())
        } else {
            http.get(format!("http://{address}/"))
        };
        let answer = async {
            let answer = request.send().await.map_err(|e| chain(&e))?;
            let status = answer.status();
            let body = answer.text().await.map_err(|e| chain(&e))?;
            // What a front door says about an answer that there is not, is the half of what one wants to know.
            if status.is_success() {
                Ok(status == reqwest::StatusCode::CREATED)
            } else {
                Err(format!("{status}: {body}"))
            }
        };
        match answer.await {
            Ok(is_created) => {
                record.answered.push((begin, begin.elapsed()));
                answered.fetch_add(1, Ordering::Relaxed);
                if is_created {
                    record.written.push(note);
                }
            }
            Err(error) => record.failed.push(format!("{note} after {:?}: {error}", begin.elapsed())),
        }
        tokio::time::sleep(demand.pace.saturating_sub(begin.elapsed())).await;
    }
    record
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}

/// Every acknowledged note is there, and none twice; gives how many are there.
///
/// # Errors
/// One is lost, or was executed twice.
pub async fn check_notes(address: SocketAddr, written: &[String]) -> anyhow::Result<usize> {
    let text = reqwest::get(format!("http://{address}/notes")).await?.error_for_status()?.text().await?;
    let mut there: BTreeMap<&str, usize> = BTreeMap::new();
    for line in text.lines() {
        *there.entry(line).or_default() += 1;
    }
    let lost: Vec<_> = written.iter().filter(|note| !there.contains_key(note.as_str())).collect();
    ensure!(lost.is_empty(), "{} of {} acknowledged notes are lost: {:?}", lost.len(), written.len(), lost);
    let twice: Vec<_> = there.iter().filter(|(_, n)| **n > 1).collect();
    ensure!(twice.is_empty(), "notes were written twice: {twice:?}");
    Ok(there.len())
}
