//! `chandler receipt`: what was used between this controller and its partners, signed by both.

use clap::{Args, Subcommand};

use crate::problem::Failure;
use crate::session::Session;
use crate::show::Table;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  chandler receipt list nova")]
pub(crate) struct Receipt {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List the chains of receipts with a partner: both sides see the same sums when nothing is under way
    #[command(after_help = "Examples:\n  chandler receipt list nova\n  chandler receipt list nova -o json")]
    List {
        /// The partner's name or id
        partner: String,
    },
}

impl Receipt {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        let Verb::List { partner } = self.verb;
        let chains = session.client()?.receipts(&partner).await?;
        session.out.list(&chains, "no receipts yet: nothing was used between the two", || {
            let mut table = Table::new(&[
                "SIDE",
                "SELLER",
                "BUYER",
                ">RECEIPTS",
                ">COUNTERSIGNED",
                ">AMOUNT",
                ">AGREED",
                ">HELD",
                ">DECIDED",
                "HEAD",
            ]);
            for c in &chains {
                table.row([
                    c.side.as_str().to_owned(),
                    c.seller.clone(),
                    c.buyer.clone(),
                    c.receipts.to_string(),
                    c.countersigned.to_string(),
                    c.amount.to_string(),
                    c.agreed.to_string(),
                    c.held.to_string(),
                    c.decided.to_string(),
                    c.head.to_string().chars().take(12).collect(),
                ]);
            }
            table
        })
    }
}
