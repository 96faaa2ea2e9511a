//! A05 and A06: a service and a task on the provider's resources, and on the customer's own.

use anyhow::{Context, Result, ensure};
use chandler_api::client::Client;
use chandler_api::host::AllocationStatus;
use chandler_api::order::OrderState;
use chandler_api::service::ServiceQuery;
use chandler_api::site::SiteRole;
use chandler_harness::wait::eventually_ok;
use chandler_tests::fleet::{AgentOptions, Fleet, PATIENCE, order, order_completed};
use chandler_tests::http;
use chandler_tests::orders::{notes, word_count};

use crate::seen::{place, rejected};

const TEXTS: [(&str, &str); 2] = [("first", "one two three\n"), ("second", "four\nfive\n")];
const COUNTS: [(&str, &str); 2] =
    [("first", "{\"lines\":1,\"words\":3,\"bytes\":14}\n"), ("second", "{\"lines\":2,\"words\":2,\"bytes\":10}\n")];

/// Runs the word count and checks its results and that each item ran on `host`.
async fn counts_words_on(client: &Client, host: &str, policy: &str) -> Result<()> {
    let task = order(client, &word_count(client, "count", &TEXTS, policy).await?).await?;
    ensure!(task.state == OrderState::Completed, "{task:#?}");
    let query = ServiceQuery { order: Some(task.id.to_string()), all: true, ..ServiceQuery::default() };
    let items = client.services(&query).await?.items;
    ensure!(items.len() == 2, "{items:#?}");
    for item in items {
        let name = item.item.clone().context("an item has a name")?;
        let expected = COUNTS.iter().find(|(n, _)| *n == name).context("an item that was ordered")?.1;
        let file = format!("{name}.json");
        let output = client.service_output(&item.id.to_string(), &file).await?.bytes(1 << 20).await?;
        ensure!(output == expected.as_bytes(), "{name} counted {:?}", String::from_utf8_lossy(&output));
        let why = client.service_explain(&item.id.to_string()).await?;
        let chosen: Vec<_> = why.candidates.iter().filter(|c| c.chosen).map(|c| c.host.as_str()).collect();
        ensure!(chosen == [host], "{name} ran on {chosen:?}");
    }
    Ok(())
}

/// The provider's server gets a service and a task, although the customer's own computer would be free of charge.
#[tokio::test(flavor = "multi_thread")]
async fn a05_a_service_and_a_task_on_the_providers_resources() -> Result<()> {
    let mut fleet = Fleet::start().await?;
    let acme = fleet.customer("acme").await?;
    fleet.publish_notes().await?;
    fleet.site("office", "acme", SiteRole::Customer, "DE", (0, 0)).await?;
    fleet.provider_site("hall", (20_000, 3_000)).await?;
    fleet.agent("office", "desk", AgentOptions::default()).await?;
    fleet.agent("hall", "server", AgentOptions::default()).await?;

    let policy = "[policy]\nowners = [\"provider\"]";
    let service = order_completed(&acme, &notes("acme", "notes", policy)?).await?;
    let there = place(&service)?;
    ensure!((there.host.as_str(), there.site_role) == ("server", SiteRole::Provider), "{there:?}");
    ensure!(http::body_of(&Fleet::url(&service)?, PATIENCE).await?.starts_with("notes on "));
    counts_words_on(&acme, "server", policy).await
}

/// A customer's own computer gets its service and its task. Another customer's computer gets neither, not even when
/// the own one is full, and is not even seen.
#[tokio::test(flavor = "multi_thread")]
async fn a06_a_service_and_a_task_on_the_customers_own_resources() -> Result<()> {
    let mut fleet = Fleet::start().await?;
    let acme = fleet.customer("acme").await?;
    let rival = fleet.customer("rival").await?;
    fleet.publish_notes().await?;
    fleet.site("office", "acme", SiteRole::Customer, "DE", (20_000, 3_000)).await?;
    fleet.site("rivals", "rival", SiteRole::Customer, "DE", (0, 0)).await?;
    let small = AgentOptions { milli_cpu: 1_000, memory: "256 MiB".to_owned(), ..AgentOptions::default() };
    fleet.agent("rivals", "other", AgentOptions::default()).await?;
    fleet.agent("office", "desk", small).await?;

    let policy = "[policy]\nowners = [\"customer\"]";
    let service = order_completed(&acme, &notes("acme", "notes", policy)?).await?;
    let there = place(&service)?;
    ensure!((there.host.as_str(), there.site_role) == ("desk", SiteRole::Customer), "{there:?}");
    ensure!(http::body_of(&Fleet::url(&service)?, PATIENCE).await?.starts_with("notes on "));
    counts_words_on(&acme, "desk", policy).await?;

    // The task's room is back by and by; then the own computer is filled up.
    let filled = eventually_ok("room on the own computer", PATIENCE, || async {
        ensure!(fleet.client.host("desk").await?.assignments == 1);
        Ok::<_, anyhow::Error>(())
    });
    filled.await?;
    order_completed(&acme, &notes("acme", "more", policy)?).await?;
    let full = rejected(&acme, &notes("acme", "too-much", policy)?, "E0302").await?;
    ensure!(full.nearest.iter().all(|a| a.host != "other"), "another customer's computer is proposed: {full:#?}");
    let anywhere = rejected(&acme, &notes("acme", "anywhere", "")?, "E0302").await?;
    ensure!(!format!("{anywhere:?}").contains("other"), "another customer's computer is named: {anywhere:#?}");

    let other = fleet.client.host("other").await?;
    ensure!(other.allocation_status == AllocationStatus::Available && other.assignments == 0, "{other:#?}");
    ensure!(acme.host("other").await.is_err(), "a customer sees another customer's computer");
    ensure!(rival.service("notes").await.is_err(), "a customer sees another customer's service");
    Ok(())
}
