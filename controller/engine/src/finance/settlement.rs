//! Settlement: what a seller's receipt claims, compared with what its buyer knows. What both know is agreed and paid;
//! the rest is contested.

#[cfg(test)]
mod cases;

use chandler_protocol::{HostId, MicroMoney, Micros, Ppm, Timestamp};
use serde::{Deserialize, Serialize};

use super::AMOUNT_MAX;
use super::rating::rate_cost_next;
use super::receipt::LeasedUse;
use crate::fleet::Capacity;
use crate::site::Rates;

/// How far two honest views of one lease may be apart. All but `money` hold for the whole of a lease, not for each
/// receipt: many small untruths come to no more than one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tolerance {
    /// What two clocks may differ in, and how much later than the work itself it may be seen. Default 60 s, as for the
    /// records of agents.
    pub clocks: Micros,
    /// How much more may have run than was seen to run, as a share of what was seen. Default 1 %: reports are lost and
    /// late.
    pub unseen: Ppm,
    /// What is not worth a dispute, of one receipt. Default 0: both sides rate by the same function, so that nothing is
    /// lost in rounding.
    pub money: MicroMoney,
}

impl Default for Tolerance {
    fn default() -> Self {
        Self { clocks: Micros::from_secs(60), unseen: Ppm(10_000), money: MicroMoney(0) }
    }
}

/// What the buyer itself knows of a lease, at the moment it takes a receipt. Terms are those of the receipt's epoch:
/// after a change of rates or capacity, use under the old epoch may still come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnView {
    /// Whether it has a lease of this id with this seller. If not, nothing else is looked at.
    pub knows_lease: bool,
    /// Where the lease is.
    pub host: HostId,
    /// The last record of this host that was taken, whatever lease it was of.
    pub sequence: u64,
    /// The lowest epoch that may still report: that of the last receipt taken of this lease, or of its beginning.
    pub epoch_oldest: u64,
    /// The epoch in force: nobody was told a higher one.
    pub epoch_newest: u64,
    /// Since when the lease is there, by the buyer's clock.
    pub since: Timestamp,
    /// When it was closed, if it is.
    pub until: Option<Timestamp>,
    /// Running time of the receipts taken under these terms, as the seller wrote it, believed or not: rating goes on
    /// from here.
    pub metered: Micros,
    /// Running time that was believed of the lease, under all its terms ([`Verdict::running`], summed).
    pub metered_total: Micros,
    /// How long it was seen to run; `None` where nothing was seen, which proves nothing.
    pub observed: Option<Micros>,
    /// What was reserved.
    pub reserved: Capacity,
    /// The rates that were accepted.
    pub rates: Rates,
}

/// What about a receipt is not as the buyer knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Reason {
    /// The buyer has no such lease: it was never taken, or is another's.
    UnknownLease,
    /// The lease is on another host.
    OtherHost,
    /// The record was taken before, or one behind it was.
    Duplicate,
    /// It ran under an epoch that had ended, or that nobody was told.
    Epoch,
    /// It is dated before the lease began, or in the future.
    Time,
    /// The rates are not those that were accepted.
    Rates,
    /// The capacity is not what was reserved.
    Capacity,
    /// It goes on from another sum than the receipts before it come to.
    Metered,
    /// The amount is not what its own numbers come to.
    Arithmetic,
    /// It ran for longer than the lease existed.
    Life,
    /// It ran for longer than it was seen to run.
    Unseen,
}

impl Reason {
    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnknownLease => "unknownLease",
            Self::OtherHost => "otherHost",
            Self::Duplicate => "duplicate",
            Self::Epoch => "epoch",
            Self::Time => "time",
            Self::Rates => "rates",
            Self::Capacity => "capacity",
            Self::Metered => "metered",
            Self::Arithmetic => "arithmetic",
            Self::Life => "life",
            Self::Unseen => "unseen",
        }
    }

    /// As a sentence for both sides.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::UnknownLease => "the buyer has no such lease with this seller",
            Self::OtherHost => "the lease is on another host",
            Self::Duplicate => "this record of the host was taken before",
            Self::Epoch => "the work ran under an epoch that was not in force",
            Self::Time => "the record is dated before the lease began or in the future",
            Self::Rates => "the rates are not those that were accepted with the lease",
            Self::Capacity => "the capacity is not what was reserved with the lease",
            Self::Metered => "it goes on from another sum than the receipts before it come to",
            Self::Arithmetic => "the amount is not what its own running time, capacity and rates come to",
            Self::Life => "the work is said to have run for longer than the lease existed",
            Self::Unseen => "the work is said to have run for longer than it was seen to run",
        }
    }
}

