//! Telling: each step as it happens, that something still goes on when it takes long, and in the end what came of it.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use super::fleet::Fleet;
use super::journey;
use super::outcome::{Report, kind};

/// Who reads is told again after this time that something goes on.
const PATIENCE: Duration = Duration::from_secs(3);

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

    /// Says every few seconds what is waited for, until it is there.
    pub(super) async fn patiently<T>(
        &self,
        what: &str,
        wait: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        let begin = Instant::now();
        let mut wait = std::pin::pin!(wait);
        loop {
            match tokio::time::timeout(PATIENCE, &mut wait).await {
                Ok(done) => return done.map_err(|e| e.context(format!("waiting for {what}"))),
                Err(_) => self.say(&format!("  ... {} s so far, waiting for {what}", begin.elapsed().as_secs())),
            }
        }
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
        let mut lines = vec![format!(
            "\nLeft running in {}. Ctrl-C stops and removes it. In another terminal:",
            fleet.dir().display()
        )];
        for (part, url, token) in fleet.controllers() {
            let roles = part.roles.join(", ");
            lines.push(format!("  # {} ({roles})", part.name));
            lines.push(format!("  export CHANDLER_URL={url} CHANDLER_TOKEN=$(cat {})", token.display()));
        }
        lines.push("and then, for instance:".to_owned());
        lines.push("  chandler service explain notes     # at hansa".to_owned());
        lines.push("  chandler market leases             # at any of them".to_owned());
        lines.push("  chandler event list --follow".to_owned());
        self.line(&lines.join("\n"));
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
            let whose = kind(placement.site_role);
            lines.push(format!("  runs    {} on {}, {whose}: {}", service.name, placement.host, placement.reason));
        }
    }
    lines.extend(report.explained.iter().map(|text| format!("  not on  {text}")));
    let (total, failed) = (report.total(), report.failed());
    lines.push(format!("  asked   {total} times, {failed} failed, the longest answer took {} ms", report.longest_ms()));
    for record in &report.requests {
        lines.extend(record.first_failure.as_ref().map(|why| format!("  FAILED  {}: {why}", record.service)));
    }
    lines.push(format!("  wrote   {} notes, {} lost", report.written(), report.lost_notes));
    money(report, &mut lines);
    lines.extend(report.complaints().iter().map(|what| format!("  WRONG   {what}")));
    lines.join("\n")
}

/// Who owes what to whom.
fn money(report: &Report, lines: &mut Vec<String>) {
    for (house, bill) in &report.money.bills {
        for line in &bill.lines {
            let seconds = line.running_micros as f64 / 1e6;
            let (service, site) = (&line.service, &line.site);
            lines.push(format!("  billed  {service} at {site} for {seconds:.1} s by {house}: {}", line.amount));
        }
        lines.push(format!("  owed    acme owes {house} {} for {}", bill.total, bill.month));
    }
    for sale in &report.money.sales {
        let (buyer, seller, receipts) = (sale.buyer, sale.seller, sale.sold.receipts);
        let contested = match sale.sold.contested.micros {
            0 => String::new(),
            _ => format!(", {} of it contested", sale.sold.contested),
        };
        lines.push(format!(
            "  owed    {buyer} owes {seller} {} by its own books, and {} by {seller}'s ({receipts} receipts{contested})",
            sale.bought.amount, sale.sold.amount
        ));
    }
    for books in &report.money.books {
        let name = books.part.name;
        for statement in &books.statements {
            let payee = if statement.payee == "provider" { "itself" } else { &statement.payee };
            lines.push(format!("  paid    {name} pays {payee} {}", statement.total));
        }
        let says = if books.ledger.balanced { "balances" } else { "DOES NOT BALANCE" };
        lines.push(format!("  books   the ledger of {name} {says}: {} are left to it", books.ledger.earnings));
    }
}
