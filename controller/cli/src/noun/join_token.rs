//! `chandler join-token`: how computers join a site.

use chandler_api::token::JoinTokenCreate;
use chandler_api::value::Span;
use chandler_protocol::Micros;
use clap::{Args, Subcommand};

use crate::problem::Failure;
use crate::session::Session;
use crate::show::{count, moment};

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  chandler join-token create --site berlin-1")]
pub(crate) struct JoinToken {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make a join string; it is printed on stdout, and only now
    #[command(
        after_help = "Examples:\n  chandler join-token create --site berlin-1 --uses 20 --expires \"2 h\" > join.txt"
    )]
    Create {
        /// Name or id of the site that the joining computers belong to
        #[arg(long)]
        site: String,
        /// How many computers may join with it
        #[arg(long, default_value_t = 1, value_name = "N")]
        uses: u32,
        /// How long it is good for, at most 30 d
        #[arg(long, default_value = "1 h", value_name = "TIME")]
        expires: Micros,
    },
}

impl JoinToken {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        let Verb::Create { site, uses, expires } = self.verb;
        let made = session.client()?.join_token_create(&JoinTokenCreate { site, uses, expires: Span(expires) }).await?;
        session.out.object(&made, || chandler_protocol::text::clean(&made.join, usize::MAX))?;
        let uses = count(usize::try_from(made.uses).unwrap_or(usize::MAX), "computer");
        session.out.talk(&format!("lets {uses} join site {} until {}", made.site, moment(made.expires_at)));
        session.out.talk("Next, on that computer: chandler-agent run --join STRING");
        Ok(())
    }
}
