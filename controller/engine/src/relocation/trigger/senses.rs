//! What was seen lately of hosts and services: smoothed load and distance, silences, and since when something is so.
//!
//! Not in the store. After a restart it is felt anew, which can only make moves later, never more of them: what they
//! are counted by are their own records.

use std::collections::BTreeMap;

use chandler_protocol::{HostId, Micros, Ppm, ServiceId, Timestamp};

use super::rules::Rules;
use super::worth::Past;
use crate::fleet::{Host, Pulse};
use crate::model::Model;
use crate::outlook::towards;
use crate::service::Trigger;

/// Most silences remembered of one host.
const FLAPS_KEPT: usize = 16;

/// What was seen lately. One value, kept by whoever calls [`super::consider`] from one look to the next.
#[derive(Debug, Clone, Default)]
pub struct Senses {
    pub(super) hosts: Hosts,
    pub(super) causes: Causes,
    /// Where the last look at services ended: those of concern, and all.
    pub(super) cursors: (Option<ServiceId>, Option<ServiceId>),
    pub(super) past: Past,
}

/// How hosts did lately.
#[derive(Debug, Clone, Default)]
pub(super) struct Hosts(BTreeMap<HostId, Felt>);

/// Since when services want to move, and why.
#[derive(Debug, Clone, Default)]
pub(super) struct Causes(BTreeMap<(ServiceId, Trigger), Held>);

#[derive(Debug, Clone, Default)]
struct Felt {
    at: Timestamp,
    /// Use of the processor and of memory, in parts per million.
    load: Option<(i64, i64)>,
    rtt: Option<i64>,
    connected: bool,
    flaps: Vec<Timestamp>,
}

#[derive(Debug, Clone, Copy)]
struct Held {
    since: Timestamp,
    looks: u32,
}

impl Senses {
    /// Takes in how everything does now.
    pub(super) fn feel(&mut self, model: &Model, now: Timestamp, rules: &Rules) {
        self.hosts.0.retain(|id, _| model.hosts.contains_key(id));
        for host in model.hosts.values() {
            let felt = self.hosts.0.entry(host.id).or_default();
            felt.feel(host, model.pulse(host.id), now, rules);
        }
        self.causes.0.retain(|(service, _), _| model.live.contains(service));
        self.past.learn(model, now);
    }
}

impl Hosts {
    /// Smoothed use of a host's processor or memory, whichever is higher; `None` before it reported any.
    pub(super) fn load(&self, host: HostId) -> Option<Ppm> {
        let (cpu, memory) = self.0.get(&host)?.load?;
        Some(Ppm(u32::try_from(cpu.max(memory).clamp(0, 1_000_000)).unwrap_or(0)))
    }

    /// Whether it is the processor that is used more.
    pub(super) fn is_processor(&self, host: HostId) -> bool {
        self.0.get(&host).and_then(|f| f.load).is_some_and(|(cpu, memory)| cpu >= memory)
    }

    /// Smoothed round-trip time of a host.
    pub(super) fn rtt(&self, host: HostId) -> Option<Micros> {
        self.0.get(&host)?.rtt.map(Micros)
    }

    /// How often a host fell silent lately.
    pub(super) fn flaps(&self, host: HostId, now: Timestamp, rules: &Rules) -> usize {
        let flaps = self.0.get(&host).map(|f| f.flaps.as_slice()).unwrap_or_default();
        flaps.iter().filter(|at| now.since(**at) < rules.flap_window).count()
    }
}

impl Causes {
    /// Notes for which causes a service wants to move now; those that are gone begin anew when they return.
    pub(super) fn hold(&mut self, service: ServiceId, causes: &[Trigger], now: Timestamp) {
        let own = self.0.range((service, Trigger::Order)..).map(|(k, _)| *k).take_while(|(of, _)| *of == service);
        let gone: Vec<_> = own.filter(|(_, cause)| !causes.contains(cause)).collect();
        for key in gone {
            self.0.remove(&key);
        }
        for cause in causes {
            let held = self.0.entry((service, *cause)).or_insert(Held { since: now, looks: 0 });
            held.looks = held.looks.saturating_add(1);
        }
    }

    /// How long, and in how many looks, a service wants to move for a cause without a break.
    pub(super) fn held(&self, service: ServiceId, cause: Trigger, now: Timestamp) -> (Micros, u32) {
        self.0.get(&(service, cause)).map_or((Micros::ZERO, 0), |h| (now.since(h.since), h.looks))
    }
}

impl Felt {
    fn feel(&mut self, host: &Host, pulse: Pulse, now: Timestamp, rules: &Rules) {
        let dt = now.since(self.at);
        let smooth = |old: Option<i64>, new: i64, tau| old.map_or(new, |old| towards(old, new, dt, tau));
        if let Some(readings) = pulse.readings.filter(|_| pulse.connected) {
            let installed = host.inventory.as_ref().map_or(0, |i| i.memory.0 >> 20);
            let used = i64::try_from(i128::from(readings.memory_used_mib) * 1_000_000 / i128::from(installed.max(1)));
            let used = if installed == 0 { 0 } else { used.unwrap_or(0).clamp(0, 1_000_000) };
            let cpu = readings.cpu_permille.clamp(0, 1_000) * 1_000;
            let old = self.load;
            let tau = rules.tau_load;
            self.load = Some((smooth(old.map(|o| o.0), cpu, tau), smooth(old.map(|o| o.1), used, tau)));
        }
        if let Some(rtt) = pulse.rtt {
            self.rtt = Some(smooth(self.rtt, rtt.0, rules.tau_rtt));
        }
        if self.connected && !pulse.connected {
            if self.flaps.len() >= FLAPS_KEPT {
                self.flaps.remove(0);
            }
            self.flaps.push(now);
        }
        self.connected = pulse.connected;
        self.at = now;
    }
}
