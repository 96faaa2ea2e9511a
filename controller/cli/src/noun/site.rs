//! `chandler site`: places with computers of one owner.

use chandler_api::client::all;
use chandler_api::site::{Rates, Site as Item, SiteCreate, SiteRole, SiteUpdate};
use clap::{Args, Subcommand};

use super::Amount;
use crate::problem::Failure;
use crate::session::Session;
use crate::show::{Facts, Table};
use crate::word;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  chandler site list\n  chandler site show berlin-1")]
pub(crate) struct Site {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Args)]
struct RateArgs {
    /// What one core costs for one hour, such as "0.012 EUR"
    #[arg(long, value_name = "MONEY")]
    core_hour: Amount,
    /// What one GiB of memory costs for one hour, such as "0.003 EUR"
    #[arg(long, value_name = "MONEY")]
    gib_hour: Amount,
}

impl From<RateArgs> for Rates {
    fn from(args: RateArgs) -> Self {
        Self { core_hour: args.core_hour.0, gib_hour: args.gib_hour.0 }
    }
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make a site
    #[command(
        after_help = "Examples:\n  chandler site create berlin-1 --owner lab --role remote --country DE \\\n    --core-hour \"0.012 EUR\" --gib-hour \"0.003 EUR\""
    )]
    Create {
        /// Its name: 1 to 64 of a-z 0-9 . _ -
        name: String,
        /// Name or id of the party that owns the computers
        #[arg(long, value_name = "PARTY")]
        owner: String,
        /// Whose computers they are
        #[arg(long, value_name = "ROLE", value_parser = word::parser::<SiteRole>(&["customer", "provider", "remote"]))]
        role: SiteRole,
        /// Country it is in, as two letters
        #[arg(long, value_name = "CODE")]
        country: String,
        #[command(flatten)]
        rates: RateArgs,
    },
    /// List sites
    #[command(after_help = "Examples:\n  chandler site list -o json")]
    List,
    /// Show one site
    #[command(after_help = "Examples:\n  chandler site show berlin-1")]
    Show {
        /// Its name or id
        site: String,
    },
    /// Change what a site's capacity costs, for usage from now on
    #[command(
        after_help = "Examples:\n  chandler site set-rates berlin-1 --core-hour \"0.010 EUR\" --gib-hour \"0.002 EUR\""
    )]
    SetRates {
        /// Its name or id
        site: String,
        #[command(flatten)]
        rates: RateArgs,
    },
}

impl Site {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        let client = session.client()?;
        match self.verb {
            Verb::Create { name, owner, role, country, rates } => {
                let request = SiteCreate { name, owner, role, country, rates: rates.into() };
                let site = client.site_create(&request).await?;
                show(session, &site)?;
                session.out.talk(&format!("Next: chandler join-token create --site {}", site.name));
                Ok(())
            }
            Verb::Show { site } => show(session, &client.site(&site).await?.value),
            Verb::SetRates { site, rates } => {
                let read = client.site(&site).await?;
                let change = SiteUpdate { rates: Some(rates.into()) };
                show(session, &client.site_update(&site, &change, &read.etag).await?)
            }
            Verb::List => {
                let items = all(|page| client.sites(page)).await?;
                let empty =
                    "no sites yet. Next: chandler site create NAME --owner PARTY --role provider --country DE ...";
                session.out.list(&items, empty, || table(&items))
            }
        }
    }
}

fn table(items: &[Item]) -> Table {
    let mut table = Table::new(&["SITE", "ROLE", "COUNTRY", ">HOSTS", ">CORE-HOUR", ">GIB-HOUR", "OWNER"]);
    for s in items {
        let rates = [s.rates.core_hour.to_string(), s.rates.gib_hour.to_string()];
        let [core, gib] = rates;
        table.row([
            s.name.clone(),
            word::of(&s.role),
            s.country.clone(),
            s.hosts.to_string(),
            core,
            gib,
            s.owner.clone(),
        ]);
    }
    table
}

fn show(session: &Session, site: &Item) -> Result<(), Failure> {
    session.out.object(site, || {
        let mut facts = Facts::default();
        facts
            .add("site", &site.name)
            .add("id", site.id.to_string())
            .add("owner", &site.owner)
            .add("role", word::of(&site.role))
            .add("country", &site.country)
            .add("core-hour", site.rates.core_hour.to_string())
            .add("GiB-hour", site.rates.gib_hour.to_string())
            .add("hosts", site.hosts.to_string());
        facts.to_string()
    })
}