/// What the buyer makes of a receipt. `agreed` and `contested` sum to its amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// All of it is paid.
    Agreed {
        /// The receipt's amount.
        amount: MicroMoney,
        /// Running time that is believed.
        running: Micros,
    },
    /// Part of it is held until it is decided.
    Contested {
        /// What is paid now.
        agreed: MicroMoney,
        /// What is held.
        contested: MicroMoney,
        /// Running time that is believed.
        running: Micros,
        /// What is not as the buyer knows it; the first that was found.
        reason: Reason,
    },
}

impl Verdict {
    /// What is paid now.
    pub const fn agreed(&self) -> MicroMoney {
        match *self {
            Self::Agreed { amount, .. } => amount,
            Self::Contested { agreed, .. } => agreed,
        }
    }

    /// What is held.
    pub const fn contested(&self) -> MicroMoney {
        match *self {
            Self::Agreed { .. } => MicroMoney(0),
            Self::Contested { contested, .. } => contested,
        }
    }

    /// Running time that is believed: for this long the buyer charges its own customer.
    pub const fn running(&self) -> Micros {
        match *self {
            Self::Agreed { running, .. } | Self::Contested { running, .. } => running,
        }
    }
}

/// Compares a receipt (whose place in the chain was verified) with the buyer's own view at `now`.
///
/// A receipt about something that is not the buyer's is contested whole. Of any other as much is agreed as the lease's
/// own terms come to for the time that is believed, and never more than was asked: a seller may ask for less.
pub fn compare(claim: &LeasedUse, own: &OwnView, tolerance: &Tolerance, now: Timestamp) -> Verdict {
    let amount = claim.amount.0.clamp(0, AMOUNT_MAX);
    if let Some(reason) = foreign(claim, own, tolerance, now) {
        let (agreed, contested) = (MicroMoney(0), MicroMoney(amount));
        return Verdict::Contested { agreed, contested, running: Micros::ZERO, reason };
    }
    let (running, short) = believable(claim, own, tolerance, now);
    let worth = rate_cost_next(own.metered, running, own.reserved, own.rates).0;
    let over = amount.saturating_sub(worth);
    if over <= tolerance.money.0.max(0) {
        return Verdict::Agreed { amount: MicroMoney(amount), running };
    }
    let reason = terms(claim, own).or(short).unwrap_or(Reason::Arithmetic);
    Verdict::Contested { agreed: MicroMoney(amount - over), contested: MicroMoney(over), running, reason }
}

/// Why a receipt is not about anything of the buyer's.
fn foreign(claim: &LeasedUse, own: &OwnView, tolerance: &Tolerance, now: Timestamp) -> Option<Reason> {
    let slack = tolerance.clocks.0.max(0);
    let begun = own.since.0.saturating_sub(slack);
    let latest = now.0.saturating_add(slack);
    if !own.knows_lease {
        Some(Reason::UnknownLease)
    } else if claim.host != own.host {
        Some(Reason::OtherHost)
    } else if claim.sequence <= own.sequence {
        Some(Reason::Duplicate)
    } else if claim.epoch < own.epoch_oldest || claim.epoch > own.epoch_newest {
        Some(Reason::Epoch)
    } else if claim.at.0 < begun || claim.at.0 > latest {
        // Behind the lease's end it may be dated: a machine that was switched off reports when it is back.
        Some(Reason::Time)
    } else {
        None
    }
}

/// What of its terms is not as it was agreed.
fn terms(claim: &LeasedUse, own: &OwnView) -> Option<Reason> {
    if claim.rates != own.rates {
        Some(Reason::Rates)
    } else if claim.reserved != own.reserved {
        Some(Reason::Capacity)
    } else if claim.amount != claim.rated() {
        Some(Reason::Arithmetic)
    } else if claim.before != own.metered {
        Some(Reason::Metered)
    } else {
        None
    }
}

/// The running time as far as it can be true, and why not all of it, if not.
fn believable(claim: &LeasedUse, own: &OwnView, tolerance: &Tolerance, now: Timestamp) -> (Micros, Option<Reason>) {
    let slack = tolerance.clocks.0.max(0);
    let end = own.until.map_or(now, |until| until.min(now));
    let existed = end.since(own.since).0.saturating_add(slack);
    let left = |of: i64| of.saturating_sub(own.metered_total.0.max(0)).max(0);
    let claimed = claim.running.0.max(0);
    let mut running = claimed.min(left(existed));
    let mut reason = (running < claimed).then_some(Reason::Life);
    if let Some(observed) = own.observed {
        let observed = observed.0.max(0);
        let share = i128::from(observed) * i128::from(tolerance.unseen.0) / 1_000_000;
        let share = i64::try_from(share).unwrap_or(i64::MAX);
        let seen = left(observed.saturating_add(share.max(slack)));
        if seen < running {
            running = seen;
            reason = reason.or(Some(Reason::Unseen));
        }
    }
    (Micros(running), reason)
}
