//! Watching who is there: hosts become unknown, lost, or active again.

use std::collections::BTreeMap;
use std::sync::Arc;

use chandler_protocol::{HostId, Micros, PartyId, Ppm, Timestamp};

use crate::draft::Draft;
use crate::event::Noun;
use crate::fleet::{Host, HostState};
use crate::model::Model;
use crate::relocation;

/// When silence means something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// A host is lost when it was silent for this long while the controller was up and listening.
    pub grace: Micros,
    /// When more than this share of the hosts fall silent together, nothing is concluded (promise P2): [`most_are_silent`].
    pub freeze_share: Ppm,
    /// A fleet of fewer hosts than this has no share that says anything.
    pub freeze_least: usize,
}

impl Default for Patience {
    fn default() -> Self {
        Self { grace: Micros::from_secs(12), freeze_share: Ppm(500_000), freeze_least: 5 }
    }
}

/// What [`watch`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watch {
    /// Decisions go on.
    Calm,
    /// Too many hosts fell silent together: the fault is more likely ours. Nobody is declared lost.
    Frozen {
        /// Silent hosts.
        silent: usize,
        /// Hosts that should be there.
        of: usize,
    },
}

/// Looks at who is silent. Hosts become unknown, lost, or active again; the work of lost ones is displaced.
pub fn watch(draft: &mut Draft<'_>, patience: Patience) -> Watch {
    let now = draft.now;
    draft.model.grace = patience.grace;
    let hosts: Vec<_> = draft
        .model
        .hosts
        .values()
        .filter(|h| matches!(h.state, HostState::Active | HostState::Unknown))
        .cloned()
        .collect();
    let frozen = most_are_silent(&draft.model, patience, now);
    if frozen != Watch::Calm {
        return frozen;
    }
    let silent = hosts.iter().filter(|h| silence(&draft.model, h.id, now).0 > patience.grace.0);
    let lost: Vec<HostId> = silent.map(|h| h.id).collect();
    for host in &hosts {
        let quiet = silence(&draft.model, host.id, now);
        if lost.contains(&host.id) {
            let reason = format!("silent for {quiet}, more than {}", patience.grace);
            host_to(draft, host, HostState::Lost, &reason);
            relocation::displace(draft, host.id);
        } else if host.state == HostState::Active
            && !draft.model.pulse(host.id).connected
            && quiet.0 > patience.grace.0 / 4
        {
            host_to(draft, host, HostState::Unknown, "connection lost; what runs there runs on");
        }
    }
    Watch::Calm
}

/// Whether too many hosts fell silent in one window for anything to be concluded (promise P2).
///
/// Hosts that fall silent at one moment spoke last up to a heartbeat apart, which is a third of the grace at most. So when
/// the first of them is silent for the whole grace, those count as well that are for half of it; and those that were lost
/// within the last grace. Hosts that have been silent for longer say nothing about the controller's own eyes.
pub fn most_are_silent(model: &Model, patience: Patience, now: Timestamp) -> Watch {
    let is_new = |h: &Host| h.state == HostState::Lost && now.since(h.since) <= patience.grace;
    let is_there = |h: &Host| matches!(h.state, HostState::Active | HostState::Unknown);
    let hosts: Vec<_> = model.hosts.values().filter(|h| is_there(h) || is_new(h)).collect();
    let is_silent = |h: &Host| is_new(h) || silence(model, h.id, now).0 > patience.grace.0 / 2;
    let of = witnesses(model, hosts.iter().copied());
    let quiet = witnesses(model, hosts.into_iter().filter(|h| is_silent(h)));
    let (silent, of) = (quiet.silent_among(&of), of.count());
    let share = u64::from(patience.freeze_share.0);
    if of >= patience.freeze_least && silent as u64 * 1_000_000 > of as u64 * share {
        return Watch::Frozen { silent, of };
    }
    Watch::Calm
}

