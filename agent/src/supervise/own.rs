//! Owning a state: what was ordered about it is kept, leases are asked for and guarded, and who may connect is said.

use chandler_protocol::Micros;
use chandler_protocol::state::{Assignment, Own, Phase, Target};
use tokio::sync::watch;

use super::{Gone, Supervisor};
use crate::custody::{Custody, GivenUp, Lease, May};
use crate::disk;
use crate::lease::Word;
use crate::workloads::Standing;

/// Under which name custodies are kept.
const CUSTODY: &str = "custody.";
/// Software is killed this share of its lease before the end of it, within these bounds: killing takes a moment.
const MARGIN_SHARE: i64 = 16;
const MARGIN: (Micros, Micros) = (Micros::from_millis(50), Micros::from_millis(500));
/// How long what ran without a lease may go on when it is to run under one, until it has one.
const FIRST_LEASE: Micros = Micros::from_secs(10);
/// How long after the guard the agent itself looks whether it is done.
const AFTER_GUARD: Micros = Micros::from_millis(50);

/// What one supervisor knows of its state beside the plan's [`crate::reconcile::Local`].
#[derive(Debug, Default)]
pub(super) struct Keeping {
    /// As it is on disk.
    kept: Custody,
    /// What is heard of the lease, while one is wanted.
    word: Option<watch::Receiver<Word>>,
    /// What the guard was told last, as far as this agent knows.
    guard: Option<Option<Micros>>,
    /// The last run ended because its lease did.
    pub(super) is_expired: bool,
}

impl Supervisor {
    /// What an earlier agent kept of it. What cannot be read is not taken for nothing: without a lease, which only the
    /// owner gets, it does not run under this epoch.
    pub(super) fn load_custody(&mut self) {
        let key = format!("{CUSTODY}{}", self.id);
        let kept = match disk::load::<Custody>(self.shared.world.disk.as_ref(), &key) {
            Ok(kept) => kept.unwrap_or_default(),
            Err(error) => {
                tracing::error!(id = %self.id, %error, "what was kept of the custody of a state cannot be read");
                let epoch = self.wanted.epoch;
                let lost = GivenUp { epoch, attempt: 0, root: chandler_protocol::Digest([0; 32]), lease: 0 };
                let is_leased = matches!(self.wanted.target, Target::Own(own) if own.leased);
                Custody { epoch, given_up: (!is_leased).then_some(lost), ..Custody::default() }
            }
        };
        // What ran before a reboot is dead; what is found running gets its lease back when it is adopted.
        (self.keeping.kept, self.local.custody) = (kept, kept.rebooted());
    }

    /// A run was found that an earlier agent started under a lease: it still has it, until its guard ends it.
    pub(super) fn adopt_lease(&mut self, guarded: Option<Micros>) {
        (self.keeping.guard, self.local.guarded) = (Some(guarded), guarded);
        let custody = &mut self.local.custody;
        custody.lease = guarded.map(|until| Lease { generation: custody.last_lease, until });
    }

    /// Takes an order into account; what it changes is kept before anything is done or said because of it.
    pub(super) fn take_custody(&mut self, order: &Assignment) {
        let is_about_state = matches!(order.target, Target::Own(_) | Target::Receive(_) | Target::Seal { .. });
        if !is_about_state && self.local.custody == Custody::default() {
            self.guard(None);
            return;
        }
        self.local.custody = self.local.custody.ordered(order.epoch, &order.target);
        let own = match order.target {
            Target::Own(own) => own,
            Target::Running => return self.guard(None),
            _ => return,
        };
        if self.wanted.target != order.target || self.wanted.epoch != order.epoch {
            self.shared.workloads.unseal(self.id);
        }
        let may = self.local.custody.may(&own, self.now());
        if self.run.is_none() || matches!(may, May::Never | May::NotReceived) {
            return;
        }
        // What runs goes on, as the owner under this epoch.
        self.local.custody = self.local.custody.begun();
        self.keep_custody();
        match (own.leased, self.local.guarded) {
            (false, _) => self.guard(None),
            (true, None) => self.guard(Some(Micros(self.now().0.saturating_add(FIRST_LEASE.0)))),
            (true, Some(_)) => {}
        }
    }

    /// Asks for a lease while one is needed, and takes in what is heard of it.
    pub(super) fn take_lease(&mut self) {
        let is_wanted = match self.wanted.target {
            Target::Own(own) if own.leased && self.local.given_up.is_none() && !self.local.withheld => {
                !matches!(self.local.custody.may(&own, self.now()), May::Never | May::NotReceived)
            }
            // It may take its time to stop.
            Target::Seal { .. } => self.run.is_some() && self.local.guarded.is_some(),
            _ => false,
        };
        if !is_wanted {
            if self.keeping.word.take().is_some() {
                self.shared.leases.forget(self.id);
            }
            return;
        }
        let custody = self.local.custody;
        let word = self.shared.leases.want(self.id, custody.epoch, custody.lease, self.now());
        self.keeping.word = Some(word);
        self.hear_lease();
    }

