//! A35: one program, from what a user types to software on the computers of every party there is.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use chandler_api::party::PartyRole;
use chandler_api::site::SiteRole;
use chandler_api::token::{Role, TokenCreate};
use chandler_protocol::Ppm;
use chandler_tests::cli::Person;
use chandler_tests::fleet::{AgentOptions, Fleet, PATIENCE};
use chandler_tests::http;
use chandler_tests::load::{Demand, Load};
use chandler_tests::orders::notes_file;

use crate::seen::{objective, place};

/// Whose computer runs what: kind of owner, host.
const PARTIES: [(&str, &str); 3] = [("customer", "desk"), ("provider", "server"), ("remote", "attic")];

/// By the command line alone, a customer's software is published and put on the customer's, the provider's and a remote
/// site's computer; then an amended SLA moves a running service from the provider to the remote site while a user
/// keeps asking it. Partners, the fourth party, are not built yet.
#[tokio::test(flavor = "multi_thread")]
async fn a35_from_user_input_to_the_computers_of_every_party() -> Result<()> {
    let mut fleet = Fleet::start().await?;
    fleet.customer("acme").await?;
    fleet.party("hobbyist", PartyRole::SiteOwner).await?;
    fleet.site("office", "acme", SiteRole::Customer, "CH", (0, 0)).await?;
    fleet.site("hall", "provider", SiteRole::Provider, "DE", (10_000, 1_000)).await?;
    fleet.site("home", "hobbyist", SiteRole::Remote, "AT", (4_000, 500)).await?;
    for (site, host) in [("office", "desk"), ("hall", "server"), ("home", "attic")] {
        let options = AgentOptions { delay: Duration::from_millis(5), ..AgentOptions::default() };
        fleet.agent(site, host, options).await?;
    }
    let wanted = TokenCreate { role: Role::Customer, party: Some("acme".to_owned()) };
    let token = fleet.client.token_create(&wanted).await?.secret;
    let acme = Person::new(&fleet, "acme", &token)?;
    chandler_harness::write_notes(acme.home())?;
    acme.json(&["artifact", "publish", "notes", "--name", "notes", "--version", "1.0.0"])?;
    std::fs::write(acme.home().join("notes.toml"), notes_file("notes", "[sla]\navailability = { min = \"50 %\" }"))?;

    for (owner, host) in PARTIES {
        let (name, owners) = (format!("name=on-{owner}"), format!("policy.owners=[\"{owner}\"]"));
        let order = acme.json(&["order", "submit", "-f", "notes.toml", "--set", &name, "--set", &owners, "--wait"])?;
        ensure!(order["state"] == "completed", "{order:#}");
        let service = fleet.running_where(&format!("on-{owner}"), |_| true).await?;
        ensure!(place(&service)?.host == host, "{service:#?}");
        ensure!(http::body_of(&Fleet::url(&service)?, PATIENCE).await?.starts_with("notes on "));
    }

    let residency = ["--set", "name=moving", "--set", "sla.residency=[\"DE\"]"];
    acme.json(&[&["order", "submit", "-f", "notes.toml", "--wait"], residency.as_slice()].concat())?;
    let before = fleet.running_where("moving", |s| place(s).is_ok_and(|p| p.host == "server")).await?;
    let door = fleet.door("moving", "desk").await?;
    http::body_of(&format!("http://{door}/"), PATIENCE).await?;
    let user = Load::start(door, "user", Demand { clients: 1, pace: Duration::from_millis(20), writes: false });
    let amended = acme.json(&["sla", "amend", "moving", "--residency", "AT", "--wait"])?;
    ensure!(amended["state"] == "completed", "{amended:#}");
    let after = fleet.running_where("moving", |s| place(s).is_ok_and(|p| p.host == "attic")).await?;
    let asked = user.stop().await?;
    ensure!(!asked.answered.is_empty() && asked.failed.is_empty(), "the user noticed: {:?}", asked.failed);
    ensure!(after.id == before.id, "it is the same service");
    let step = after.replacements.last().context("the change of place is kept")?;
    ensure!((step.trigger.as_str(), step.to.as_str()) == ("slaAmended", "attic"), "{step:?}");
    let sla = fleet.client.sla("moving").await?.value;
    let up: Ppm = objective(&sla, "availability")?.measured.parse()?;
    ensure!(up == Ppm(1_000_000), "the service was lost for a while: {sla:#?}");
    Ok(())
}
