//! `chandler sla`: what was agreed and whether it holds.

use std::path::PathBuf;

use chandler_api::client::all;
use chandler_api::sla::{AvailabilityTerm, CostTerm, InteractivityTerm, Sla as Item, SlaAmend, SlaTerms};
use chandler_api::value::{MonthlyCost, Quantity, Span};
use chandler_protocol::{Micros, Ppm};
use clap::{Args, Subcommand};
use serde::Deserialize;

use super::order::WaitArgs;
use crate::document::Document;
use crate::problem::{Again, Failure, shell};
use crate::session::Session;
use crate::show::{Facts, Table, moment};
use crate::word;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  chandler sla show notes\n  chandler sla amend notes --interactivity \"20 ms\" --wait"
)]
pub(crate) struct Sla {
    #[command(subcommand)]
    verb: Verb,
}

/// The terms that change; the others stay.
#[derive(Debug, Args)]
struct TermArgs {
    /// At most this cost, such as "30 EUR/month"
    #[arg(long, value_name = "COST")]
    cost: Option<MonthlyCost>,
    /// 95 of 100 answers within this time, such as "50 ms"
    #[arg(long, value_name = "TIME")]
    interactivity: Option<Micros>,
    /// Up for at least this share of the time, such as "99.5 %"
    #[arg(long, value_name = "SHARE")]
    availability: Option<Ppm>,
    /// Only in these countries, such as DE,CH
    #[arg(long, value_name = "CODES", value_delimiter = ',')]
    residency: Vec<String>,
    /// Terms that replace the old ones whole: a .toml or .json file of [sla], or an order file
    #[arg(short, long, value_name = "FILE", conflicts_with_all = ["cost", "interactivity", "availability", "residency"])]
    file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List SLAs
    #[command(after_help = "Examples:\n  chandler sla list")]
    List,
    /// Show one SLA: its terms, what was promised, and what is measured
    #[command(after_help = "Examples:\n  chandler sla show notes")]
    Show {
        /// Id of the agreement, or name of the service
        sla: String,
    },
    /// Change terms of an agreement; the service moves if it must
    #[command(
        after_help = "Examples:\n  chandler sla amend notes --interactivity \"20 ms\" --wait\n  chandler sla amend notes --cost \"30 EUR/month\" --residency DE,CH\n  chandler sla amend notes -f notes.toml"
    )]
    Amend {
        /// Id of the agreement, or name of the service
        sla: String,
        #[command(flatten)]
        terms: TermArgs,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Show every version of an agreement
    #[command(after_help = "Examples:\n  chandler sla history notes")]
    History {
        /// Id of the agreement, or name of the service
        sla: String,
    },
}

/// The part of an order file that matters here.
#[derive(Debug, Deserialize)]
struct WithTerms {
    sla: SlaTerms,
}

impl Sla {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        let client = session.client()?;
        match self.verb {
            Verb::List => {
                let items = all(|page| client.slas(page)).await?;
                session.out.list(&items, "no agreements yet. Next: chandler order submit -f FILE", || table(&items))
            }
            Verb::Show { sla } => {
                let sla = client.sla(&sla).await?.value;
                session.out.object(&sla, || text(&sla))
            }
            Verb::Amend { sla, terms, wait } => amend(session, &sla, terms, &wait).await,
            Verb::History { sla } => {
                let items = all(|page| client.sla_history(&sla, page)).await?;
                session.out.list(&items, "no versions", || {
                    let mut table = Table::new(&[">VERSION", "SINCE", "BY", "TERMS"]);
                    for v in &items {
                        table.row([v.version.to_string(), moment(v.since), v.by.clone(), terms_text(&v.terms)]);
                    }
                    table
                })
            }
        }
    }
}

async fn amend(session: &Session, sla: &str, args: TermArgs, wait: &WaitArgs) -> Result<(), Failure> {
    let client = session.client()?;
    let read = client.sla(sla).await?;
    let terms = match &args.file {
        Some(path) => terms_of(&Document::read(path)?)?,
        None => changed(read.value.terms.clone(), args)?,
    };
    let again = Again::Amend(format!("chandler sla amend {}", shell(sla)));
    let order = client.sla_amend(sla, &SlaAmend { sla: terms }, &read.etag).await;
    let order = order.map_err(|e| Failure::from(e).or_again(again.clone()))?;
    wait.finish(session, order, Some(again)).await
}

/// The terms of a file: of its table `sla`, or the whole file.
fn terms_of(document: &Document) -> Result<SlaTerms, Failure> {
    let whole: serde_json::Value = document.parse(&[])?;
    if whole.get("sla").is_some() { Ok(document.parse::<WithTerms>(&[])?.sla) } else { document.parse(&[]) }
}

