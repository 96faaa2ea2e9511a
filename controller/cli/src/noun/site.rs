//! `chandler site`: places with computers of one owner.

use chandler_api::client::all;
use chandler_api::drain::DrainRequest;
use chandler_api::site::{Maintenance, Rates, Site as Item, SiteCreate, SiteRole, SiteUpdate};
use chandler_api::value::{Span, Time};
use chandler_protocol::Micros;
use clap::{Args, Subcommand};

use super::drain::{self, DrainArgs};
use super::rates::{RateArgs, RateChange, costs};
use crate::problem::Failure;
use crate::session::Session;
use crate::show::{Facts, Table, moment};
use crate::word;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  chandler site list\n  chandler site show berlin-1")]
pub(crate) struct Site {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make a site
    #[command(
        after_help = "Examples:\n  chandler site create berlin-1 --owner lab --role remote --country DE \\\n    --core-hour \"0.012 EUR\" --gib-hour \"0.003 EUR\" --gpu-hour \"0.50 EUR\""
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
    /// Change a site: its rates, when its computers are there, when it is worked on
    #[command(
        after_help = "Examples:\n  chandler site set berlin-1 --hours \"Mon-Fri 08:00-18:00 Europe/Berlin\" --lead \"15 min\"\n  chandler site set berlin-1 --maintenance \"2026-12-01T02:00:00Z 2026-12-01T04:00:00Z new switch\"\n  chandler site set berlin-1 --no-maintenance --hours always"
    )]
    Set {
        /// Its name or id
        site: String,
        #[command(flatten)]
        change: SetArgs,
    },
    /// Leave a site: no new work comes to its hosts, and what is there moves away
    #[command(
        after_help = "Examples:\n  chandler site drain berlin-1 --reason 'moving house' --wait\n\nIt ends when nothing runs there any more, or says exactly what cannot go and why (exit status 7)."
    )]
    Drain {
        /// Its name or id
        site: String,
        #[command(flatten)]
        drain: DrainArgs,
    },
    /// Let new work come to a site again
    #[command(after_help = "Examples:\n  chandler site undrain berlin-1")]
    Undrain {
        /// Its name or id
        site: String,
    },
}

/// What changes of a site; the rest stays.
#[derive(Debug, Args)]
struct SetArgs {
    #[command(flatten)]
    rates: RateChange,
    /// When its computers are there, such as "Mon-Fri 08:00-18:00 Europe/Berlin"; or always
    #[arg(long, value_name = "HOURS")]
    hours: Option<String>,
    /// A time in which it is worked on: FROM TO and why; may be given several times and replaces those there are
    #[arg(long, value_name = "WINDOW", value_parser = window)]
    maintenance: Vec<Maintenance>,
    /// It is not worked on after all
    #[arg(long, conflicts_with = "maintenance")]
    no_maintenance: bool,
    /// How long before it closes it is left, such as "30 min"
    #[arg(long, value_name = "TIME")]
    lead: Option<Micros>,
}

impl SetArgs {
    /// The change, for a site with these rates.
    fn change(self, before: &Rates) -> Result<SiteUpdate, Failure> {
        let rates = self.rates.of(before);
        let change = SiteUpdate {
            rates,
            maintenance: (self.no_maintenance || !self.maintenance.is_empty()).then_some(self.maintenance),
            hours: self.hours.map(|h| if h == "always" { String::new() } else { h }),
            lead: self.lead.map(Span),
        };
        if change == SiteUpdate::default() {
            let text = "say what changes: --core-hour, --gib-hour, --gpu-hour, --hours, --maintenance, --no-maintenance or --lead";
            return Err(Failure::Usage(text.to_owned()));
        }
        Ok(change)
    }
}

/// `FROM TO why`, the times as RFC 3339.
fn window(text: &str) -> Result<Maintenance, String> {
    let mut words = text.trim().splitn(3, ' ');
    let mut time = || {
        let word = words.next().unwrap_or_default();
        let time = serde_json::from_value::<Time>(serde_json::Value::String(word.to_owned()));
        time.map_err(|_| format!("{word:?} is not a time: write \"FROM TO why\" with times as 2026-12-01T02:00:00Z"))
    };
    let (from, to) = (time()?, time()?);
    let reason = words.next().unwrap_or_default().trim().to_owned();
    Ok(Maintenance { from, to, reason })
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
                let change = SiteUpdate { rates: Some(rates.into()), ..SiteUpdate::default() };
                show(session, &client.site_update(&site, &change, &read.etag).await?)
            }
            Verb::Set { site, change } => {
                let read = client.site(&site).await?;
                let change = change.change(&read.value.rates)?;
                show(session, &client.site_update(&site, &change, &read.etag).await?)
            }
            Verb::Drain { site, drain: args } => {
                let request = DrainRequest { reason: args.reason.clone() };
                let first = client.site_drain(&site, &request).await?;
                drain::finish(session, "site", first, &args, || client.site_drain_report(&site)).await
            }
            Verb::Undrain { site } => {
                let report = client.site_undrain(&site).await?;
                session.out.object(&report, || drain::text(&report))
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
    let mut table =
        Table::new(&["SITE", "ROLE", "COUNTRY", ">HOSTS", ">CORE-HOUR", ">GIB-HOUR", "?>GPU-HOUR", "OWNER"]);
    for s in items {
        table.row([
            s.name.clone(),
            word::of(&s.role),
            s.country.clone(),
            s.hosts.to_string(),
            s.rates.core_hour.to_string(),
            s.rates.gib_hour.to_string(),
            costs(s.rates.gpu_hour.as_ref()).map(ToString::to_string).unwrap_or_default(),
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
            .add("GPU-hour", costs(site.rates.gpu_hour.as_ref()).map(ToString::to_string).unwrap_or_default())
            .add("hosts", site.hosts.to_string())
            .add("open", site.hours.as_deref().unwrap_or("always"))
            .add("left", format!("{} before it closes", site.lead))
            .add("draining", site.draining.as_ref().map(drain::since).unwrap_or_default());
        for window in &site.maintenance {
            let times = format!("{} to {}", moment(window.from), moment(window.to));
            facts.add("closed", format!("{times} {}", window.reason).trim_end());
        }
        facts.to_string()
    })
}
