//! What an idle agent takes: resident memory and processor time, at a 10 s interval, from what the kernel counts.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use chandler_api::site::SiteRole;
use chandler_tests::fleet::{AgentOptions, ControllerOptions, Fleet};
use serde_json::json;

use super::Figures;

/// Joining and the first inventory are over by then.
const SETTLE: Duration = Duration::from_secs(15);
const WATCH: Duration = Duration::from_secs(60);

pub(super) async fn run() -> anyhow::Result<Figures> {
    let options = ControllerOptions {
        grace: "12 s",
        heartbeat: "4 s",
        telemetry_interval: "10 s",
        ..ControllerOptions::default()
    };
    let mut fleet = Fleet::with(options).await?;
    fleet.site("rack", "provider", SiteRole::Provider, "DE", (20_000, 3_000)).await?;
    let agent = fleet.agent("rack", "rack-1", AgentOptions::default()).await?;
    let pid = fleet.agents[agent].daemon.id();
    eprintln!("settling for {SETTLE:?}, then watching for {WATCH:?}");
    tokio::time::sleep(SETTLE).await;
    let (begin, before) = (Instant::now(), cpu_ns(pid)?);
    tokio::time::sleep(WATCH).await;
    let (took, after) = (begin.elapsed(), cpu_ns(pid)?);
    let cpu_ms = (after - before) as f64 / 1e6 * 60.0 / took.as_secs_f64();
    let kib = status_kib(pid, "VmRSS:")?;
    let peak_kib = status_kib(pid, "VmHWM:")?;
    let one = |v: f64| json!((v * 10.0).round() / 10.0);
    Ok(vec![
        ("rss_mib", one(kib as f64 / 1_024.0)),
        ("rss_peak_mib", one(peak_kib as f64 / 1_024.0)),
        ("cpu_ms_per_min", one(cpu_ms)),
        ("watched_s", one(took.as_secs_f64())),
    ])
}

/// Processor time of all threads so far, in nanoseconds: finer than the ticks of `stat`.
fn cpu_ns(pid: u32) -> anyhow::Result<u64> {
    let mut sum = 0;
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = std::fs::read_to_string(task?.path().join("schedstat"))?;
        sum += text.split_whitespace().next().context("schedstat is empty")?.parse::<u64>()?;
    }
    Ok(sum)
}

fn status_kib(pid: u32, key: &str) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|l| l.strip_prefix(key)).with_context(|| format!("{key} is missing"))?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
