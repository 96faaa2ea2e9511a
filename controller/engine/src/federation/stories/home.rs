//! What a controller does for its own machines: hears them, tells them, answers their requests for leases, takes in what
//! they have metered. As `link` of the controller does it.

use std::collections::BTreeSet;
use std::sync::Arc;

use chandler_protocol::lease::{LeaseGrant, LeasePart, LeaseRequest};
use chandler_protocol::state::Assignment;
use chandler_protocol::usage::UsageRecord;
use chandler_protocol::{HostId, Micros};

use super::super::{Side, desired, guests, rate_sold};
use super::agent::Machine;
use super::controller::Controller;
use crate::assurance;
use crate::draft::Draft;
use crate::finance::Meter;
use crate::fleet::Pulse;
use crate::fulfilment;
use crate::model::Change;
use crate::relocation;

/// Requests of one host that wait for buyers.
const ASKS_KEPT: usize = 8;

impl Controller {
    /// One exchange with a machine that is connected.
    pub(super) fn meets(&mut self, machine: &mut Machine) {
        let (host, now) = (machine.id, self.now);
        let pulse = Pulse { seen_at: now, connected: true, rtt: Some(Micros::from_millis(10)), readings: None };
        self.model.pulses.insert(host, pulse);
        let observed = machine.observed();
        self.transact(|draft| {
            assurance::heard(draft, host);
            for service in fulfilment::observe(draft, host, &observed) {
                fulfilment::advance(draft, service);
            }
            guests(draft, host, &observed);
            fulfilment::strays(draft, host, &observed);
        });
        machine.desired(&self.told(host), now);
        if let Some(request) = machine.asks(now) {
            let part = self.transact(|draft| answer(draft, host, &request));
            machine.granted(&part);
        }
        self.usage(machine);
    }

    fn told(&self, host: HostId) -> Vec<Assignment> {
        let own = self.model.assignments_of_host(host);
        let own = own.map(|a| Assignment { id: a.id, epoch: a.epoch, target: a.target, spec: a.spec.clone() });
        let strays = fulfilment::stray_orders(&self.model, host, self.now);
        own.chain(desired(&self.model, host, self.now)).chain(strays).collect()
    }

    fn usage(&mut self, machine: &mut Machine) {
        let (host, now) = (machine.id, self.now);
        let records: Vec<UsageRecord> =
            machine.records.iter().map(|(at, r)| UsageRecord { age: Some(now.since(*at)), ..r.clone() }).collect();
        let stored = self.transact(|draft| {
            let stored = draft.model.usage_acknowledged(host);
            if let Some(first) = records.first().filter(|r| r.sequence > stored + 1) {
                draft.put(Meter { host, acknowledged: first.sequence - 1 });
            }
            for record in &records {
                if record.sequence != draft.model.usage_acknowledged(host) + 1 {
                    continue;
                }
                draft.put(Meter { host, acknowledged: record.sequence });
                if let Some(row) = rate_sold(draft, host, record) {
                    draft.put(Change::Usage(row));
                }
            }
            draft.model.usage_acknowledged(host)
        });
        machine.records.retain(|(_, r)| r.sequence > stored);
    }
}

/// A home answers for what it owns, and keeps the rest for the buyers.
fn answer(draft: &mut Draft<'_>, host: HostId, request: &LeaseRequest) -> LeasePart {
    let is_guest =
        |id: &_| draft.model.leases.get(id).is_some_and(|l| l.side == Side::Sold && l.host == host && l.is_open());
    let (of_buyers, own): (Vec<_>, Vec<_>) = request.wanted.iter().copied().partition(|w| is_guest(&w.assignment));
    let named: BTreeSet<_> = of_buyers.iter().map(|w| w.assignment).collect();
    if !of_buyers.is_empty() {
        let mut asks = draft.model.guest_asks.get(&host).map(|asks| asks.as_ref().clone()).unwrap_or_default();
        asks.push(LeaseRequest { nonce: request.nonce, wanted: of_buyers });
        asks.drain(..asks.len().saturating_sub(ASKS_KEPT));
        draft.model.guest_asks.insert(host, Arc::new(asks));
    }
    let about = request.wanted.iter().map(|w| w.assignment).filter(|id| !named.contains(id)).collect();
    let grant: LeaseGrant = relocation::lease(draft, host, &LeaseRequest { nonce: request.nonce, wanted: own });
    LeasePart { grant, about }
}
