//! `chandler bill`: what customers owe.

use chandler_api::bill::{Bill as Item, BillRun};
use chandler_api::client::all;
use chandler_protocol::Micros;
use clap::{Args, Subcommand};

use super::rates::{METERED, metered};
use crate::problem::Failure;
use crate::session::Session;
use crate::show::{Facts, Table, moment};

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  chandler bill run --customer acme\n  chandler bill show b-7k3mq2x9vd4c8z1e")]
pub(crate) struct Bill {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make bills, or make them anew while their month is open
    #[command(after_help = "Examples:\n  chandler bill run\n  chandler bill run --customer acme --month 2026-11")]
    Run {
        /// Name or id of the customer; all when left out
        #[arg(long)]
        customer: Option<String>,
        /// The month, as 2026-11; the current one when left out
        #[arg(long)]
        month: Option<String>,
    },
    /// List bills
    #[command(after_help = "Examples:\n  chandler bill list")]
    List,
    /// Show one bill line by line
    #[command(after_help = "Examples:\n  chandler bill show b-7k3mq2x9vd4c8z1e")]
    Show {
        /// Its id
        id: String,
    },
}

impl Bill {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        let client = session.client()?;
        match self.verb {
            Verb::Run { customer, month } => {
                let items = client.bill_run(&BillRun { customer, month }).await?.items;
                session.out.list(&items, "nothing to bill: nothing has run", || table(&items))
            }
            Verb::List => {
                let items = all(|page| client.bills(page)).await?;
                session.out.list(&items, "no bills yet. Next: chandler bill run", || table(&items))
            }
            Verb::Show { id } => {
                let bill = client.bill(&id).await?;
                session.out.object(&bill, || text(&bill))
            }
        }
    }
}

fn table(items: &[Item]) -> Table {
    let mut table = Table::new(&["BILL", "CUSTOMER", "MONTH", "STATE", ">TOTAL"]);
    for b in items {
        table.row([b.id.to_string(), b.customer.clone(), b.month.clone(), b.state.clone(), b.total.to_string()]);
    }
    table
}

fn text(bill: &Item) -> String {
    let mut facts = Facts::default();
    facts
        .add("bill", format!("{}, {}", bill.id, bill.state))
        .add("customer", &bill.customer)
        .add("month", &bill.month)
        .add("made", moment(bill.made_at))
        .add("total", bill.total.to_string());
    let amount = format!(">{}", bill.currency);
    let head = [&["SERVICE", "SITE", ">RAN"][..], &METERED, &[">USAGE ROWS", &amount]].concat();
    let mut table = Table::new(&head);
    for l in &bill.lines {
        let gpus = (l.gpu_hours_micros, l.gpu_hour.as_ref());
        let used = metered((l.core_hours_micros, &l.core_hour), (l.gib_hours_micros, &l.gib_hour), gpus);
        let what = [l.service.clone(), l.site.clone(), Micros(l.running_micros).to_string()];
        let rest = [l.usage_rows.to_string(), l.amount.amount().to_string()];
        table.row(what.into_iter().chain(used).chain(rest));
    }
    if bill.lines.is_empty() { facts.to_string() } else { format!("{facts}\n\n{table}") }
}
