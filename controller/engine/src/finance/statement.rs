//! Statements: what a site's owner or a partner is owed for a month, from the same rows that are posted.

use std::collections::BTreeMap;

use chandler_protocol::{AssignmentId, HostId, MicroMoney, Micros, PartyId, SiteId, Timestamp};
use serde::{Deserialize, Serialize};

use super::dispute::Dispute;
use super::ledger::Account;
use super::{UsageRow, month_of, month_range};
use crate::site::Rates;

/// A month's payable of one party.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Statement {
    /// Who is paid.
    pub payee: PartyId,
    /// The month, as `2026-11`.
    pub month: String,
    /// Whether the month is over and the statement final.
    pub sent: bool,
    /// When it was made.
    pub made_at: Timestamp,
    /// What was used.
    pub lines: Vec<StatementLine>,
    /// What disputes took from it, and gave.
    pub corrections: Vec<Correction>,
}

impl Statement {
    /// What is owed: lines and corrections together; exactly what was posted to the party's payable account.
    pub fn total(&self) -> MicroMoney {
        let amounts = self.lines.iter().map(|l| l.amount).chain(self.corrections.iter().map(|c| c.amount));
        MicroMoney(amounts.fold(0, |sum: i64, a| sum.saturating_add(a.0)))
    }
}

/// One line of a statement: one lease on one host under the same rates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StatementLine {
    /// Where it ran.
    pub site: SiteId,
    /// On which computer.
    pub host: HostId,
    /// The lease: the id of what ran.
    pub lease: AssignmentId,
    /// The rates.
    pub rates: Rates,
    /// Number of usage rows in it.
    pub rows: u64,
    /// How long it ran.
    pub running: Micros,
    /// Reserved processor time, in millionths of a core-hour.
    pub core_hours_micros: i64,
    /// Reserved memory time, in millionths of a GiB-hour.
    pub gib_hours_micros: i64,
    /// Reserved GPU time, in millionths of a GPU-hour.
    #[serde(default)]
    pub gpu_hours_micros: i64,
    /// What is owed for it.
    pub amount: MicroMoney,
}

/// A posting of a dispute in the month.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Correction {
    /// The lease it is about.
    pub lease: AssignmentId,
    /// When it was posted.
    pub at: Timestamp,
    /// What it changes; negative while it is held.
    pub amount: MicroMoney,
    /// What happened, in one sentence.
    pub text: String,
}

/// The statement of one party for one month. Rows of others and of other months are left out; a row that arrived late
/// belongs to the month in which its stretch ended, a correction to the month in which it was posted. It is final once
/// the month is over.
pub fn statement<'a>(
    payee: PartyId,
    month: &str,
    now: Timestamp,
    rows: &[UsageRow],
    disputes: impl IntoIterator<Item = &'a Dispute>,
) -> Statement {
    let mut lines: BTreeMap<_, StatementLine> = BTreeMap::new();
    for row in rows.iter().filter(|r| r.owner == payee && month_of(r.at) == month) {
        let Rates { core_hour, gib_hour, gpu_hour } = row.rates;
        let key = (row.site, row.host, row.assignment, core_hour, gib_hour, gpu_hour);
        add(lines.entry(key).or_insert_with(|| empty(row)), row);
    }
    let corrections = disputes.into_iter().flat_map(|d| corrections(d, payee)).filter(|c| month_of(c.at) == month);
    Statement {
        payee,
        month: month.to_owned(),
        sent: month_range(month).is_some_and(|(_, end)| end <= now),
        made_at: now,
        lines: lines.into_values().collect(),
        corrections: corrections.collect(),
    }
}

const fn empty(row: &UsageRow) -> StatementLine {
    StatementLine {
        site: row.site,
        host: row.host,
        lease: row.assignment,
        rates: row.rates,
        rows: 0,
        running: Micros::ZERO,
        core_hours_micros: 0,
        gib_hours_micros: 0,
        gpu_hours_micros: 0,
        amount: MicroMoney(0),
    }
}

const fn add(line: &mut StatementLine, row: &UsageRow) {
    line.rows += 1;
    line.running.0 = line.running.0.saturating_add(row.running.0);
    line.core_hours_micros = line.core_hours_micros.saturating_add(row.charge.core_hours_micros);
    line.gib_hours_micros = line.gib_hours_micros.saturating_add(row.charge.gib_hours_micros);
    line.gpu_hours_micros = line.gpu_hours_micros.saturating_add(row.charge.gpu_hours_micros);
    line.amount.0 = line.amount.0.saturating_add(row.charge.cost.0);
}

