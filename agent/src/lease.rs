//! Leases, as their holder sees them: what is wanted, when to ask for it, and what an answer means.
//!
//! An answer counts from the moment its request was *made*, by the boot clock: the controller counts from when it
//! answered, so that a lease is over here before it is over there. Leases are in memory only; the moment at which the
//! software must be dead is told to its supervisor, which outlives this agent.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use chandler_protocol::lease::{LEASES_MAX, LeaseGrant, LeasePart, LeaseRequest, LeaseWanted};
use chandler_protocol::{AssignmentId, Micros};
use tokio::sync::{Notify, watch};

use crate::custody::Lease;
use crate::sync::lock;

/// Requests whose answers are waited for; the answer to an older one is too old to be of use.
const REQUESTS_MAX: usize = 64;
/// The longest lease that is believed.
const LASTS_MAX: Micros = Micros::from_secs(3_600);
/// The soonest a lease is renewed, whatever a controller says.
const RENEW_MIN: Micros = Micros::from_millis(50);
/// How long an answer is waited for before the same is asked again.
const PATIENCE: Micros = Micros::from_secs(1);
/// How long to wait before something is asked for again that was not given.
const REFUSED_AGAIN: Micros = Micros::from_millis(250);

/// A lease as it was given, newest first to arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Given {
    /// The epoch it is for.
    pub(crate) epoch: u64,
    /// Its generation.
    pub(crate) generation: u64,
    /// When it was asked for.
    pub(crate) sent: Micros,
    /// How long it runs from then.
    pub(crate) lasts: Micros,
}

impl Given {
    /// When the software has to be dead.
    fn until(&self) -> Micros {
        Micros(self.sent.0.saturating_add(self.lasts.0))
    }
}

/// What is known of a lease that is wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Word {
    /// The best that was given.
    pub(crate) given: Option<Given>,
    /// The newest answer did not give it.
    pub(crate) is_refused: bool,
}

/// Something that is wanted.
#[derive(Debug)]
struct Want {
    epoch: u64,
    /// What is held, to be renewed.
    held: Option<Lease>,
    ask_at: Micros,
    /// The request whose answer is waited for.
    asked: Option<u64>,
    word: watch::Sender<Word>,
}

/// All leases of this computer.
#[derive(Debug, Default)]
struct Book {
    is_connected: bool,
    wants: BTreeMap<AssignmentId, Want>,
    /// When each request was made.
    sent: BTreeMap<u64, Micros>,
    next_nonce: u64,
    /// Leases that are due this soon are asked for along with one that is due.
    window: Micros,
}

impl Book {
    fn next_due(&self) -> Option<Micros> {
        if !self.is_connected {
            return None;
        }
        self.wants.values().map(|w| w.ask_at).min()
    }

    /// The request that is to be sent at once.
    fn request(&mut self, now: Micros) -> Option<LeaseRequest> {
        self.next_due().filter(|at| *at <= now)?;
        let nonce = self.next_nonce;
        self.next_nonce += 1;
        let soon = Micros(now.0.saturating_add(self.window.0));
        let mut wanted = Vec::new();
        for (id, want) in self.wants.iter_mut().filter(|(_, w)| w.ask_at <= soon).take(LEASES_MAX) {
            let generation = want.held.map_or(0, |held| held.asks(now));
            wanted.push(LeaseWanted { assignment: *id, epoch: want.epoch, generation });
            want.asked = Some(nonce);
            want.ask_at = Micros(now.0.saturating_add(PATIENCE.0));
        }
        self.sent.insert(nonce, now);
        while self.sent.len() > REQUESTS_MAX {
            self.sent.pop_first();
        }
        Some(LeaseRequest { nonce, wanted })
    }

