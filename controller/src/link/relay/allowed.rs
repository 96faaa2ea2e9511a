//! What the model says of senders, believed for a moment: it is not asked for each packet.

use std::collections::{BTreeMap, BTreeSet};

use chandler_engine::federation::trunk::Hop;
use chandler_protocol::HostId;
use tokio::time::Instant;

use super::{BELIEVED, DOUBTED};

/// Hosts of which it is remembered whom they may hear; with more, all are forgotten and asked for again.
const HEARD_MAX: usize = 4_096;

/// To whom one sender may talk, as it was a moment ago.
pub(super) struct Allowed<F> {
    ask: F,
    hosts: BTreeMap<HostId, BTreeSet<Hop>>,
    at: Option<Instant>,
}

impl<F: Fn() -> BTreeMap<HostId, BTreeSet<Hop>>> Allowed<F> {
    pub(super) fn new(ask: F) -> Self {
        Self { ask, hosts: BTreeMap::new(), at: None }
    }

    /// Where packets to a host go next; `None` when they may not go there.
    pub(super) fn hops_to(&mut self, host: HostId, now: Instant) -> Option<&BTreeSet<Hop>> {
        let life = if self.hosts.contains_key(&host) { BELIEVED } else { DOUBTED };
        if self.at.is_none_or(|at| now.saturating_duration_since(at) >= life) {
            (self.hosts, self.at) = ((self.ask)(), Some(now));
        }
        self.hosts.get(&host)
    }
}

/// Whom one host may hear through a trunk, and where what is for it goes next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Word {
    /// Where it goes.
    pub(crate) hop: Hop,
    /// Whom it may hear.
    pub(crate) senders: BTreeSet<HostId>,
}

/// What the model says of the hosts that a partner sends to, as it was a moment ago.
pub(super) struct Heard<F> {
    ask: F,
    words: BTreeMap<HostId, (Word, Instant)>,
}

impl<F: Fn(HostId) -> Option<Word>> Heard<F> {
    pub(super) fn new(ask: F) -> Self {
        Self { ask, words: BTreeMap::new() }
    }

    /// Where a packet goes next; `None` when the host that it is for may not hear this sender.
    pub(super) fn hop_for(&mut self, from: HostId, to: HostId, now: Instant) -> Option<Hop> {
        if let Some((word, at)) = self.words.get(&to) {
            let may = word.senders.contains(&from);
            if now.saturating_duration_since(*at) < (if may { BELIEVED } else { DOUBTED }) {
                return may.then_some(word.hop);
            }
        }
        // A host that nobody here has ever heard of costs one look and is not remembered.
        let Some(word) = (self.ask)(to) else {
            self.words.remove(&to);
            return None;
        };
        if self.words.len() >= HEARD_MAX {
            self.words.clear();
        }
        let hop = word.senders.contains(&from).then_some(word.hop);
        self.words.insert(to, (word, now));
        hop
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use chandler_protocol::id::ID_BYTES;

    use super::*;

    fn id(n: u8) -> HostId {
        HostId::from_random([n; ID_BYTES])
    }

    #[test]
    fn a_grant_that_comes_or_goes_is_noticed_and_a_sender_that_names_anybody_asks_for_little() {
        let (asked, granted) = (Cell::new(0), Cell::new(true));
        let mut allowed = Allowed::new(|| {
            asked.set(asked.get() + 1);
            granted.get().then(|| (id(2), [Hop::Here].into())).into_iter().collect()
        });
        let now = Instant::now();
        assert!(allowed.hops_to(id(2), now).is_some());
        for n in 3..=u8::MAX {
            assert!(allowed.hops_to(id(n), now).is_none());
        }
        assert_eq!(asked.get(), 1);
        granted.set(false);
        assert!(allowed.hops_to(id(2), now + BELIEVED).is_none(), "it was taken back");
        granted.set(true);
        assert!(allowed.hops_to(id(2), now + BELIEVED + DOUBTED).is_some(), "it came back");
    }

    #[test]
    fn what_a_partner_may_say_to_a_host_is_asked_for_once_a_moment() {
        let (asked, senders) = (Cell::new(0), RefCell::new(BTreeSet::from([id(1)])));
        let mut heard = Heard::new(|to| {
            asked.set(asked.get() + 1);
            (to == id(2)).then(|| Word { hop: Hop::Here, senders: senders.borrow().clone() })
        });
        let now = Instant::now();
        assert_eq!(heard.hop_for(id(1), id(2), now), Some(Hop::Here));
        for n in 3..=u8::MAX {
            assert_eq!(heard.hop_for(id(n), id(2), now), None);
        }
        assert_eq!(asked.get(), 1, "strangers are answered from memory");
        assert_eq!(heard.hop_for(id(1), id(9), now), None);
        assert!(!heard.words.contains_key(&id(9)), "what does not exist takes no memory");
        senders.borrow_mut().clear();
        assert_eq!(heard.hop_for(id(1), id(2), now + BELIEVED), None, "it was taken back");
        senders.borrow_mut().insert(id(5));
        assert_eq!(heard.hop_for(id(5), id(2), now + BELIEVED + DOUBTED), Some(Hop::Here), "it came");
    }
}
