//! What the partner's hosts say, by way of their home.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use chandler_engine::draft::Draft;
use chandler_engine::federation::{self, HostNews, News};
use chandler_engine::fleet::Host;
use chandler_engine::fulfilment;
use chandler_engine::{assurance, relocation};
use chandler_protocol::lease::LeaseGrant;
use chandler_protocol::state::{ObservedAssignment, Phase};
use chandler_protocol::way::ObservedWays;
use chandler_protocol::{AssignmentId, HostId, Micros, PartyId, Timestamp};
use futures_util::StreamExt as _;
use tokio::time::Instant;

use super::{Talk, advance, hosts_of};
use crate::federation::CallError;
use crate::link::{bounded_observed, enter_ways};

/// The longest a partner may wait with news that are none.
const WAIT: Duration = Duration::from_secs(2);
/// How often the way to a partner is measured.
const MEASURE: Duration = Duration::from_secs(5);
/// Hosts that are told of their leases at the same time.
const GIVEN_AT_ONCE: usize = 256;
/// Hosts in one answer that are looked at.
const HOSTS_MAX: usize = 100_000;

/// What is remembered from one answer to the next.
#[derive(Debug, Default)]
pub(super) struct Ear {
    generation: AtomicU64,
    /// Round trip to the partner, in microseconds; below zero while it was not measured.
    rtt: AtomicI64,
    /// Whether the partner could be reached last time.
    reached: AtomicU64,
    /// Leases that the partner has forgotten and does not give again, since when.
    pub(super) missed: Mutex<BTreeMap<AssignmentId, Timestamp>>,
}

impl Talk {
    /// Takes in everything new, as soon as it is.
    pub(super) async fn heard(&self) {
        let ear = Ear { rtt: AtomicI64::new(-1), ..Ear::default() };
        let listening = self.again("news", || self.heard_once(&ear));
        tokio::join!(listening, self.measured(&ear));
    }

    async fn measured(&self, ear: &Ear) {
        loop {
            if let Ok(client) = self.client() {
                let before = Instant::now();
                if client.get::<chandler_api::federation::Standing>("standing").await.is_ok() {
                    let took = i64::try_from(before.elapsed().as_micros()).unwrap_or(i64::MAX);
                    let last = ear.rtt.load(Ordering::Relaxed);
                    // A connection that had to be made, or a busy moment, says little: the least counts, and fades.
                    let smoothed = if last < 0 { took } else { took.min(last + last / 8 + 100) };
                    ear.rtt.store(smoothed, Ordering::Relaxed);
                }
            }
            tokio::time::sleep(MEASURE).await;
        }
    }

    async fn heard_once(&self, ear: &Ear) -> Result<(), CallError> {
        let wait = WAIT.min(self.grace().to_std() / 4);
        let path = format!("news?after={}&waitMs={}", ear.generation.load(Ordering::Relaxed), wait.as_millis());
        let before = self.writer.clock().now();
        let asked = async { self.client()?.poll::<News>(&path, wait).await };
        let patience = wait + self.patience();
        let news = match tokio::time::timeout(patience, asked).await {
            Ok(Ok(news)) => news,
            Ok(Err(error)) => {
                self.lost(ear).await;
                return Err(error);
            }
            // It is asked again at once: only its hosts' silence grows.
            Err(_) => return Ok(()),
        };
        ear.reached.store(1, Ordering::Relaxed);
        let asked = self.within(self.ask_again(&news, before, ear)).await;
        if let Err(error) = asked {
            tracing::debug!(partner = %self.partner, %error, "what a partner has forgotten could not be asked for");
        }
        if let Err(error) = self.within(self.give_up(&news)).await {
            tracing::debug!(partner = %self.partner, %error, "what nobody here needs could not be given back");
        }
        self.fetch_results(&news).await?;
        let generation = news.generation;
        let (partner, rtt) = (self.partner, ear.rtt.load(Ordering::Relaxed));
        let (by, proven) = (self.by(), self.proven(&news));
        let grants = self.writer.transact(&by, move |draft| {
            let link = (rtt >= 0).then_some(Micros(rtt));
            Ok::<_, ()>(take(draft, partner, &news, &proven, link))
        });
        let Ok(grants) = grants.await else { return Ok(()) };
        ear.generation.store(generation, Ordering::Relaxed);
        self.within(self.give(grants)).await
    }

