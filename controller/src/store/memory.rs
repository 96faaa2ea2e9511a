//! A store in memory: for the simulation, and to hold the store's own test suite against. It outlives the writer, so
//! that a simulated controller can crash and come back to what was committed.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use chandler_engine::event::Event;
use chandler_engine::federation::Side;
use chandler_engine::finance::dispute::{Dispute, DisputeId};
use chandler_engine::finance::receipt::Receipt;
use chandler_engine::finance::{self, Entry, LedgerCheck, UsageRow};
use chandler_engine::market::clearing::Clearing;
use chandler_engine::model::{Answer, Change, Model, Record};
use chandler_engine::placement::Decision;
use chandler_protocol::{AssignmentId, DecisionId, HostId, PartyId, Timestamp};

use super::{EventFilter, Settled, Store, StoreError};

/// A store in memory.
#[derive(Debug, Default)]
pub struct MemoryStore(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    model: Model,
    events: Vec<Event>,
    decisions: BTreeMap<DecisionId, Decision>,
    clearings: Vec<Clearing>,
    receipts: BTreeMap<(PartyId, Side, u64), Receipt>,
    usage: BTreeMap<(HostId, u64), UsageRow>,
    answers: BTreeMap<(String, String), Answer>,
    /// What was posted with each step of a dispute, once.
    contested: BTreeMap<(DisputeId, usize), Vec<Entry>>,
    settled: BTreeMap<DisputeId, Dispute>,
}

