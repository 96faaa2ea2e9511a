//! What sellers did, and so what to expect of them, each controller in its own books: of its own sites what its leases
//! came to, of partners' sites what it saw itself. A buyer goes by the worse of its own opinion and the seller's.

#[cfg(test)]
pub(super) mod cases;

use chandler_protocol::{HostId, MicroMoney, Micros, Ppm, SiteId, Timestamp};
use serde::{Deserialize, Serialize};

use super::catalogue::offer_of;
use super::lease::{Lease, LeaseState, Party, Side};
use super::term::Term;
use super::watch::Watch;
use super::word::LeaseWord;
use crate::draft::Draft;
use crate::fleet::{Host, HostState};
use crate::market::reputation::{self, Cause, Deed, Prior, Record};
use crate::model::Model;
use crate::partner::PartnerState;
use crate::placement::HOURS_PER_MONTH;
use crate::site::{Site, SiteRole};

/// The share of a month's price that a broken promise costs: a common first tier of credits, as moves reckon with.
pub(crate) const CREDIT: Ppm = Ppm(100_000);
/// The same where the customer was promised nothing: a little, since it is annoyed.
pub(crate) const CREDIT_UNAGREED: Ppm = Ppm(10_000);
/// What it costs to provision something anew, in hours of its price: it is paid twice for a while, is copied and waits.
/// Our own choice: a day.
pub(crate) const PROVISIONING_HOURS: i64 = 24;
/// A lease that lasts is accounted for as often.
const ACCOUNTED_EACH: Micros = Micros::from_secs(30 * 86_400);
/// How much earlier than agreed a machine may be taken back by two clocks that differ.
const CLOCKS_DIFFER: Micros = Micros::from_secs(60);

/// What is known of a site as a seller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reputation {
    /// Which. Of this controller's own: seen as its seller. Of a partner's: seen as its buyer.
    pub site: SiteId,
    /// What it did.
    pub record: Record,
}

/// What may go wrong at a seller's in a month. Nothing, of computers of one's own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Odds {
    /// Probability that it breaks its promise.
    pub breach: Ppm,
    /// Probability that the work has to be provisioned anew.
    pub loss: Ppm,
}

impl Odds {
    /// The worse of two opinions.
    #[must_use]
    pub fn worse(self, other: Self) -> Self {
        Self { breach: self.breach.max(other.breach), loss: self.loss.max(other.loss) }
    }

    /// Shares that are at most all.
    pub(super) fn bounded(self) -> Self {
        Self { breach: self.breach.min(Ppm::ONE), loss: self.loss.min(Ppm::ONE) }
    }
}

/// What is believed of a site before anything is known of it as a seller.
pub const fn prior(role: SiteRole) -> Prior {
    match role {
        SiteRole::Remote => Prior::REMOTE,
        SiteRole::Provider | SiteRole::Customer | SiteRole::Partner => Prior::PARTNER,
    }
}

/// What this controller itself expects of a site as a seller.
pub fn odds(model: &Model, site: &Site, now: Timestamp) -> Odds {
    let prior = prior(site.role);
    let Some(known) = model.reputations.get(&site.id) else { return newcomer(&prior) };
    let standing = reputation::standing(&known.record, &prior, now);
    Odds { breach: standing.breach, loss: standing.loss }
}

/// The standing of who has no record, without the words: most sellers have none.
fn newcomer(prior: &Prior) -> Odds {
    let stays = u64::from(1_000_000 - prior.yields.0) * u64::from(1_000_000 - prior.failure.0) / 1_000_000;
    Odds { breach: prior.breach, loss: Ppm(1_000_000 - u32::try_from(stays).unwrap_or(0)) }
}

/// What to expect of a host's seller, as its buyer: nothing of a host of one's own.
pub(crate) fn expected(model: &Model, host: &Host, site: &Site, now: Timestamp) -> Odds {
    match (&host.terms, site.home) {
        (Some(terms), Some(_)) => terms.odds.worse(odds(model, site, now)),
        _ => Odds::default(),
    }
}

