//! `chandler event`: every change of state.

use chandler_api::client::Feed;
use chandler_api::event::{Event as Item, EventQuery};
use chandler_api::page::LIMIT_MAX;
use chandler_protocol::text::clean;
use clap::{Args, Subcommand};

use crate::problem::Failure;
use crate::session::Session;
use crate::show::{Table, moment, stdout};

/// Most events one list prints.
const EVENTS_MAX: usize = 100_000;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  chandler event list --follow\n  chandler event list --subject svc-7k3mq2x9vd4c8z1e"
)]
pub(crate) struct Event {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List events, oldest first
    #[command(after_help = "Examples:\n  chandler event list --after 8812\n  chandler event list --follow -o json")]
    List {
        /// Only events with a higher id
        #[arg(long, value_name = "ID", default_value_t = 0)]
        after: u64,
        /// Only events about this thing
        #[arg(long, value_name = "ID")]
        subject: Option<String>,
        /// Most events printed before following
        #[arg(long, value_name = "N")]
        limit: Option<usize>,
        /// Go on as they happen, until Ctrl-C
        #[arg(long)]
        follow: bool,
    },
}

impl Event {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        let Verb::List { after, subject, limit, follow } = self.verb;
        let limit = limit.unwrap_or(EVENTS_MAX).min(EVENTS_MAX);
        if follow {
            return watch(session, after, subject.as_deref()).await;
        }
        let (items, more) = read(session, after, subject, limit).await?;
        session.out.list(&items, "no events", || {
            let mut table = Table::new(&[">ID", "AT", "NOUN", "NAME", "FROM", "TO", "WHY"]);
            for e in &items {
                let name = if e.name.is_empty() { &e.subject } else { &e.name };
                let (id, at) = (e.id.to_string(), moment(e.at));
                table.row([id, at, e.noun.clone(), name.clone(), e.from.clone(), e.to.clone(), e.reason.clone()]);
            }
            table
        })?;
        if let (true, Some(last)) = (more, items.last()) {
            session.out.talk(&format!("there are more: --after {}", last.id));
        }
        Ok(())
    }
}

/// Events up to a limit, and whether there are more.
async fn read(
    session: &Session,
    mut after: u64,
    subject: Option<String>,
    limit: usize,
) -> Result<(Vec<Item>, bool), Failure> {
    let client = session.client()?;
    let mut items: Vec<Item> = Vec::new();
    // Ends: each turn adds at least one event of a higher id, or returns.
    loop {
        let query = EventQuery { after, limit: Some(LIMIT_MAX), subject: subject.clone() };
        let page = client.events(&query).await?.items;
        let Some(last) = page.last().filter(|e| e.id > after) else { return Ok((items, false)) };
        after = last.id;
        let full = page.len() >= LIMIT_MAX as usize;
        items.extend(page);
        if items.len() > limit {
            items.truncate(limit);
            return Ok((items, true));
        }
        if !full {
            return Ok((items, false));
        }
    }
}

async fn watch(session: &Session, after: u64, subject: Option<&str>) -> Result<(), Failure> {
    let mut stream = session.client()?.event_stream(after);
    loop {
        match stream.next().await? {
            Feed::Reset => session.out.talk("-- some events are gone: what follows starts later"),
            Feed::Event(e) if subject.is_some_and(|s| s != e.subject) => {}
            Feed::Event(e) if session.out.is_json() => session.out.json_line(&e)?,
            Feed::Event(e) => stdout(&line(&e))?,
        }
    }
}

fn line(e: &Item) -> String {
    let name = if e.name.is_empty() { &e.subject } else { &e.name };
    let change = if e.from.is_empty() { e.to.clone() } else { format!("{} -> {}", e.from, e.to) };
    let text = format!("{} {} {} {name} {change}  {}", e.id, moment(e.at), e.noun, e.reason);
    clean(&text, usize::MAX).trim_end().to_owned()
}
