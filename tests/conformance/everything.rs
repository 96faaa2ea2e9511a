//! A35: one program, from what a user types to software on the computers of every party there is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use chandler_api::client::Client;
use chandler_api::party::PartyRole;
use chandler_api::site::SiteRole;
use chandler_api::token::{Role, TokenCreate};
use chandler_protocol::Ppm;
use chandler_tests::cli::Person;
use chandler_tests::fleet::{AgentOptions, Fleet, PATIENCE};
use chandler_tests::http;
use chandler_tests::orders::notes_file;
use tokio::time::sleep;

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
    let user = User::start(fleet.client_of(Role::Customer, "acme").await?, "moving");
    let amended = acme.json(&["sla", "amend", "moving", "--residency", "AT", "--wait"])?;
    ensure!(amended["state"] == "completed", "{amended:#}");
    let after = fleet.running_where("moving", |s| place(s).is_ok_and(|p| p.host == "attic")).await?;
    let answers = user.stop().await?;
    ensure!(answers > 0, "the user asked nothing");
    ensure!(after.id == before.id, "it is the same service");
    let step = after.replacements.last().context("the change of place is kept")?;
    ensure!((step.trigger.as_str(), step.to.as_str()) == ("slaAmended", "attic"), "{step:?}");
    let sla = fleet.client.sla("moving").await?.value;
    let up: Ppm = objective(&sla, "availability")?.measured.parse()?;
    ensure!(up == Ppm(1_000_000), "the service was lost for a while: {sla:#?}");
    Ok(())
}

/// A user who asks a service again and again, wherever it is. Looking up where it is now is what a front door will do.
struct User {
    stop: Arc<AtomicBool>,
    asking: tokio::task::JoinHandle<Result<u32>>,
}

impl User {
    fn start(client: Client, service: &'static str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = stop.clone();
        let asking = tokio::spawn(async move {
            let mut answers = 0;
            while !told.load(Ordering::Relaxed) {
                ask(&client, service).await?;
                answers += 1;
                sleep(Duration::from_millis(20)).await;
            }
            Ok(answers)
        });
        Self { stop, asking }
    }

    /// How many answers there were; an error when the service was not there.
    async fn stop(self) -> Result<u32> {
        self.stop.store(true, Ordering::Relaxed);
        self.asking.await?
    }
}

/// Some copy answers. A copy may end between being looked up and being asked, but then another one is known by now.
async fn ask(client: &Client, service: &str) -> Result<()> {
    let mut last = String::new();
    for _ in 0..2 {
        let found = client.service(service).await?;
        for port in found.placements.iter().flat_map(|p| &p.ports) {
            match http::get(&format!("http://127.0.0.1:{}", port.port)).await {
                Ok(answer) if answer.status == 200 => return Ok(()),
                Ok(answer) => last = format!("{answer:?}"),
                Err(error) => last = format!("{error:#}"),
            }
        }
        last = format!("{last}; {found:#?}");
    }
    anyhow::bail!("nobody answers for {service}: {last}")
}