/// Who tells by silence how well this controller hears: each of its own hosts, and each partner once, for all of its
/// hosts are heard through one wire.
struct Witnesses {
    own: usize,
    homes: BTreeMap<PartyId, usize>,
}

impl Witnesses {
    fn count(&self) -> usize {
        self.own + self.homes.len()
    }

    /// How many of these are silent among all: a partner, when each of its hosts is.
    fn silent_among(&self, all: &Self) -> usize {
        let is_silent = |(home, n): &(&PartyId, &usize)| all.homes.get(home) == Some(n);
        self.own + self.homes.iter().filter(is_silent).count()
    }
}

fn witnesses<'h>(model: &Model, hosts: impl IntoIterator<Item = &'h Arc<Host>>) -> Witnesses {
    let mut found = Witnesses { own: 0, homes: BTreeMap::new() };
    for host in hosts {
        match model.home_of(host.id) {
            Some(home) => *found.homes.entry(home).or_default() += 1,
            None => found.own += 1,
        }
    }
    found
}

/// How long a host has been silent while the controller was listening.
fn silence(model: &Model, host: HostId, now: Timestamp) -> Micros {
    now.since(model.pulse(host).seen_at.max(model.observable_since))
}

/// When the next host is lost unless it is heard from, or something else is due that nobody reports
/// ([`relocation::next_look`]): whoever calls [`watch`] looks then, so that nothing is concluded late.
pub fn next_look(model: &Model, patience: Patience, now: Timestamp, boot: Micros) -> Option<Timestamp> {
    let there = model.hosts.values().filter(|h| matches!(h.state, HostState::Active | HostState::Unknown));
    let seen = there.map(|h| model.pulse(h.id).seen_at.max(model.observable_since));
    // A moment later: silence must have lasted for longer than the grace.
    let lost = seen.map(|at| at.after(Micros(patience.grace.0.saturating_add(1)))).filter(|at| *at > now);
    lost.chain(relocation::next_look(model, now, boot)).min()
}

/// A host was heard from: it is active, and its history goes on. Before it has said what it is, nothing could be placed
/// on it, so it is not active yet.
pub fn heard(draft: &mut Draft<'_>, host: HostId) {
    let Some(host) = draft.model.hosts.get(&host).filter(|h| h.inventory.is_some()).cloned() else { return };
    if matches!(host.state, HostState::Registered | HostState::Unknown | HostState::Lost) {
        let reason = if host.state == HostState::Registered { "first connection" } else { "connected again" };
        host_to(draft, &host, HostState::Active, reason);
    }
}

/// Moves a host to another state with its event.
pub fn host_to(draft: &mut Draft<'_>, host: &Host, to: HostState, reason: &str) {
    draft.event((Noun::Host, host.id.to_string(), &host.name), host.state.as_str(), to.as_str(), reason);
    let up = to == HostState::Active;
    // Unknown is neither up nor down: the stretch goes on until it is one or the other.
    let history = match to {
        HostState::Unknown => host.history,
        _ => host.history.observe(up, draft.now, draft.model.observable_since),
    };
    let note = if up { String::new() } else { reason.to_owned() };
    draft.put(Host { state: to, note, since: draft.now, history, ..host.clone() });
    if to == HostState::Lost {
        crate::federation::lost(draft, host.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Change;
    use crate::placement::example::spot;

    #[test]
    fn a_host_is_active_once_it_has_said_what_it_is() {
        let known = Host { state: HostState::Registered, ..spot(1, 1).host };
        for (inventory, expect) in [(None, HostState::Registered), (known.inventory.clone(), HostState::Active)] {
            let mut model = Model::default();
            model.apply(&Change::from(Host { inventory, ..known.clone() }));
            let mut ids = || [0; 10];
            let mut draft = Draft::new(&model, Timestamp(0), "test", &mut ids);
            heard(&mut draft, known.id);
            assert_eq!(draft.model.hosts[&known.id].state, expect);
        }
    }
}
