//! What a seller answers, and what it does for its buyers: as `federation/seller` of the controller does it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chandler_protocol::lease::{LEASES_MAX, LeaseGrant, LeasePart, LeaseRequest};
use chandler_protocol::{AssignmentId, HostId, Micros, PartyId, Timestamp};

use super::super::{
    Catalogue, HostNews, Lease, LeaseWord, News, Party, Side, Unsold, close, countersign, hear, lots, reserve,
    restored, said, take_orders, ways_of,
};
use super::controller::Controller;
use super::wire::{Ask, Reply};
use crate::finance::receipt::RECEIPTS_MAX;
use crate::model::Model;

/// How long a lease that is over is told of.
const OVER: Micros = Micros::from_secs(3_600);

fn word(lease: &Lease, now: Timestamp) -> LeaseWord {
    LeaseWord {
        id: lease.id,
        host: lease.host,
        capacity: lease.capacity,
        epoch: lease.watch.size.from,
        turn: lease.watch.size.turn,
        rates: lease.rates,
        state: lease.state,
        ends_in: lease.ends_at.map(|at| at.since(now)),
        closed_by: lease.closed.as_ref().map(|c| c.by),
        reason: lease.reason.clone(),
        price_notice: lease.watch.term.price_notice,
        next: lease.announced(now),
    }
}

impl Controller {
    /// The answer to a buyer; and what goes to a machine of this controller because of it.
    pub(super) fn serve(&mut self, buyer: PartyId, ask: Ask) -> (Reply, Option<(HostId, LeasePart)>) {
        let now = self.now;
        let reply = match ask {
            Ask::Catalogue => {
                let currency = self.model.currency.clone();
                Reply::Catalogue(Catalogue { generation: 0, currency, lots: lots(&self.model, buyer, now) })
            }
            Ask::News => Reply::News(news(&self.model, buyer, now)),
            Ask::Lease(id, demand) => {
                let made = self.transact(|draft| {
                    let partner = draft.model.partners.get(&buyer).cloned().ok_or(Unsold::NoMarket)?;
                    reserve(draft, &partner, id, &demand)
                });
                Reply::Lease(id, made.map(|(lease, _)| word(&lease, now)).map_err(|why| format!("{why:?}")))
            }
            Ask::Size(id, demand) => {
                let turn = demand.turn;
                let made = self.transact(|draft| {
                    let partner = draft.model.partners.get(&buyer).cloned().ok_or(Unsold::NoMarket)?;
                    reserve(draft, &partner, id, &demand)
                });
                Reply::Size(id, turn, made.map(|(lease, _)| word(&lease, now)).map_err(|why| format!("{why:?}")))
            }
            Ask::End(id) => {
                let is_mine = self.model.leases.get(&id).is_some_and(|l| l.side == Side::Sold && l.partner == buyer);
                if is_mine {
                    self.transact(|draft| close(draft, id, Party::Buyer, "its buyer has done with it"));
                }
                Reply::Ended(id)
            }
            Ask::Orders(host, orders) => {
                let said = orders.clone();
                Reply::Holds(host, said, self.transact(|draft| take_orders(draft, buyer, host, orders)))
            }
            Ask::Grant(host, grant) => {
                return (Reply::Nothing, self.relay(buyer, host, grant).map(|part| (host, part)));
            }
            Ask::Receipts(after) => {
                // What waited until the buyer said how long the chain is is entered first.
                self.transact(|draft| said(draft, buyer, after));
                self.receipts(buyer, after)
            }
            Ask::Countersign(head, contested) => {
                let all = self.disk.receipts.get(&(buyer, Side::Sold)).cloned().unwrap_or_default();
                let is_link = all.get(&head.number).is_some_and(|r| r.hash == head.hash);
                let about: Option<Vec<_>> =
                    contested.into_iter().map(|c| all.get(&c.number).map(|r| (c, r.clone()))).collect();
                let done = is_link
                    && about.is_some_and(|about| {
                        self.transact(|draft| countersign(draft, buyer, (head, Vec::new()), &about)).is_ok()
                    });
                Reply::Countersigned(head, done)
            }
            Ask::Disputes(said) => {
                let answer = self.transact(|draft| hear(draft, buyer, &said));
                Reply::Disputes(said, answer)
            }
            Ask::Look(id) => {
                let mine = self.model.leases.get(&id).filter(|l| l.side == Side::Sold && l.partner == buyer);
                mine.map_or(Reply::Nothing, |lease| Reply::Lease(id, Ok(word(lease, now))))
            }
            Ask::Restored(lost, end) => {
                self.transact(|draft| {
                    let here = draft.model.chains.get(&(buyer, Side::Sold)).map_or(0, |c| c.head.number);
                    let missing: Vec<_> = lost.into_iter().filter(|r| r.number > here).collect();
                    let _ = restored(draft, buyer, &missing, end);
                });
                Reply::Nothing
            }
        };
        (reply, None)
    }

