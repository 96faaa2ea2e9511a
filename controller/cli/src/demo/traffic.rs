//! The demo's user: asks the service something twenty times a second, wherever it is, and counts what fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chandler_api::service::Service;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Time between two requests.
const PACE: Duration = Duration::from_millis(50);
/// A request that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(1);

/// Requests so far.
#[derive(Debug, Default)]
struct Count {
    total: AtomicU64,
    failed: AtomicU64,
}

/// A user of the service.
#[derive(Debug)]
pub(super) struct Traffic {
    address: watch::Sender<Option<String>>,
    count: Arc<Count>,
    task: JoinHandle<()>,
}

impl Traffic {
    /// Begins to ask, once there is somebody to ask.
    pub(super) fn start() -> Self {
        let (address, seen) = watch::channel(None);
        let count = Arc::new(Count::default());
        let task = tokio::spawn(ask(seen, count.clone()));
        Self { address, count, task }
    }

    /// Follows the service to where it runs now.
    pub(super) fn follow(&self, service: &Service) {
        let running = service.placements.iter().find(|p| p.phase == "running" && p.state != "releasing");
        if let Some(port) = running.and_then(|p| p.ports.first()) {
            self.address.send_replace(Some(format!("http://127.0.0.1:{}/", port.port)));
        }
    }

    /// Total and failed requests so far.
    pub(super) fn so_far(&self) -> (u64, u64) {
        (self.count.total.load(Ordering::Relaxed), self.count.failed.load(Ordering::Relaxed))
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn ask(mut address: watch::Receiver<Option<String>>, count: Arc<Count>) {
    let Ok(client) = reqwest::Client::builder().timeout(PATIENCE).build() else { return };
    if address.wait_for(Option::is_some).await.is_err() {
        return;
    }
    let mut pace = tokio::time::interval(PACE);
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        pace.tick().await;
        let Some(url) = address.borrow().clone() else { continue };
        let answered = client.get(&url).send().await.is_ok_and(|r| r.status().is_success());
        count.total.fetch_add(1, Ordering::Relaxed);
        count.failed.fetch_add(u64::from(!answered), Ordering::Relaxed);
    }
}
