//! The ways of this agent: what the controller said of doors, grants and notices, and what became of it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chandler_protocol::Micros;
use chandler_protocol::handshake::VERSION_MOVES;
use chandler_protocol::way::{ObservedWays, Ways};
use tokio::sync::Notify;

mod opening;

pub(crate) use opening::Opening;

use crate::AgentError;
use crate::agent::Shared;
use crate::disk;
use crate::notice::NOTICES_MAX;
use crate::sync::lock;

/// Where the ways are kept, so that doors work after a reboot without a controller.
const WAYS: &str = "ways";
/// Most doors that an agent keeps.
const DOORS_MAX: usize = 1_024;
/// How long after a change the ways are written down: not while requests wait for the next one.
const KEEP_AFTER: Duration = Duration::from_secs(2);
/// The longest that writing down waits for holds to end.
const KEEP_TRIES: u32 = 15;
/// Shortest time between two reports, however much happens.
const REPORT_GAP: Micros = Micros::from_millis(2);

/// What the controller said last, and whether there is something new to say to it.
#[derive(Default)]
pub(crate) struct WayKeeper {
    ways: Mutex<Ways>,
    /// Told by doors, tunnels and notices when something changed that others wait for.
    changed: Arc<Notify>,
    /// Grows with each such change.
    version: AtomicU64,
    unkept: Notify,
}

impl WayKeeper {
    /// What doors, tunnels and notices tell of changes.
    pub(crate) fn changed(&self) -> Arc<Notify> {
        self.changed.clone()
    }

    /// Acts on what was kept, before anybody is asked.
    pub(crate) fn load(&self, shared: &Arc<Shared>) -> Result<(), AgentError> {
        if let Some(kept) = disk::load::<Ways>(shared.world.disk.as_ref(), WAYS)? {
            act(shared, &kept);
            *lock(&self.ways) = kept;
        }
        Ok(())
    }

    /// Takes what the controller says. It is acted upon at once and written down a little later: requests wait for it, and
    /// whoever acts on an older route after a crash is refused by the copies.
    pub(crate) fn take(&self, shared: &Arc<Shared>, mut ways: Ways) {
        ways.doors.truncate(DOORS_MAX);
        ways.notices.truncate(NOTICES_MAX);
        {
            let mut known = lock(&self.ways);
            if ways.generation <= known.generation {
                return;
            }
            known.clone_from(&ways);
        }
        act(shared, &ways);
        self.unkept.notify_one();
        self.changed.notify_one();
    }

    fn generation(&self) -> u64 {
        lock(&self.ways).generation
    }

    fn is_holding(&self) -> bool {
        lock(&self.ways).doors.iter().any(|d| d.route.hold.is_some())
    }
}

fn act(shared: &Arc<Shared>, ways: &Ways) {
    // Doors after grants: what a door opens at once is granted then.
    shared.tunnels.set_grants(&ways.grants);
    shared.doors.update(&ways.doors);
    shared.notices.update(&ways.notices);
}

fn observe(shared: &Shared) -> ObservedWays {
    ObservedWays {
        generation: shared.ways.generation(),
        listens: shared.tunnels.listens(),
        doors: shared.doors.observed(),
        paths: shared.tunnels.paths(),
        told: shared.notices.told(),
    }
}

/// Passes changes on to the session, and writes the ways down. Ends with the agent only.
pub(crate) async fn keep(shared: Arc<Shared>) {
    let watching = async {
        loop {
            shared.ways.changed.notified().await;
            // Software that uses a service waits for the address of its door.
            shared.world.fronts.set(shared.doors.addresses());
            shared.ways.version.fetch_add(1, Ordering::Relaxed);
            shared.wake.notify_one();
        }
    };
    tokio::select! {
        biased;
        () = watching => {}
        () = write_down(&shared) => {}
    }
}

async fn write_down(shared: &Arc<Shared>) {
    let mut is_failing = false;
    loop {
        shared.ways.unkept.notified().await;
        for _ in 0..KEEP_TRIES {
            tokio::time::sleep(KEEP_AFTER).await;
            if !shared.ways.is_holding() {
                break;
            }
        }
        let ways = lock(&shared.ways.ways).clone();
        match disk::save(shared.world.disk.as_ref(), WAYS, &ways) {
            Ok(()) => is_failing = false,
            Err(error) => {
                if !std::mem::replace(&mut is_failing, true) {
                    tracing::error!(%error, "the ways are not kept yet; after a reboot older ones would be used");
                }
                shared.ways.unkept.notify_one();
            }
        }
    }
}