    /// How long one answer of the partner's may hold up what comes after it.
    fn patience(&self) -> Duration {
        (self.grace().to_std() / 4).max(Duration::from_secs(1))
    }

    /// A part of hearing that comes again with the next news: a partner that is slow to answer holds up nothing else for long.
    /// Its hosts would seem to be silent, and its copies lose their leases.
    async fn within(&self, part: impl Future<Output = Result<(), CallError>>) -> Result<(), CallError> {
        tokio::time::timeout(self.patience(), part).await.unwrap_or(Ok(()))
    }

    /// Says which leases were given, side by side: the newest may be the one that still counts. One that does not arrive is
    /// asked for again.
    async fn give(&self, grants: Vec<(HostId, LeaseGrant)>) -> Result<(), CallError> {
        let client = self.client()?;
        let all = grants.into_iter().map(|(host, grant)| {
            let client = client.clone();
            async move { client.post::<_, bool>(&format!("hosts/{host}/grants"), &grant).await }
        });
        let mut given = futures_util::stream::iter(all).buffer_unordered(GIVEN_AT_ONCE);
        let mut failed = Ok(());
        while let Some(one) = given.next().await {
            failed = failed.and(one.map(|_| ()));
        }
        failed
    }

    /// The partner cannot be reached: its hosts are not heard any more.
    async fn lost(&self, ear: &Ear) {
        if ear.reached.swap(0, Ordering::Relaxed) == 0 {
            return;
        }
        let partner = self.partner;
        let by = self.by();
        let _ = self
            .writer
            .transact(&by, move |draft| {
                for host in hosts_of(&draft.model, partner) {
                    if let Some(pulse) = draft.model.pulses.get_mut(&host) {
                        pulse.connected = false;
                    }
                }
                Ok::<_, ()>(())
            })
            .await;
    }
}

/// Takes in news; gives the leases that the partner's hosts were given.
fn take(
    draft: &mut Draft<'_>,
    partner: PartyId,
    news: &News,
    proven: &BTreeMap<AssignmentId, u64>,
    link: Option<Micros>,
) -> Vec<(HostId, LeaseGrant)> {
    let known: BTreeSet<HostId> = hosts_of(&draft.model, partner).into_iter().collect();
    let told: BTreeMap<HostId, &HostNews> =
        news.hosts.iter().take(HOSTS_MAX).filter(|h| known.contains(&h.host)).map(|h| (h.host, h)).collect();
    for host in &known {
        let said = told.get(host).copied();
        pulse(draft, *host, said, link);
        let heard = said.filter(|h| is_fresh(draft, h));
        federation::watched(draft, *host, heard.and_then(|h| h.observed.as_deref()));
    }
    for lease in &news.leases {
        if draft.model.leases.contains_key(&lease.id)
            && let Err(why) = federation::bought(draft, partner, lease)
        {
            tracing::warn!(%partner, %why, "what a partner says of a lease is not believed");
        }
    }
    stays(draft, &known, news);
    let mut grants = Vec::new();
    for host in told.values() {
        if !is_fresh(draft, host) {
            continue;
        }
        observed(draft, partner, host, proven);
        for ask in &host.asks {
            let grant = relocation::lease(draft, host.host, ask);
            grants.push((host.host, grant));
        }
    }
    grants
}

/// Whether what is told of a host is its own word. A home keeps the session of a machine that died for a while, and tells
/// until then what it heard last.
fn is_fresh(draft: &Draft<'_>, news: &HostNews) -> bool {
    let grace = draft.model.grace;
    news.connected && (grace.0 <= 0 || news.silent.0 < grace.0 / 2)
}

