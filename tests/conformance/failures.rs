//! A23: what fails is replaced.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use chandler_api::host::HostState;
use chandler_api::service::Service;
use chandler_api::site::SiteRole;
use chandler_harness::wait::eventually_ok;
use chandler_tests::fleet::{AgentOptions, Fleet, PATIENCE, order_completed};
use chandler_tests::load::{Demand, Load};
use chandler_tests::orders::notes;
use chandler_tests::partners::{may_buy, sees};
use chandler_tests::{http, process};

use crate::bought::{buyer, seller};
use crate::seen::place;

/// Two hosts at a cheap site and one at a dear one.
const HOSTS: [(&str, &str, i64); 3] =
    [("alpha", "alpha-1", 5_000), ("alpha", "alpha-2", 5_000), ("beta", "beta-1", 9_000)];

/// Nothing that it keeps is waited for, and requests may wait until another place is found.
const STATELESS: &str = "[policy]\nowners = [\"provider\"]\nonLoss = \"startEmpty\"\nmove = { hold = \"10 s\" }";

/// A killed process runs again in its place with its notes; of a dead machine the service goes to another one; and when
/// the whole site dies, to another site; who uses it by its front door waits meanwhile and sees no failure.
#[tokio::test(flavor = "multi_thread")]
async fn a23_a_failed_process_machine_or_site_is_replaced() -> Result<()> {
    let mut fleet = Fleet::start().await?;
    let acme = fleet.customer("acme").await?;
    fleet.publish_notes().await?;
    for (site, host, rate) in HOSTS {
        if fleet.client.site(site).await.is_err() {
            fleet.provider_site(site, (rate, 0)).await?;
        }
        fleet.agent(site, host, AgentOptions::default()).await?;
    }
    fleet.site("office", "acme", SiteRole::Customer, "DE", (0, 0)).await?;
    fleet.agent("office", "laptop", AgentOptions::default()).await?;
    let service = order_completed(&acme, &notes("acme", "notes", STATELESS)?).await?;
    let first = place(&service)?.clone();
    ensure!(first.site == "alpha", "the cheap site comes first: {first:?}");

    let door = fleet.door("notes", "laptop").await?;
    let load = Load::start(door, "a23", Demand { clients: 2, pace: Duration::from_millis(50), writes: false });

    process_killed(&fleet, &service).await?;

    fleet.agent_named(&first.host)?.kill_machine()?;
    let moved = replaced(&fleet, "host", |place| place.site == "alpha" && place.host != first.host).await?;
    let second = place(&moved)?.host.clone();
    let [step] = moved.replacements.as_slice() else { anyhow::bail!("it moved once: {:#?}", moved.replacements) };
    ensure!((&step.from, &step.to) == (&first.host, &second), "{step:?}");

    fleet.agent_named(&first.host)?.restart()?;
    fleet.host_in_state(&first.host, HostState::Active).await?;
    for (site, host, _) in HOSTS {
        if site == "alpha" {
            fleet.agent_named(host)?.kill_machine()?;
        }
    }
    let moved = replaced(&fleet, "site", |place| place.site == "beta").await?;
    // The hosts of the site are not missed at the same moment: it may have been sent to the other one first.
    ensure!(moved.replacements.len() > 1, "{:#?}", moved.replacements);
    let step = moved.replacements.last().context("the change of place is kept")?;
    ensure!(step.to == "beta-1" && step.from.starts_with("alpha-"), "{step:?}");
    ensure!(moved.id == service.id, "it is still the same service");
    let record = load.stop().await?;
    ensure!(record.failed.is_empty(), "{} of {}: {:?}", record.failed.len(), record.answered.len(), record.failed);
    Ok(())
}

/// A partner vanishes with all it has: the service goes to the provider's own server, which is dearer, and its user waits
/// for that at the front door.
#[tokio::test(flavor = "multi_thread")]
async fn a23_a_partner_that_vanishes_is_replaced() -> Result<()> {
    let mut beta = seller("far", 5_000).await?;
    let (mut alpha, acme) = buyer(&["provider"]).await?;
    alpha.provider_site("hall", (50_000, 0)).await?;
    alpha.agent("hall", "near", AgentOptions::default()).await?;
    may_buy((&alpha, "alpha"), (&beta, "beta")).await?;
    sees(&alpha, "beta.far").await?;
    let policy = STATELESS.replace("[\"provider\"]", "[\"provider\", \"partner\"]");
    let service = order_completed(&acme, &notes("acme", "notes", &policy)?).await?;
    ensure!(place(&service)?.host == "beta.far", "{service:#?}");
    let door = alpha.door("notes", "laptop").await?;
    let load = Load::start(door, "a23", Demand { clients: 2, pace: Duration::from_millis(50), writes: false });
    beta.kill_controller()?;
    beta.agent_named("far")?.kill_machine()?;
    let moved = replaced(&alpha, "partner", |place| place.host == "near").await?;
    ensure!(moved.id == service.id, "it is still the same service");
    let record = load.stop().await?;
    ensure!(record.failed.is_empty(), "{} of {}: {:?}", record.failed.len(), record.answered.len(), record.failed);
    Ok(())
}

/// kill -9 of the program alone.
async fn process_killed(fleet: &Fleet, service: &Service) -> Result<()> {
    let url = Fleet::url(service)?;
    let stored = http::post(&format!("{url}/notes"), "remember me").await?;
    ensure!(stored.status == 201, "{stored:?}");
    let before = process::of_notes(&url).await?;
    before.kill()?;
    let again = eventually_ok("the program to run again", PATIENCE, || async {
        let now = process::of_notes(&url).await?;
        ensure!(now != before, "it is the old one");
        Ok::<_, anyhow::Error>(now)
    });
    ensure!(again.await?.is_alive());
    ensure!(http::body_of(&format!("{url}/notes"), PATIENCE).await? == "remember me\n", "its notes are there");
    let seen = fleet.running_where("notes", |s| s.placements.iter().all(|p| p.starts >= 2)).await?;
    let (old, new) = (place(service)?, place(&seen)?);
    ensure!((&old.host, &old.assignment) == (&new.host, &new.assignment), "it stays in its place: {new:?}");
    ensure!(seen.replacements.is_empty(), "{seen:#?}");
    Ok(())
}

/// The service once it answers at a place that `wanted` accepts, where nothing but failed hosts have brought it.
async fn replaced(
    fleet: &Fleet,
    what: &str,
    wanted: impl Fn(&chandler_api::service::Placement) -> bool,
) -> Result<Service> {
    let there = |s: &Service| {
        let here: Vec<_> = s.placements.iter().filter(|p| p.state != "releasing").collect();
        let told = |host: &str| s.replacements.last().is_some_and(|step| step.to == host);
        here.len() == 1 && here.iter().all(|p| wanted(p) && told(&p.host))
    };
    let mut moved = fleet.running_where("notes", there).await.with_context(|| format!("after the {what} died"))?;
    moved.placements.retain(|p| p.state != "releasing");
    ensure!(http::body_of(&Fleet::url(&moved)?, PATIENCE).await?.starts_with("notes on "));
    for step in &moved.replacements {
        ensure!(step.trigger == "hostFailed" && !step.reason.is_empty(), "{step:?}");
    }
    Ok(moved)
}