/// What a dispute posted to a party's payable account, with when and why.
fn corrections(dispute: &Dispute, payee: PartyId) -> Vec<Correction> {
    let opened =
        (dispute.opened_at, format!("receipt {} is contested: {}", dispute.id.receipt, dispute.reason.sentence()));
    let decided =
        dispute.decided.as_ref().map(|d| (d.at, format!("receipt {} was decided by {}", dispute.id.receipt, d.by)));
    let told = std::iter::once(opened).chain(decided);
    let posted = dispute.postings().into_iter().zip(told).map(|(posting, (at, text))| {
        let entries = posting.entries();
        let own = entries.iter().filter(|e| e.account == Account::Payable(payee));
        // Payable accounts are negative: what is taken from the debt is positive there.
        let amount = MicroMoney(own.fold(0, |sum: i64, e| sum.saturating_sub(e.amount.0)));
        Correction { lease: dispute.lease, at, amount, text }
    });
    posted.filter(|c| c.amount.0 != 0).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::finance::dispute::{DisputeId, Hold, Side};
    use crate::finance::example::row;
    use crate::finance::settlement::Reason;
    use crate::finance::{Entry, postings};

    const NOVEMBER: Timestamp = Timestamp(1_793_491_200_000_000);
    const DECEMBER: Timestamp = Timestamp(NOVEMBER.0 + 30 * 86_400_000_000);
    const PARTNER: PartyId = PartyId::from_random([8; 10]);

    fn used(sequence: u64, seconds: i64) -> UsageRow {
        UsageRow { at: NOVEMBER, ..row(sequence, "notes", seconds) }
    }

    fn dispute(side: Side, contested: i64) -> Dispute {
        let id = DisputeId { partner: PARTNER, ours: true, receipt: 3 };
        let hold = Hold { side, partner: PARTNER, contested: MicroMoney(contested) };
        Dispute::open(id, used(1, 1).assignment, hold, Reason::Unseen, NOVEMBER)
    }

    fn made(now: Timestamp, rows: &[UsageRow], disputes: &[Dispute]) -> Statement {
        statement(used(1, 1).owner, "2026-11", now, rows, disputes)
    }

    #[test]
    fn a_line_is_one_lease_on_one_host_under_one_pair_of_rates() {
        let (mut dearer, mut other, mut foreign) = (used(3, 60), used(4, 60), used(5, 60));
        dearer.rates.core_hour.0 += 1;
        other.assignment = AssignmentId::from_random([30; 10]);
        foreign.owner = PARTNER;
        let late = UsageRow { at: DECEMBER, ..used(6, 60) };
        let shown = made(DECEMBER, &[used(1, 60), used(2, 60), dearer, other, foreign, late], &[]);
        assert_eq!(shown.lines.iter().map(|l| l.rows).collect::<Vec<_>>(), [2, 1, 1]);
        assert_eq!(shown.lines[0].running, Micros::from_secs(120));
        assert!(shown.sent && !made(NOVEMBER, &[], &[]).sent);
    }

    #[test]
    fn an_owner_sees_what_is_held_and_what_came_of_it() {
        let owner = used(1, 1).owner;
        let rows = [used(1, 360_000)];
        let asked = rows[0].charge.cost.0;
        let open = dispute(Side::Seller { owner }, 700);
        let held = made(DECEMBER, &rows, std::slice::from_ref(&open));
        assert_eq!(held.total().0, asked - 700);
        assert_eq!(
            held.corrections[0].text,
            "receipt 3 is contested: the work is said to have run for longer than it was seen to run"
        );
        let decided = open.decide(MicroMoney(300), "auditor", Timestamp(NOVEMBER.0 + 1)).unwrap();
        assert_eq!(made(DECEMBER, &rows, &[decided]).total().0, asked - 400);
        // What we contest with a seller is not taken from anybody who sold us something else.
        assert_eq!(made(DECEMBER, &rows, &[dispute(Side::Buyer, 700)]).total().0, asked);
    }

    proptest! {
        /// A statement's total is what was posted to the account, to the millionth.
        #[test]
        fn the_total_is_what_was_posted(
            stretches in prop::collection::vec((0_i64..10_000_000, 0_u32..4_000, 0_usize..3), 0..40),
            contested in prop::collection::vec((0_i64..1_000_000, prop::option::of(0_i64..1_000_000)), 0..8),
        ) {
            let owner = used(1, 1).owner;
            let rows: Vec<_> = stretches.iter().zip(1..).map(|(&(seconds, cpu, lease), n)| {
                let mut row = used(n, seconds);
                row.reserved.cpu.0 = cpu;
                row.assignment = AssignmentId::from_random([u8::try_from(lease).unwrap(); 10]);
                row.charge = crate::finance::rate(row.running, row.reserved, row.rates, &row.price);
                row
            }).collect();
            let disputes: Vec<_> = contested.iter().map(|&(amount, share)| {
                let open = dispute(Side::Seller { owner }, amount);
                share.and_then(|s| open.decide(MicroMoney(s), "x", NOVEMBER).ok()).unwrap_or(open)
            }).collect();
            let of_rows = rows.iter().flat_map(postings);
            let of_disputes = disputes.iter().flat_map(Dispute::postings).flat_map(|p| p.entries());
            let on_account = |e: &Entry| e.account == Account::Payable(owner);
            let posted: i64 = of_rows.chain(of_disputes).filter(on_account).map(|e| -e.amount.0).sum();
            prop_assert_eq!(made(DECEMBER, &rows, &disputes).total().0, posted);
        }
    }
}
