//! Moves under constant load: how many requests fail, how long any waits, how much is copied, what is lost.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use chandler_api::site::SiteRole;
use chandler_tests::fleet::{AgentOptions, ControllerOptions, Fleet};
use chandler_tests::load::{Demand, Load, check_notes};
use chandler_tests::moves::hold_ms;
use chandler_tests::orders;
use serde_json::{Value, json};

use super::Figures;

/// Moves of each kind.
const MOVES: usize = 20;
/// One file instead of many: figures only, fewer moves.
const MOVES_ONE_FILE: usize = 5;
const DEMAND: Demand = Demand { clients: 8, pace: Duration::from_millis(20), writes: false };
/// How long the load goes on after each move, so that a late failure is seen too.
const AFTER: Duration = Duration::from_millis(500);

pub(super) async fn run(only: &str) -> anyhow::Result<Figures> {
    let wanted = |name| only.is_empty() || only == name;
    let mut fleet = fleet().await?;
    let mut figures = Vec::new();
    if wanted("overlap") {
        figures.push(("overlap", overlap(&mut fleet).await?));
    }
    if wanted("exclusive") {
        figures.push(("exclusive", exclusive(&mut fleet, "many", "256 4194304 2", MOVES).await?));
    }
    if wanted("exclusive-one-file") {
        figures.push(("exclusive_one_file", exclusive(&mut fleet, "one", "1 1073741824 2", MOVES_ONE_FILE).await?));
    }
    Ok(figures)
}

/// Two servers of the provider's and a computer of the customer's with the front door.
async fn fleet() -> anyhow::Result<Fleet> {
    let options = ControllerOptions {
        grace: "12 s",
        heartbeat: "4 s",
        telemetry_interval: "10 s",
        ..ControllerOptions::default()
    };
    let mut fleet = Fleet::with(options).await?;
    fleet.customer("acme").await?;
    fleet.site("rack", "provider", SiteRole::Provider, "DE", (20_000, 3_000)).await?;
    fleet.site("office", "acme", SiteRole::Customer, "DE", (0, 0)).await?;
    for (site, name) in [("rack", "rack-a"), ("rack", "rack-b"), ("office", "laptop")] {
        fleet.agent(site, name, AgentOptions::default()).await?;
    }
    fleet.publish_notes().await?;
    Ok(fleet)
}

/// A service without state: the new copy serves before the old one ends.
async fn overlap(fleet: &mut Fleet) -> anyhow::Result<Value> {
    let order = orders::order(
        r#"
customer = "acme"
name = "light"
[software]
artifact = "notes@1.0.0"
command = ["./notes", "--listen", "127.0.0.1:{port.http}", "--data", "{work}"]
limits = { cpu = 0.5, memory = "128 MiB" }
port = [{ name = "http", mode = "http" }]
health = { http = "/healthz", port = "http", interval = "200 ms" }
[policy]
owners = ["provider"]
"#,
    )?;
    fleet.order_completed(&order).await?;
    let door = ready(fleet, "light").await?;
    let load = Load::start(door, "light", DEMAND);
    let mut windows = Vec::new();
    for n in 0..MOVES {
        let to = other(fleet, "light").await?;
        let begin = Instant::now();
        fleet.move_to("light", to).await?;
        tokio::time::sleep(AFTER).await;
        windows.push((begin, Instant::now()));
        progress("overlap", n, MOVES);
    }
    let record = load.stop().await?;
    record.failed.iter().take(5).for_each(|text| eprintln!("failed: {text}"));
    let stalls: Vec<f64> = windows.iter().map(|(from, to)| record.longest(*from, *to).as_secs_f64() * 1e3).collect();
    fleet.client.service_delete("light").await?;
    Ok(json!({
        "moves": MOVES,
        "requests": record.answered.len() + record.failed.len(),
        "failed_requests": record.failed.len(),
        "median_ms": round(record.median().as_secs_f64() * 1e3),
        "longest_stall_ms": spread(stalls),
    }))
}

