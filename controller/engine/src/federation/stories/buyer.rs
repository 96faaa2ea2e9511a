//! What a buyer asks of a seller, and what it makes of the answers: as `federation/buyer` of the controller does it.

use std::collections::{BTreeMap, BTreeSet};

use chandler_protocol::lease::LeaseGrant;
use chandler_protocol::{AssignmentId, HostId, Micros, PartyId, Timestamp};

use super::super::{
    HostNews, LeaseState, News, Orders, Side, believed, bought, contested, demand, forgotten, given_back, heard,
    is_resized, not_given_again, not_sized, not_taken, receive, reclaimed, refuse, resize_all, resizing, supply,
    unheld, unknown, unleased, unused, wanted, watched, words,
};
use super::controller::{Controller, domain};
use super::wire::{About, Ask, Reply};
use crate::assurance;
use crate::draft::Draft;
use crate::finance::receipt::{Head, Parties, Receipt};
use crate::fulfilment;
use crate::relocation;

/// An answer is waited for so long, in seconds.
const PATIENCE: i64 = 4;
/// Orders are said again after so long, in seconds.
const AGAIN: i64 = 600;

/// What a run of the buyer remembers of its talk with one seller. A crash loses it.
#[derive(Debug, Default)]
pub(super) struct Talk {
    /// Calls whose answers are waited for, and since when.
    waiting: BTreeMap<About, (u64, i64)>,
    /// Orders that hold at the seller.
    said: BTreeMap<HostId, (Orders, i64)>,
    supplied: i64,
    spoke: i64,
    /// Leases that the seller has forgotten and does not give again, since when.
    missed: BTreeMap<AssignmentId, Timestamp>,
}

impl Talk {
    /// Whether this call is to be made now; then it is waited for.
    pub(super) fn calls(&mut self, about: About, call: &mut u64, second: i64) -> Option<u64> {
        let busy = self.waiting.get(&about).is_some_and(|(_, since)| second - since < PATIENCE);
        if busy {
            return None;
        }
        *call += 1;
        self.waiting.insert(about, (*call, second));
        Some(*call)
    }

    /// Since when the answer to this call is waited for, if it still is.
    pub(super) fn answered(&mut self, about: About, call: u64) -> Option<i64> {
        let (_, since) = self.waiting.get(&about).filter(|(last, _)| *last == call).copied()?;
        self.waiting.remove(&about);
        Some(since)
    }
}

impl Controller {
    /// Everything that there is to ask of a seller now, each with the number of its call.
    pub(super) fn asks(&mut self, seller: PartyId, talk: &mut Talk, call: &mut u64, second: i64) -> Vec<(u64, Ask)> {
        if talk.waiting.get(&About::News).is_some_and(|(_, since)| second - since >= PATIENCE) {
            self.unreached(seller);
        }
        let mut all = Vec::new();
        if second - talk.supplied >= 5 {
            talk.supplied = second;
            all.push(Ask::Catalogue);
        }
        all.push(Ask::News);
        for id in unleased(&self.model, seller) {
            let Some(assignment) = self.model.assignments.get(&id) else { continue };
            let decided = self.disk.decisions.get(&assignment.decision);
            all.extend(demand(&self.model, assignment, decided.map(AsRef::as_ref)).map(|d| Ask::Lease(id, d)));
        }
        if !is_resized(&self.model, seller) {
            self.transact(|draft| resize_all(draft, seller));
        }
        all.extend(resizing(&self.model, seller).into_iter().map(|(id, demand)| Ask::Size(id, demand)));
        let gone = unheld(&self.model, seller);
        if !gone.is_empty() {
            self.transact(|draft| {
                gone.into_iter().for_each(|id| refuse(draft, id, "nothing is leased for it any more"))
            });
        }
        all.extend(unused(&self.model, seller).into_iter().map(Ask::End));
        for (host, orders) in wanted(&self.model, seller) {
            let last = talk.said.get(&host);
            let is_same = |o: &Orders| o.assignments == orders.assignments && o.ways == orders.ways;
            if last.is_some_and(|(o, at)| is_same(o) && second - at < AGAIN) {
                continue;
            }
            let generation = self.model.generation.max(last.map_or(0, |(o, _)| o.generation + 1));
            // In place of its signature.
            let signature = "signed".to_owned();
            all.push(Ask::Orders(host, Orders { generation, signature, ..orders }));
        }
        let chain = self.model.chains.get(&(seller, Side::Bought)).cloned();
        if let Some(chain) = chain.as_ref().filter(|c| c.told < c.head.number) {
            let said = contested(&self.model, seller, chain.told, chain.head.number);
            all.push(Ask::Countersign(chain.head, said));
        }
        all.push(Ask::Receipts(chain.as_ref().map_or(0, |c| c.head.number)));
        if chain.is_some() && second - talk.spoke >= 5 {
            talk.spoke = second;
            all.push(Ask::Disputes(words(&self.model, seller, false, 0)));
        }
        all.into_iter().filter_map(|ask| Some((talk.calls(ask.about(), call, second)?, ask))).collect()
    }

