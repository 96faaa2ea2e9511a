//! `chandler order`: what customers ask for.

use std::path::PathBuf;

use chandler_api::client::all;
use chandler_api::order::{Order as Item, SoftwareKind};
use chandler_protocol::Micros;
use chandler_protocol::text::clean;
use clap::{Args, Subcommand};

use crate::document::Assignment;
use crate::order_file::OrderFile;
use crate::problem::{Again, Failure, nearest, shell};
use crate::session::Session;
use crate::show::{Facts, Table, age, moment};
use crate::{upload, wait, word};

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  chandler order submit -f notes.toml --wait\n  chandler order list")]
pub(crate) struct Order {
    #[command(subcommand)]
    verb: Verb,
}

/// The examples, and what may stand in an order file.
const SUBMIT_HELP: &str = r#"Examples:
  chandler order submit -f notes.toml --wait
  chandler order submit -f notes.toml --set sla.cost.max="11.20 EUR/month"
  chandler order submit -f count.toml --items 'data/*.csv' --wait --timeout "1 h"

The order file (TOML, or the same as JSON); what has a default may be left out:
  customer = "acme"                  # not with a customer's own token
  name     = "notes"                 # action = "modify" changes the service of this name
  [software]
  kind        = "service"            # or "task": runs to completion, once for each item
  artifact    = "notes@1.0.0"        # or installed = { name = "python3", path = "/usr/bin/python3" }
  command     = ["./notes", "--listen", "127.0.0.1:{port.http}", "--data", "{state}"]
                                     # ./ is inside the artifact; {port.NAME} {state} {work}, in tasks {item}
  environment = { MODE = "quiet" }
  limits      = { cpu = 0.5, memory = "256 MiB", pids = 100, enforce = false }
  port        = [{ name = "http", mode = "http", front = 18080 }]          # front: its number at the front doors
  state       = { path = "data", exclusive = true }
  health      = { http = "/healthz", port = "http", interval = "1 s" }     # or tcp = true, or exec = [..]
  prepare     = { http = "/prepare", within = "30 s" }      # told before it is moved; or tcp = true, or exec = [..]
  restart     = { attempts = 5, delay = "200 ms", delayMax = "30 s" }
  stop        = { signal = "terminate", grace = "10 s" }
  outputs     = ["{item}.json"]      # tasks: collected from the working directory, where the inputs are put
  timeLimit   = "10 min"             # tasks: for one run
  retries     = 0                    # tasks
  [sla]                              # any one alone, or any combination
  cost          = { max = "30 EUR/month" }
  interactivity = { p95 = "50 ms" }
  availability  = { min = "99.5 %" }
  residency     = ["DE", "CH"]
  capacity      = { cores = 4, gpus = 0 } # cores of the machine; GPUs that it has for itself
  deadline      = { within = "2 h" } # tasks
  [policy]
  owners   = ["customer", "provider", "partner", "remote"]
  replicas = 1                       # or { min = 1, max = 3 }: the availability decides
  move     = { hold = "2 s", drain = "5 s", cut = false, rate = "50 MiB/s", keep = "24 h" }
  onPartition = "stop"               # or "keepRunning": with exclusive state it waits for a silent host, never elsewhere
  onLoss   = "wait"                  # or "startEmpty"
  criteria = { prefer = ["customer"], premiumPercent = 10, at = [{ when = "Mon-Fri 12:00-14:00 Europe/Berlin", blackout = true }] }
  [front]                            # front doors beside those on the customer's own computers
  on       = ["edge-1"]              # hosts or sites
  lan      = false                   # true: also for others on the same network
  [[uses]]                           # a service of the same customer; DB gets the address of its front door
  service  = "db"
  env      = { DB = "tcp" }
  [[item]]                           # tasks; or --items 'data/*.csv' makes one for each file
  name   = "a"
  inputs = [{ path = "a.csv", file = "data/a.csv" }]"#;

/// An order file and what is changed in it.
#[derive(Debug, Args)]
pub(crate) struct FileArgs {
    /// The order, as .toml or .json; - is stdin
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
    /// Change a value of the file, such as sla.cost.max="30 EUR/month"; may be given several times
    #[arg(long = "set", value_name = "KEY=VALUE")]
    changes: Vec<Assignment>,
    /// Add an item to the task for each of these local files; * and ? may stand in a file name
    #[arg(long, value_name = "GLOB", num_args = 1..)]
    items: Vec<String>,
}

impl FileArgs {
    pub(crate) fn read(&self) -> Result<OrderFile, Failure> {
        OrderFile::read(&self.file, &self.changes, &self.items)
    }

    /// A command with the same file and changes, to be typed next.
    pub(crate) fn command(&self, verb: &str) -> String {
        let mut text = format!("{verb} -f {}", shell(&self.file.display().to_string()));
        for change in &self.changes {
            let value = change.value.as_str().map_or_else(|| change.value.to_string(), str::to_owned);
            text.push_str(&format!(" --set {}={}", shell(&change.path), shell(&value)));
        }
        for pattern in &self.items {
            text.push_str(&format!(" --items {}", shell(pattern)));
        }
        text
    }
}

