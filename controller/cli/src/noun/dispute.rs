//! `chandler dispute`: receipts that their buyer does not believe, and how they are decided.

use chandler_api::client::all;
use chandler_api::settlement::{Dispute as Item, DisputeDecide, DisputeQuery, DisputeSay};
use clap::{Args, Subcommand};

use super::Amount;
use crate::problem::Failure;
use crate::session::Session;
use crate::show::{Facts, Table, moment};

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  chandler dispute list --state open\n  chandler dispute decide p-7k3mq2x9vd4c8z1e.sold.12 --to-seller \"0 EUR\""
)]
pub(crate) struct Dispute {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List disputes
    #[command(after_help = "Examples:\n  chandler dispute list\n  chandler dispute list --partner nova --state open")]
    List {
        /// Only those with this partner (name or id)
        #[arg(long)]
        partner: Option<String>,
        /// Only those in this state: open, evidence, decided or closed
        #[arg(long)]
        state: Option<String>,
    },
    /// Show one dispute with what was said about it
    #[command(after_help = "Examples:\n  chandler dispute show p-7k3mq2x9vd4c8z1e.sold.12")]
    Show {
        /// Its id
        id: String,
    },
    /// Say something about it, which the partner sees
    #[command(
        after_help = "Examples:\n  chandler dispute say p-7k3mq2x9vd4c8z1e.sold.12 --text \"the host's own log says so\""
    )]
    Say {
        /// Its id
        id: String,
        /// What, up to 512 characters
        #[arg(long)]
        text: String,
    },
    /// Say what this side would settle it for; what costs only this side is decided by that
    #[command(
        after_help = "Examples:\n  chandler dispute decide p-7k3mq2x9vd4c8z1e.sold.12 --to-seller \"0 EUR\"\n\nWhere this controller sold, it is the least that it takes: 0 gives all of it up. Where it bought, it is the most that it\npays. It is decided once no more is asked than is offered; a price can only move towards the other side."
    )]
    Decide {
        /// Its id
        id: String,
        /// How much of the contested money the seller shall get
        #[arg(long, value_name = "AMOUNT")]
        to_seller: Amount,
    },
}

impl Dispute {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        let client = session.client()?;
        match self.verb {
            Verb::List { partner, state } => {
                let query = |page: chandler_api::page::PageQuery| DisputeQuery {
                    partner: partner.clone(),
                    state: state.clone(),
                    limit: page.limit,
                    page_token: page.page_token,
                };
                let items = all(|page| {
                    let query = query(page);
                    let client = &client;
                    async move { client.disputes(&query).await }
                })
                .await?;
                session.out.list(&items, "no disputes", || table(&items))
            }
            Verb::Show { id } => show(session, &client.dispute(&id).await?),
            Verb::Say { id, text } => show(session, &client.dispute_say(&id, &DisputeSay { text }).await?),
            Verb::Decide { id, to_seller } => {
                show(session, &client.dispute_decide(&id, &DisputeDecide { to_seller: to_seller.0 }).await?)
            }
        }
    }
}

fn table(items: &[Item]) -> Table {
    let mut table =
        Table::new(&["DISPUTE", "PARTNER", "SIDE", "STATE", ">CONTESTED", ">OFFERED", ">ASKED", "REASON", "TOUCHED"]);
    for d in items {
        table.row([
            d.id.clone(),
            d.partner.clone(),
            d.side.as_str().to_owned(),
            d.state.clone(),
            d.contested.to_string(),
            d.offered.to_string(),
            d.asked.to_string(),
            d.reason.clone(),
            moment(d.touched_at),
        ]);
    }
    table
}

fn show(session: &Session, dispute: &Item) -> Result<(), Failure> {
    session.out.object(dispute, || {
        let mut facts = Facts::default();
        facts
            .add("dispute", format!("{}, {}", dispute.id, dispute.state))
            .add("partner", &dispute.partner)
            .add("about", format!("receipt {} ({}) of lease {}", dispute.receipt, dispute.side.as_str(), dispute.lease))
            .add("why", &dispute.text)
            .add("contested", dispute.contested.to_string())
            .add("offered", format!("{} by the buyer", dispute.offered))
            .add("asked", format!("{} by the seller", dispute.asked))
            .add("since", moment(dispute.opened_at));
        for e in &dispute.evidence {
            facts.add("said", format!("{} by {}: {}", moment(e.at), e.by, e.text));
        }
        match (&dispute.decided, dispute.due_at) {
            (Some(d), _) => {
                facts.add("decided", format!("the seller gets {}, {} by {}", d.to_seller, moment(d.at), d.by))
            }
            (None, Some(at)) => facts.add("timer", format!("{}: then the seller gets nothing of it", moment(at))),
            (None, None) => &mut facts,
        };
        facts.to_string()
    })
}
