//! `chandler ledger`: whether the books balance.

use clap::{Args, Subcommand};

use crate::problem::Failure;
use crate::session::Session;
use crate::show::Facts;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  chandler ledger check")]
pub(crate) struct Ledger {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Check that every entry is balanced and every usage row is posted once; exit status 3 when not
    #[command(after_help = "Examples:\n  chandler ledger check && echo balanced")]
    Check,
}

impl Ledger {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        let Verb::Check = self.verb;
        let check = session.client()?.ledger_check().await?;
        session.out.object(&check, || {
            let mut facts = Facts::default();
            facts
                .add("balanced", if check.balanced { "yes" } else { "NO" })
                .add("postings", format!("{}, {} unbalanced", check.postings, check.unbalanced))
                .add("usage rows", format!("{} not posted exactly once", check.unposted))
                .add("receivable", format!("{} from customers", check.receivable))
                .add("payable", format!("{} to site owners", check.payable))
                .add("earnings", format!("{} left for the provider", check.earnings));
            if let Some(held) = check.held.as_ref().filter(|h| h.micros != 0) {
                facts.add("held", format!("{held} contested with partners"));
            }
            facts.to_string()
        })?;
        if check.balanced {
            return Ok(());
        }
        Err(Failure::Ended { exit: 3, what: "the books do not balance".to_owned(), next: String::new() })
    }
}