/// What is at risk an hour with a seller, where an hour costs `hour`: the buyer owes its customer [`CREDIT`] of a month
/// for a broken promise, and a loss costs [`PROVISIONING_HOURS`]. Rounded up.
pub(super) fn risk(odds: Odds, hour: MicroMoney) -> MicroMoney {
    let hour = i128::from(hour.0.max(0));
    let credit = hour * i128::from(HOURS_PER_MONTH) * i128::from(CREDIT.0) * i128::from(odds.breach.0) / 1_000_000;
    let anew = hour * i128::from(PROVISIONING_HOURS) * i128::from(odds.loss.0);
    let per = 1_000_000 * i128::from(HOURS_PER_MONTH);
    MicroMoney(i64::try_from((credit + anew + per - 1) / per).unwrap_or(i64::MAX))
}

/// The same of a month that costs `month`.
pub fn month_at_risk(odds: Odds, month: MicroMoney) -> MicroMoney {
    MicroMoney(risk(odds, MicroMoney(month.0 / HOURS_PER_MONTH)).0.saturating_mul(HOURS_PER_MONTH))
}

/// Writes down what a seller did.
fn note(draft: &mut Draft<'_>, site: SiteId, deed: Deed, cause: Cause) {
    let record = draft.model.reputations.get(&site).map(|r| r.record.clone()).unwrap_or_default();
    draft.put(Reputation { site, record: record.with(deed, cause, draft.now) });
}

/// The terms of a lease that begins on a host of this controller's.
pub(super) fn begun(draft: &Draft<'_>, host: HostId) -> Term {
    let Some((_, posted)) = offer_of(&draft.model, host) else { return Term::default() };
    let away = draft.model.hosts.get(&host).map_or(Micros::ZERO, |h| away(draft, h));
    Term { since: Some(draft.now), away, ..Term::of_offer(&posted.offer) }
}

/// The terms of a lease that a partner's word begins.
pub(super) fn bought(draft: &Draft<'_>, word: &LeaseWord) -> Term {
    let terms = draft.model.hosts.get(&word.host).and_then(|h| h.terms.as_ref());
    let (notice, promised) = terms.map_or((Micros::ZERO, Ppm(0)), |t| (t.notice, t.availability));
    let price_notice = Micros(word.price_notice.0.max(0));
    Term { price_notice, notice, promised, since: Some(draft.now), away: Micros::ZERO, next: None }
}

/// How long a host was away in its life. Time in which this controller could not see is no part of it.
fn away(draft: &Draft<'_>, host: &Host) -> Micros {
    let open = host.history.current.filter(|(up, _)| !up);
    let open = open.map_or(0, |(_, since)| draft.now.since(since.max(draft.model.observable_since)).0.max(0));
    Micros(host.history.down.0.saturating_add(open))
}

/// Whether something ran under a sold lease.
fn ran(model: &Model, lease: &Lease) -> bool {
    lease.metered > Micros::ZERO || model.guests.get(&lease.id).is_some_and(|seen| seen.starts > 0)
}

/// Accounts for what a sold lease delivered since it was last accounted for.
fn served(draft: &mut Draft<'_>, lease: &Lease, cause: Cause) {
    let term = lease.watch.term.clone();
    let (Some(since), Some(host)) = (term.since, draft.model.hosts.get(&lease.host).cloned()) else { return };
    let away = away(draft, &host);
    let down = Micros(away.0.saturating_sub(term.away.0).max(0));
    note(draft, lease.site, Deed::Served { leased: draft.now.since(since), down, promised: term.promised }, cause);
    counted(draft, lease, away);
}

/// A lease is accounted for up to now.
fn counted(draft: &mut Draft<'_>, lease: &Lease, away: Micros) {
    let Some(known) = draft.model.leases.get(&lease.id).cloned() else { return };
    let since = known.is_open().then_some(draft.now);
    let term = Term { since, away, ..known.watch.term.clone() };
    draft.put(Lease { watch: Watch { term, ..known.watch.clone() }, ..known.as_ref().clone() });
}

/// Accounts for a sold lease that lasts, once a month.
pub(super) fn each_month(draft: &mut Draft<'_>, lease: &Lease) {
    let is_due = lease.watch.term.since.is_some_and(|since| draft.now.since(since) >= ACCOUNTED_EACH);
    if is_due && ran(&draft.model, lease) {
        served(draft, lease, Cause::Owner);
    }
}

