//! `chandler service explain`: the funnel, the ranked hosts, and the nearest miss.

use std::fmt::Write as _;

use chandler_api::service::{Candidate, Coverage, Explanation};
use chandler_protocol::text::clean;

use crate::problem::Failure;
use crate::session::Session;
use crate::show::{Table, moment};

/// Candidates and refused hosts shown without `--all`.
const BRIEF: usize = 5;

pub(super) async fn run(session: &Session, service: &str, all: bool) -> Result<(), Failure> {
    let explanation = session.client()?.service_explain(service).await?;
    session.out.object(&explanation, || text(&explanation, all))
}

fn text(e: &Explanation, all: bool) -> String {
    let mut text = format!(
        "decision {}, {}, rules v{}, snapshot {}, because of {}\n{}",
        e.decision,
        moment(e.at),
        e.rules,
        e.snapshot,
        clean(&e.trigger, 64),
        funnel(e)
    );
    let most = if all { usize::MAX } else { BRIEF };
    if !e.candidates.is_empty() {
        let _ = write!(text, "\n{}", ranked(&e.candidates, most));
        more(&mut text, e.candidates.len(), most, "candidates");
    }
    // Who was refused matters most when nobody was left.
    if (all || e.candidates.is_empty()) && !e.refused.is_empty() {
        let mut table = Table::new(&["REFUSED", "SITE", "RULE", "WHY", "WOULD FIT WITH"]);
        for r in e.refused.iter().take(most) {
            table.row([r.host.clone(), r.site.clone(), r.rule.clone(), r.reason.clone(), r.would_fit.clone()]);
        }
        let _ = write!(text, "\n{table}");
        more(&mut text, e.refused.len(), most, "refused hosts");
    }
    if !e.text.is_empty() {
        let _ = write!(text, "\n{}", clean(&e.text, usize::MAX));
    }
    if let Some(coverage) = &e.coverage {
        text.push_str(&covered(coverage));
    }
    if !e.nearest_miss.is_empty() {
        let _ = write!(text, "\nnearest miss: {}", clean(&e.nearest_miss, usize::MAX));
    }
    text
}

/// What partners promise against what was promised to the customer.
fn covered(coverage: &Coverage) -> String {
    if coverage.covered {
        return "\nwhat partners promise covers the SLA".to_owned();
    }
    let risk = &coverage.risk;
    let mut text = format!("\nwhat partners promise does not cover the SLA; at risk a month: {risk}");
    for gap in &coverage.gaps {
        let (attribute, why) = (clean(&gap.attribute, 64), clean(&gap.text, usize::MAX));
        let _ = write!(text, "\n   {attribute}: {why}; at risk a month: {}", gap.risk);
    }
    text
}

fn more(text: &mut String, count: usize, shown: usize, what: &str) {
    if count > shown {
        let _ = write!(text, "\n   and {} more {what}: --all", count - shown);
    }
}

/// `1,204 hosts: -310 residency, -88 capacity = 806`.
fn funnel(e: &Explanation) -> String {
    let steps: Vec<String> = e
        .funnel
        .iter()
        .filter(|step| step.refused > 0)
        .map(|step| format!("-{} {}", grouped(step.refused.into()), clean(&step.rule, 64)))
        .collect();
    let left = e.funnel.iter().fold(u64::from(e.considered), |n, step| n.saturating_sub(step.refused.into()));
    let noun = if e.considered == 1 { "host" } else { "hosts" };
    let considered = grouped(e.considered.into());
    if steps.is_empty() {
        return format!("{considered} {noun}, none refused");
    }
    format!("{considered} {noun}: {} = {}", steps.join(", "), grouped(left))
}

fn ranked(candidates: &[Candidate], most: usize) -> Table {
    let currency = candidates.first().map_or("", |c| c.price_month.currency.as_str());
    let price = format!(">{currency}/MONTH");
    let mut table = Table::new(&["   HOST", "SITE", ">RATE", ">FEE", ">P95", ">UP", &price]);
    // The chosen one is always shown, wherever it ranks.
    for c in candidates.iter().enumerate().filter(|(i, c)| *i < most || c.chosen).map(|(_, c)| c) {
        let arrow = if c.chosen { "->" } else { "  " };
        table.row([
            format!("{arrow} {}", c.host),
            c.site.clone(),
            c.rate_month.amount().to_string(),
            c.fee_month.amount().to_string(),
            c.predicted.p95_micros.map(|t| t.to_string()).unwrap_or_default(),
            c.predicted.availability_ppm.to_string(),
            c.price_month.amount().to_string(),
        ]);
    }
    table
}

/// A number with a comma each three digits.
fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explanation() -> Explanation {
        let candidate = |host: &str, price: i64, chosen| {
            serde_json::json!({
                "host": host, "site": "berlin-1", "siteRole": "remote", "chosen": chosen,
                "rateMonth": {"micros": 19_200_000, "currency": "EUR"},
                "feeMonth": {"micros": price - 19_200_000, "currency": "EUR"},
                "priceMonth": {"micros": price, "currency": "EUR"},
                "predicted": {"monthlyCost": {"micros": price, "currency": "EUR"}, "p95Micros": 31_000, "availabilityPpm": 999_700},
            })
        };
        serde_json::from_value(serde_json::json!({
            "decision": "d-000g40o40k30e21v", "at": "2026-11-22T09:14:02Z", "rules": 7, "snapshot": 8812,
            "trigger": "order", "considered": 1204,
            "funnel": [{"rule": "residency", "refused": 310}, {"rule": "software", "refused": 0}, {"rule": "interactivity", "refused": 402}],
            "candidates": [candidate("h-4f2a", 21_400_000, true), candidate("h-02d1\u{1b}[31m", 23_150_000, false)],
            "refused": [{"host": "h-aa10", "site": "bern-1", "rule": "interactivity", "reason": "RTT 53 ms", "wouldFit": "55 ms"}],
            "nearestMiss": "h-aa10 at 14.10, refused for RTT 53 ms; a 55 ms limit saves 7.30", "text": "",
        }))
        .unwrap()
    }

    #[test]
    fn a_decision_reads_as_a_funnel_a_ranking_and_a_near_miss() {
        assert_eq!(
            text(&explanation(), false),
            "decision d-000g40o40k30e21v, 2026-11-22T09:14:02Z, rules v7, snapshot 8812, because of order\n\
             1,204 hosts: -310 residency, -402 interactivity = 492\n   \
             HOST        SITE       RATE   FEE    P95       UP  EUR/MONTH\n\
             -> h-4f2a      berlin-1  19.20  2.20  31 ms  99.97 %      21.40\n   \
             h-02d1[31m  berlin-1  19.20  3.95  31 ms  99.97 %      23.15\n\
             nearest miss: h-aa10 at 14.10, refused for RTT 53 ms; a 55 ms limit saves 7.30"
        );
    }

    #[test]
    fn without_candidates_the_refused_are_shown() {
        let none = Explanation { candidates: Vec::new(), ..explanation() };
        let shown = text(&none, false);
        assert!(shown.contains("h-aa10") && shown.contains("RTT 53 ms") && shown.contains("55 ms"), "{shown}");
        assert!(!text(&explanation(), false).contains("REFUSED"));
        assert!(text(&explanation(), true).contains("REFUSED"));
    }

    #[test]
    fn numbers_are_grouped() {
        for (n, text) in [(0, "0"), (999, "999"), (1_204, "1,204"), (1_000_000, "1,000,000")] {
            assert_eq!(grouped(n), text);
        }
    }
}
