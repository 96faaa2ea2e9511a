//! The daemons inside this program, for the demo: it re-executes itself as `chandler controller` and `chandler agent`.
//!
//! Their arguments are their own and are passed on before the command line of `chandler` is looked at.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Command;

/// Runs a daemon or the demo, when that is what the first argument asks for. Program name first in both.
pub(crate) fn run(args: &[OsString]) -> Option<ExitCode> {
    let own = args.get(1..)?;
    match own.first()?.to_str()? {
        "controller" => Some(chandler_controller::main_with(own.to_vec())),
        "agent" => Some(chandler_agent::main_with(own.to_vec(), shim(args))),
        "demo" => Some(crate::demo::run(own.to_vec())),
        _ => None,
    }
}

/// How the agent re-executes this program as the supervisor of one workload.
fn shim(args: &[OsString]) -> Vec<OsString> {
    let program = std::env::current_exe().map_or_else(|_| args[0].clone(), OsString::from);
    vec![program, "agent".into(), "shim".into()]
}

/// Lists the commands that [`run`] takes away from clap, so that help, completions and the manual know them.
pub(crate) fn list(command: Command) -> Command {
    let demo = Command::new("demo")
        .about("Run the whole product on this machine: controllers that trade, agents, orders, and failures")
        .disable_help_flag(true)
        .allow_external_subcommands(true)
        .after_help("Examples:\n  chandler demo\n  chandler demo --json");
    let hidden = |name: &'static str| {
        let about = "Run as the daemon of this name, with its own arguments";
        let example = format!("Examples:\n  chandler {name} --help");
        Command::new(name).hide(true).about(about).allow_external_subcommands(true).after_help(example)
    };
    command.subcommand(demo).subcommand(hidden("controller")).subcommand(hidden("agent"))
}
