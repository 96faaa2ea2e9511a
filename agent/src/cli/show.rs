//! `chandler-agent status`: what is true now, or that it cannot be known.

use std::path::Path;
use std::process::ExitCode;

use chandler_protocol::hours::utc;
use chandler_protocol::world::Clock;
use chandler_protocol::{Bytes, Micros, Timestamp};

use super::{Common, Settings, run, say, tell};
use crate::owner::{CapStatus, OwnerStatus};
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
        && status.owner.problem.is_none()
        && status.workloads.iter().all(|w| !bad.contains(&w.phase.as_str()))
}

/// What the owner's rules say now.
fn rules(owner: &OwnerStatus) -> Vec<String> {
    let cap = |c: CapStatus| {
        let cpu = (c.cpu_milli != u32::MAX).then(|| format!("{} m of processors", c.cpu_milli));
        let memory = (c.memory_bytes != u64::MAX).then(|| Bytes(c.memory_bytes).to_string());
        cpu.into_iter().chain(memory).collect::<Vec<_>>().join(", ")
    };
    let mut line = match (owner.may_run, owner.offered, owner.allowed) {
        (false, ..) => format!("rules    yours: nothing runs, {}", owner.why),
        (true, None, None) => "rules    yours: the fleet may use all that is offered".to_owned(),
        (true, offered, Some(allowed)) if offered == Some(allowed) => {
            format!("rules    yours: at most {}, {}", cap(allowed), owner.why)
        }
        (true, ..) => format!("rules    yours: nothing new, {}", owner.why),
    };
    if let Some(until) = owner.until_micros.filter(|_| owner.may_run) {
        line.push_str(&format!("; until {}", utc(Timestamp(until))));
    }
    let next = if owner.may_run { "stop     chandler-agent pause" } else { "start    chandler-agent resume" };
    let mut lines = vec![line];
    lines.extend(owner.problem.as_ref().map(|problem| format!("rules    {problem}")));
    lines.extend(owner.yielded_micros.map(|took| format!("yielded  in {} the last time", Micros(took))));
    if owner.may_run || owner.pause_micros.is_some() {
        lines.push(next.to_owned());
    }
    lines
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
    lines.extend(rules(&status.owner));
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
