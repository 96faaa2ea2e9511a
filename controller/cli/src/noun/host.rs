//! `chandler host`: computers with an agent.

use chandler_api::client::all;
use chandler_api::drain::DrainRequest;
use chandler_api::host::{HistoryImport, Host as Item, HostState};
use chandler_protocol::{Bytes, Micros};
use clap::{Args, Subcommand};

use super::drain::{self, DrainArgs};
use crate::problem::Failure;
use crate::session::Session;
use crate::show::{Facts, Table, age, count, moment};
use crate::{confirm, word};

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  chandler host list\n  chandler host show h-7k3mq2x9vd4c8z1e")]
pub(crate) struct Host {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List hosts
    #[command(after_help = "Examples:\n  chandler host list\n  chandler host list -o json")]
    List,
    /// Show one host with its hardware and software
    #[command(after_help = "Examples:\n  chandler host show berlin-pc-4")]
    Show {
        /// Its name or id
        host: String,
        /// Also every installed package
        #[arg(long)]
        software: bool,
    },
    /// Add what is known from elsewhere of how often a host was up, to what is measured here
    #[command(
        after_help = "Examples:\n  chandler host import-history berlin-pc-4 --up '970 h' --down '30 h' --outages 4 --source 'old monitoring'"
    )]
    ImportHistory {
        /// Its name or id
        host: String,
        /// For how long it was up
        #[arg(long, value_name = "TIME")]
        up: Micros,
        /// For how long it was not
        #[arg(long, value_name = "TIME")]
        down: Micros,
        /// How often it went down
        #[arg(long, value_name = "N", default_value_t = 0)]
        outages: u32,
        /// Where this is known from
        #[arg(long, value_name = "TEXT")]
        source: String,
    },
    /// Leave a host: no new work comes to it, and what is there moves away
    #[command(
        after_help = "Examples:\n  chandler host drain berlin-pc-4 --reason 'new disk' --wait\n\nIt ends when nothing runs there any more, or says exactly what cannot go and why (exit status 7)."
    )]
    Drain {
        /// Its name or id
        host: String,
        #[command(flatten)]
        drain: DrainArgs,
    },
    /// Let new work come to a host again
    #[command(after_help = "Examples:\n  chandler host undrain berlin-pc-4")]
    Undrain {
        /// Its name or id
        host: String,
    },
    /// End a host's identity: it may not connect again until it joins anew
    #[command(after_help = "Examples:\n  chandler host revoke h-7k3mq2x9vd4c8z1e --yes")]
    Revoke {
        /// Its name or id
        host: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

impl Host {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        let client = session.client()?;
        match self.verb {
            Verb::List => list(session).await,
            Verb::Show { host, software } => {
                let host = client.host(&host).await?;
                session.out.object(&host, || text(&host, software))
            }
            Verb::ImportHistory { host, up, down, outages, source } => {
                let history = HistoryImport { up_micros: up.0, down_micros: down.0, outages, source };
                let host = client.host_history_import(&host, &history).await?;
                session.out.object(&host, || format!("{} is expected to be up {}", host.name, host.availability_ppm))
            }
            Verb::Drain { host, drain: args } => {
                let request = DrainRequest { reason: args.reason.clone() };
                let first = client.host_drain(&host, &request).await?;
                drain::finish(session, "host", first, &args, || client.host_drain_report(&host)).await
            }
            Verb::Undrain { host } => {
                let report = client.host_undrain(&host).await?;
                session.out.object(&report, || drain::text(&report))
            }
            Verb::Revoke { host, yes } => {
                if !yes {
                    let known = client.host(&host).await?;
                    let what = format!(
                        "{} at {} has {}. Revoking ends its identity: it may not connect again, and its work is placed elsewhere.",
                        known.name,
                        known.site,
                        count(known.assignments as usize, "service"),
                    );
                    confirm::name(session, &what, &known.name, "revoke", yes).await?;
                }
                let host = client.host_revoke(&host).await?;
                session.out.object(&host, || format!("{} {}", host.id, word::of(&host.state)))
            }
        }
    }
}

