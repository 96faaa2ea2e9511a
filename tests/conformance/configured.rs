//! B07: configured as required, and again while in use.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use chandler_api::client::Client;
use chandler_api::order::{Action, OrderRequest, OrderState};
use chandler_api::service::{Placement, Service};
use chandler_protocol::{Bytes, MilliCpu};
use chandler_tests::fleet::{AgentOptions, Fleet, PATIENCE, order, order_completed};
use chandler_tests::orders::notes;
use chandler_tests::process::Process;
use chandler_tests::{http, orders, process};

use crate::seen::{place, rejected};

/// The answer time of the second configuration.
const DELAY: Duration = Duration::from_millis(150);

/// A program is given the arguments, the environment, the port, the directories and the limits that were ordered. While
/// it is in use it is configured anew: it stays the same service in the same place, keeps its state, and has the new
/// configuration.
#[tokio::test(flavor = "multi_thread")]
async fn b07_software_is_configured_as_required_and_anew_while_in_use() -> Result<()> {
    let mut fleet = Fleet::start().await?;
    let acme = fleet.customer("acme").await?;
    fleet.publish_notes().await?;
    fleet.provider_site("hall", (10_000, 1_000)).await?;
    fleet.agent("hall", "server", AgentOptions::default()).await?;
    what_a_program_is_told(&acme).await?;

    let mut request = notes("acme", "notes", "")?;
    request.software.environment.insert("GREETING".to_owned(), "hello, on {port.http}".to_owned());
    request.software.environment.insert("GONE".to_owned(), "soon".to_owned());
    let service = order_completed(&acme, &request).await?;
    let (url, before) = (Fleet::url(&service)?, place(&service)?.clone());
    let first = process::of_notes(&url).await?;
    is_configured(&service, &before, first)?;
    ensure!(first.environment()?.get("GONE").is_some_and(|v| v == "soon"));
    ensure!(http::post(&format!("{url}/notes"), "kept").await?.status == 201);

    reconfigure(&mut request);
    let changed = order_completed(&acme, &request).await?;
    let after = place(&changed)?.clone();
    ensure!(changed.id == service.id && after.host == before.host, "{changed:#?}");
    ensure!(after.assignment == before.assignment && after.epoch > before.epoch, "{before:?} became {after:?}");
    ensure!(changed.replacements.is_empty(), "{changed:#?}");
    let url = Fleet::url(&changed)?;
    let second = process::of_notes(&url).await?;
    ensure!(second != first && !first.is_alive(), "the old configuration still runs");
    is_configured(&changed, &after, second)?;
    let environment = second.environment()?;
    ensure!(environment.get("COLOUR").is_some_and(|v| v == "green") && !environment.contains_key("GONE"));
    let asked = Instant::now();
    let notes_kept = http::body_of(&format!("{url}/notes"), PATIENCE).await?;
    ensure!(notes_kept == "kept\n", "its notes are {notes_kept:?}");
    ensure!(asked.elapsed() >= DELAY, "it answers as quickly as before");
    let host = fleet.client.host("server").await?;
    ensure!(host.reserved.milli_cpu == MilliCpu(750) && host.reserved.memory.0 == Bytes(192 << 20), "{host:#?}");

    // A configuration that cannot be had changes nothing.
    request.software.limits.memory.0 = Bytes(1 << 40);
    rejected(&acme, &request, "E0301").await?;
    ensure!(process::of_notes(&url).await? == second, "a refused change has changed something");
    Ok(())
}

fn reconfigure(request: &mut OrderRequest) {
    request.action = Action::Modify;
    let software = &mut request.software;
    software.command.extend(["--delay-ms".to_owned(), DELAY.as_millis().to_string()]);
    software.environment.remove("GONE");
    software.environment.insert("COLOUR".to_owned(), "green".to_owned());
    (software.limits.cpu, software.limits.memory.0) = (MilliCpu(750), Bytes(192 << 20));
}

/// The process against what was ordered for every configuration.
fn is_configured(service: &Service, place: &Placement, process: Process) -> Result<()> {
    let port = place.ports.first().context("it has a port")?;
    let arguments = process.arguments()?;
    let after = |flag: &str| arguments.iter().skip_while(|a| *a != flag).nth(1).cloned();
    let listen = format!("127.0.0.1:{}", port.port);
    ensure!(port.name == "http" && after("--listen") == Some(listen), "{arguments:?} for {port:?}");
    let state = std::fs::canonicalize(after("--data").context("it has a state directory")?)?;
    ensure!(state.join("notes.log").is_file(), "it keeps its state in {}", state.display());
    ensure!(process.directory()? == state, "a service with state begins in it, not in {:?}", process.directory());
    let greeting = process.environment()?.get("GREETING").cloned();
    ensure!(greeting == Some(format!("hello, on {}", port.port)), "{} was told {greeting:?}", service.name);
    Ok(())
}

/// A program that is on the machine already says itself what it was given.
async fn what_a_program_is_told(acme: &Client) -> Result<()> {
    let task = order(acme, &orders::order(ENVIRONMENT)?).await?;
    ensure!(task.state == OrderState::Completed, "{task:#?}");
    let item = task.service.context("it has an item")?.to_string();
    let said = String::from_utf8(acme.service_output(&item, "stdout").await?.bytes(1 << 20).await?)?;
    let value = |name: &str| said.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix('='));
    ensure!(value("GREETING") == Some("hello one"), "{said}");
    ensure!(value("ARGUMENT") == Some("from the command"), "{said}");
    let work = value("WORK").context("it was told its directory")?;
    ensure!(work.starts_with('/') && value("PWD").is_none_or(|pwd| pwd == work), "{said}");
    // Nothing of the agent's own environment but what every program needs.
    for name in ["HOME", "CHANDLER_JOIN", "CARGO_MANIFEST_DIR"] {
        ensure!(value(name).is_none(), "it was told {name}: {said}");
    }
    Ok(())
}

const ENVIRONMENT: &str = r#"
    name = "environment"

    [software]
    kind = "task"
    installed = { name = "coreutils", path = "/usr/bin/env" }
    command = ["env", "ARGUMENT=from the command"]
    environment = { GREETING = "hello {item}", WORK = "{work}" }

    [[item]]
    name = "one"
"#;
