//! A27: the customer's interface over the network.

use anyhow::{Context, Result, ensure};
use chandler_api::order::OrderState;
use chandler_api::site::SiteRole;
use chandler_api::token::{Role, TokenCreate};
use chandler_tests::cli::Person;
use chandler_tests::fleet::{AgentOptions, Fleet, PATIENCE, order, order_completed};
use chandler_tests::http;
use chandler_tests::orders::{notes, notes_file};
use serde_json::Value;

use crate::seen::place;

const TERMS: &str = "[sla]\ncost = { max = \"20 EUR/month\" }\nresidency = [\"DE\"]";

/// A provider with a site in Germany and one in Austria, and a customer, who is the one at the command line.
async fn fleet() -> Result<(Fleet, Person)> {
    let mut fleet = Fleet::start().await?;
    fleet.customer("acme").await?;
    fleet.publish_notes().await?;
    for (site, host, country) in [("berlin", "spree", "DE"), ("vienna", "danube", "AT")] {
        fleet.site(site, "provider", SiteRole::Provider, country, (10_000, 1_000)).await?;
        fleet.agent(site, host, AgentOptions::default()).await?;
    }
    let wanted = TokenCreate { role: Role::Customer, party: Some("acme".to_owned()) };
    let token = fleet.client.token_create(&wanted).await?.secret;
    let person = Person::new(&fleet, "acme", &token)?;
    std::fs::write(person.home().join("notes.toml"), notes_file("notes", TERMS))?;
    Ok((fleet, person))
}

fn text<'v>(value: &'v Value, pointer: &str) -> Result<&'v str> {
    value.pointer(pointer).and_then(Value::as_str).with_context(|| format!("no text at {pointer} in {value:#}"))
}

/// The command line quotes, orders, shows, explains, amends and bills, and the server acts on the SLA that is chosen
/// there. The web page, which the requirement names too, comes later.
#[tokio::test(flavor = "multi_thread")]
async fn a27_the_server_acts_on_what_is_chosen_at_the_command_line() -> Result<()> {
    let (fleet, acme) = fleet().await?;
    let quote = acme.json(&["quote", "-f", "notes.toml"])?;
    ensure!(quote["feasible"] == true && quote["hosts"] == serde_json::json!(["spree"]), "{quote:#}");
    let too_cheap = ["quote", "-f", "notes.toml", "--set", "sla.cost.max=0.01 EUR/month"];
    let error = acme.refused(7, &too_cheap)?;
    ensure!(error.contains("E0301") && error.contains("EUR/month"), "{error}");

    let order = acme.json(&["order", "submit", "-f", "notes.toml", "--wait"])?;
    ensure!(order["state"] == "completed" && order["customer"] == "acme", "{order:#}");
    let listed = acme.json(&["service", "list"])?;
    ensure!(text(&listed, "/items/0/name")? == "notes", "{listed:#}");
    let shown = acme.json(&["service", "show", "notes"])?;
    ensure!(shown["operatingStatus"] == "running" && text(&shown, "/placements/0/site")? == "berlin", "{shown:#}");
    let port = shown.pointer("/placements/0/ports/0/port").and_then(Value::as_u64).context("it has a port")?;
    ensure!(http::body_of(&format!("http://127.0.0.1:{port}"), PATIENCE).await?.starts_with("notes on "));
    let why = acme.json(&["service", "explain", "notes"])?;
    ensure!(text(&why, "/candidates/0/host")? == "spree" && text(&why, "/refused/0/rule")? == "residency", "{why:#}");
    let people = acme.run(&["service", "explain", "notes"])?;
    ensure!(people.exit == Some(0) && people.stdout.contains("spree"), "{people:#?}");

    let amended = acme.json(&["sla", "amend", "notes", "--residency", "AT", "--wait"])?;
    ensure!(amended["state"] == "completed", "{amended:#}");
    let moved = fleet.running_where("notes", |s| place(s).is_ok_and(|p| p.site == "vienna")).await?;
    ensure!(http::body_of(&Fleet::url(&moved)?, PATIENCE).await?.starts_with("notes on "));
    let history = acme.json(&["sla", "history", "notes"])?;
    ensure!(history["items"].as_array().is_some_and(|v| v.len() == 2), "{history:#}");
    let sla = acme.json(&["sla", "show", "notes"])?;
    ensure!(sla["version"] == 2 && sla["terms"]["residency"] == serde_json::json!(["AT"]), "{sla:#}");
    ensure!(sla["terms"]["cost"]["max"] == "20 EUR/month", "what was not amended stays: {sla:#}");

    let provider = Person::new(&fleet, "provider", &fleet.token)?;
    let bills = provider.json(&["bill", "run", "--customer", "acme"])?;
    ensure!(text(&bills, "/items/0/customer")? == "acme", "{bills:#}");
    ensure!(provider.json(&["ledger", "check"])?["balanced"] == true);

    acme.refused(4, &["bill", "run"])?;
    acme.refused(5, &["service", "show", "nothing"])?;
    acme.refused(2, &["service", "frobnicate"])?;
    Person::new(&fleet, "stranger", "cht_not-a-token")?.refused(4, &["service", "list"])?;
    let nowhere = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    acme.at(&format!("http://{nowhere}")).refused(9, &["service", "list"])?;
    Ok(())
}

/// The same over the API, with a customer's token and no more: what it selects is what runs, and what others have is
/// not there for it.
#[tokio::test(flavor = "multi_thread")]
async fn a27_the_server_acts_on_what_is_chosen_over_the_api() -> Result<()> {
    let (fleet, _) = fleet().await?;
    let acme = fleet.client_of(Role::Customer, "acme").await?;
    let rival = fleet.customer("rival").await?;
    let service = order_completed(&acme, &notes("acme", "notes", TERMS)?).await?;
    ensure!(place(&service)?.host == "spree", "{service:#?}");
    let read = acme.sla("notes").await?;
    let mut terms = read.value.terms.clone();
    terms.residency = vec!["AT".to_owned()];
    let amend = chandler_api::sla::SlaAmend { sla: terms };
    let amended = acme.sla_amend("notes", &amend, &read.etag).await?;
    let amended = chandler_tests::fleet::settled(&acme, &amended.id.to_string()).await?;
    ensure!(amended.state == OrderState::Completed, "{amended:#?}");
    fleet.running_where("notes", |s| place(s).is_ok_and(|p| p.host == "danube")).await?;
    let stale = acme.sla_amend("notes", &amend, &read.etag).await;
    ensure!(stale.is_err_and(|e| e.code() == "E0141"), "an SLA that has changed meanwhile was amended");

    ensure!(rival.service("notes").await.is_err_and(|e| e.code() == "E0130"), "another customer sees it");
    let forged = order(&rival, &notes("acme", "forged", "")?).await;
    ensure!(forged.is_err(), "one customer orders for another: {forged:#?}");
    let described = acme.openapi().await?;
    for path in ["/api/v1/orders", "/api/v1/quotes", "/api/v1/slas/{reference}", "/api/v1/bills"] {
        ensure!(described["paths"].get(path).is_some(), "the API does not describe {path}");
    }
    Ok(())
}
