//! `chandler offering`: what can be ordered and what it costs.

use std::path::PathBuf;

use chandler_api::client::all;
use chandler_api::offering::{Offering as Item, OfferingApply};
use clap::{Args, Subcommand};

use crate::document::{Assignment, Document};
use crate::problem::Failure;
use crate::session::Session;
use crate::show::{Facts, Table, moment};

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  chandler offering list\n  chandler offering show standard")]
pub(crate) struct Offering {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make an offering, or change its price for orders from now on
    #[command(
        after_help = "Examples:\n  chandler offering apply -f standard.toml\n\nThe file:\n  name = \"standard\"\n  marginPercent = 20\n  managementHour = { micros = 1000, currency = \"EUR\" }"
    )]
    Apply {
        /// The offering, as .toml or .json; - is stdin
        #[arg(short, long, value_name = "FILE")]
        file: PathBuf,
        /// Change a value of the file; may be given several times
        #[arg(long = "set", value_name = "KEY=VALUE")]
        changes: Vec<Assignment>,
    },
    /// List offerings
    #[command(after_help = "Examples:\n  chandler offering list")]
    List,
    /// Show one offering with the attributes a customer may choose
    #[command(after_help = "Examples:\n  chandler offering show standard")]
    Show {
        /// Its name
        name: String,
    },
}

impl Offering {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        let client = session.client()?;
        match self.verb {
            Verb::Apply { file, changes } => {
                let request: OfferingApply = Document::read(&file)?.parse(&changes)?;
                show(session, &client.offering_apply(&request).await?)
            }
            Verb::Show { name } => show(session, &client.offering(&name).await?),
            Verb::List => {
                let items = all(|page| client.offerings(page)).await?;
                session.out.list(&items, "no offerings yet. Next: chandler offering apply -f FILE", || {
                    let mut table =
                        Table::new(&["OFFERING", ">VERSION", "STATE", ">MARGIN", ">MANAGEMENT-HOUR", "SINCE"]);
                    for o in &items {
                        let margin = format!("{} %", o.margin_percent);
                        let hour = o.management_hour.to_string();
                        let since = moment(o.valid_from);
                        table.row([
                            o.name.clone(),
                            o.version.to_string(),
                            o.lifecycle_status.clone(),
                            margin,
                            hour,
                            since,
                        ]);
                    }
                    table
                })
            }
        }
    }
}

fn show(session: &Session, offering: &Item) -> Result<(), Failure> {
    session.out.object(offering, || {
        let mut facts = Facts::default();
        facts
            .add("offering", format!("{} v{}, {}", offering.name, offering.version, offering.lifecycle_status))
            .add("since", moment(offering.valid_from))
            .add("margin", format!("{} % on the site's rates", offering.margin_percent))
            .add("management", format!("{} a service and hour", offering.management_hour));
        let mut table = Table::new(&["ATTRIBUTE", "VALUE", "UNIT", "FROM", "TO", "MEANS"]);
        for c in &offering.characteristics {
            let range = [c.value_type.clone(), c.unit_of_measure.clone(), c.value_from.clone(), c.value_to.clone()];
            table.row([c.name.clone()].into_iter().chain(range).chain([c.description.clone()]));
        }
        if offering.characteristics.is_empty() { facts.to_string() } else { format!("{facts}\n\n{table}") }
    })
}
