//! Demands: what was cleared, and why each as it was.

use std::fmt::Write as _;

use chandler_api::market::{Award, DemandLine, DemandRecord, Lot};
use chandler_api::page::{LIMIT_MAX, PageQuery};
use chandler_protocol::text::clean;

use super::exact;
use crate::problem::Failure;
use crate::session::Session;
use crate::show::{Table, moment};
use crate::word;

/// The newest demands, at most `limit`.
pub(super) async fn list(session: &Session, limit: u32) -> Result<(), Failure> {
    let client = session.client()?;
    let mut items: Vec<DemandLine> = Vec::new();
    let mut token = None;
    // Ends: each turn asks for what is still missing, or there is no further page.
    let more = loop {
        let missing = limit.saturating_sub(u32::try_from(items.len()).unwrap_or(u32::MAX));
        if missing == 0 {
            break token.is_some();
        }
        let page = client.demands(PageQuery { limit: Some(missing.min(LIMIT_MAX)), page_token: token }).await?;
        token = page.next_page_token;
        let is_last = page.items.is_empty() || token.is_none();
        items.extend(page.items);
        if is_last {
            break false;
        }
    };
    session.out.list(&items, "no demand was cleared yet", || {
        let mut table = Table::new(&["DEMAND", "AT", "BUYER", ">FIT", "WINNER", "HOST", ">PAID/H", ">CAP/H"]);
        for d in &items {
            let of = |part: fn(&Award) -> String| d.winner.as_ref().map(part).unwrap_or_default();
            let (owner, host) = (of(|w| w.owner.clone()), of(|w| w.host.clone()));
            let paid = of(|w| exact(&w.paid));
            let (id, at, fit) = (d.id.to_string(), moment(d.at), d.fit.to_string());
            table.row([id, at, d.buyer.clone(), fit, owner, host, paid, exact(&d.cap)]);
        }
        table
    })?;
    if more {
        session.out.talk(&format!("there are more: --limit {}", limit.saturating_mul(2)));
    }
    Ok(())
}

pub(super) async fn run(session: &Session, demand: &str) -> Result<(), Failure> {
    let record = session.client()?.demand(demand).await?;
    session.out.object(&record, || text(&record))?;
    match &record.difference {
        None if record.replays => Ok(()),
        difference => {
            let difference = difference.as_deref().unwrap_or("it does not say where it differs");
            let what = format!("the record does not replay: {}", clean(difference, 512));
            Err(Failure::Ended { exit: 3, what, next: String::new() })
        }
    }
}

fn text(r: &DemandRecord) -> String {
    let d = &r.demand;
    let currency = clean(&d.cap.currency, 3);
    let mut text = format!(
        "demand {} of {}, {}, by {} v{}\nwants {} on one of {} machines, for at most {} {currency} an hour\n",
        d.id,
        clean(&d.buyer, 64),
        moment(r.at),
        word::of(&r.rule),
        r.rules,
        d.wanted,
        r.named,
        exact(&d.cap)
    );
    if !r.ranked.is_empty() || !r.refused.is_empty() {
        let _ = writeln!(text, "\n{}", table(r));
    }
    let shown = u64::try_from(r.ranked.len() + r.refused.len()).unwrap_or(u64::MAX);
    if r.lots > shown {
        let counts: Vec<String> = r.refusals.iter().map(|(rule, n)| format!("{n} {}", clean(rule, 64))).collect();
        let _ = writeln!(text, "of {} lots {shown} are kept in words; refused: {}", r.lots, counts.join(", "));
    }
    let _ = write!(text, "\n{}", clean(&r.explain, usize::MAX));
    text.push_str(match (r.replays, r.whole) {
        (true, true) => "\nreplayed: the record gives the same winner and the same pay",
        (true, false) => "\nreplayed: what the record keeps gives the same winner and the same pay",
        (false, _) => "\nreplayed: the record does NOT give what it says",
    });
    let _ = write!(text, "\nrecord {} after {}, ties by the seed {}", r.hash, r.previous, r.seed);
    text
}

/// One table for both: who fits with what it scored, then who does not and why.
fn table(r: &DemandRecord) -> Table {
    let head = [">RANK", "HOST", "OWNER", "OFFER", ">RATE", ">TRANSFER", ">RISK", ">SCORE", "RESULT"];
    let mut table = Table::new(&head);
    let offer = |lot: &Lot| format!("{} v{}", lot.offer, lot.version);
    for c in &r.ranked {
        let won = r.winner.as_ref().filter(|w| w.host_id == c.lot.host_id && w.offer == c.lot.offer);
        let result = won.map(|w| format!("wins, paid {} an hour", exact(&w.paid)));
        table.row([
            c.rank.to_string(),
            c.lot.host.clone(),
            c.lot.owner.clone(),
            offer(&c.lot),
            exact(&c.rate),
            exact(&c.extra),
            exact(&c.lot.risk),
            exact(&c.score),
            result.unwrap_or_default(),
        ]);
    }
    for c in &r.refused {
        let none = String::new;
        let result = format!("{}: {}", c.rule, c.reason);
        let (host, owner) = (c.lot.host.clone(), c.lot.owner.clone());
        table.row([none(), host, owner, offer(&c.lot), none(), none(), exact(&c.lot.risk), none(), result]);
    }
    table
}