/// A service whose state of 1 GiB goes with it, while its users read and write.
async fn exclusive(fleet: &mut Fleet, name: &str, ballast: &str, moves: usize) -> anyhow::Result<Value> {
    let ballast: Vec<_> = ballast.split(' ').map(|word| format!("{word:?}")).collect();
    let order = orders::order(&format!(
        r#"
customer = "acme"
name = "{name}"
[software]
artifact = "notes@1.0.0"
command = ["./notes", "--listen", "127.0.0.1:{{port.http}}", "--data", "{{state}}", "--ballast", {}]
limits = {{ cpu = 0.5, memory = "512 MiB" }}
port = [{{ name = "http", mode = "http" }}]
state = {{ path = "data", exclusive = true }}
health = {{ http = "/healthz", port = "http", interval = "200 ms", grace = "60 s" }}
[policy]
owners = ["provider"]
move = {{ keep = "1 s" }}
"#,
        ballast.join(", ")
    ))?;
    fleet.order_completed(&order).await?;
    let door = ready(fleet, name).await?;
    let load = Load::start(door, name, Demand { writes: true, ..DEMAND });
    let (mut holds, mut stalls, mut sent, mut state) = (Vec::new(), Vec::new(), 0, 0);
    let mut covered = 0;
    for n in 0..moves {
        let to = other(fleet, name).await?;
        let begin = Instant::now();
        let done = fleet.move_to(name, to).await?;
        tokio::time::sleep(AFTER).await;
        let realised = done.realised.as_ref().context("a move that is done says what came of it")?;
        holds.push(hold_ms(&done));
        stalls.push(realised.longest_stall_micros.0 as f64 / 1e3);
        covered += usize::from(realised.hold_micros <= done.predicted.hold_micros);
        (sent, state) = (sent + realised.bytes, state + realised.state_bytes);
        eprintln!(
            "  {:.1} s, hold {:.0} ms (expected less than {}), {} of {} bytes, {} rounds; {}",
            begin.elapsed().as_secs_f64(),
            hold_ms(&done),
            done.predicted.hold_micros,
            realised.bytes,
            realised.state_bytes,
            realised.rounds,
            steps(&done)
        );
        progress(name, n, moves);
    }
    let record = load.stop().await?;
    record.failed.iter().take(5).for_each(|text| eprintln!("failed: {text}"));
    let lost = match check_notes(door, &record.written).await {
        Ok(_) => 0,
        Err(error) => {
            eprintln!("{error:#}");
            1
        }
    };
    fleet.client.service_delete(name).await?;
    Ok(json!({
        "moves": moves,
        "requests": record.answered.len() + record.failed.len(),
        "failed_requests": record.failed.len(),
        "writes": record.written.len(),
        "lost_writes": lost,
        "hold_ms": spread(holds),
        "estimates_covered": covered,
        "longest_stall_ms": spread(stalls),
        "bytes_ratio": round_to(sent as f64 / state.max(1) as f64, 1_000.0),
    }))
}

/// The phases of a move and how long each took, for a person.
fn steps(done: &chandler_api::movement::Move) -> String {
    let took = |s: &chandler_api::movement::MoveStep| s.took_micros.map_or(0.0, |t| t.0 as f64 / 1e3);
    done.steps.iter().map(|s| format!("{:?} {:.0} ms", s.phase, took(s))).collect::<Vec<_>>().join(", ")
}

/// The door, once the service answers through it.
async fn ready(fleet: &Fleet, service: &str) -> anyhow::Result<SocketAddr> {
    let door = fleet.door(service, "laptop").await?;
    chandler_tests::http::body_of(&format!("http://{door}/healthz"), Duration::from_secs(30)).await?;
    Ok(door)
}

/// The server that the service is not on.
async fn other(fleet: &Fleet, service: &str) -> anyhow::Result<&'static str> {
    let service = fleet.client.service(service).await?;
    let on_a = service.placements.iter().any(|p| p.host == "rack-a" && p.state == "allocated");
    Ok(if on_a { "rack-b" } else { "rack-a" })
}

fn progress(what: &str, n: usize, of: usize) {
    eprintln!("{what}: {} of {of} moves", n + 1);
}

fn spread(mut values: Vec<f64>) -> Value {
    values.sort_by(f64::total_cmp);
    let at = |share: usize| values.get((values.len() * share / 100).min(values.len().saturating_sub(1))).copied();
    let shown = |value: Option<f64>| value.map_or(Value::Null, round);
    json!({ "p50": shown(at(50)), "p99": shown(at(99)), "max": shown(values.last().copied()) })
}

fn round(value: f64) -> Value {
    round_to(value, 10.0)
}

fn round_to(value: f64, by: f64) -> Value {
    json!((value * by).round() / by)
}
