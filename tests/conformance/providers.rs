//! A09, A17 to A20: providers without machines of their own, and with a mix of several owners' machines.

use std::time::Duration;

use anyhow::{Result, ensure};
use chandler_api::drain::DrainRequest;
use chandler_api::service::Service;
use chandler_api::site::SiteRole;
use chandler_tests::fleet::{AgentOptions, Fleet, PATIENCE, order_completed};
use chandler_tests::load::{Demand, Load};
use chandler_tests::orders::notes;
use chandler_tests::partners::{agree, may_buy, offer, sees};
use chandler_tests::{fleet, http};

use crate::bought::{buyer, counts_words_on, listening, seller};
use crate::seen::{place, rejected};
use crate::used::here;

/// The hosts of a service's copies that stay, sorted.
fn places(service: &Service) -> Vec<&str> {
    let mut hosts = here(service);
    hosts.sort_unstable();
    hosts
}

/// One copy at a partner, one on the customer's own computer, although the provider's server costs nothing; and when these
/// two are full, nobody else's is taken.
#[tokio::test(flavor = "multi_thread")]
async fn a09_partners_and_the_customer_together_and_nobody_else() -> Result<()> {
    let beta = seller("far", 10_000).await?;
    let (mut alpha, acme) = buyer(&["provider"]).await?;
    alpha.provider_site("hall", (0, 0)).await?;
    alpha.agent("hall", "near", AgentOptions::default()).await?;
    let own = AgentOptions { milli_cpu: 600, memory: "256 MiB".to_owned(), ..AgentOptions::default() };
    alpha.agent("office", "desk", own).await?;
    may_buy((&alpha, "alpha"), (&beta, "beta")).await?;
    sees(&alpha, "beta.far").await?;

    let policy = "[policy]\nowners = [\"partner\", \"customer\"]\nreplicas = 2";
    let service = order_completed(&acme, &notes("acme", "notes", policy)?).await?;
    ensure!(places(&service) == ["beta.far", "desk"], "{service:#?}");
    let door = alpha.door("notes", "laptop").await?;
    ensure!(http::body_of(&format!("http://{door}/"), PATIENCE).await?.starts_with("notes on "));
    let full = rejected(&acme, &notes("acme", "more", policy)?, "E0302").await?;
    ensure!(full.nearest.iter().all(|a| a.host != "near"), "the provider's own server is proposed: {full:#?}");
    Ok(())
}

/// A provider that owns no machine: its customer orders as anywhere, and both controllers come to the same sum.
#[tokio::test(flavor = "multi_thread")]
async fn a17_a_virtual_provider_serves_from_partners_resources() -> Result<()> {
    let beta = seller("far", 600_000).await?;
    let (alpha, acme) = buyer(&["virtual"]).await?;
    may_buy((&alpha, "alpha"), (&beta, "beta")).await?;
    sees(&alpha, "beta.far").await?;
    let refused = alpha.site("hall", "provider", SiteRole::Provider, "DE", (1, 1)).await;
    ensure!(refused.is_err(), "a provider that is virtual alone has no machines of its own");

    let service = order_completed(&acme, &notes("acme", "notes", "[policy]\nowners = [\"partner\"]")?).await?;
    ensure!(place(&service)?.host == "beta.far", "{service:#?}");
    let door = alpha.door("notes", "laptop").await?;
    ensure!(http::body_of(&format!("http://{door}/"), PATIENCE).await?.starts_with("notes on "));
    let owed = agree((&alpha, "alpha"), (&beta, "beta")).await?;
    ensure!(owed > 0, "the partner is paid");
    Ok(())
}

/// A provider that has machines of its own gives a customer's task to a partner, whose machines are cheaper.
#[tokio::test(flavor = "multi_thread")]
async fn a18_a_value_added_provider_uses_partners_resources_for_a_task() -> Result<()> {
    let beta = seller("far", 10_000).await?;
    let (mut alpha, acme) = buyer(&["provider", "valueAdded"]).await?;
    alpha.provider_site("hall", (90_000, 9_000)).await?;
    alpha.agent("hall", "near", AgentOptions::default()).await?;
    may_buy((&alpha, "alpha"), (&beta, "beta")).await?;
    sees(&alpha, "beta.far").await?;
    counts_words_on(&acme, "count", "beta.far", "").await?;
    agree((&alpha, "alpha"), (&beta, "beta")).await?;
    Ok(())
}

