//! What came of the story: whether everything that the demo promises came true, and all of it as JSON.

use chandler_api::bill::Bill;
use chandler_api::movement::Move;
use chandler_api::order::{Order, OrderState};
use chandler_api::service::{OperatingStatus, Service};
use chandler_api::site::SiteRole;
use serde_json::{Value, json};

use super::journey::has_moved;
use super::settle::{Books, Money, Sale};
use super::traffic::Record;

/// The moves of the story: what, and because of what.
const MOVES: [(&str, &str); 8] = [
    ("notes", "slaAmended"),
    ("page", "predictedAvailability"),
    ("shop", "predictedAvailability"),
    ("page", "hostFailed"),
    ("shop", "hostFailed"),
    ("notes", "price"),
    ("page", "operator"),
    ("notes", "providerCriterion"),
];

/// Everything that is shown in the end.
pub(super) struct Report {
    pub(super) order: Order,
    pub(super) services: Vec<Service>,
    pub(super) moves: Vec<Move>,
    pub(super) explained: Vec<String>,
    pub(super) requests: Vec<Record>,
    pub(super) lost_notes: usize,
    pub(super) money: Money,
}

impl Report {
    /// What did not come true, each in a few words; empty when all is as promised.
    pub(super) fn complaints(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut check = |holds: bool, what: String| {
            if !holds {
                wrong.push(what);
            }
        };
        check(self.order.state == OrderState::Completed, "the order is not completed".to_owned());
        for service in &self.services {
            check(service.operating_status == OperatingStatus::Running, format!("{} does not run", service.name));
        }
        for (service, trigger) in MOVES {
            check(has_moved(&self.moves, service, trigger), format!("{service} has not moved for {trigger}"));
        }
        for record in &self.requests {
            let first = record.first_failure.as_deref().unwrap_or_default();
            check(
                record.failed == 0,
                format!("{} requests of {} failed, first {first}", record.failed, record.service),
            );
            check(record.total > 0, format!("{} was not asked", record.service));
        }
        check(self.lost_notes == 0, format!("{} notes were lost", self.lost_notes));
        for (house, bill) in &self.money.bills {
            check(bill.total.micros > 0, format!("{house} bills nothing"));
        }
        for sale in &self.money.sales {
            check(sale.is_equal(), format!("{} and {} do not have the same receipts", sale.buyer, sale.seller));
        }
        for books in &self.money.books {
            check(books.ledger.balanced, format!("the ledger of {} does not balance", books.part.name));
        }
        wrong
    }

    pub(super) fn total(&self) -> u64 {
        self.requests.iter().map(|r| r.total).sum()
    }

    pub(super) fn failed(&self) -> u64 {
        self.requests.iter().map(|r| r.failed).sum()
    }

    pub(super) fn longest_ms(&self) -> u128 {
        self.requests.iter().map(|r| r.longest.as_millis()).max().unwrap_or_default()
    }

    pub(super) fn written(&self) -> usize {
        self.requests.iter().map(|r| r.written.len()).sum()
    }

    pub(super) fn ledger_balanced(&self) -> bool {
        self.money.books.iter().all(|b| b.ledger.balanced)
    }

    pub(super) fn json(&self) -> Value {
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
        let bills = self.money.bills.iter().map(|(house, bill)| bill_json(house, bill));
        json!({
            "version": "1.2",
            "order": { "id": self.order.id, "state": self.order.state },
            "service": ordered.map(|s| json!({ "id": s.id, "name": s.name, "operatingStatus": s.operating_status })),
            "placements": placements,
            "replacements": replacements,
            "moves": self.moves.iter().map(move_json).collect::<Vec<_>>(),
            "requests": { "total": self.total(), "failed": self.failed(), "longestMs": self.longest_ms() },
            "notes": { "acknowledged": self.written(), "lost": self.lost_notes },
            "bill": self.money.bills.first().map(|(house, bill)| bill_json(house, bill)),
            "bills": bills.collect::<Vec<_>>(),
            "controllers": self.money.books.iter().map(books_json).collect::<Vec<_>>(),
            "settlements": self.money.sales.iter().map(sale_json).collect::<Vec<_>>(),
            "ledgerBalanced": self.ledger_balanced(),
            "complaints": self.complaints(),
        })
    }
}

/// The kind of place that a service came from or went to.
pub(super) const fn kind(role: SiteRole) -> &'static str {
    match role {
        SiteRole::Customer => "the customer's own",
        SiteRole::Provider => "the provider's own",
        SiteRole::Partner => "a partner's",
        SiteRole::Remote => "a stranger's PC",
    }
}

fn bill_json(house: &str, bill: &Bill) -> Value {
    json!({ "controller": house, "customer": bill.customer, "currency": bill.currency, "total": bill.total, "lines": bill.lines })
}

/// A controller, what it is to others, and its books.
fn books_json(books: &Books) -> Value {
    let statements: Vec<_> = books.statements.iter().map(|s| json!({ "payee": s.payee, "total": s.total })).collect();
    let ledger = &books.ledger;
    json!({
        "name": books.part.name,
        "roles": books.part.roles,
        "ledgerBalanced": ledger.balanced,
        "receivable": ledger.receivable,
        "payable": ledger.payable,
        "earnings": ledger.earnings,
        "statements": statements,
    })
}

/// A sale between two controllers, by the books of each.
fn sale_json(sale: &Sale) -> Value {
    json!({
        "seller": sale.seller,
        "buyer": sale.buyer,
        "equal": sale.is_equal(),
        "sold": sale.sold,
        "bought": sale.bought,
    })
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
