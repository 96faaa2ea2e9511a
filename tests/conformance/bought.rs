//! A07 and A08: a service and a task on a partner's machines, and on partners' machines only.

use anyhow::{Context, Result, ensure};
use chandler_api::client::Client;
use chandler_api::market::LeaseState;
use chandler_api::order::OrderState;
use chandler_api::service::ServiceQuery;
use chandler_api::site::SiteRole;
use chandler_harness::wait::eventually_ok;
use chandler_tests::fleet::{AgentOptions, ControllerOptions, Fleet, PATIENCE, order, order_completed, settled};
use chandler_tests::http;
use chandler_tests::orders::{notes, word_count};
use chandler_tests::partners::{may_buy, offer, sees};

use crate::seen::{place, rejected};

/// A controller that partners can call.
pub(crate) async fn listening(roles: &[&str]) -> Result<Fleet> {
    let args = roles.iter().flat_map(|r| ["--role".to_owned(), (*r).to_owned()]).collect();
    Fleet::with(ControllerOptions { federation: true, args, ..ControllerOptions::default() }).await
}

/// A partner with one server, which it offers.
pub(crate) async fn seller(server: &str, core_hour: i64) -> Result<Fleet> {
    let mut seller = listening(&["provider"]).await?;
    seller.provider_site("rack", (core_hour, 0)).await?;
    seller.agent("rack", server, AgentOptions::default()).await?;
    offer(&seller, "rack", (core_hour, 0)).await?;
    Ok(seller)
}

/// A buyer with a customer who has a laptop that is too small for anything but front doors.
pub(crate) async fn buyer(roles: &[&str]) -> Result<(Fleet, Client)> {
    let mut buyer = listening(roles).await?;
    let acme = buyer.customer("acme").await?;
    buyer.publish_notes().await?;
    buyer.site("office", "acme", SiteRole::Customer, "DE", (0, 0)).await?;
    let small = AgentOptions { milli_cpu: 100, ..AgentOptions::default() };
    buyer.agent("office", "laptop", small).await?;
    Ok((buyer, acme))
}

/// Has words counted on `host` and checks the results.
pub(crate) async fn counts_words_on(client: &Client, name: &str, host: &str, policy: &str) -> Result<()> {
    let texts = [("first", "one two three\n")];
    let task = order(client, &word_count(client, name, &texts, policy).await?).await?;
    ensure!(task.state == OrderState::Completed, "{task:#?}");
    let query = ServiceQuery { order: Some(task.id.to_string()), all: true, ..ServiceQuery::default() };
    let items = client.services(&query).await?.items;
    let item = items.first().context("an item")?;
    let output = client.service_output(&item.id.to_string(), "first.json").await?.bytes(1 << 20).await?;
    let text = String::from_utf8_lossy(&output).into_owned();
    ensure!(text == "{\"lines\":1,\"words\":3,\"bytes\":14}\n", "counted {text:?}");
    let why = client.service_explain(&item.id.to_string()).await?;
    let chosen: Vec<_> = why.candidates.iter().filter(|c| c.chosen).map(|c| c.host.as_str()).collect();
    ensure!(chosen == [host], "it ran on {chosen:?}");
    Ok(())
}

/// The provider's own server is dearer: a partner's gets the service and the task, through its own controller; the
/// customer's front door and the results are where they always are.
#[tokio::test(flavor = "multi_thread")]
async fn a07_a_service_and_a_task_on_a_partners_resources() -> Result<()> {
    let beta = seller("far", 10_000).await?;
    let (mut alpha, acme) = buyer(&["provider"]).await?;
    alpha.provider_site("hall", (50_000, 3_000)).await?;
    alpha.agent("hall", "near", AgentOptions::default()).await?;
    may_buy((&alpha, "alpha"), (&beta, "beta")).await?;
    sees(&alpha, "beta.far").await?;

    let service = order_completed(&acme, &notes("acme", "notes", "")?).await?;
    let there = place(&service)?;
    ensure!((there.host.as_str(), there.site_role) == ("beta.far", SiteRole::Partner), "{there:?}");
    let door = alpha.door("notes", "laptop").await?;
    ensure!(http::body_of(&format!("http://{door}/"), PATIENCE).await?.starts_with("notes on "));
    // Its own controller knows what it is and for whom, and that it is none of its own services.
    let sold = beta.client.leases(&Default::default()).await?.items;
    ensure!(sold.len() == 1 && sold[0].partner == "alpha" && sold[0].host == "far", "{sold:#?}");
    ensure!(beta.client.services(&Default::default()).await?.items.is_empty());
    counts_words_on(&acme, "count", "beta.far", "").await?;

    // De-allocated: stopped, wiped, and the lease is over at both.
    let ended = acme.service_delete("notes").await?;
    settled(&acme, &ended.id.to_string()).await?;
    let over = eventually_ok("the leases to be over", PATIENCE, || async {
        for fleet in [&alpha, &beta] {
            let leases = fleet.client.leases(&Default::default()).await?.items;
            ensure!(leases.iter().all(|l| l.state == LeaseState::Closed), "{leases:#?}");
        }
        anyhow::Ok(())
    });
    Ok(over.await?)
}

/// Partners and nobody else, although the own server is cheaper.
#[tokio::test(flavor = "multi_thread")]
async fn a08_a_service_and_a_task_on_partners_resources_only() -> Result<()> {
    let beta = seller("far", 90_000).await?;
    let (mut alpha, acme) = buyer(&["provider"]).await?;
    alpha.provider_site("hall", (1_000, 0)).await?;
    alpha.agent("hall", "near", AgentOptions::default()).await?;
    let policy = "[policy]\nowners = [\"partner\"]";
    rejected(&acme, &notes("acme", "too-early", policy)?, "E0301").await?;
    may_buy((&alpha, "alpha"), (&beta, "beta")).await?;
    sees(&alpha, "beta.far").await?;

    let service = order_completed(&acme, &notes("acme", "notes", policy)?).await?;
    ensure!(place(&service)?.host == "beta.far", "{service:#?}");
    let door = alpha.door("notes", "laptop").await?;
    ensure!(http::body_of(&format!("http://{door}/"), PATIENCE).await?.starts_with("notes on "));
    counts_words_on(&acme, "count", "beta.far", policy).await
}
