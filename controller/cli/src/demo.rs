//! `chandler demo`: the main job on this machine, with nothing faked. Four controllers that trade (a provider, its
//! partner, a marketplace, a virtual provider) and seven agents as processes of their own, orders with SLAs, an amendment,
//! a PC that is taken back, one that dies, a price that rises, a server that is drained, bills and settlements; and what
//! came of it.

mod cast;
mod fleet;
mod journey;
mod orders;
mod outcome;
mod report;
mod settle;
mod story;
mod traffic;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use self::fleet::Fleet;
use self::report::Narrator;

/// Run the whole product on this machine: four controllers that trade, seven agents, orders, moves, bills.
#[derive(Debug, Parser)]
#[command(
    name = "chandler demo",
    after_help = "Everything is under one directory and on loopback; nothing of it is left behind.\n\nExamples:\n  chandler demo\n  chandler demo --json | tail -n 1\n  chandler demo --keep"
)]
struct Arguments {
    /// Print one JSON object as the last line, and the talk on standard error
    #[arg(long)]
    json: bool,
    /// Leave everything running until Ctrl-C, and print where it is
    #[arg(long)]
    keep: bool,
    /// Where everything is kept [default: a new temporary directory, removed in the end]
    #[arg(long, value_name = "D")]
    dir: Option<PathBuf>,
}

/// Runs the demo; the first argument is its name.
pub(crate) fn run(args: Vec<OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(args) {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let narrator = Narrator::new(arguments.json);
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return narrator.failed(&error.into()),
    };
    let outcome = runtime.block_on(async {
        let mut fleet = Fleet::prepare(arguments.dir)?;
        let told = tokio::select! {
            biased;
            () = interrupted() => Ok(None),
            told = story::tell(&mut fleet, &narrator) => told.map(Some),
        };
        if let (Ok(Some(report)), true) = (&told, arguments.keep) {
            narrator.summary(report);
            narrator.kept(&fleet);
            interrupted().await;
        }
        if told.is_err() {
            narrator.say(&format!("what the daemons said last:\n{}", fleet.last_words()));
        }
        // Whatever happened: everything that was started ends here.
        fleet.stop();
        told
    });
    match outcome {
        Ok(Some(report)) => {
            if !arguments.keep {
                narrator.summary(&report);
            }
            if report.complaints().is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Ok(None) => {
            narrator.say("interrupted; everything is stopped and removed");
            ExitCode::from(130)
        }
        Err(error) => narrator.failed(&error),
    }
}

/// Ctrl-C, or the end of the session.
async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return std::future::pending().await };
    tokio::select! {
        biased;
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}