    /// Takes in what was heard of the lease since the last time.
    pub(super) fn hear_lease(&mut self) {
        let Some(word) = self.keeping.word.as_mut().map(|w| *w.borrow_and_update()) else { return };
        let Some(given) = word.given else { return };
        let next = self.local.custody.leased(given.epoch, given.generation, given.sent, given.lasts);
        let until = |custody: &Custody| custody.lease.filter(|l| l.generation > 0).map(|l| l.until);
        let is_later = until(&next) > until(&self.local.custody) || next.last_lease > self.local.custody.last_lease;
        if !is_later {
            return;
        }
        let before = std::mem::replace(&mut self.local.custody, next);
        // Nothing runs under a lease that would be forgotten.
        if self.run.is_some() && !self.keep_custody() {
            self.local.custody = before;
            return;
        }
        if let Some(lease) = next.lease {
            let margin = (given.lasts.0 / MARGIN_SHARE).clamp(MARGIN.0.0, MARGIN.1.0);
            self.guard(Some(Micros(lease.until.0.saturating_sub(margin))));
        }
    }

    /// Tells the guard when to end whatever runs. When it does not hear, what runs ends when it was told before.
    pub(super) fn guard(&mut self, until: Option<Micros>) {
        if self.keeping.guard != Some(until) {
            match self.shared.world.driver.guard(self.id, until) {
                Ok(()) => self.keeping.guard = Some(until),
                Err(error) => {
                    tracing::error!(id = %self.id, %error, "the guard of a lease cannot be told");
                    return;
                }
            }
        }
        self.local.guarded = until;
    }

    /// Waits for news of the lease; for ever when none is wanted.
    pub(super) async fn lease_news(word: &mut Option<watch::Receiver<Word>>) {
        let is_news = match word {
            Some(word) => word.changed().await.is_ok(),
            None => false,
        };
        if !is_news {
            std::future::pending().await
        }
    }

    /// A receiver of news that can be waited for while the supervisor does something else.
    pub(super) fn lease_word(&self) -> Option<watch::Receiver<Word>> {
        self.keeping.word.clone()
    }

    /// By when what runs has to be ended by this agent, should its guard not have done it.
    pub(super) fn lease_deadline(&self) -> Option<Micros> {
        let is_leased = matches!(self.wanted.target, Target::Own(Own { leased: true, .. }));
        let until = self.local.guarded.filter(|_| is_leased)?;
        Some(Micros(until.0.saturating_add(AFTER_GUARD.0)))
    }

    /// Writes down what must be kept. Whether it is.
    pub(super) fn keep_custody(&mut self) -> bool {
        let custody = self.local.custody;
        if self.keeping.kept == custody.rebooted() {
            return true;
        }
        let key = format!("{CUSTODY}{}", self.id);
        match disk::save(self.shared.world.disk.as_ref(), &key, &custody) {
            Ok(()) => {
                self.keeping.kept = custody.rebooted();
                true
            }
            Err(error) => {
                tracing::error!(id = %self.id, %error, "the custody of a state is not kept, so nothing is done with it");
                false
            }
        }
    }

    /// The assignment is gone for good.
    pub(super) fn leave_custody(&self) {
        self.shared.leases.forget(self.id);
        self.shared.workloads.remove(self.id);
        if let Err(error) = self.shared.world.disk.remove(&format!("{CUSTODY}{}", self.id)) {
            tracing::warn!(id = %self.id, %error, "the custody of a wiped assignment stays");
        }
    }

    /// Waits for a lease.
    pub(super) async fn ask(&mut self) -> Result<(), Gone> {
        let mut word = self.lease_word();
        let is_refused = word.as_ref().is_some_and(|w| w.borrow().is_refused);
        let what =
            if self.keeping.is_expired { "its lease ended; it waits for a new one" } else { "waits for its lease" };
        let note = if is_refused { ", which was not given" } else { "" };
        self.show_phase(Phase::Pending, &format!("{what}{note}"));
        tokio::select! {
            biased;
            changed = self.orders.changed() => changed.map_err(|_| Gone),
            () = Self::lease_news(&mut word) => Ok(()),
        }
    }

    /// Waits until the services that it uses have an address here.
    pub(super) async fn await_front(&mut self) -> Result<(), Gone> {
        let mut fronts = self.shared.world.fronts.changes();
        let Some(service) = self.shared.world.fronts.missing(&self.wanted.spec) else { return Ok(()) };
        self.show_phase(Phase::Pending, &format!("waits for the front door of {service}"));
        tokio::select! {
            biased;
            changed = self.orders.changed() => changed.map_err(|_| Gone),
            _ = fronts.changed() => Ok(()),
        }
    }

    /// Ends it at once: its lease is over.
    pub(super) async fn kill(&mut self) -> Result<(), Gone> {
        self.show_phase(Phase::Stopping, "its lease is over");
        self.is_ending = true;
        let ended = self.kill_until_gone().await;
        self.keeping.is_expired = true;
        self.finish_run(&ended);
        self.account(&ended);
        self.save();
        Ok(())
    }

    /// Says who may connect.
    pub(super) fn stand(&self) {
        let target = self.wanted.target;
        let own = if let Target::Own(own) = target { Some(own) } else { None };
        let is_given_up = own.is_some_and(|own| self.local.custody.may(&own, Micros::ZERO) == May::Never);
        let standing = match (&self.run, target) {
            (_, Target::Seal { .. }) => Standing::Sealed,
            _ if is_given_up => Standing::Sealed,
            (Some(run), Target::Running | Target::Own(_)) if !self.is_ending => Standing::Runs { since: run.since },
            _ => Standing::Other,
        };
        let gives = matches!(target, Target::Own(_) | Target::Seal { .. }) && self.wanted.spec.state.is_some();
        self.shared.workloads.set(self.id, self.wanted.epoch, standing, &self.record.ports, gives);
    }
}
