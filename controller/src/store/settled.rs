//! Which disputes that were settled long ago are wanted.

use chandler_engine::finance::dispute::{Dispute, DisputeId};
use chandler_protocol::{PartyId, Timestamp};

/// A question for disputes that are not in memory any more.
#[derive(Debug, Clone, Copy)]
pub struct Settled {
    /// Only those behind this one.
    pub after: Option<DisputeId>,
    /// Only those up to and with this one.
    pub to: Option<DisputeId>,
    /// Only those of which something was posted in `[from, to)`.
    pub posted: Option<(Timestamp, Timestamp)>,
    /// At most this many.
    pub limit: u32,
}

impl Settled {
    /// All of it, at most so many.
    pub const fn all(limit: u32) -> Self {
        Self { after: None, to: None, posted: None, limit }
    }

    /// Those with one partner, behind one of these.
    pub fn with(partner: PartyId, after: Option<DisputeId>, limit: u32) -> Self {
        let start = DisputeId { partner, ours: false, receipt: 0 };
        let end = DisputeId { partner, ours: true, receipt: u64::MAX };
        Self { after: Some(after.map_or(start, |a| a.max(start))), to: Some(end), ..Self::all(limit) }
    }

    /// No dispute comes before this: receipts are counted from 1.
    pub(super) fn after_or_start(&self) -> DisputeId {
        let start = DisputeId { partner: PartyId::from_random([0; 10]), ours: false, receipt: 0 };
        self.after.unwrap_or(start)
    }

    pub(super) fn last_or_end(&self) -> DisputeId {
        let end = DisputeId { partner: PartyId::from_random([0xff; 10]), ours: true, receipt: u64::MAX };
        self.to.unwrap_or(end)
    }

    pub(super) fn posted_or_ever(&self) -> (Timestamp, Timestamp) {
        self.posted.unwrap_or((Timestamp(i64::MIN), Timestamp(i64::MAX)))
    }

    /// Whether a dispute is one of them.
    pub(super) fn wants(&self, dispute: &Dispute) -> bool {
        let (from, to) = self.posted_or_ever();
        let within = |at: Timestamp| from <= at && at < to;
        let posted = within(dispute.opened_at) || dispute.decided.as_ref().is_some_and(|d| within(d.at));
        dispute.id > self.after_or_start() && dispute.id <= self.last_or_end() && posted
    }
}
