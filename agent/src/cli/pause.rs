//! `chandler-agent pause` and `resume`: the owner's word, kept in a file that the agent heeds; no controller is asked.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use chandler_protocol::hours::utc;
use chandler_protocol::text::{TEXT_MAX, clean};
use chandler_protocol::world::Clock;
use chandler_protocol::{Micros, Timestamp};

use super::{Common, Output, PauseArgs, Settings, say, show, tell};
use crate::AgentError;
use crate::owner::OwnerFiles;
use crate::owner::pause::{self, Pause};
use crate::status::{MADE_WAY, Status};
use crate::world::RealClock;

/// How long the agent is waited for. It acts within a second, and says so at most half a second later.
const PATIENCE: Micros = Micros::from_secs(5);
/// How often it is looked whether it has.
const LOOK: Duration = Duration::from_millis(25);
/// The exit status of "asked, and the answer is that it is not so".
const NOT_SO: u8 = 3;
/// Phases in which software is there to be disturbed by.
const AT_WORK: [&str; 4] = ["starting", "running", "unhealthy", "stopping"];

pub(super) fn pause(args: &PauseArgs) -> ExitCode {
    match begin(args) {
        Ok(code) => code,
        Err(error) => {
            tell(&error.to_string());
            ExitCode::from(error.exit_code())
        }
    }
}

fn begin(args: &PauseArgs) -> Result<ExitCode, AgentError> {
    let (dir, files) = files(&args.common)?;
    let said = RealClock.now();
    let from = said.after(args.after.unwrap_or_default());
    let until = args.length.or(args.lasts).map(|lasts| from.after(lasts));
    let pause = Pause { said, from, until, reason: clean(&args.reason, TEXT_MAX) };
    pause::write(&files.pause, &pause).map_err(|e| failed(&files.pause, &e))?;
    let is_heeded =
        |s: &Status| s.owner.pause_micros == Some(said.0) && (from > said || (!s.owner.may_run && !is_at_work(s)));
    let heeded = wait(&dir, is_heeded);
    if args.output == Output::Json {
        let value = serde_json::json!({
            "from": utc(from), "until": until.map(utc), "reason": pause.reason, "heeded": heeded.is_ok(),
            "problem": heeded.as_ref().err(), "madeWay": heeded.as_ref().ok().map(made_way),
            "tookMicros": heeded.as_ref().ok().and_then(|s| s.owner.yielded_micros),
        });
        say(&value.to_string());
    } else {
        for line in shown(&pause, &heeded) {
            say(&line);
        }
    }
    Ok(if heeded.is_ok() { ExitCode::SUCCESS } else { ExitCode::from(NOT_SO) })
}

/// What a person sees; the last line names the next command.
fn shown(pause: &Pause, heeded: &Result<Status, String>) -> Vec<String> {
    let till = pause.until.map_or_else(|| "until resumed".to_owned(), |at| format!("until {}", utc(at)));
    let mut lines = Vec::new();
    match heeded {
        Err(problem) => lines.push(format!("paused {till}, but {problem}")),
        Ok(_) if pause.from > pause.said => {
            lines.push(format!("nothing new from now on; paused from {} {till}", utc(pause.from)));
        }
        Ok(status) => match status.owner.yielded_micros {
            None => lines.push(format!("paused {till}; nothing ran")),
            Some(took) => lines.push(format!("paused {till}; {} made way in {}", made_way(status), Micros(took))),
        },
    }
    lines.push("end it with: chandler-agent resume".to_owned());
    lines
}

pub(super) fn resume(common: &Common) -> ExitCode {
    let ended = files(common).and_then(|(dir, files)| {
        let was = pause::end(&files.pause).map_err(|e| failed(&files.pause, &e))?;
        Ok((dir, was))
    });
    match ended {
        Err(error) => {
            tell(&error.to_string());
            ExitCode::from(error.exit_code())
        }
        Ok((_, false)) => {
            say("it was not paused; its other rules: chandler-agent status");
            ExitCode::SUCCESS
        }
        Ok((dir, true)) => match wait(&dir, |s| s.owner.pause_micros.is_none()) {
            Ok(status) if status.owner.may_run => {
                say("resumed; what is still wanted here runs again. Next: chandler-agent status");
                ExitCode::SUCCESS
            }
            Ok(status) => {
                say(&format!("resumed, and still nothing runs: {}", status.owner.why));
                ExitCode::SUCCESS
            }
            Err(problem) => {
                say(&format!("resumed, but {problem}"));
                ExitCode::from(NOT_SO)
            }
        },
    }
}

fn files(common: &Common) -> Result<(std::path::PathBuf, OwnerFiles), AgentError> {
    let dir = Settings::data_dir(common)?;
    if !dir.is_dir() {
        let why = format!("no agent has run with the data directory {}; give --data-dir", dir.display());
        return Err(AgentError::DataDir(why));
    }
    let files = OwnerFiles::new(&dir, None);
    Ok((dir, files))
}

fn failed(path: &Path, error: &std::io::Error) -> AgentError {
    AgentError::DataDir(format!("{}: {error}; run this as the user that the agent runs as", path.display()))
}

/// Whether any workload is there to be disturbed by.
fn is_at_work(status: &Status) -> bool {
    status.workloads.iter().any(|w| AT_WORK.contains(&w.phase.as_str()))
}

/// How many workloads do not run because the owner needs the computer.
fn made_way(status: &Status) -> usize {
    status.workloads.iter().filter(|w| w.phase == MADE_WAY).count()
}

/// Waits until the agent has said that it is so.
fn wait(dir: &Path, is_so: impl Fn(&Status) -> bool) -> Result<Status, String> {
    let deadline = Timestamp(RealClock.boot().0).after(PATIENCE);
    loop {
        let problem = match show::current(dir) {
            Ok(status) if is_so(&status) => return Ok(status),
            Ok(_) => "the agent has not acted yet: chandler-agent status".to_owned(),
            // Nobody comes who would act.
            Err(problem) if problem.starts_with("no agent runs") => return Err(problem),
            Err(problem) => problem,
        };
        if RealClock.boot().0 >= deadline.0 {
            return Err(problem);
        }
        std::thread::sleep(LOOK);
    }
}
