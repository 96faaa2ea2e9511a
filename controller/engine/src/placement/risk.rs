//! What may go wrong at a seller's, as money: it decides between hosts, and nobody pays it.

use chandler_protocol::MicroMoney;

use super::filter::{Ask, p95, replicas};
use super::{HOURS_PER_MONTH, HostView, MonthlyPrice};
use crate::federation::{CREDIT, CREDIT_UNAGREED, Odds, PROVISIONING_HOURS, gaps_risk, supplied};

/// What to expect that one copy on this host costs a month beside its price. Nothing on computers of one's own.
///
/// Probability of a breach times the credit that is owed for it, what the seller promises less than the SLA does, both
/// together at most the credit; and probability of a loss times what it costs to provision anew.
pub(super) fn risk_of(view: &HostView<'_>, ask: &Ask<'_>, price: MonthlyPrice) -> MicroMoney {
    if view.host.terms.is_none() && view.odds == Odds::default() {
        return MicroMoney(0);
    }
    let terms = ask.request.terms;
    let month = i128::from(price.total().0.max(0));
    let share = if terms.availability_min.is_some() { CREDIT } else { CREDIT_UNAGREED };
    let credit = month * i128::from(share.0) / 1_000_000;
    let breach = credit * i128::from(view.odds.breach.0) / 1_000_000;
    let gaps = if terms.availability_min.is_some() {
        let copies = u32::try_from(replicas(ask.request.policy).0).unwrap_or(1);
        let supplied = supplied(view.host, view.country, view.availability, p95(view, &ask.request), view.odds);
        i128::from(gaps_risk(terms, price.total(), supplied, copies).0)
    } else {
        0
    };
    let anew = month * i128::from(PROVISIONING_HOURS) / i128::from(HOURS_PER_MONTH);
    let lost = anew * i128::from(view.odds.loss.0) / 1_000_000;
    MicroMoney(i64::try_from((breach + gaps).min(credit) + lost).unwrap_or(i64::MAX))
}