async fn list(session: &Session) -> Result<(), Failure> {
    let client = session.client()?;
    let hosts = all(|page| client.hosts(page)).await?;
    session.out.list(&hosts, "no hosts yet. Next: chandler join-token create --site SITE", || {
        let mut table = Table::new(&["HOST", "SITE", "STATE", ">CPU", ">MEM", ">WORK", ">SEEN", "NOTE"]);
        for h in &hosts {
            let (cpu, memory) = load(h);
            let seen = h.seen_at.map(age).unwrap_or_default();
            let work = h.assignments.to_string();
            let note = match &h.draining {
                Some(d) if h.note.is_empty() => format!("draining {}", drain::since(d)),
                _ => h.note.clone(),
            };
            table.row([h.name.clone(), h.site.clone(), word::of(&h.state), cpu, memory, work, seen, note]);
        }
        table
    })?;
    let odd: Vec<&Item> = hosts.iter().filter(|h| needs_attention(h)).collect();
    if let Some(first) = odd.first() {
        let verb = if odd.len() == 1 { "needs" } else { "need" };
        let name = crate::problem::shell(&first.name);
        let text = format!("{}, {} {verb} attention: chandler host show {name}", count(hosts.len(), "host"), odd.len());
        session.out.talk(&text);
    }
    Ok(())
}

const fn needs_attention(host: &Item) -> bool {
    matches!(host.state, HostState::Unknown | HostState::Lost)
}

/// Processor and memory in use; memory as a share where the installed amount is known, else as an amount.
fn load(host: &Item) -> (String, String) {
    let Some(r) = &host.readings else { return (String::new(), String::new()) };
    let cpu = format!("{} %", r.cpu_permille / 10);
    let total = host.inventory.as_ref().map_or(0, |i| i64::try_from(i.memory.0 >> 20).unwrap_or(0));
    let memory =
        if total > 0 { format!("{} %", r.memory_used_mib.saturating_mul(100) / total) } else { mib(r.memory_used_mib) };
    (cpu, memory)
}

fn mib(n: i64) -> String {
    Bytes(u64::try_from(n).unwrap_or(0) << 20).to_string()
}

fn text(host: &Item, software: bool) -> String {
    let mut facts = Facts::default();
    let (cpu, memory) = load(host);
    let seen = host.seen_at.map(|t| format!(", seen {} ago", age(t))).unwrap_or_default();
    let free = |a: u64, b: u64| Bytes(a.saturating_sub(b));
    facts
        .add("host", format!("{} ({})", host.name, host.id))
        .add("site", format!("{}, {}", host.site, word::of(&host.site_role)))
        .add("state", format!("{}{seen}", word::of(&host.state)))
        .add("note", &host.note)
        .add("draining", host.draining.as_ref().map(drain::since).unwrap_or_default())
        .add("offers", host.offered.to_string())
        .add("reserved", host.reserved.to_string())
        .add("free", free(host.offered.memory.0.0, host.reserved.memory.0.0).to_string())
        .add("work", count(host.assignments as usize, "service"))
        .add("load", if cpu.is_empty() { String::new() } else { format!("CPU {cpu}, memory {memory}") })
        .add("path", host.rtt_micros.map(|t| format!("round trip {t}")).unwrap_or_default())
        .add("available", format!("{} predicted", host.availability_ppm))
        .add("agent", &host.agent_version)
        .add("seen at", host.seen_at.map(moment).unwrap_or_default());
    for path in &host.paths {
        let time = path.rtt_micros.map(|t| format!(", round trip {t}")).unwrap_or_default();
        facts.add("reaches", format!("{}: {}{time}", path.to, word::of(&path.path)));
    }
    inventory(&mut facts, host, software);
    facts.to_string()
}

fn inventory(facts: &mut Facts, host: &Item, software: bool) {
    let Some(i) = &host.inventory else { return };
    let processor = format!("{}, {} at {} MHz", i.cpu.model, count(i.cpu.cores as usize, "core"), i.cpu.mhz);
    facts
        .add("processor", processor)
        .add("memory", i.memory.to_string())
        .add("system", format!("{}, {} {}, {}", i.os_version, i.os, i.kernel, i.architecture));
    for disk in &i.disks {
        facts.add("disk", format!("{} at {}, {}", disk.size, disk.mount, disk.file_system));
    }
    for gpu in &i.gpus {
        facts.add("gpu", &gpu.model);
    }
    for driver in &i.drivers {
        let can: Vec<&str> =
            [(driver.limits_cpu, "cpu"), (driver.limits_memory, "memory"), (driver.limits_pids, "pids")]
                .into_iter()
                .filter_map(|(can, name)| can.then_some(name))
                .collect();
        let can = if can.is_empty() { "none".to_owned() } else { can.join(", ") };
        let note = if driver.note.is_empty() { String::new() } else { format!(" ({})", driver.note) };
        facts.add("driver", format!("{}, enforces: {can}{note}", word::of(&driver.kind).to_lowercase()));
    }
    if software {
        for package in &i.software {
            facts.add("software", format!("{} {}", package.name, package.version));
        }
    } else {
        facts.add("software", count(i.software.len(), "package"));
    }
}