/// One copy on the provider's own server, one at a partner.
#[tokio::test(flavor = "multi_thread")]
async fn a19_a_value_added_provider_combines_its_own_and_partners_resources() -> Result<()> {
    let beta = seller("far", 20_000).await?;
    let (mut alpha, acme) = buyer(&["provider", "valueAdded"]).await?;
    alpha.provider_site("hall", (20_000, 0)).await?;
    alpha.agent("hall", "near", AgentOptions::default()).await?;
    may_buy((&alpha, "alpha"), (&beta, "beta")).await?;
    sees(&alpha, "beta.far").await?;
    let policy = "[policy]\nowners = [\"partner\", \"provider\"]\nreplicas = 2";
    let service = order_completed(&acme, &notes("acme", "notes", policy)?).await?;
    ensure!(places(&service) == ["beta.far", "near"], "{service:#?}");
    agree((&alpha, "alpha"), (&beta, "beta")).await?;
    Ok(())
}

/// Three copies: one on the provider's own server, one at a partner, one on the customer's computer. Then the provider's
/// server is needed for something else: a second machine of the partner comes in, within the SLA and without a failed
/// request.
#[tokio::test(flavor = "multi_thread")]
async fn a20_a_value_added_provider_mixes_three_sources_and_changes_the_mix() -> Result<()> {
    let mut beta = seller("far", 20_000).await?;
    let args =
        ["--role", "provider", "--role", "valueAdded", "--relocation-period", "250 ms", "--relocation-haste", "3600"];
    let options =
        fleet::ControllerOptions { args: args.map(str::to_owned).to_vec(), ..fleet::ControllerOptions::default() };
    let mut alpha = Fleet::with(options).await?;
    let acme = alpha.customer("acme").await?;
    alpha.publish_notes().await?;
    alpha.site("office", "acme", SiteRole::Customer, "DE", (20_000, 0)).await?;
    alpha.agent("office", "desk", AgentOptions::default()).await?;
    alpha.provider_site("hall", (20_000, 0)).await?;
    alpha.agent("hall", "near", AgentOptions::default()).await?;
    may_buy((&alpha, "alpha"), (&beta, "beta")).await?;
    sees(&alpha, "beta.far").await?;
    let policy = "[sla]\navailability = { min = \"99 %\" }\ncost = { max = \"100 EUR/month\" }\n[policy]\nreplicas = 3\nmove = { hold = \"10 s\" }\ncriteria = { cheaper = false }";
    let service = order_completed(&acme, &notes("acme", "notes", policy)?).await?;
    ensure!(places(&service) == ["beta.far", "desk", "near"], "{service:#?}");

    let door = alpha.door("notes", "desk").await?;
    let load = Load::start(door, "a20", Demand { clients: 2, pace: Duration::from_millis(20), writes: false });
    beta.agent("rack", "farther", AgentOptions::default()).await?;
    sees(&alpha, "beta.farther").await?;
    alpha.client.host_drain("near", &DrainRequest { reason: "it is needed for something else".to_owned() }).await?;
    let moved = alpha.moved_because("notes", "providerCriterion").await?;
    ensure!((moved.from.host.as_str(), moved.to.host.as_str()) == ("near", "beta.farther"), "{moved:#?}");
    alpha.running_where("notes", |s| places(s) == ["beta.far", "beta.farther", "desk"]).await?;
    let record = load.stop().await?;
    ensure!(record.failed.is_empty(), "{} of {}: {:?}", record.failed.len(), record.answered.len(), record.failed);
    agree((&alpha, "alpha"), (&beta, "beta")).await?;
    Ok(())
}

/// A controller with a site of one owner for each of these PCs, offered at this rate in millionths of a euro a core-hour.
pub(crate) async fn marketplace(pcs: &[(&str, i64)]) -> Result<Fleet> {
    let mut market = listening(&["marketplace"]).await?;
    for (pc, core_hour) in pcs {
        let owner = format!("owner-of-{pc}");
        market.party(&owner, chandler_api::party::PartyRole::SiteOwner).await?;
        let site = format!("{pc}-home");
        market.site(&site, &owner, SiteRole::Remote, "AT", (*core_hour, 0)).await?;
        market.agent(&site, pc, AgentOptions::default()).await?;
        offer(&market, &site, (*core_hour, 0)).await?;
    }
    Ok(market)
}