/// What one session has said of the ways.
pub(crate) struct WaysReport {
    /// The controller understands it.
    is_spoken: bool,
    heartbeat: Micros,
    /// The version that was said last, when, and what.
    said: Option<(u64, Micros, ObservedWays)>,
    /// When it is looked next whether counters have changed.
    look_at: Micros,
}

impl WaysReport {
    pub(crate) fn new(version: u16, heartbeat: Micros) -> Self {
        Self { is_spoken: version >= VERSION_MOVES, heartbeat, said: None, look_at: Micros::ZERO }
    }

    /// Whether it is time to say something, or to look whether there is something to say.
    pub(crate) fn is_due(&self, shared: &Shared, now: Micros) -> bool {
        self.is_spoken
            && match &self.said {
                None => true,
                Some((version, at, _)) if *version != version_of(shared) => now.0 >= at.0 + REPORT_GAP.0,
                Some(_) => now >= self.look_at,
            }
    }

    /// When that is so by the passing of time alone.
    pub(crate) fn next_due(&self, shared: &Shared) -> Micros {
        match &self.said {
            Some((version, at, _)) if self.is_spoken && *version != version_of(shared) => Micros(at.0 + REPORT_GAP.0),
            Some(_) if self.is_spoken => self.look_at,
            _ => Micros(i64::MAX),
        }
    }

    /// What is to be said, if it is another thing than the last time.
    pub(crate) fn take(&mut self, shared: &Shared, now: Micros) -> Option<ObservedWays> {
        let (version, observed) = (version_of(shared), observe(shared));
        self.look_at = Micros(now.0.saturating_add(self.heartbeat.0));
        let is_news = self.said.as_ref().is_none_or(|(_, _, before)| differ(before, &observed));
        self.said = Some((version, now, observed.clone()));
        is_news.then_some(observed)
    }
}

fn version_of(shared: &Shared) -> u64 {
    shared.ways.version.load(Ordering::Relaxed)
}

/// Round-trip times change all the time; alone they are no news unless they have doubled or halved.
fn differ(before: &ObservedWays, now: &ObservedWays) -> bool {
    let is_far = |a: Option<Micros>, b: Option<Micros>| match (a, b) {
        (Some(a), Some(b)) => a.0 > b.0.saturating_mul(2) || b.0 > a.0.saturating_mul(2),
        (a, b) => a.is_some() != b.is_some(),
    };
    let paths_differ = before.paths.len() != now.paths.len()
        || before
            .paths
            .iter()
            .zip(&now.paths)
            .any(|(b, n)| (b.peer, b.path) != (n.peer, n.path) || is_far(b.rtt, n.rtt));
    paths_differ
        || (before.generation, &before.listens, &before.doors, &before.told)
            != (now.generation, &now.listens, &now.doors, &now.told)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chandler_protocol::HostId;
    use chandler_protocol::way::{ObservedPath, Path};

    #[test]
    fn a_round_trip_that_trembles_is_no_news() {
        let ways = |path, rtt| ObservedWays {
            paths: vec![ObservedPath { peer: HostId::from_random([1; 10]), path, rtt: Some(Micros(rtt)) }],
            ..ObservedWays::default()
        };
        let before = ways(Path::Direct, 1_000);
        for (now, is_news) in [
            (ways(Path::Direct, 1_000), false),
            (ways(Path::Direct, 1_900), false),
            (ways(Path::Direct, 2_100), true),
            (ways(Path::Direct, 400), true),
            (ways(Path::Relayed, 1_000), true),
            (ObservedWays::default(), true),
            (ObservedWays { generation: 1, ..ways(Path::Direct, 1_000) }, true),
            (ObservedWays { listens: vec!["127.0.0.1:1".parse().unwrap()], ..ways(Path::Direct, 1_000) }, true),
        ] {
            assert_eq!(differ(&before, &now), is_news, "{now:?}");
        }
    }
}
