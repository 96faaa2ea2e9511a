//! `chandler party`: organisations and persons.

use chandler_api::client::all;
use chandler_api::party::{Party as Item, PartyCreate, PartyRole};
use clap::{Args, Subcommand};

use crate::problem::Failure;
use crate::session::Session;
use crate::show::{Facts, Table};
use crate::word;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  chandler party create acme --role customer\n  chandler party list")]
pub(crate) struct Party {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make a party
    #[command(
        after_help = "Examples:\n  chandler party create acme --role customer\n  chandler party create lab --role siteOwner --role customer"
    )]
    Create {
        /// Its name: 1 to 64 of a-z 0-9 . _ -
        name: String,
        /// What it is to this controller; may be given several times
        #[arg(long = "role", required = true, value_name = "ROLE", value_parser = word::parser::<PartyRole>(&["customer", "serviceProvider", "siteOwner"]))]
        roles: Vec<PartyRole>,
    },
    /// List parties
    #[command(after_help = "Examples:\n  chandler party list -o json")]
    List,
    /// Show one party
    #[command(after_help = "Examples:\n  chandler party show acme")]
    Show {
        /// Its name or id
        party: String,
    },
}

impl Party {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        let client = session.client()?;
        match self.verb {
            Verb::Create { name, roles } => show(session, &client.party_create(&PartyCreate { name, roles }).await?),
            Verb::Show { party } => show(session, &client.party(&party).await?),
            Verb::List => {
                let items = all(|page| client.parties(page)).await?;
                let empty = "no parties yet. Next: chandler party create NAME --role customer";
                session.out.list(&items, empty, || {
                    let mut table = Table::new(&["NAME", "ROLES", "ID"]);
                    items.iter().for_each(|p| table.row([p.name.clone(), roles(p), p.id.to_string()]));
                    table
                })
            }
        }
    }
}

fn roles(party: &Item) -> String {
    party.roles.iter().map(word::of).collect::<Vec<_>>().join(", ")
}

fn show(session: &Session, party: &Item) -> Result<(), Failure> {
    session.out.object(party, || {
        let mut facts = Facts::default();
        facts.add("party", &party.name).add("id", party.id.to_string()).add("roles", roles(party));
        facts.to_string()
    })
}
