//! `chandler token`: who may do what through the API.

use chandler_api::token::{Role, TokenCreate};
use clap::{Args, Subcommand};

use crate::problem::Failure;
use crate::session::Session;
use crate::word;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  chandler token create --role customer --party acme > acme.token")]
pub(crate) struct Token {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make a token; its secret is printed on stdout, and only now
    #[command(
        after_help = "Examples:\n  chandler token create --role customer --party acme > acme.token\n  chandler token create --role operator > operator.token"
    )]
    Create {
        /// What its holder may do
        #[arg(long, value_name = "ROLE", value_parser = word::parser::<Role>(&["operator", "customer", "siteOwner"]))]
        role: Role,
        /// Name or id of the party it acts for; not for operators
        #[arg(long, required_if_eq_any([("role", "customer"), ("role", "siteOwner")]))]
        party: Option<String>,
    },
    /// End a token at once
    #[command(after_help = "Examples:\n  chandler token delete t-7k3mq2x9vd4c8z1e")]
    Delete {
        /// Its id, as told when it was made
        id: String,
    },
}

impl Token {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        let client = session.client()?;
        match self.verb {
            Verb::Create { role, party } => {
                let made = client.token_create(&TokenCreate { role, party }).await?;
                session.out.object(&made, || chandler_protocol::text::clean(&made.secret, usize::MAX))?;
                session.out.talk(&format!("made {}. To end it: chandler token delete {}", made.id, made.id));
                Ok(())
            }
            Verb::Delete { id } => {
                client.token_delete(&id).await?;
                session.out.talk(&format!("{id} is good for nothing any more"));
                Ok(())
            }
        }
    }
}