/// A sold lease has ended: `lease` is as it was before.
pub(super) fn sold(draft: &mut Draft<'_>, lease: &Lease, by: Party) {
    let is_partner = draft.model.partners.get(&lease.partner).is_some_and(|p| p.state != PartnerState::Ended);
    // Who is no partner any more has to go by its own or a common wish.
    let cause = if is_partner { Cause::Owner } else { Cause::Buyer };
    let is_gone = is_away(&draft.model, lease.host);
    if !ran(&draft.model, lease) {
        return match (by, is_gone) {
            (_, true) | (Party::Owner | Party::Seller, _) => note(draft, lease.site, Deed::Failed, cause),
            (Party::Time, false) => note(draft, lease.site, Deed::Failed, Cause::Buyer),
            // It was not needed any more before it could run.
            (Party::Buyer, false) => {}
        };
    }
    served(draft, lease, cause);
    note(draft, lease.site, Deed::Delivered, Cause::Owner);
    if is_gone {
        note(draft, lease.site, Deed::Yielded { noticed: false }, cause);
    } else if lease.state == LeaseState::Reclaiming {
        let told = draft.now.since(lease.since);
        // A buyer that left in time was told in time.
        let noticed = by == Party::Buyer || told >= lease.watch.term.notice;
        note(draft, lease.site, Deed::Yielded { noticed }, cause);
    }
}

/// Whether a host is away, as far as this controller saw it.
fn is_away(model: &Model, host: HostId) -> bool {
    model.hosts.get(&host).is_none_or(|h| h.state == HostState::Lost || h.history.current.is_some_and(|(up, _)| !up))
}

/// A bought lease has ended: `lease` is as it was before. What was lost with its host was written down then.
pub(super) fn taken(draft: &mut Draft<'_>, lease: &Lease, by: Party) {
    let Some(since) = lease.watch.term.since else { return };
    let started = |seen: &chandler_protocol::state::ObservedAssignment| seen.starts > 0;
    let seen = draft.model.assignments.get(&lease.id).and_then(|a| a.observed.as_ref());
    let ran = lease.watch.believed > Micros::ZERO || seen.is_some_and(started);
    let term = &lease.watch.term;
    if !ran {
        if matches!(by, Party::Seller | Party::Owner) {
            note(draft, lease.site, Deed::Failed, Cause::Provider);
        }
        return;
    }
    let leased = draft.now.since(since);
    note(draft, lease.site, Deed::Served { leased, down: Micros::ZERO, promised: term.promised }, Cause::Provider);
    note(draft, lease.site, Deed::Delivered, Cause::Provider);
    let told = draft.now.since(lease.since).0.saturating_add(CLOCKS_DIFFER.0);
    let noticed = lease.state == LeaseState::Reclaiming && (by == Party::Buyer || told >= term.notice.0);
    if noticed || matches!(by, Party::Seller | Party::Owner) {
        note(draft, lease.site, Deed::Yielded { noticed }, Cause::Provider);
    }
}

/// A seller claims of a bought lease what cannot be true: that it does not deliver.
pub(super) fn untrue(draft: &mut Draft<'_>, lease: &Lease) {
    note(draft, lease.site, Deed::Failed, Cause::Provider);
}

/// A partner's host is given up: whatever ran there under a lease broke off, and is away from when it fell silent.
pub(crate) fn lost(draft: &mut Draft<'_>, host: HostId) {
    let open = draft.model.leases_of_host(host).filter(|l| l.side == Side::Bought && l.is_open());
    let open: Vec<_> = open.cloned().collect();
    let silent = draft.now.since(draft.model.pulse(host).seen_at);
    for lease in open {
        let Some(since) = lease.watch.term.since else { continue };
        let leased = draft.now.since(since);
        let down = Micros(silent.0.clamp(0, leased.0.max(0)));
        let promised = lease.watch.term.promised;
        note(draft, lease.site, Deed::Served { leased, down, promised }, Cause::Provider);
        note(draft, lease.site, Deed::Yielded { noticed: false }, Cause::Provider);
        let term = Term { since: None, ..lease.watch.term.clone() };
        draft.put(Lease { watch: Watch { term, ..lease.watch.clone() }, ..lease.as_ref().clone() });
    }
}
