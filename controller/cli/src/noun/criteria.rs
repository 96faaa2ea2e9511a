//! `chandler criteria`: what the provider would rather have of the fleet, within every SLA.

use chandler_api::criteria::ProviderCriteria as Item;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};

use crate::problem::Failure;
use crate::session::Session;
use crate::show::Facts;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  chandler criteria show\n  chandler criteria set --own-first 20 --consolidate on")]
pub(crate) struct Criteria {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show the criteria
    #[command(after_help = "Examples:\n  chandler criteria show -o json")]
    Show,
    /// Change criteria; those that are not named stay
    #[command(
        after_help = "Examples:\n  chandler criteria set --margin-floor 10 --own-first 20 --consolidate on\n  chandler criteria set --own-first none"
    )]
    Set {
        /// Least that shall be left of a price, in percent of it; none: nothing is asked for
        #[arg(long, value_name = "PERCENT", value_parser = percent)]
        margin_floor: Option<Percent>,
        /// The provider's own computers come first where they cost at most this much more, in percent; or none
        #[arg(long, value_name = "PERCENT", value_parser = percent)]
        own_first: Option<Percent>,
        /// Whether computers that are nearly empty are emptied where others have room
        #[arg(long, value_name = "on|off", value_parser = PossibleValuesParser::new(["on", "off"]).map(|w| w == "on"))]
        consolidate: Option<bool>,
    },
}

/// A percentage, or none.
#[derive(Debug, Clone, Copy)]
struct Percent(Option<u32>);

fn percent(text: &str) -> Result<Percent, String> {
    match text {
        "none" => Ok(Percent(None)),
        text => text.parse().map(|n| Percent(Some(n))).map_err(|_| "write a whole number, or none".to_owned()),
    }
}

impl Criteria {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        let client = session.client()?;
        let mut criteria = client.criteria().await?;
        if let Verb::Set { margin_floor, own_first, consolidate } = self.verb {
            if margin_floor.is_none() && own_first.is_none() && consolidate.is_none() {
                let text = "say what changes: --margin-floor, --own-first or --consolidate";
                return Err(Failure::Usage(text.to_owned()));
            }
            criteria = Item {
                margin_floor_percent: margin_floor.map_or(criteria.margin_floor_percent, |p| p.0),
                own_first_percent: own_first.map_or(criteria.own_first_percent, |p| p.0),
                consolidate: consolidate.unwrap_or(criteria.consolidate),
            };
            criteria = client.criteria_put(&criteria).await?;
        }
        session.out.object(&criteria, || text(&criteria))
    }
}

fn text(c: &Item) -> String {
    let percent = |p: Option<u32>| p.map_or_else(|| "none".to_owned(), |p| format!("{p} %"));
    let mut facts = Facts::default();
    facts
        .add("margin floor", percent(c.margin_floor_percent))
        .add("own first", percent(c.own_first_percent))
        .add("consolidate", if c.consolidate { "on" } else { "off" });
    facts.to_string()
}