impl MemoryStore {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// What may be there only once is not there yet: a database's primary keys.
    fn check(&self, changes: &[Change]) -> Result<(), StoreError> {
        let twice = |what: &str| Err(StoreError::Io(format!("{what} is there already")));
        let mut last_event = self.events.last().map_or(0, |e| e.id);
        for change in changes {
            match change {
                Change::Event(e) if e.id <= last_event => return twice("the event"),
                Change::Event(e) => last_event = e.id,
                Change::Usage(row) if self.usage.contains_key(&(row.host, row.sequence)) => return twice("the usage"),
                Change::Answer(a) if self.answers.contains_key(&(a.caller.clone(), a.key.clone())) => {
                    return twice("the answer");
                }
                _ => {}
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn load(&self) -> Result<Model, StoreError> {
        // What a real store would not have is taken out: the pulses.
        Ok(Model { pulses: Default::default(), ..self.kept().model.clone() })
    }

    async fn keep_currency(&self, currency: &str) -> Result<(), StoreError> {
        let kept = &mut self.kept().model.currency;
        if kept.is_empty() {
            currency.clone_into(kept);
        }
        Ok(())
    }

    async fn commit(&self, generation: u64, changes: &[Change]) -> Result<(), StoreError> {
        let mut kept = self.kept();
        kept.check(changes)?;
        for change in changes {
            if let Change::ForgetDispute(id) = change
                && let Some(dispute) = kept.model.disputes.get(id).map(|d| d.as_ref().clone())
            {
                kept.settled.insert(*id, dispute);
            }
            kept.model.apply(change);
            match change {
                Change::Event(e) => kept.events.push(e.clone()),
                Change::Decision(d) => {
                    kept.decisions.insert(d.id, d.as_ref().clone());
                }
                Change::Clearing(c) => {
                    kept.clearings.push(c.as_ref().clone());
                }
                Change::Receipt(partner, side, receipt) => {
                    kept.receipts.insert((*partner, *side, receipt.number), receipt.as_ref().clone());
                }
                Change::Usage(row) => {
                    kept.usage.insert((row.host, row.sequence), row.clone());
                }
                Change::Put(Record::Dispute(dispute)) => {
                    for (posting, step) in dispute.postings().into_iter().zip(0..) {
                        kept.contested.entry((dispute.id, step)).or_insert_with(|| posting.entries());
                    }
                }
                Change::Answer(a) => {
                    kept.answers.insert((a.caller.clone(), a.key.clone()), a.clone());
                }
                _ => {}
            }
        }
        kept.model.generation = generation;
        Ok(())
    }

    async fn events(&self, filter: &EventFilter) -> Result<Vec<Event>, StoreError> {
        let kept = self.kept();
        let of = |e: &&Event| e.id > filter.after && filter.subject.as_ref().is_none_or(|s| *s == e.subject);
        Ok(kept.events.iter().filter(of).take(filter.limit as usize).cloned().collect())
    }

    async fn decision(&self, id: DecisionId) -> Result<Option<Decision>, StoreError> {
        Ok(self.kept().decisions.get(&id).cloned())
    }

    async fn clearing(&self, id: AssignmentId) -> Result<Option<Clearing>, StoreError> {
        Ok(self.kept().clearings.iter().rev().find(|c| c.demand.id == id).cloned())
    }

    async fn clearings(
        &self,
        before: Option<(Timestamp, AssignmentId)>,
        limit: u32,
    ) -> Result<Vec<Clearing>, StoreError> {
        let kept = self.kept();
        let key = |c: &Clearing| (c.call.at, c.demand.id);
        let mut found: Vec<_> = kept.clearings.iter().filter(|c| before.is_none_or(|b| key(c) < b)).collect();
        found.sort_by_key(|c| std::cmp::Reverse(key(c)));
        Ok(found.into_iter().take(limit as usize).cloned().collect())
    }

    async fn receipts(&self, partner: PartyId, side: Side, after: u64, limit: u32) -> Result<Vec<Receipt>, StoreError> {
        let kept = self.kept();
        let of = kept.receipts.range((partner, side, after.saturating_add(1))..=(partner, side, u64::MAX));
        Ok(of.take(limit as usize).map(|(_, receipt)| receipt.clone()).collect())
    }

    async fn usage(&self, customer: PartyId, from: Timestamp, to: Timestamp) -> Result<Vec<UsageRow>, StoreError> {
        let of = |r: &&UsageRow| r.customer == customer && from <= r.at && r.at < to;
        Ok(self.kept().usage.values().filter(of).cloned().collect())
    }

    async fn receipts_within(
        &self,
        partner: PartyId,
        side: Side,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<Receipt>, StoreError> {
        let kept = self.kept();
        let all = kept.receipts.range((partner, side, 0)..=(partner, side, u64::MAX)).map(|(_, receipt)| receipt);
        Ok(all.filter(|r| from <= r.used.at && r.used.at < to).cloned().collect())
    }

    async fn earned(&self, owner: PartyId, from: Timestamp, to: Timestamp) -> Result<Vec<UsageRow>, StoreError> {
        let of = |r: &&UsageRow| r.owner == owner && from <= r.at && r.at < to;
        Ok(self.kept().usage.values().filter(of).cloned().collect())
    }

    async fn settled_disputes(&self, wanted: &Settled) -> Result<Vec<Dispute>, StoreError> {
        let limit = wanted.limit as usize;
        Ok(self.kept().settled.values().filter(|d| wanted.wants(d)).take(limit).cloned().collect())
    }

    async fn ledger(&self) -> Result<LedgerCheck, StoreError> {
        let kept = self.kept();
        let rows = kept.usage.values().map(|row| (row.clone(), finance::postings(row)));
        let disputes = kept.model.disputes.values().map(AsRef::as_ref).chain(kept.settled.values());
        let contested = disputes.flat_map(|dispute| {
            let steps = dispute.postings().into_iter().zip(0..);
            steps.map(|(p, step)| (p, kept.contested.get(&(dispute.id, step)).cloned().unwrap_or_default()))
        });
        Ok(finance::check_with_held(rows, contested))
    }

    async fn answer(&self, caller: &str, key: &str) -> Result<Option<Answer>, StoreError> {
        Ok(self.kept().answers.get(&(caller.to_owned(), key.to_owned())).cloned())
    }

    async fn forget_answers(&self, before: Timestamp) -> Result<(), StoreError> {
        self.kept().answers.retain(|_, a| a.at >= before);
        Ok(())
    }
}
