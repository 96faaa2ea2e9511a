//! Exclusive state that rather stays up than alone, beside one that rather stops: without a controller, on a machine that
//! is not heard, and on the move.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use chandler_api::host::HostState;
use chandler_api::order::OrderRequest;
use chandler_api::service::Service;
use chandler_api::site::SiteRole;
use chandler_harness::wait::{eventually, eventually_ok};
use chandler_tests::fleet::{AgentOptions, Fleet, PATIENCE};
use chandler_tests::load::{Demand, Load, check_notes};
use chandler_tests::{http, orders, process};

use crate::ground::{birth, gone};

/// How long the controller is away: twice its grace, and nearly three leases.
const AWAY: Duration = Duration::from_secs(6);
/// Between two questions.
const PAUSE: Duration = Duration::from_millis(50);
const KEEPS: &str = "onPartition = \"keepRunning\"";
const DEMAND: Demand = Demand { clients: 2, pace: Duration::from_millis(40), writes: true };

fn exclusive(name: &str, policy: &str) -> Result<OrderRequest> {
    orders::order(&format!(
        r#"
customer = "acme"
name = "{name}"
front = {{ on = ["rack-a"] }}
[software]
artifact = "notes@1.0.0"
command = ["./notes", "--listen", "127.0.0.1:{{port.http}}", "--data", "{{state}}"]
limits = {{ cpu = 0.2, memory = "128 MiB" }}
port = [{{ name = "http", mode = "http" }}]
state = {{ path = "data", exclusive = true }}
health = {{ http = "/healthz", port = "http", interval = "200 ms" }}
[policy]
owners = ["provider"]
{policy}
"#
    ))
}

/// Two servers, of which the first is the cheaper one, and the customer's computer with the front doors.
async fn fleet() -> Result<Fleet> {
    let mut fleet = Fleet::start().await?;
    fleet.customer("acme").await?;
    fleet.provider_site("rack", (10_000, 2_000)).await?;
    fleet.provider_site("hall", (20_000, 4_000)).await?;
    fleet.site("office", "acme", SiteRole::Customer, "DE", (0, 0)).await?;
    for (site, name) in [("rack", "rack-a"), ("hall", "hall-b"), ("office", "laptop")] {
        fleet.agent(site, name, AgentOptions::default()).await?;
    }
    fleet.publish_notes().await?;
    Ok(fleet)
}

fn place(service: &Service) -> Result<&str> {
    Ok(&service.placements.first().context("it has a place")?.host)
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_controller_the_one_that_keeps_running_answers_all_the_time_and_the_other_stops() -> Result<()> {
    let mut fleet = fleet().await?;
    let stays = fleet.order_completed(&exclusive("stays", KEEPS)?).await?;
    let stops = fleet.order_completed(&exclusive("stops", "")?).await?;
    ensure!(place(&stays)? == "rack-a" && place(&stops)? == "rack-a", "{stays:#?} {stops:#?}");
    let (door, other) = (fleet.door("stays", "rack-a").await?, fleet.door("stops", "rack-a").await?);
    let (stays_at, stops_at) = (Fleet::url(&stays)?, Fleet::url(&stops)?);
    let (kept, ended) = (process::of_notes(&stays_at).await?, process::of_notes(&stops_at).await?);
    let born = birth(kept)?;
    http::body_of(&format!("http://{other}/"), PATIENCE).await?;

    fleet.kill_controller()?;
    let killed = Instant::now();
    while killed.elapsed() < AWAY {
        let answer = http::get(&format!("http://{door}/")).await?;
        ensure!(answer.status == 200, "{} after {:?}", answer.status, killed.elapsed());
        tokio::time::sleep(PAUSE).await;
    }
    ensure!(kept.is_alive() && birth(kept)? == born, "it is another process");
    gone(ended).await?;

    fleet.restart_controller().await?;
    for host in ["rack-a", "hall-b"] {
        fleet.host_in_state(host, HostState::Active).await?;
    }
    for name in ["stays", "stops"] {
        let again = fleet.running_where(name, |s| s.placements.len() == 1).await?;
        ensure!(place(&again)? == "rack-a" && again.replacements.is_empty(), "{again:#?}");
    }
    let other = format!("http://{other}/");
    eventually_ok("the other one to answer again", PATIENCE, || http::get(&other)).await?;
    ensure!(process::of_notes(&stays_at).await? == kept && birth(kept)? == born, "it was disturbed");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_machine_that_is_not_heard_it_runs_on_and_is_waited_for_and_it_moves_like_any_other() -> Result<()> {
    let mut fleet = fleet().await?;
    let service = fleet.order_completed(&exclusive("stays", KEEPS)?).await?;
    let kept = process::of_notes(&Fleet::url(&service)?).await?;
    let born = birth(kept)?;

    // Its agent is gone, its software is not: nobody can tell from afar.
    fleet.agent_named("rack-a")?.kill()?;
    fleet.host_in_state("rack-a", HostState::Lost).await?;
    let waits = eventually("it to say that it waits", PATIENCE, || async {
        fleet.client.service("stays").await.ok().filter(|s| s.reason.contains("waits for its host"))
    });
    let waits = waits.await?;
    ensure!(waits.reason.contains("keepRunning") && waits.reason.contains("revoke"), "{}", waits.reason);
    let explained = fleet.client.service_explain("stays").await?;
    ensure!(explained.text.contains("waits for its host"), "{}", explained.text);
    tokio::time::sleep(AWAY).await;
    let now = fleet.client.service("stays").await?;
    ensure!(place(&now)? == "rack-a" && now.placements.len() == 1, "{now:#?}");
    ensure!(fleet.client.moves(&chandler_api::movement::MoveQuery::default()).await?.items.is_empty(), "it moved");
    ensure!(http::get(&format!("{}/", Fleet::url(&service)?)).await?.status == 200, "it runs on");

    fleet.agent_named("rack-a")?.restart()?;
    fleet.host_in_state("rack-a", HostState::Active).await?;
    let again = fleet.running_where("stays", |s| s.reason.is_empty()).await?;
    ensure!(place(&again)? == "rack-a" && kept.is_alive() && birth(kept)? == born, "it was disturbed: {again:#?}");

    let door = fleet.door("stays", "laptop").await?;
    http::body_of(&format!("http://{door}/"), PATIENCE).await?;
    let load = Load::start(door, "keeps", DEMAND);
    for host in ["hall-b", "rack-a"] {
        load.answers(20).await?;
        fleet.move_to("stays", host).await?;
    }
    load.answers(20).await?;
    let record = load.stop().await?;
    ensure!(record.failed.is_empty(), "{:?}", record.failed);
    check_notes(door, &record.written).await?;
    gone(kept).await?;
    Ok(())
}
