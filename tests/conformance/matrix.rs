//! A28: every trigger leads to every kind of resource.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use chandler_api::client::Client;
use chandler_api::drain::DrainRequest;
use chandler_api::movement::{MoveQuery, MoveTo};
use chandler_api::party::PartyRole;
use chandler_api::site::{Rates, SiteRole, SiteUpdate};
use chandler_api::sla::SlaAmend;
use chandler_api::value::Money;
use chandler_harness::wait::eventually_ok;
use chandler_tests::fleet::{AgentOptions, ControllerOptions, Fleet, PATIENCE, order_completed};
use chandler_tests::meter::Meter;
use chandler_tests::orders::order;
use chandler_tests::partners::{may_buy, offer, sees};
use chandler_tests::{http, process};
use tokio::task::JoinSet;

use crate::seen::place;

/// Where services shall end up: a site and its host of each kind, with a country of its own.
const DESTINATIONS: [(&str, SiteRole, &str); 4] = [
    ("customer", SiteRole::Customer, "DE"),
    ("provider", SiteRole::Provider, "AT"),
    ("remote", SiteRole::Remote, "CH"),
    ("partner", SiteRole::Partner, "LI"),
];

/// The host of a destination, as it is known here.
fn host_at(to: &str) -> String {
    if to == "partner" { "beta.partner".to_owned() } else { to.to_owned() }
}

/// Where they begin: computers of a remote site each, cheaper than any destination.
const SOURCES: [(&str, &str); 6] =
    [("calm", "FR"), ("dear", "ES"), ("left", "IT"), ("busy", "NL"), ("unsteady", "BE"), ("dying", "PL")];

/// What sets a move off, where that happens, and what else the order says.
const TRIGGERS: [(&str, &str, &str); 10] = [
    ("operator", "calm", ""),
    ("slaAmended", "calm", ""),
    ("processFailed", "calm", "attempts = 0"),
    ("actualAvailability", "calm", "availability = { min = \"99.5 %\" }"),
    ("price", "dear", ""),
    ("customerCriterion", "dear", "cheaper = true"),
    ("providerCriterion", "left", ""),
    ("utilisation", "busy", "availability = { min = \"90 %\" }"),
    ("predictedAvailability", "unsteady", "availability = { min = \"90 %\" }"),
    ("hostFailed", "dying", ""),
];

/// A cell of the matrix: one service, which may be at its source and at its destination and nowhere else.
#[derive(Debug, Clone, Copy)]
struct Cell {
    trigger: &'static str,
    source: &'static str,
    to: &'static str,
}

impl Cell {
    fn name(self) -> String {
        format!("{}-{}", self.trigger.to_lowercase(), self.to)
    }

    fn order(self, further: &str) -> Result<chandler_api::order::OrderRequest> {
        let attempts = if further.starts_with("attempts") { further } else { "attempts = 100" };
        let availability = if further.starts_with("availability") { further } else { "" };
        let criteria = match self.trigger {
            "price" => "",
            "customerCriterion" => "criteria = { cheaper = true }",
            _ => "criteria = { cheaper = false }",
        };
        let from = SOURCES.iter().find(|(name, _)| *name == self.source).context("a source")?.1;
        let to = country(self.to)?;
        order(&format!(
            r#"
customer = "acme"
name = "{}"
[software]
artifact = "notes@1.0.0"
command = ["./notes", "--listen", "127.0.0.1:{{port.http}}", "--data", "{{work}}"]
limits = {{ cpu = 0.05, memory = "32 MiB" }}
port = [{{ name = "http", mode = "http" }}]
health = {{ http = "/healthz", port = "http", interval = "300 ms" }}
restart = {{ {attempts} }}
stop = {{ grace = "1 s" }}
[sla]
residency = ["{from}", "{to}"]
{availability}
[policy]
owners = ["customer", "provider", "remote", "partner"]
{criteria}
"#,
            self.name()
        ))
    }
}