    /// An answer arrived. One to a request that is not known, or a second one to the same, changes nothing. One that is
    /// `about` some of what was asked for says nothing of the rest: that is answered by others.
    fn answered(&mut self, grant: &LeaseGrant, about: Option<&[AssignmentId]>, now: Micros) {
        let sent = match about {
            None => self.sent.remove(&grant.nonce),
            Some(_) => self.sent.get(&grant.nonce).copied(),
        };
        let Some(sent) = sent else { return };
        let lasts = Micros(grant.lasts.0.clamp(0, LASTS_MAX.0));
        let renew = Micros(grant.renew.0.clamp(RENEW_MIN.0, (lasts.0 / 2).max(RENEW_MIN.0)));
        self.window = Micros(renew.0 / 4);
        let given: BTreeMap<AssignmentId, &LeaseWanted> =
            grant.given.iter().take(LEASES_MAX).map(|g| (g.assignment, g)).collect();
        for (id, want) in &mut self.wants {
            if about.is_some_and(|ids| !ids.contains(id)) {
                continue;
            }
            let is_answer = want.asked == Some(grant.nonce);
            match given.get(id).filter(|g| g.epoch == want.epoch && g.generation > 0) {
                Some(g) => {
                    want.take(Given { epoch: g.epoch, generation: g.generation, sent, lasts });
                    if is_answer {
                        (want.asked, want.ask_at) = (None, Micros(sent.0.saturating_add(renew.0)));
                    }
                }
                // What it holds runs on until its end. It is asked for anew: a new one is given only to the owner.
                None if is_answer => {
                    (want.asked, want.held) = (None, None);
                    want.ask_at = Micros(now.0.saturating_add(REFUSED_AGAIN.0));
                    want.word.send_modify(|word| word.is_refused = true);
                }
                None => {}
            }
        }
    }
}

impl Want {
    /// The better one counts, in whatever order they arrive: the newer generation, and of one the later end.
    fn take(&mut self, given: Given) {
        let better = |old: &Given| (given.generation, given.until()) > (old.generation, old.until());
        let is_new = self.word.borrow().given.as_ref().is_none_or(|old| old.epoch != given.epoch || better(old));
        if is_new {
            self.held = Some(Lease { generation: given.generation, until: given.until() });
            self.word.send_replace(Word { given: Some(given), is_refused: false });
        }
    }
}

/// The leases of this computer, shared by those who need them and the session that asks for them.
#[derive(Debug)]
pub(crate) struct Leases {
    book: Mutex<Book>,
    /// Told when there is something to ask.
    wake: Arc<Notify>,
}

impl Leases {
    pub(crate) fn new(wake: Arc<Notify>) -> Self {
        Self { book: Mutex::default(), wake }
    }

    /// A lease for this assignment and epoch is wanted from now on and asked for at once. `held` is what there is of
    /// it. Saying the same again changes nothing.
    pub(crate) fn want(&self, id: AssignmentId, epoch: u64, held: Option<Lease>, now: Micros) -> watch::Receiver<Word> {
        let mut book = lock(&self.book);
        let new = || Want { epoch, held, ask_at: now, asked: None, word: watch::Sender::default() };
        let want = book.wants.entry(id).or_insert_with(new);
        if want.epoch != epoch {
            (want.epoch, want.held, want.ask_at, want.asked) = (epoch, held, now, None);
            want.word.send_replace(Word::default());
        }
        let (word, is_due) = (want.word.subscribe(), want.ask_at <= now);
        drop(book);
        if is_due {
            self.wake.notify_one();
        }
        word
    }

    /// No lease is wanted for it any more; the one that is held runs out.
    pub(crate) fn forget(&self, id: AssignmentId) {
        lock(&self.book).wants.remove(&id);
    }

    /// A session began: answers of an earlier one do not come any more, so everything is asked for at once.
    pub(crate) fn connected(&self, now: Micros) {
        let mut book = lock(&self.book);
        book.is_connected = true;
        book.sent.clear();
        for want in book.wants.values_mut() {
            (want.asked, want.ask_at) = (None, now);
        }
    }

    /// Nobody can be asked: what is held runs out.
    pub(crate) fn disconnected(&self) {
        lock(&self.book).is_connected = false;
    }

    /// When something is to be asked; in the past: now.
    pub(crate) fn next_due(&self) -> Option<Micros> {
        lock(&self.book).next_due()
    }

    /// What is to be asked now. Its leases count from now.
    pub(crate) fn request(&self, now: Micros) -> Option<LeaseRequest> {
        lock(&self.book).request(now)
    }

    /// An answer arrived.
    pub(crate) fn answered(&self, grant: &LeaseGrant, now: Micros) {
        lock(&self.book).answered(grant, None, now);
    }

    /// The answer to a part of a request arrived.
    pub(crate) fn answered_in_part(&self, part: &LeasePart, now: Micros) {
        let about: Vec<_> = part.about.iter().copied().take(LEASES_MAX).collect();
        lock(&self.book).answered(&part.grant, Some(&about), now);
    }
}

#[cfg(test)]
#[path = "lease_tests.rs"]
mod tests;