/// How long to wait for an order.
#[derive(Debug, Args)]
pub(crate) struct WaitArgs {
    /// Wait until it has ended, telling each phase
    #[arg(long)]
    pub(crate) wait: bool,
    /// Longest wait; the work goes on after it
    #[arg(long, value_name = "TIME", default_value = "10 min")]
    pub(crate) timeout: Micros,
}

impl WaitArgs {
    /// Waits if asked to, and says how the order is or has ended.
    pub(crate) async fn finish(&self, session: &Session, order: Item, again: Option<Again>) -> Result<(), Failure> {
        if self.wait {
            wait::order(session, order, self.timeout, again).await
        } else {
            wait::ended(session, &order, again)
        }
    }
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Submit an order
    #[command(
        after_help = SUBMIT_HELP
    )]
    Submit {
        #[command(flatten)]
        file: FileArgs,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// List orders
    #[command(after_help = "Examples:\n  chandler order list -o json")]
    List,
    /// Show one order and what has happened to it
    #[command(after_help = "Examples:\n  chandler order show o-7k3mq2x9vd4c8z1e")]
    Show {
        /// Its id
        id: String,
    },
    /// Cancel an order that has not ended
    #[command(after_help = "Examples:\n  chandler order cancel o-7k3mq2x9vd4c8z1e")]
    Cancel {
        /// Its id
        id: String,
    },
}

impl Order {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self.verb {
            Verb::Submit { file, wait } => submit(session, &file, &wait).await,
            Verb::List => list(session).await,
            Verb::Show { id } => {
                let order = session.client()?.order(&id).await?;
                session.out.object(&order, || text(&order))
            }
            Verb::Cancel { id } => {
                let order = session.client()?.order_cancel(&id).await?;
                session.out.object(&order, || format!("{} {}", order.id, word::of(&order.state)))
            }
        }
    }
}

async fn submit(session: &Session, file: &FileArgs, wait: &WaitArgs) -> Result<(), Failure> {
    let mut order = file.read()?;
    upload::inputs(session, &mut order.request, &order.base).await?;
    let again = Again::Set(file.command("chandler order submit"));
    let made = session.client()?.order_submit(&order.request).await;
    let made = made.map_err(|e| Failure::from(e).or_again(again.clone()))?;
    wait.finish(session, made, Some(again)).await
}

async fn list(session: &Session) -> Result<(), Failure> {
    let client = session.client()?;
    let items = all(|page| client.orders(page)).await?;
    session.out.list(&items, "no orders yet. Next: chandler order submit -f FILE", || {
        let mut table = Table::new(&["ORDER", "CUSTOMER", "NAME", "ACTION", "STATE", ">AGE", "WHY"]);
        for o in &items {
            let words = [word::of(&o.action), word::of(&o.state)];
            let [action, state] = words;
            let id = o.id.to_string();
            table.row([id, o.customer.clone(), o.name.clone(), action, state, age(o.ordered_at), o.reason.clone()]);
        }
        table
    })
}

fn text(order: &Item) -> String {
    let mut facts = Facts::default();
    let kind = if order.kind == SoftwareKind::Task { "task" } else { "service" };
    facts
        .add("order", order.id.to_string())
        .add("for", format!("{} {kind} {}, customer {}", word::of(&order.action), order.name, order.customer))
        .add("state", word::of(&order.state))
        .add("why", &order.reason)
        .add("code", &order.code)
        .add("ordered", moment(order.ordered_at))
        .add("ended", order.completed_at.map(moment).unwrap_or_default())
        .add("agreement", order.agreement.map(|a| a.to_string()).unwrap_or_default())
        .add("cost", order.monthly_cost.as_ref().map(|c| format!("{c}/month")).unwrap_or_default())
        .add("items", order.items.iter().map(|(s, n)| format!("{n} {s}")).collect::<Vec<_>>().join(", "));
    let mut text = facts.to_string();
    text.push_str(&nearest(&order.nearest, None));
    if !order.history.is_empty() {
        text.push('\n');
    }
    for event in &order.history {
        let line = format!("{}  {:<11} {}", moment(event.at), event.to, event.reason);
        text.push('\n');
        text.push_str(clean(&line, usize::MAX).trim_end());
    }
    text
}

#[cfg(test)]
mod tests {
    use chandler_api::order::OrderRequest;

    use super::SUBMIT_HELP;

    #[test]
    fn the_order_file_of_the_help_is_an_order() {
        let (_, file) = SUBMIT_HELP.split_once("may be left out:\n").unwrap();
        let order: OrderRequest = toml::from_str(file).unwrap();
        assert_eq!(order.software.retries, 0);
        assert_eq!(order.items.len(), 1);
        assert_eq!((order.front.on.len(), order.uses[0].env["DB"].as_str()), (1, "tcp"));
    }
}
