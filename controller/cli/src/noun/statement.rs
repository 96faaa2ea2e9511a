//! `chandler statement`: what site owners and partners are owed.

use chandler_api::client::all;
use chandler_api::page::PageQuery;
use chandler_api::settlement::{Direction, Settlement, Statement as Item, StatementQuery};
use chandler_protocol::Micros;
use clap::{Args, Subcommand};

use super::rates::{METERED, metered};
use crate::problem::Failure;
use crate::session::Session;
use crate::show::{Facts, Table, moment};

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  chandler statement list --month 2026-11\n  chandler statement show lab\n  chandler statement settlement nova --month 2026-11"
)]
pub(crate) struct Statement {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List what everybody who earned something in a month is owed
    #[command(after_help = "Examples:\n  chandler statement list\n  chandler statement list --month 2026-11 -o json")]
    List {
        /// The month, as 2026-11; the current one when left out
        #[arg(long)]
        month: Option<String>,
    },
    /// Show the statement of one site owner or partner line by line
    #[command(after_help = "Examples:\n  chandler statement show lab --month 2026-11")]
    Show {
        /// Name or id of who is paid
        payee: String,
        /// The month, as 2026-11; the current one when left out
        #[arg(long)]
        month: Option<String>,
    },
    /// Show a month with a partner: what both owe each other, in one sum
    #[command(after_help = "Examples:\n  chandler statement settlement nova --month 2026-11")]
    Settlement {
        /// The partner's name or id
        partner: String,
        /// The month, as 2026-11
        #[arg(long)]
        month: String,
    },
    /// Mark a past month with a partner, of which both sides have the same, as paid
    #[command(after_help = "Examples:\n  chandler statement settle nova --month 2026-10")]
    Settle {
        /// The partner's name or id
        partner: String,
        /// The month, as 2026-10
        #[arg(long)]
        month: String,
    },
}

impl Statement {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        let client = session.client()?;
        match self.verb {
            Verb::List { month } => {
                let items = statements(session, None, month).await?;
                session.out.list(&items, "nobody has earned anything in this month", || table(&items))
            }
            Verb::Show { payee, month } => {
                let items = statements(session, Some(payee), month).await?;
                let Some(statement) = items.first() else {
                    return Err(Failure::local("the controller gave no statement"));
                };
                session.out.object(statement, || text(statement))
            }
            Verb::Settlement { partner, month } => show(session, &client.settlement(&partner, &month).await?),
            Verb::Settle { partner, month } => show(session, &client.settle(&partner, &month).await?),
        }
    }
}

async fn statements(session: &Session, payee: Option<String>, month: Option<String>) -> Result<Vec<Item>, Failure> {
    let client = session.client()?;
    let items = all(|page: PageQuery| {
        let (payee, month) = (payee.clone(), month.clone());
        let query = StatementQuery { payee, month, limit: page.limit, page_token: page.page_token };
        let client = &client;
        async move { client.statements(&query).await }
    });
    Ok(items.await?)
}

fn table(items: &[Item]) -> Table {
    let mut table = Table::new(&["PAYEE", "MONTH", "STATE", ">LINES", ">CORRECTIONS", ">TOTAL"]);
    for s in items {
        table.row([
            s.payee.clone(),
            s.month.clone(),
            s.state.clone(),
            s.lines.len().to_string(),
            s.corrections.len().to_string(),
            s.total.to_string(),
        ]);
    }
    table
}

fn text(statement: &Item) -> String {
    let mut facts = Facts::default();
    facts
        .add("payee", &statement.payee)
        .add("month", format!("{}, {}", statement.month, statement.state))
        .add("made", moment(statement.made_at))
        .add("total", statement.total.to_string());
    let amount = format!(">{}", statement.currency);
    let head = [&["SITE", "HOST", "LEASE", ">RAN"][..], &METERED, &[">USAGE ROWS", &amount]].concat();
    let mut lines = Table::new(&head);
    for l in &statement.lines {
        let gpus = (l.gpu_hours_micros, l.gpu_hour.as_ref());
        let used = metered((l.core_hours_micros, &l.core_hour), (l.gib_hours_micros, &l.gib_hour), gpus);
        let what = [l.site.clone(), l.host.clone(), l.lease.to_string(), Micros(l.running_micros).to_string()];
        let rest = [l.usage_rows.to_string(), l.amount.amount().to_string()];
        lines.row(what.into_iter().chain(used).chain(rest));
    }
    let mut text = facts.to_string();
    if !statement.lines.is_empty() {
        text = format!("{text}\n\n{lines}");
    }
    if !statement.corrections.is_empty() {
        let mut corrections = Table::new(&["WHEN", "LEASE", "WHY", &amount]);
        for c in &statement.corrections {
            corrections.row([moment(c.at), c.lease.to_string(), c.text.clone(), c.amount.amount().to_string()]);
        }
        text = format!("{text}\n\n{corrections}");
    }
    text
}

fn show(session: &Session, settlement: &Settlement) -> Result<(), Failure> {
    session.out.object(settlement, || {
        let mut facts = Facts::default();
        facts
            .add("partner", &settlement.partner)
            .add("month", format!("{}, {}", settlement.month, settlement.state))
            .add("sold", direction(&settlement.sold))
            .add("bought", direction(&settlement.bought))
            .add(
                "net",
                if settlement.net.micros < 0 {
                    format!("{}: to be paid to it", settlement.net)
                } else {
                    format!("{}: to be paid by it", settlement.net)
                },
            );
        facts.to_string()
    })
}

fn direction(d: &Direction) -> String {
    format!("{} owed for {} receipts; {} held, {} not countersigned", d.owed, d.receipts, d.held, d.waiting)
}
