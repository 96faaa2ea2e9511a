//! The command people type. Data goes to stdout, talk to stderr, and the exit status says how it ended.
//!
//! [`pack`] and [`document`] are public because tests and the demo pack software and read order files as well.

mod args;
pub mod config;
mod confirm;
#[cfg(feature = "demo")]
mod demo;
pub mod document;
#[cfg(feature = "demo")]
mod embedded;
mod noun;
pub mod order_file;
pub mod pack;
pub mod problem;
mod session;
pub mod show;
mod upload;
mod wait;
mod word;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::FromArgMatches;

use crate::problem::Failure;
use crate::session::Session;

/// Runs one command line, program name first, and says how it ended.
pub fn main_with(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    #[cfg(feature = "demo")]
    if let Some(code) = embedded::run(&args) {
        return code;
    }
    let parsed = args::command().try_get_matches_from(args).and_then(|m| args::Cli::from_arg_matches(&m));
    match parsed {
        Ok(cli) => ExitCode::from(run(cli)),
        Err(error) => {
            // Help and version are answers too; clap knows which stream is theirs.
            let _ = error.print();
            ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
        }
    }
}

/// The command line as clap sees it: for the manual, completions, and the tests that go through all of it.
pub fn command() -> clap::Command {
    args::command()
}

fn run(cli: args::Cli) -> u8 {
    let session = match Session::new(&cli.globals) {
        Ok(session) => session,
        Err(failure) => return problem::report(&failure, &show::Out::plain()),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => return problem::report(&Failure::local(format!("cannot start: {e}")), &session.out),
    };
    let result = runtime.block_on(async {
        tokio::select! {
            biased;
            () = interrupted() => Err(session.interruption()),
            result = noun::run(cli.command, &session) => result,
        }
    });
    // A prompt may still wait for a line in a thread of its own; nobody will answer it.
    runtime.shutdown_background();
    match result {
        Ok(()) => 0,
        Err(failure) => problem::report(&failure, &session.out),
    }
}

/// Ctrl-C.
async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        // Without a handler, Ctrl-C ends the process as it always does.
        std::future::pending::<()>().await;
    }
}