    /// The partner cannot be reached: its hosts are not heard any more.
    fn unreached(&mut self, seller: PartyId) {
        for host in self.hosts_of(seller) {
            if let Some(pulse) = self.model.pulses.get_mut(&host) {
                pulse.connected = false;
            }
        }
    }

    pub(super) fn hosts_of(&self, seller: PartyId) -> Vec<HostId> {
        let sites = self.model.sites_of(seller).filter(|s| s.home == Some(seller));
        sites.flat_map(|s| self.model.hosts_of(s.id)).map(|h| h.id).collect()
    }

    /// Takes in an answer; gives what is to be said because of it.
    pub(super) fn hears(
        &mut self,
        seller: PartyId,
        n: u8,
        talk: &mut Talk,
        reply: Reply,
        (second, asked): (i64, Timestamp),
    ) -> Vec<Ask> {
        match reply {
            Reply::Catalogue(catalogue) => {
                self.transact(|draft| {
                    let known = draft.model.partners.get(&seller).cloned();
                    known.map(|known| supply(draft, &known, &catalogue))
                });
            }
            Reply::News(news) => return self.news(seller, talk, &news, asked),
            Reply::Lease(id, Ok(word)) => self.transact(|draft| {
                // A seller that has just sold it knows no orders for it, or has forgotten them.
                talk.said.remove(&word.host);
                if let Err(why) = bought(draft, seller, &word) {
                    refuse(draft, id, &why);
                }
            }),
            Reply::Lease(id, Err(why)) => return self.not_given(talk, id, &why),
            Reply::Size(_, _, Ok(word)) => self.transact(|draft| {
                let _ = bought(draft, seller, &word);
            }),
            // What its seller has forgotten is asked for again first.
            Reply::Size(_, _, Err(why)) if why == "Unknown" => {}
            Reply::Size(id, turn, Err(why)) => self.transact(|draft| not_sized(draft, id, turn, &why)),
            Reply::Ended(id) => self.transact(|draft| given_back(draft, id, "given back")),
            Reply::Holds(host, orders, Ok(taken)) if taken.generation == orders.generation => {
                // What was refused is said again soon: it may have passed.
                let at = if taken.refused.is_empty() { second } else { second - AGAIN };
                talk.said.insert(host, (orders, at));
                self.transact(|draft| not_taken(draft, seller, host, &taken.refused));
            }
            Reply::Holds(host, orders, Ok(taken)) => {
                // The partner knows a later one than this controller remembers.
                let orders = Orders { generation: taken.generation + 1, ..orders };
                return vec![Ask::Orders(host, orders)];
            }
            Reply::Holds(_, _, Err(_)) | Reply::Nothing => {}
            Reply::Receipts { receipts, head, countersigned } => {
                let lost = self.takes_receipts(seller, n, receipts, head, countersigned);
                if !lost.is_empty() {
                    talk.said.clear();
                }
                return lost;
            }
            Reply::Countersigned(head, true) => self.transact(|draft| {
                if let Some(chain) = draft.model.chains.get(&(seller, Side::Bought)).cloned() {
                    let told = chain.told.max(head.number.min(chain.head.number));
                    draft.put(super::super::Chain { told, ..chain.as_ref().clone() });
                }
            }),
            Reply::Countersigned(_, false) => {}
            Reply::Disputes(said, answer) => {
                let left = self.transact(|draft| heard(draft, seller, &said, &answer));
                return if left.is_empty() { Vec::new() } else { vec![Ask::Disputes(left)] };
            }
        }
        Vec::new()
    }

    fn takes_receipts(
        &mut self,
        seller: PartyId,
        n: u8,
        receipts: Vec<Receipt>,
        head: Option<Head>,
        countersigned: u64,
    ) -> Vec<Ask> {
        let own = domain(self.n);
        let there = head.map_or(0, |h| h.number);
        let known = self.model.chains.get(&(seller, Side::Bought)).map(|c| c.head).filter(|h| h.number > there);
        if let Some(end) = known {
            let all =
                self.disk.receipts.get(&(seller, Side::Bought)).into_iter().flat_map(|all| all.range(there + 1..));
            return vec![Ask::Restored(all.map(|(_, r)| r.clone()).collect(), end)];
        }
        self.transact(|draft| {
            if head.is_none() {
                return;
            }
            let chain = draft.model.chains.get(&(seller, Side::Bought)).cloned();
            if let Some(chain) = chain.as_ref().filter(|c| countersigned < c.told) {
                draft.put(super::super::Chain { told: countersigned, ..chain.as_ref().clone() });
            }
            // What does not continue the chain is not taken.
            let parties = Parties { seller: domain(n), buyer: own };
            let _ = receive(draft, seller, parties, &receipts, countersigned);
        });
        Vec::new()
    }