/// How a host does. Where nothing of ours is, what its offer says counts.
fn pulse(draft: &mut Draft<'_>, host: HostId, said: Option<&HostNews>, link: Option<Micros>) {
    let terms = draft.model.hosts.get(&host).and_then(|h| h.terms.clone());
    let connected = said.map_or_else(|| terms.is_some_and(|t| t.connected), |h| h.connected);
    let mut pulse = draft.model.pulse(host);
    let far = said.and_then(|h| h.rtt).or_else(|| draft.model.hosts.get(&host).and_then(|h| h.rtt));
    let rtt = link.map(|link| Micros(link.0.saturating_add(far.map_or(0, |r| r.0.max(0)))));
    pulse.rtt = rtt.or(pulse.rtt);
    pulse.connected = connected;
    if connected {
        let silent = said.map_or(Micros::ZERO, |h| h.silent);
        pulse.seen_at = pulse.seen_at.max(Timestamp(draft.now.0.saturating_sub(silent.0.max(0))));
    }
    if let Some(readings) = said.and_then(|h| h.readings) {
        pulse.readings = Some(readings);
    }
    draft.model.pulses.insert(host, pulse);
    if connected && said.is_none_or(|h| is_fresh(draft, h)) {
        assurance::heard(draft, host);
    }
}

/// A host that is reclaimed no more.
fn stays(draft: &mut Draft<'_>, known: &BTreeSet<HostId>, news: &News) {
    use chandler_engine::federation::LeaseState;
    let going: BTreeSet<HostId> =
        news.leases.iter().filter(|l| l.state == LeaseState::Reclaiming).map(|l| l.host).collect();
    let back: Vec<_> = known.iter().copied().filter(|h| !going.contains(h)).collect();
    for host in back {
        federation::reclaimed(draft, host, None);
    }
}

fn observed(draft: &mut Draft<'_>, partner: PartyId, news: &HostNews, proven: &BTreeMap<AssignmentId, u64>) {
    if !news.connected {
        // What its home heard of it last is not how it is.
        return;
    }
    listens(draft, news);
    if let Some(said) = &news.observed {
        let said: Vec<ObservedAssignment> = said.iter().cloned().map(bounded_observed).collect();
        let said = federation::believed(draft, partner, news.host, said, proven);
        let services = fulfilment::observe(draft, news.host, &said);
        advance(draft, services);
    }
    if let Some(ways) = &news.ways {
        // Its agent's own address is its home's to know; here only what it names counts.
        let listens = draft.model.hosts.get(&news.host).map(|h| h.listens.clone()).unwrap_or_default();
        enter_ways(draft, news.host, ObservedWays { listens, ..ways.clone() });
    }
}

/// Where the host accepts tunnels, as its home has seen.
fn listens(draft: &mut Draft<'_>, news: &HostNews) {
    let Some(known) = draft.model.hosts.get(&news.host).cloned() else { return };
    let listens: Vec<_> = news.listens.iter().copied().take(4).collect();
    if !listens.is_empty() && known.listens != listens {
        draft.put(Host { listens, ..known.as_ref().clone() });
    }
}

/// Whether a result of a task is told of.
pub(super) const fn has_results(seen: &ObservedAssignment) -> bool {
    matches!(seen.phase, Phase::Completed(_))
}

#[cfg(test)]
mod tests {
    use chandler_engine::model::Model;

    use super::*;

    #[test]
    fn what_a_home_heard_long_ago_is_no_word_of_the_host() {
        let model = Model { grace: Micros::from_secs(12), ..Model::default() };
        let mut ids = || [0; 10];
        let draft = Draft::new(&model, Timestamp(0), "test", &mut ids);
        let told = |connected, silent| HostNews {
            host: HostId::from_random([1; 10]),
            connected,
            silent: Micros::from_secs(silent),
            rtt: None,
            listens: Vec::new(),
            stored: 0,
            observed: None,
            ways: None,
            readings: None,
            asks: Vec::new(),
            said: None,
        };
        assert!(is_fresh(&draft, &told(true, 0)) && is_fresh(&draft, &told(true, 5)));
        // It is lost after 12 s: long before, what is told of it must not bring it back.
        assert!(!is_fresh(&draft, &told(true, 6)) && !is_fresh(&draft, &told(false, 0)));
    }
}
