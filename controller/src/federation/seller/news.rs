//! What is new for a buyer: its hosts, what their agents say of its software, and its leases.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Query, State};
use chandler_engine::federation::{self, HostNews, News, Side};
use chandler_engine::model::Model;
use chandler_protocol::lease::LeaseRequest;
use chandler_protocol::{AssignmentId, HostId, Micros, PartyId, Timestamp};

use super::lease::word;
use super::poll::{Since, generation_of, until_new};
use crate::federation::document::Answer;
use crate::federation::{Desk, Peer};

/// What happens at once is told at once.
const PAUSE: Duration = Duration::from_millis(2);
/// How long a lease that is over is told of.
const OVER: Micros = Micros::from_secs(3_600);

pub(super) async fn show(State(desk): State<Arc<Desk>>, peer: Peer, Query(since): Query<Since>) -> Answer<News> {
    peer.buying()?;
    let clock = desk.writer.clock().clone();
    let (generation, news) = until_new(&desk.writer, since, PAUSE, |model| {
        let news = news(model, peer.party, clock.now());
        (generation_of(&steady(&news)), news)
    })
    .await;
    Ok(Json(News { generation, ..news }))
}

/// The news without what passes by itself.
fn steady(news: &News) -> News {
    let hosts = news.hosts.iter().map(|h| HostNews {
        silent: Micros::ZERO,
        rtt: None,
        readings: None,
        said: None,
        ..h.clone()
    });
    let leases = news.leases.iter().map(|l| {
        let next = l.next.map(|n| federation::NextRates { starts_in: Micros::ZERO, ..n });
        federation::LeaseWord { ends_in: None, next, ..l.clone() }
    });
    News { generation: 0, hosts: hosts.collect(), leases: leases.collect() }
}

fn news(model: &Model, buyer: PartyId, now: Timestamp) -> News {
    let is_told = |l: &federation::Lease| {
        l.side == Side::Sold && l.partner == buyer && l.closed.as_ref().is_none_or(|c| now.since(c.at) < OVER)
    };
    let mine: Vec<_> = model.leases.values().filter(|l| is_told(l)).collect();
    let hosts: BTreeSet<HostId> = mine.iter().filter(|l| l.is_open()).map(|l| l.host).collect();
    News {
        generation: 0,
        hosts: hosts.into_iter().map(|host| of_host(model, host, buyer, now)).collect(),
        leases: mine.into_iter().map(|l| word(l, now)).collect(),
    }
}

fn of_host(model: &Model, host: HostId, buyer: PartyId, now: Timestamp) -> HostNews {
    let pulse = model.pulse(host);
    let known = model.hosts.get(&host);
    let mine: BTreeMap<_, _> = model
        .leases_of_host(host)
        .filter(|l| l.side == Side::Sold && l.partner == buyer)
        .filter_map(|l| model.guests.get(&l.id).map(|seen| (l.id, seen.as_ref().clone())))
        .collect();
    let asks = model.guest_asks.get(&host).into_iter().flat_map(|asks| asks.iter());
    let asks = asks.filter_map(|ask| {
        let is_mine =
            |id: &AssignmentId| model.leases.get(id).is_some_and(|l| l.partner == buyer && l.side == Side::Sold);
        let wanted: Vec<_> = ask.wanted.iter().copied().filter(|w| is_mine(&w.assignment)).collect();
        (!wanted.is_empty()).then_some(LeaseRequest { nonce: ask.nonce, wanted })
    });
    HostNews {
        host,
        connected: pulse.connected,
        silent: now.since(pulse.seen_at),
        rtt: pulse.rtt,
        listens: known.map(|h| h.listens.clone()).unwrap_or_default(),
        stored: 0,
        observed: (!mine.is_empty()).then(|| mine.into_values().collect()),
        ways: federation::ways_of(model, host, buyer),
        readings: pulse.readings,
        asks: asks.collect(),
        said: model.tenancies.get(&(host, buyer)).and_then(|t| t.said.clone()),
    }
}