fn country(destination: &str) -> Result<&'static str> {
    Ok(DESTINATIONS.iter().find(|(name, ..)| *name == destination).context("a destination")?.2)
}

fn cells() -> impl Iterator<Item = (Cell, &'static str)> {
    TRIGGERS.into_iter().flat_map(|(trigger, source, further)| {
        DESTINATIONS.into_iter().map(move |(to, ..)| (Cell { trigger, source, to }, further))
    })
}

/// The machines, each with a processor of its own.
async fn machines(fleet: &mut Fleet) -> Result<Vec<Meter>> {
    fleet.party("neighbour", PartyRole::SiteOwner).await?;
    let mut meters = Vec::new();
    let sources = SOURCES.into_iter().map(|(name, country)| (name, SiteRole::Remote, country, 10_000));
    let all = sources.chain(DESTINATIONS.into_iter().map(|(name, role, country)| (name, role, country, 50_000)));
    for (name, role, country, rate) in all {
        let owner = match role {
            SiteRole::Customer => "acme",
            SiteRole::Provider => "provider",
            SiteRole::Remote => "neighbour",
            SiteRole::Partner => continue,
        };
        fleet.site(name, owner, role, country, (rate, 0)).await?;
        let meter = Meter::start(fleet.dir(), name)?;
        fleet.agent(name, name, AgentOptions { starter: meter.starter(), ..AgentOptions::default() }).await?;
        meters.push(meter);
        if name == "calm" || rate > 10_000 {
            fleet.history(name, 999_900).await?;
        }
    }
    Ok(meters)
}

/// Lets what sets a move off happen, to all services concerned.
async fn provoke(fleet: &mut Fleet, trigger: &str, source: &str, meters: &[Meter]) -> Result<()> {
    let own: Vec<_> = cells().map(|(cell, _)| cell).filter(|cell| cell.trigger == trigger).collect();
    let because = DrainRequest { reason: "it is replaced".to_owned() };
    match trigger {
        "operator" => {
            for cell in own {
                fleet.order_move(&cell.name(), MoveTo::Host(host_at(cell.to))).await?;
            }
        }
        "slaAmended" => {
            for cell in own {
                let agreed = fleet.client.sla(&cell.name()).await?;
                let mut sla = cell.order("")?.sla;
                sla.residency = vec![country(cell.to)?.to_owned()];
                fleet.client.sla_amend(&cell.name(), &SlaAmend { sla }, &agreed.etag).await?;
            }
        }
        "processFailed" | "actualAvailability" => {
            for cell in own {
                kill_until_it_leaves(fleet, cell).await?;
            }
        }
        "price" => {
            let money = |micros| Money { micros, currency: "EUR".to_owned() };
            let rates = Some(Rates { core_hour: money(500_000), gib_hour: money(0), gpu_hour: None });
            let etag = fleet.client.site(source).await?.etag;
            fleet.client.site_update(source, &SiteUpdate { rates, ..SiteUpdate::default() }, &etag).await?;
        }
        "providerCriterion" => {
            fleet.client.host_drain(source, &because).await?;
        }
        "utilisation" => {
            let at = SOURCES.iter().position(|(name, _)| *name == source).context("a source")?;
            meters.get(at).context("each machine has a meter")?.uses(990);
        }
        "predictedAvailability" => {
            fleet.history(source, 500_000).await?;
        }
        "hostFailed" => fleet.agent_named(source)?.kill_machine()?,
        // The customer's wish to pay less is met by the same price.
        _ => {}
    }
    Ok(())
}

