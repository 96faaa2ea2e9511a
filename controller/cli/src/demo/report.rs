//! What the demo tells: each step as it happens, and in the end what came of it, for people or as JSON.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Instant;

use chandler_api::bill::Bill;
use chandler_api::movement::{Move, MovePhase};
use chandler_api::order::Order;
use chandler_api::service::{OperatingStatus, Service};
use serde_json::{Value, json};

use super::fleet::Fleet;
use super::journey;
use super::traffic::Record;

/// Everything that is shown in the end.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) order: Order,
    pub(super) services: Vec<Service>,
    pub(super) moves: Vec<Move>,
    pub(super) explained: Vec<String>,
    pub(super) requests: Vec<Record>,
    pub(super) lost_notes: usize,
    pub(super) bill: Bill,
    pub(super) ledger_balanced: bool,
}

impl Report {
    /// Whether everything that the demo promises came true.
    pub(super) fn is_good(&self) -> bool {
        let because = |trigger: &str| self.moves.iter().any(|m| m.phase == MovePhase::Done && m.trigger == trigger);
        self.ledger_balanced
            && serde_json::to_value(self.order.state).is_ok_and(|s| s == "completed")
            && self.services.iter().all(|s| s.operating_status == OperatingStatus::Running)
            && self.moves.iter().all(|m| m.phase == MovePhase::Done)
            && ["slaAmended", "hostFailed", "providerCriterion"].into_iter().all(because)
            && self.requests.iter().all(|r| r.total > 0 && r.failed == 0)
            && self.lost_notes == 0
            && self.bill.total.micros > 0
    }

    fn total(&self) -> u64 {
        self.requests.iter().map(|r| r.total).sum()
    }

    fn failed(&self) -> u64 {
        self.requests.iter().map(|r| r.failed).sum()
    }

    fn longest_ms(&self) -> u128 {
        self.requests.iter().map(|r| r.longest.as_millis()).max().unwrap_or_default()
    }

    fn written(&self) -> usize {
        self.requests.iter().map(|r| r.written.len()).sum()
    }

    fn json(&self) -> Value {
        let staying = |s: &Service| {
            let placements = s.placements.iter().filter(|p| p.state != "releasing");
            let each = placements.map(|p| {
                json!({ "service": s.name, "host": p.host, "site": p.site, "siteRole": p.site_role, "reason": p.reason })
            });
            each.collect::<Vec<_>>()
        };
        let placements: Vec<_> = self.services.iter().flat_map(staying).collect();
        let replacements = self.services.iter().flat_map(|s| &s.replacements);
        let replacements: Vec<_> = replacements
            .map(|r| json!({ "trigger": r.trigger, "from": r.from, "to": r.to, "reason": r.reason, "at": r.at }))
            .collect();
        let ordered = self.services.first();
        json!({
            "version": "1.1",
            "order": { "id": self.order.id, "state": self.order.state },
            "service": ordered.map(|s| json!({ "id": s.id, "name": s.name, "operatingStatus": s.operating_status })),
            "placements": placements,
            "replacements": replacements,
            "moves": self.moves.iter().map(move_json).collect::<Vec<_>>(),
            "requests": { "total": self.total(), "failed": self.failed(), "longestMs": self.longest_ms() },
            "notes": { "acknowledged": self.written(), "lost": self.lost_notes },
            "bill": { "currency": self.bill.currency, "total": self.bill.total, "lines": self.bill.lines },
            "ledgerBalanced": self.ledger_balanced,
        })
    }
}

/// A move: what set it off, where from and where to, how long each phase took, and what came of it.
fn move_json(item: &Move) -> Value {
    let phases: Vec<_> =
        item.steps.iter().map(|s| json!({ "phase": s.phase, "at": s.at, "tookMicros": s.took_micros })).collect();
    let realised = item.realised.as_ref();
    json!({
        "id": item.id,
        "service": item.service,
        "kind": item.kind,
        "trigger": item.trigger,
        "evidence": item.evidence,
        "from": item.from.host,
        "to": item.to.host,
        "phase": item.phase,
        "phases": phases,
        "longestStallMs": realised.map(|r| r.longest_stall_micros.0 as f64 / 1e3),
        "bytes": realised.map(|r| r.bytes),
        "gain": { "predicted": item.predicted.gain, "realised": realised.map(|r| &r.gain) },
        "predicted": item.predicted,
        "realised": item.realised,
    })
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
    let mut lines = vec![String::new(), "In short".to_owned()];
    for item in &report.moves {
        let (from, to) = (&item.from.host, &item.to.host);
        lines.push(format!("  moved   {} {from} -> {to}, because {}", item.service, item.trigger));
        lines.extend(journey::ended(item).lines().map(|line| format!("            {}", line.trim())));
    }
    for service in &report.services {
        for placement in service.placements.iter().filter(|p| p.state != "releasing") {
            lines.push(format!("  runs    {} on {}: {}", service.name, placement.site, placement.reason));
        }
    }
    lines.extend(report.explained.iter().map(|text| format!("  not on  {text}")));
    let (total, failed) = (report.total(), report.failed());
    lines.push(format!("  asked   {total} times, {failed} failed, the longest answer took {} ms", report.longest_ms()));
    lines.extend(report.requests.iter().filter_map(|r| r.first_failure.as_ref()).map(|why| format!("  FAILED  {why}")));
    lines.push(format!("  wrote   {} notes, {} lost", report.written(), report.lost_notes));
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