    fn receipts(&self, buyer: PartyId, after: u64) -> Reply {
        let Some(chain) = self.model.chains.get(&(buyer, Side::Sold)) else {
            return Reply::Receipts { receipts: Vec::new(), head: None, countersigned: 0 };
        };
        let all = self.disk.receipts.get(&(buyer, Side::Sold));
        let behind = all.into_iter().flat_map(|all| all.range(after + 1..)).map(|(_, r)| r.clone());
        let receipts = behind.take(RECEIPTS_MAX).collect();
        Reply::Receipts { receipts, head: Some(chain.head), countersigned: chain.countersigned() }
    }

    /// Passes on which copies may run on. Nothing is added, and nothing is said for anybody else's.
    fn relay(&mut self, buyer: PartyId, host: HostId, grant: LeaseGrant) -> Option<LeasePart> {
        let nonce = grant.nonce;
        let about = self.transact(|draft| {
            let sold = |id: &AssignmentId| {
                let lease = draft.model.leases.get(id);
                lease.is_some_and(|l| l.side == Side::Sold && l.partner == buyer && l.host == host && l.is_open())
            };
            let asks = draft.model.guest_asks.get(&host)?.as_ref().clone();
            let asked = asks.iter().find(|a| a.nonce == nonce)?;
            let about: Vec<_> = asked.wanted.iter().map(|w| w.assignment).filter(|id| sold(id)).collect();
            let mut rest = asks;
            for ask in rest.iter_mut().filter(|a| a.nonce == nonce) {
                ask.wanted.retain(|w| !about.contains(&w.assignment));
            }
            rest.retain(|a| !a.wanted.is_empty());
            draft.model.guest_asks.insert(host, Arc::new(rest));
            Some(about)
        })?;
        let given = grant.given.into_iter().take(LEASES_MAX).filter(|g| about.contains(&g.assignment)).collect();
        Some(LeasePart { grant: LeaseGrant { given, ..grant }, about })
    }
}

/// What is new for a buyer: all of it, each time.
fn news(model: &Model, buyer: PartyId, now: Timestamp) -> News {
    let is_told = |l: &Lease| {
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
    let is_mine = |id: &AssignmentId| model.leases.get(id).is_some_and(|l| l.partner == buyer && l.side == Side::Sold);
    let mine: BTreeMap<_, _> = model
        .leases_of_host(host)
        .filter(|l| is_mine(&l.id))
        .filter_map(|l| model.guests.get(&l.id).map(|seen| (l.id, seen.as_ref().clone())))
        .collect();
    let asks = model.guest_asks.get(&host).into_iter().flat_map(|asks| asks.iter());
    let asks = asks.filter_map(|ask| {
        let wanted: Vec<_> = ask.wanted.iter().copied().filter(|w| is_mine(&w.assignment)).collect();
        (!wanted.is_empty()).then_some(LeaseRequest { nonce: ask.nonce, wanted })
    });
    HostNews {
        host,
        connected: pulse.connected,
        silent: now.since(pulse.seen_at),
        rtt: pulse.rtt,
        listens: Vec::new(),
        stored: 0,
        observed: (!mine.is_empty()).then(|| mine.into_values().collect()),
        ways: ways_of(model, host, buyer),
        readings: None,
        asks: asks.collect(),
        said: model.tenancies.get(&(host, buyer)).and_then(|t| t.said.clone()),
    }
}