    /// A lease is not given; one that there was, not again.
    fn not_given(&mut self, talk: &mut Talk, id: AssignmentId, why: &str) -> Vec<Ask> {
        if !self.model.leases.get(&id).is_some_and(|l| l.is_open()) {
            self.transact(|draft| refuse(draft, id, why));
            return Vec::new();
        }
        if why == "Other" || why.starts_with("Over") {
            return vec![Ask::Look(id)];
        }
        let now = self.now;
        let missed = *talk.missed.entry(id).or_insert(now);
        self.transact(|draft| not_given_again(draft, id, missed, why));
        Vec::new()
    }

    fn news(&mut self, seller: PartyId, talk: &mut Talk, news: &News, asked: Timestamp) -> Vec<Ask> {
        let known: BTreeSet<HostId> = self.hosts_of(seller).into_iter().collect();
        let grants = self.transact(|draft| take(draft, seller, &known, news));
        let grants = grants.into_iter().map(|(host, grant)| Ask::Grant(host, grant));
        let ends = unknown(&self.model, seller, &news.leases).into_iter().map(Ask::End);
        let named: BTreeSet<_> = news.leases.iter().map(|l| l.id).collect();
        talk.missed.retain(|id, _| !named.contains(id));
        let again = forgotten(&self.model, seller, &named, asked);
        grants.chain(ends).chain(again.into_iter().map(|(id, demand)| Ask::Lease(id, demand))).collect()
    }
}

fn take(draft: &mut Draft<'_>, seller: PartyId, known: &BTreeSet<HostId>, news: &News) -> Vec<(HostId, LeaseGrant)> {
    let told: BTreeMap<HostId, &HostNews> =
        news.hosts.iter().filter(|h| known.contains(&h.host)).map(|h| (h.host, h)).collect();
    for host in known {
        let said = told.get(host).copied();
        pulse(draft, *host, said);
        watched(draft, *host, said.filter(|h| h.connected).and_then(|h| h.observed.as_deref()));
    }
    for lease in news.leases.iter().filter(|l| draft.model.leases.contains_key(&l.id)).collect::<Vec<_>>() {
        let _ = bought(draft, seller, lease);
    }
    let going: BTreeSet<HostId> =
        news.leases.iter().filter(|l| l.state == LeaseState::Reclaiming).map(|l| l.host).collect();
    for host in known.iter().filter(|h| !going.contains(h)) {
        reclaimed(draft, *host, None);
    }
    let mut grants = Vec::new();
    for host in told.values() {
        if host.connected
            && let Some(said) = &host.observed
        {
            let proven = host.said.iter().flat_map(|s| s.epochs.iter().copied()).collect();
            let said = believed(draft, seller, host.host, said.clone(), &proven);
            for service in fulfilment::observe(draft, host.host, &said) {
                fulfilment::advance(draft, service);
            }
        }
        for ask in &host.asks {
            grants.push((host.host, relocation::lease(draft, host.host, ask)));
        }
    }
    grants
}

fn pulse(draft: &mut Draft<'_>, host: HostId, said: Option<&HostNews>) {
    let terms = draft.model.hosts.get(&host).and_then(|h| h.terms.clone());
    let mut pulse = draft.model.pulse(host);
    pulse.connected = said.map_or_else(|| terms.is_some_and(|t| t.connected), |h| h.connected);
    pulse.rtt = Some(Micros::from_millis(20));
    if pulse.connected {
        let silent = said.map_or(Micros::ZERO, |h| h.silent);
        pulse.seen_at = pulse.seen_at.max(Timestamp(draft.now.0.saturating_sub(silent.0.max(0))));
    }
    draft.model.pulses.insert(host, pulse);
    if pulse.connected {
        assurance::heard(draft, host);
    }
}

/// The copies of a service that a controller tells to run.
pub(super) fn to_run(controller: &Controller, name: &str) -> Vec<AssignmentId> {
    let Some(service) = controller.service(name) else { return Vec::new() };
    controller.model.assignments_of(service.id).filter(|a| a.is_to_run()).map(|a| a.id).collect()
}
