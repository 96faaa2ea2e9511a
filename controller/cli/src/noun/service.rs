//! `chandler service`: what runs for a customer, and task items likewise.

mod explain;
mod logs;
mod outputs;

use std::path::PathBuf;

use chandler_api::client::{Client, ClientError};
use chandler_api::movement::{MoveRequest, MoveTo};
use chandler_api::order::{OwnerKind, SoftwareKind};
use chandler_api::page::LIMIT_MAX;
use chandler_api::problem::{NOT_A_DESTINATION, Problem};
use chandler_api::service::{FrontDoor, Placement, Service as Item, ServiceQuery};
use chandler_protocol::Bytes;
use clap::{Args, Subcommand};

use super::movement::{self, FollowArgs};
use super::order::WaitArgs;
use super::quote::attributes;
use crate::problem::{Failure, shell};
use crate::session::Session;
use crate::show::{Facts, Table, age, moment};
use crate::{confirm, word};

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  chandler service list\n  chandler service explain notes")]
pub(crate) struct Service {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List services and task items
    #[command(
        after_help = "Examples:\n  chandler service list\n  chandler service list --order o-7k3mq2x9vd4c8z1e -o json"
    )]
    List {
        /// Only those of this order
        #[arg(long, value_name = "ID")]
        order: Option<String>,
        /// Also terminated ones
        #[arg(long)]
        all: bool,
    },
    /// Show one service: how it is, where, and since when
    #[command(after_help = "Examples:\n  chandler service show notes")]
    Show {
        /// Its name or id
        service: String,
    },
    /// Why it is where it is, and not elsewhere
    #[command(after_help = "Examples:\n  chandler service explain notes\n  chandler service explain notes --all")]
    Explain {
        /// Its name or id
        service: String,
        /// Also every candidate and every refused host
        #[arg(long)]
        all: bool,
    },
    /// Move a copy of a service elsewhere; those who use it notice nothing
    #[command(
        after_help = "Examples:\n  chandler service move notes --to berlin-pc-4 --follow\n  chandler service move notes --to provider --wait\n\nNever outside its SLA and policy: what does not fit is refused with the rule that binds and the nearest host that fits."
    )]
    Move {
        /// Its name or id
        service: String,
        /// A host, a site, or an owner: customer, provider or remote
        #[arg(long, value_name = "PLACE")]
        to: String,
        #[command(flatten)]
        follow: FollowArgs,
    },
    /// Stop a service, wipe its data and give its resources back
    #[command(after_help = "Examples:\n  chandler service delete notes --yes --wait")]
    Delete {
        /// Its name or id
        service: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Print its log
    #[command(after_help = "Examples:\n  chandler service logs notes --follow\n  chandler service logs notes --stderr")]
    Logs {
        /// Its name or id
        service: String,
        /// Standard error instead of standard output
        #[arg(long)]
        stderr: bool,
        /// Go on as it grows, until Ctrl-C
        #[arg(long)]
        follow: bool,
    },
    /// Fetch collected files of a task
    #[command(
        after_help = "Examples:\n  chandler service outputs svc-7k3mq2x9vd4c8z1e --to results\n  chandler service outputs --order o-7k3mq2x9vd4c8z1e --to results\n\nWith --order, the files of each item go to a directory of the item's name."
    )]
    Outputs {
        /// Name or id of a service or task item
        #[arg(required_unless_present = "order", conflicts_with = "order")]
        service: Option<String>,
        /// All items of this order
        #[arg(long, value_name = "ID")]
        order: Option<String>,
        /// Directory to write to; made when it is not there
        #[arg(long, value_name = "DIR")]
        to: PathBuf,
    },
}

impl Service {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self.verb {
            Verb::List { order, all } => {
                let items =
                    list_all(session.client()?, &ServiceQuery { order, all, ..ServiceQuery::default() }).await?;
                session.out.list(&items, "no services. Next: chandler order submit -f FILE", || table(&items))
            }
            Verb::Show { service } => {
                let service = session.client()?.service(&service).await?;
                session.out.object(&service, || text(&service))
            }
            Verb::Move { service, to, follow } => change_place(session, &service, &to, &follow).await,
            Verb::Explain { service, all } => explain::run(session, &service, all).await,
            Verb::Delete { service, yes, wait } => delete(session, &service, yes, &wait).await,
            Verb::Logs { service, stderr, follow } => logs::run(session, &service, stderr, follow).await,
            Verb::Outputs { service: Some(service), to, .. } => outputs::of_service(session, &service, &to).await,
            Verb::Outputs { order: Some(order), to, .. } => outputs::of_order(session, &order, &to).await,
            Verb::Outputs { .. } => Err(Failure::Usage("name a service, or give --order".to_owned())),
        }
    }
}

/// Every service that the query means.
async fn list_all(client: &Client, query: &ServiceQuery) -> Result<Vec<Item>, ClientError> {
    chandler_api::client::all(|page| async move {
        let query = ServiceQuery { limit: Some(LIMIT_MAX), page_token: page.page_token, ..query.clone() };
        client.services(&query).await
    })
    .await
}

