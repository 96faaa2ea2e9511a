//! Benchmarks of the running product: `bench NAME [--json]`. Progress goes to standard error; the last line of
//! standard output is one JSON object with `--json`, a table otherwise.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line speaks on both streams")]

mod agent_budget;
mod front_door;
mod market;
mod move_service;
mod order_latency;
mod pcs;

use std::process::ExitCode;

use serde_json::{Map, Value, json};

/// What a benchmark found: names with unit, and values.
type Figures = Vec<(&'static str, Value)>;

const NAMES: &[(&str, &str)] = &[
    ("order-latency", "an order submitted until its first healthy answer, the artifact already on the host, 200 times"),
    ("agent-budget", "memory and processor time of an idle agent at a 10 s interval, over 60 s"),
    (
        "move",
        "20 moves under load without state, 20 with 1 GiB; a part alone: move overlap, exclusive, exclusive-one-file",
    ),
    (
        "front-door",
        "HTTP requests and bulk bytes through a front door and its tunnel, against direct and against TLS over TCP",
    ),
    ("market", "what owners gain by false rates under each rule, and 1,000 demands cleared among 10,000 offers"),
    ("pcs", "four weeks of 50 services with 99 % on 200 PCs that come and go as real ones did, and what they cost"),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let is_json = arguments.iter().any(|a| a == "--json");
    let mut words = arguments.iter().filter(|a| !a.starts_with('-')).map(String::as_str);
    let (name, part) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error.into()),
    };
    let found = runtime.block_on(async {
        match name {
            "order-latency" => order_latency::run().await,
            "agent-budget" => agent_budget::run().await,
            "move" => move_service::run(part).await,
            "front-door" => front_door::run().await,
            "market" => market::run(),
            "pcs" => pcs::run(),
            _ => {
                eprintln!("usage: bench NAME [--json], where NAME is one of");
                for (name, text) in NAMES {
                    eprintln!("  {name:<14} {text}");
                }
                anyhow::bail!("there is no benchmark {name:?}")
            }
        }
    });
    match found {
        Ok(figures) => {
            show(name, figures, is_json);
            ExitCode::SUCCESS
        }
        Err(error) => failed(&error),
    }
}

fn failed(error: &anyhow::Error) -> ExitCode {
    eprintln!("error: {error:#}");
    ExitCode::FAILURE
}

fn show(name: &str, figures: Figures, is_json: bool) {
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned();
    if is_json {
        let mut object: Map<String, Value> = figures.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
        object.insert("bench".to_owned(), json!(name));
        object.insert("machine".to_owned(), json!({ "cores": cores, "kernel": kernel }));
        println!("{}", Value::Object(object));
        return;
    }
    println!("{name}, on {cores} cores, kernel {kernel}");
    for (key, value) in figures {
        println!("  {key:<20} {value}");
    }
}