/// Ends the software again and again, until it is looked for elsewhere.
async fn kill_until_it_leaves(fleet: &Fleet, cell: Cell) -> Result<()> {
    let what = format!("{} to leave", cell.name());
    let left = eventually_ok(&what, PATIENCE, || async {
        let service = fleet.client.service(&cell.name()).await?;
        let here = service.placements.iter().find(|p| p.host == cell.source && p.state == "allocated");
        if here.is_none() || !service.moves.is_empty() {
            return Ok(());
        }
        if let Some(port) = here.and_then(|p| p.ports.first())
            && let Ok(found) = process::of_notes(&format!("http://127.0.0.1:{}", port.port)).await
        {
            found.kill()?;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        anyhow::bail!("it is still on {}", cell.source)
    });
    if let Err(error) = left.await {
        let query = MoveQuery { service: Some(cell.name()), declined: true, ..MoveQuery::default() };
        let moves = fleet.client.moves(&query).await?.items;
        return Err(anyhow::Error::from(error).context(format!("its moves: {moves:#?}")));
    }
    Ok(())
}

/// Another provider with one server, from which this one buys.
async fn partner(fleet: &Fleet) -> Result<(Fleet, Meter)> {
    let mut seller = Fleet::with(ControllerOptions { federation: true, ..ControllerOptions::default() }).await?;
    seller.site("rack", "provider", SiteRole::Provider, country("partner")?, (50_000, 0)).await?;
    let meter = Meter::start(seller.dir(), "partner")?;
    seller.agent("rack", "partner", AgentOptions { starter: meter.starter(), ..AgentOptions::default() }).await?;
    seller.history("partner", 999_900).await?;
    offer(&seller, "rack", (50_000, 0)).await?;
    may_buy((fleet, "alpha"), (&seller, "beta")).await?;
    sees(fleet, "beta.partner").await?;
    Ok((seller, meter))
}

/// Forty services, one for each trigger and each kind of destination: each ends up there, for that reason, and answers
/// at the customer's front door afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn a28_every_trigger_leads_to_every_kind_of_resource() -> Result<()> {
    let args = ["--relocation-period", "250 ms", "--relocation-haste", "3600"].map(str::to_owned).to_vec();
    let mut fleet = Fleet::with(ControllerOptions { args, ..ControllerOptions::default() }).await?;
    fleet.customer("acme").await?;
    fleet.publish_notes().await?;
    let meters = machines(&mut fleet).await?;
    let (_seller, _meter) = partner(&fleet).await?;
    let mut ordered = JoinSet::new();
    for (cell, further) in cells() {
        let client = Client::new(&format!("http://{}", fleet.http), Some(&fleet.token))?;
        let request = cell.order(further)?;
        ordered.spawn(async move { anyhow::Ok((cell, order_completed(&client, &request).await?)) });
    }
    while let Some(done) = ordered.join_next().await {
        let (cell, service) = done??;
        ensure!(place(&service)?.host == cell.source, "{} begins at its source: {service:#?}", cell.name());
    }
    for (trigger, source, _) in TRIGGERS {
        provoke(&mut fleet, trigger, source, &meters).await.with_context(|| format!("provoking {trigger}"))?;
    }
    let mut wrong = Vec::new();
    for (cell, _) in cells() {
        let name = cell.name();
        match fleet.moved_because(&name, cell.trigger).await {
            Ok(m)
                if (m.from.host.as_str(), m.to.host.as_str()) == (cell.source, host_at(cell.to).as_str())
                    && !m.evidence.is_empty() =>
            {
                eprintln!("{name}: {:?}, {}", m.kind, m.evidence);
            }
            other => wrong.push(format!("{name}: {other:#?}")),
        }
    }
    ensure!(wrong.is_empty(), "{} of {} cells: {}", wrong.len(), cells().count(), wrong.join("\n"));
    for (cell, _) in cells() {
        let name = cell.name();
        let service = fleet.running_where(&name, |s| s.placements.iter().any(|p| p.host == host_at(cell.to))).await?;
        ensure!(!service.placements.iter().any(|p| p.host == cell.source && p.state == "allocated"), "{service:#?}");
        let door = fleet.door(&name, "customer").await?;
        ensure!(http::body_of(&format!("http://{door}/"), PATIENCE).await?.starts_with("notes on "), "{name}");
    }
    Ok(())
}
