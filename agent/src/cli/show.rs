//! `chandler-agent status`: what is true now, or that it cannot be known.

use std::path::Path;
use std::process::ExitCode;

use chandler_protocol::Micros;
use chandler_protocol::world::Clock;

use super::{Common, Settings, run, say, tell};
use crate::status::{self, STALE, Status};
use crate::world::RealClock;

/// The exit status of "asked, and the answer is that it is not well".
const NOT_WELL: u8 = 3;

pub(super) fn status(common: &Common, is_json: bool) -> ExitCode {
    let dir = match Settings::data_dir(common) {
        Ok(dir) => dir,
        Err(error) => {
            tell(&error.to_string());
            return ExitCode::from(error.exit_code());
        }
    };
    let found = current(&dir);
    if is_json {
        let problem = found.as_ref().err();
        let value = serde_json::json!({ "running": found.is_ok(), "problem": problem, "status": found.as_ref().ok() });
        say(&value.to_string());
    }
    match found {
        Ok(status) => {
            if !is_json {
                for line in lines(&status) {
                    say(&line);
                }
            }
            if is_well(&status) { ExitCode::SUCCESS } else { ExitCode::from(NOT_WELL) }
        }
        Err(problem) => {
            if !is_json {
                say(&format!("unknown  {problem}"));
            }
            ExitCode::from(NOT_WELL)
        }
    }
}

/// The status of an agent that runs, or why there is none. A file that nobody keeps current is not believed.
pub(super) fn current(dir: &Path) -> Result<Status, String> {
    if !dir.is_dir() {
        return Err(format!("no agent has run with the data directory {}", dir.display()));
    }
    if run::lock(dir).is_ok() {
        return Err("no agent runs; software that it started goes on: chandler-agent run".into());
    }
    let status = status::read(&dir.join(run::STATUS)).ok_or("an agent runs and has not said anything yet")?;
    let age = Micros(RealClock.boot().0.saturating_sub(status.written_micros));
    if status.boot_id != crate::platform::boot_id() || age > STALE || age < Micros::ZERO {
        return Err("an agent runs but has not said anything for a while".into());
    }
    Ok(status)
}

fn is_well(status: &Status) -> bool {
    let bad = ["failed", "unhealthy", "backing off"];
    status.link.is_connected()
        && status.link.disk_error.is_none()
        && status.link.refused.is_none()
        && status.workloads.iter().all(|w| !bad.contains(&w.phase.as_str()))
}

fn lines(status: &Status) -> Vec<String> {
    let running = status.workloads.iter().filter(|w| w.phase == "running").count();
    let mut lines = vec![format!("host     {}, site {}, agent {}", status.host, status.site, status.version)];
    lines.push(match (status.link.controller, &status.link.problem) {
        (Some(controller), _) => {
            format!("path     direct to {controller}, {}", Micros(status.link.round_trip_micros))
        }
        (None, Some(problem)) => format!("path     no controller: {problem}; software goes on"),
        (None, None) => "path     no controller yet".to_owned(),
    });
    if let Some(error) = &status.link.disk_error {
        lines.push(format!("disk     takes no new orders: {error}"));
    }
    if let Some(why) = &status.link.refused {
        lines.push(format!("orders   refused: {why}"));
    }
    lines.push(format!("working  {running} of {} workloads run", status.workloads.len()));
    for w in &status.workloads {
        let ports: Vec<String> = w.ports.iter().map(|(name, number)| format!("{name}={number}")).collect();
        let tail = [ports.join(" "), w.message.clone()].into_iter().filter(|t| !t.is_empty()).collect::<Vec<_>>();
        lines.push(format!("  {:<20} {:<12} {} {}", w.name, w.phase, w.id, tail.join("; ")).trim_end().to_owned());
    }
    if !is_well(status) {
        lines.push("not well; next: chandler-agent doctor".to_owned());
    }
    lines
}