async fn change_place(session: &Session, service: &str, to: &str, follow: &FollowArgs) -> Result<(), Failure> {
    let client = session.client()?;
    let order = |to: MoveTo| {
        let request = MoveRequest { to };
        async move { client.service_move(service, &request).await }
    };
    let is_unknown = |e: &ClientError| matches!(e, ClientError::Problem(p) if p.code == NOT_A_DESTINATION.code);
    let ordered = match word::parse::<OwnerKind>(to) {
        Ok(owner) => order(MoveTo::Owner(owner)).await,
        Err(_) => match order(MoveTo::Host(to.to_owned())).await {
            // Not a host: a site may have this name.
            Err(error) if is_unknown(&error) => order(MoveTo::Site(to.to_owned())).await,
            other => other,
        },
    };
    let ordered = ordered.map_err(|error| match is_unknown(&error) {
        true => Problem::new(NOT_A_DESTINATION, format!("there is no host or site {to}")).into(),
        false => Failure::from(error),
    })?;
    if follow.follow {
        movement::follow(session, ordered, follow.timeout).await
    } else {
        movement::ordered(session, &ordered)
    }
}

async fn delete(session: &Session, service: &str, yes: bool, wait: &WaitArgs) -> Result<(), Failure> {
    let client = session.client()?;
    if !yes {
        let known = client.service(service).await?;
        let places: Vec<String> = known.placements.iter().map(|p| format!("{} at {}", p.host, p.site)).collect();
        let places = if places.is_empty() { "nowhere".to_owned() } else { places.join(", ") };
        let what = format!(
            "{} of customer {} runs on {places}. Deleting stops it and wipes its data there; this cannot be undone.",
            known.name, known.customer
        );
        confirm::yes(session, &what, &format!("Delete {}?", known.name), yes).await?;
    }
    let order = client.service_delete(service).await?;
    wait.finish(session, order, None).await
}

fn table(items: &[Item]) -> Table {
    let mut table = Table::new(&["SERVICE", "CUSTOMER", "STATE", "STATUS", "HOST", "SITE", ">SINCE", "WHY"]);
    for s in items {
        let place =
            |of: fn(&Placement) -> &String| s.placements.iter().map(|p| of(p).as_str()).collect::<Vec<_>>().join(",");
        table.row([
            named(s),
            s.customer.clone(),
            word::of(&s.state),
            word::of(&s.operating_status),
            place(|p| &p.host),
            place(|p| &p.site),
            age(s.since),
            s.reason.clone(),
        ]);
    }
    table
}

/// Its name; of a task item, that of the task and the item.
fn named(service: &Item) -> String {
    service.item.as_ref().map_or_else(|| service.name.clone(), |item| format!("{}/{item}", service.name))
}

fn text(s: &Item) -> String {
    let mut facts = Facts::default();
    let kind = if s.kind == SoftwareKind::Task { "task item" } else { "service" };
    let state = format!(
        "{}, {} since {} ({})",
        word::of(&s.state),
        word::of(&s.operating_status),
        moment(s.since),
        age(s.since)
    );
    facts
        .add(kind, format!("{} ({}), customer {}, agreement {}", named(s), s.id, s.customer, s.agreement))
        .add("state", state)
        .add("why", &s.reason)
        .add("exit", s.exit.clone().unwrap_or_default());
    for place in &s.placements {
        let note = if place.message.is_empty() { String::new() } else { format!(": {}", place.message) };
        let ports: Vec<String> = place.ports.iter().map(|p| format!("{} on port {}", p.name, p.port)).collect();
        facts
            .add("on", format!("{} at {}, {}{note}", place.host, place.site, place.phase))
            .add("because", &place.reason)
            .add("listens", ports.join(", "));
    }
    for door in &s.front {
        facts.add("front", front(door));
    }
    if let Some(tenure) = &s.tenure {
        let owner = tenure.owner.as_deref().unwrap_or("nobody for now");
        let stage = if tenure.stage == "settled" { String::new() } else { format!(", {}", tenure.stage) };
        facts.add("state owner", format!("{owner}, epoch {}{stage}", tenure.epoch));
    }
    for open in &s.moves {
        facts.add("moving", movement::brief(open));
    }
    if let Some(predicted) = &s.predicted {
        attributes(&mut facts, predicted);
    }
    for move_ in &s.replacements {
        facts.add("moved", format!("{} {} -> {}: {}", moment(move_.at), move_.from, move_.to, move_.reason));
    }
    for output in &s.outputs {
        facts.add("output", format!("{}, {}", output.path, Bytes(output.length)));
    }
    if s.kind == SoftwareKind::Service {
        facts.add("why here", format!("chandler service explain {}", shell(&s.name)));
    } else if !s.outputs.is_empty() {
        facts.add("next", format!("chandler service outputs {} --to DIR", s.id));
    }
    facts.to_string()
}

/// One front door in one line: where, how it answers, what failed.
fn front(door: &FrontDoor) -> String {
    let addresses: Vec<String> = door.addresses.iter().map(|a| format!("{} {}", a.port, a.address)).collect();
    let mut parts = vec![if addresses.is_empty() { "not listening".to_owned() } else { addresses.join(", ") }];
    parts[0].push_str(&format!(" on {}", door.host));
    if let (Some(p50), Some(p95)) = (door.p50_micros, door.p95_micros) {
        parts.push(format!("p50 {p50}, p95 {p95}"));
    }
    parts.push(format!("{} requests, {} failed", door.requests, door.failed));
    if door.holding {
        parts.push(format!("{} wait", door.waiting));
    }
    if !door.connected {
        parts.push("old values: its host is not connected".to_owned());
    }
    if !door.message.is_empty() {
        parts.push(door.message.clone());
    }
    parts.join("; ")
}
