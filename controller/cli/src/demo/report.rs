//! What the demo tells: each step as it happens, and in the end what came of it, for people or as JSON.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Instant;

use chandler_api::bill::Bill;
use chandler_api::order::Order;
use chandler_api::service::Service;
use serde_json::{Value, json};

use super::fleet::Fleet;

/// Everything that is shown in the end.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) order: Order,
    pub(super) service: Service,
    pub(super) explained: Vec<String>,
    pub(super) requests: (u64, u64),
    pub(super) bill: Bill,
    pub(super) ledger_balanced: bool,
    pub(super) expected_replacements: usize,
}

impl Report {
    /// Whether everything that the demo promises came true.
    pub(super) fn is_good(&self) -> bool {
        let (total, failed) = self.requests;
        self.ledger_balanced
            && serde_json::to_value(self.order.state).is_ok_and(|s| s == "completed")
            && serde_json::to_value(self.service.operating_status).is_ok_and(|s| s == "running")
            && self.service.replacements.len() >= self.expected_replacements
            && total > failed
            && self.bill.total.micros > 0
    }

    fn json(&self) -> Value {
        let service = &self.service;
        let placements: Vec<_> = service
            .placements
            .iter()
            .filter(|p| p.state != "releasing")
            .map(|p| {
                json!({ "service": service.name, "host": p.host, "site": p.site, "siteRole": p.site_role, "reason": p.reason })
            })
            .collect();
        let replacements: Vec<_> = service
            .replacements
            .iter()
            .map(|r| json!({ "trigger": r.trigger, "from": r.from, "to": r.to, "reason": r.reason, "at": r.at }))
            .collect();
        json!({
            "version": "1.0",
            "order": { "id": self.order.id, "state": self.order.state },
            "service": { "id": service.id, "name": service.name, "operatingStatus": service.operating_status },
            "placements": placements,
            "replacements": replacements,
            "requests": { "total": self.requests.0, "failed": self.requests.1 },
            "bill": { "currency": self.bill.currency, "total": self.bill.total, "lines": self.bill.lines },
            "ledgerBalanced": self.ledger_balanced,
        })
    }
}

/// Tells the story as it happens.
#[derive(Debug)]
pub(super) struct Narrator {
    json: bool,
    begin: Instant,
}

impl Narrator {
    pub(super) fn new(json: bool) -> Self {
        Self { json, begin: Instant::now() }
    }

    /// One line of the story, with the time since the beginning.
    pub(super) fn say(&self, text: &str) {
        let line = format!("{:6.2} s  {}", self.begin.elapsed().as_secs_f64(), text.replace('\n', "\n          "));
        self.line(&line);
    }

    fn line(&self, text: &str) {
        // A closed pipe is no reason to stop in the middle of the story.
        let _ = if self.json { writeln!(std::io::stderr(), "{text}") } else { writeln!(std::io::stdout(), "{text}") };
    }

    /// What came of it: a short text, or one JSON object as the last line.
    pub(super) fn summary(&self, report: &Report) {
        self.line(&summary_text(report));
        if self.json {
            let _ = writeln!(std::io::stdout(), "{}", report.json());
        }
    }

    /// Where everything is that was left running.
    pub(super) fn kept(&self, fleet: &Fleet) {
        self.line(&format!(
            "\nLeft running in {}. Ctrl-C stops and removes it. In another terminal:\n  \
             export CHANDLER_URL={} CHANDLER_TOKEN=$(cat {})\n  chandler service explain notes\n  chandler event list --follow",
            fleet.dir().display(),
            fleet.url,
            fleet.token_file().display()
        ));
    }

    /// The story went wrong.
    pub(super) fn failed(&self, error: &anyhow::Error) -> ExitCode {
        let _ = writeln!(std::io::stderr(), "error: the demo failed: {error:#}");
        ExitCode::FAILURE
    }
}

fn summary_text(report: &Report) -> String {
    let service = &report.service;
    let mut lines = vec![String::new(), "In short".to_owned()];
    for replacement in &service.replacements {
        lines.push(format!("  moved   {} -> {}, because {}", replacement.from, replacement.to, replacement.trigger));
    }
    for placement in service.placements.iter().filter(|p| p.state != "releasing") {
        lines.push(format!("  runs    on {}: {}", placement.site, placement.reason));
    }
    lines.extend(report.explained.iter().map(|text| format!("  not on  {text}")));
    let (total, failed) = report.requests;
    lines.push(format!(
        "  asked   {total} times, {failed} without an answer (while a dead machine was not yet known to be dead)"
    ));
    for line in &report.bill.lines {
        let seconds = line.running_micros as f64 / 1e6;
        lines.push(format!("  billed  {} at {} for {seconds:.1} s: {}", line.service, line.site, line.amount));
    }
    let books = if report.ledger_balanced { "the ledger balances" } else { "THE LEDGER DOES NOT BALANCE" };
    lines.push(format!("  owed    {} for {}, and {books}", report.bill.total, report.bill.month));
    if !report.is_good() {
        lines.push("  NOT everything went as it should".to_owned());
    }
    lines.join("\n")
}