fn changed(mut terms: SlaTerms, args: TermArgs) -> Result<SlaTerms, Failure> {
    if args.cost.is_none() && args.interactivity.is_none() && args.availability.is_none() && args.residency.is_empty() {
        let text = "say what changes: --cost, --interactivity, --availability, --residency, or a whole set by -f FILE";
        return Err(Failure::Usage(text.to_owned()));
    }
    if let Some(max) = args.cost {
        terms.cost = Some(CostTerm { max });
    }
    if let Some(p95) = args.interactivity {
        terms.interactivity = Some(InteractivityTerm { p95: Span(p95) });
    }
    if let Some(min) = args.availability {
        terms.availability = Some(AvailabilityTerm { min: Quantity(min) });
    }
    if !args.residency.is_empty() {
        terms.residency = args.residency.iter().map(|c| c.trim().to_ascii_uppercase()).collect();
    }
    Ok(terms)
}

fn table(items: &[Item]) -> Table {
    let mut table = Table::new(&["SERVICE", "CUSTOMER", "STATUS", ">VERSION", "TERMS", "AGREEMENT"]);
    for s in items {
        let (version, id) = (s.version.to_string(), s.id.to_string());
        table.row([s.service.clone(), s.customer.clone(), word::of(&s.status), version, terms_text(&s.terms), id]);
    }
    table
}

fn text(sla: &Item) -> String {
    let mut facts = Facts::default();
    facts
        .add("sla", format!("{} v{}, {}", sla.id, sla.version, sla.state))
        .add("service", format!("{}, customer {}", sla.service, sla.customer))
        .add("status", word::of(&sla.status))
        .add("since", moment(sla.since))
        .add("terms", terms_text(&sla.terms));
    let mut table = Table::new(&["ATTRIBUTE", "AGREED", "PREDICTED", "MEASURED", "STATUS", "BUDGET LEFT"]);
    for o in &sla.objectives {
        let measured = if o.measured.is_empty() { "not yet".to_owned() } else { o.measured.clone() };
        let left = o.budget.map_or_else(String::new, |b| Ppm(b.left_ppm).to_string());
        table.row([o.name.clone(), o.target.clone(), o.predicted.clone(), measured, word::of(&o.status), left]);
    }
    if sla.objectives.is_empty() { facts.to_string() } else { format!("{facts}\n\n{table}") }
}

/// Terms in one line.
fn terms_text(terms: &SlaTerms) -> String {
    let mut parts = Vec::new();
    if let Some(cost) = &terms.cost {
        parts.push(format!("cost <= {}", cost.max));
    }
    if let Some(term) = &terms.interactivity {
        parts.push(format!("p95 <= {}", term.p95));
    }
    if let Some(term) = &terms.availability {
        parts.push(format!("up >= {}", term.min.0));
    }
    if !terms.residency.is_empty() {
        parts.push(format!("in {}", terms.residency.join(" or ")));
    }
    if let Some(term) = &terms.capacity {
        parts.push(format!("machine >= {} cores, {} GPUs", term.cores, term.gpus));
    }
    if let Some(term) = &terms.deadline {
        parts.push(format!("done within {}", term.within));
    }
    if parts.is_empty() { "none".to_owned() } else { parts.join(", ") }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::document::Format;

    fn args() -> TermArgs {
        TermArgs { cost: None, interactivity: None, availability: None, residency: Vec::new(), file: None }
    }

    #[test]
    fn an_amendment_changes_what_is_named_and_keeps_the_rest() {
        let old: SlaTerms =
            serde_json::from_value(serde_json::json!({"cost": {"max": "30 EUR/month"}, "residency": ["FR"]})).unwrap();
        let new = TermArgs {
            interactivity: Some("50 ms".parse().unwrap()),
            residency: vec!["de".to_owned(), " CH".to_owned()],
            ..args()
        };
        let terms = changed(old.clone(), new).unwrap();
        assert_eq!(terms_text(&terms), "cost <= 30 EUR/month, p95 <= 50 ms, in DE or CH");
        assert_eq!(changed(old, args()).unwrap_err().exit(), 2);
    }

    #[test]
    fn terms_come_from_an_order_file_or_from_a_file_of_their_own() {
        let document = |text: &str| Document {
            name: "t.toml".to_owned(),
            text: text.to_owned(),
            format: Format::Toml,
            base: PathBuf::new(),
        };
        let own = terms_of(&document("cost = { max = \"5 EUR/month\" }")).unwrap();
        let order = terms_of(&document("name = \"n\"\n[sla]\ncost = { max = \"5 EUR/month\" }")).unwrap();
        assert_eq!(own, order);
        assert!(terms_of(&document("coast = 1")).is_err());
    }
}
